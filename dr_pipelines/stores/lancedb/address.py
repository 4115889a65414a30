"""Where the tables of a store are: a directory, or a prefix of a bucket.

A table `x` is `x.lance`, as every client of LanceDB has it. An alias is an object `x.alias` beside
it, in both kinds of place, that holds a collection's name and is replaced by one rename or PUT.
"""

import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Protocol

from dr_pipelines.errors import Damaged
from dr_pipelines.host.permissions import make_directory, temporary_directory
from dr_pipelines.model.collection import NAME, PHYSICAL_NAME
from dr_pipelines.stores.lancedb.errors import translating
from dr_pipelines.stores.lancedb.names import physical_name, stored_name
from dr_pipelines.stores.shared.address import Forms, directory, server
from dr_pipelines.stores.shared.naming import NO_NAMES, StoredNames
from dr_pipelines.stores.shared.pointers import (
    SUFFIX,
    Pointers,
    entries,
    locked,
    sync_directory,
    sync_file,
)

TABLE = ".lance"
VERSIONS = "_versions"
MANIFEST = ".manifest"
DROPPED = ".dropped-"
BUCKET = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
FORMS = Forms(
    "expected lance:DIRECTORY or lance:s3://BUCKET/PREFIX?endpoint=URL&region=REGION",
    secret="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",  # noqa: S106 - names of variables
    options=("endpoint", "region"),
)
ENDPOINT = Forms(FORMS.expected, secret=FORMS.secret)
ALIAS_BYTES = 256


class Place(Protocol):
    """The names in a store, and where their tables are."""

    @property
    def about(self) -> str:
        """Its name in messages; without secrets."""
        ...

    @property
    def options(self) -> dict[str, str] | None:
        """Options that Lance needs to reach it, beside a URI."""
        ...

    def table(self, physical: str) -> str:
        """The name of a collection's table."""
        ...

    def collection(self, table: str) -> str | None:
        """The collection that a table is; None for a table whose name cannot be one."""
        ...

    def hidden(self) -> tuple[str, ...]:
        """A sentence for each table that stands for nothing, since a collection that has another
        name here is called so."""
        ...

    def tables(self) -> list[str]:
        """Names of tables, in any order."""
        ...

    def holds(self, table: str) -> bool:
        """True if there is such a table: one that has a version, whatever its columns are."""
        ...

    def uri(self, table: str) -> str: ...

    def aliases(self) -> dict[str, str]:
        """Alias → physical name, ascending."""
        ...

    def target(self, alias: str) -> str | None:
        """The physical name that an alias stands for, if it is one."""
        ...

    def point(self, alias: str, target: str) -> None:
        """Set an alias, in one step."""
        ...

    def remove(self, table: str) -> None:
        """Remove a table with everything in it; in one step where that can be."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """Keep others that use this package from changing names, where that can be."""
        ...


class LocalPlace:
    """A directory; it need not exist before something is written."""

    def __init__(
        self, directory: Path, *, wait_seconds: float, names: StoredNames = NO_NAMES
    ) -> None:
        self.directory = directory
        self._names = names
        self._wait_seconds = wait_seconds
        self._pointers = Pointers(directory)

    @property
    def about(self) -> str:
        return f"lance:{self.directory}"

    @property
    def options(self) -> dict[str, str] | None:
        return None

    def table(self, physical: str) -> str:
        return self._names.native(physical, stored_name)

    def collection(self, table: str) -> str | None:
        return self._names.collection(table, physical_name)

    def hidden(self) -> tuple[str, ...]:
        return self._names.hidden(self.tables(), physical_name) if self._names.stored else ()

    def tables(self) -> list[str]:
        # a directory without a version is what a process that died has left of making a table
        directories = [name for name in entries(self.directory) if name.endswith(TABLE)]
        names = [name.removesuffix(TABLE) for name in directories]
        return [name for name in names if self.holds(name)]

    def holds(self, table: str) -> bool:
        names = entries(Path(self.uri(table)) / VERSIONS)
        return any(name.endswith(MANIFEST) for name in names)

    def uri(self, table: str) -> str:
        return str(self.directory / f"{table}{TABLE}")

    def aliases(self) -> dict[str, str]:
        return self._pointers.all()

    def target(self, alias: str) -> str | None:
        return self._pointers.target(alias)

    def point(self, alias: str, target: str) -> None:
        sync_tree(Path(self.uri(self.table(target))))  # first: Lance leaves that to the system
        self._pointers.point(alias, target)

    def remove(self, table: str) -> None:
        hidden = self.directory / f"{DROPPED}{uuid.uuid4().hex}"
        Path(self.uri(table)).rename(hidden)
        sync_directory(self.directory)
        for path in self.directory.glob(f"{DROPPED}*"):  # also what an interrupted drop has left
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        make_directory(self.directory)
        with locked(self.directory, wait_seconds=self._wait_seconds):
            yield


class S3Place:
    """A prefix of a bucket. Names are changed by one process at a time: nothing locks them."""

    def __init__(self, url: str, options: dict[str, str], names: StoredNames = NO_NAMES) -> None:
        self._url = url
        self._names = names
        self._options = options

    @property
    def about(self) -> str:
        return f"lance:{self._url}"

    @property
    def options(self) -> dict[str, str] | None:
        return dict(self._options)

    def table(self, physical: str) -> str:
        return self._names.native(physical, stored_name)

    def collection(self, table: str) -> str | None:
        return self._names.collection(table, physical_name)

    def hidden(self) -> tuple[str, ...]:
        return self._names.hidden(self.tables(), physical_name) if self._names.stored else ()

    def tables(self) -> list[str]:
        with translating(self.about):
            prefixes = self.session().list_with_delimiter().common_prefixes
        names = [prefix.rstrip("/") for prefix in prefixes]
        return [name.removesuffix(TABLE) for name in names if name.endswith(TABLE)]

    def holds(self, table: str) -> bool:
        with translating(self.about):
            paths = self.session().list(f"{table}{TABLE}/{VERSIONS}")
        return any(path.endswith(MANIFEST) for path in paths)

    def uri(self, table: str) -> str:
        return f"{self._url}/{table}{TABLE}"

    def aliases(self) -> dict[str, str]:
        with translating(self.about):
            objects = self.session().list_with_delimiter().objects
        names = sorted(name.removesuffix(SUFFIX) for name in objects if name.endswith(SUFFIX))
        targets = {name: self.target(name) for name in names}
        return {name: target for name, target in targets.items() if target is not None}

    def target(self, alias: str) -> str | None:
        if not NAME.fullmatch(alias):
            return None
        key = f"{alias}{SUFFIX}"
        with translating(self.about):
            session = self.session()
            if not session.contains(key):
                return None
            target = bytes(session.read_range(key, 0, ALIAS_BYTES)).decode(errors="replace")
        if not PHYSICAL_NAME.fullmatch(target):
            raise Damaged(
                f"{self.about}: {key} does not hold a collection's name; promote it again"
            )
        return target

    def point(self, alias: str, target: str) -> None:
        with temporary_directory("alias") as directory:
            path = Path(directory) / alias
            path.write_text(target, encoding="utf-8")
            with translating(self.about):
                self.session().upload_file(path, f"{alias}{SUFFIX}")  # one PUT

    def remove(self, table: str) -> None:
        import lance

        with translating(self.about):
            lance.LanceDataset.drop(self.uri(table), storage_options=self._options)

    def alone(self) -> AbstractContextManager[None]:
        return nullcontext()

    def session(self) -> Any:
        """Lance's own way to objects under the prefix."""
        from lance.file import LanceFileSession

        return LanceFileSession(self._url, storage_options=self._options)


def open_place(
    url: str, *, base: Path, wait_seconds: float = 30, names: StoredNames = NO_NAMES
) -> LocalPlace | S3Place:
    """The place that a URL names; relative directories are under `base`, nothing is touched.

    Raises:
        InvalidRequest: another scheme, no path, an unknown option, or credentials in the URL.
    """
    scheme, _, rest = url.partition(":")
    if scheme != "lance":
        raise FORMS.refusal(f"its scheme is {scheme[:40]!r}")
    if not rest.startswith("s3:"):
        if "://" in rest:
            raise FORMS.refusal("it names neither a directory nor a bucket of S3")
        return LocalPlace(directory(rest, FORMS, base=base), wait_seconds=wait_seconds, names=names)
    options = server(rest, FORMS, with_path=True).options
    prefix = rest.partition("?")[0].rstrip("/")
    if not BUCKET.fullmatch(prefix.removeprefix("s3://").partition("/")[0]):
        raise FORMS.refusal("it names no bucket")
    if options.get("endpoint"):
        server(options["endpoint"], ENDPOINT, with_path=True)
    return S3Place(prefix, _s3_options(options, os.environ), names)


def _s3_options(chosen: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Few retries and short waits: a store that is out of reach is said to be so in seconds.
    Credentials are not among them: Lance takes them from AWS_* itself."""
    options = {
        "client_max_retries": "2",
        "client_retry_timeout": "10",
        "connect_timeout": "5s",
        "timeout": "60s",
    }
    endpoint = chosen.get("endpoint") or environ.get("AWS_ENDPOINT_URL")
    region = chosen.get("region") or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if endpoint:
        options |= {"aws_endpoint": endpoint, "aws_virtual_hosted_style_request": "false"}
        options |= {"allow_http": "true"} if endpoint.startswith("http:") else {}
    return options | {"aws_region": region or "us-east-1"}


def sync_tree(root: Path) -> None:
    """Make every file below a directory durable, and their names; what goes meanwhile may go."""
    for below, _, names in os.walk(root, topdown=False):
        for name in names:
            with suppress(FileNotFoundError):
                sync_file(Path(below) / name)
        with suppress(FileNotFoundError):
            sync_directory(Path(below))
    sync_directory(root.parent)
