"""A version of a collection as the files that the engine keeps it in: restored with its indexes.

Everything that Lance writes is written once, and all but manifests under names that no other file
gets, so that two versions share the files that they have in common, by path. A restore needs no
index to be built, and only this engine.
"""

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from dr_pipelines.errors import (
    AlreadyExists,
    Damaged,
    InvalidRequest,
    NotFound,
)
from dr_pipelines.host.permissions import temporary_directory
from dr_pipelines.model.collection import PHYSICAL_NAME, CollectionSpec
from dr_pipelines.protocols import (
    NativeFile,
    NativeVersion,
    OpenFile,
    VectorStore,
)
from dr_pipelines.stores.lancedb.address import (
    MANIFEST,
    TABLE,
    VERSIONS,
    LocalPlace,
    S3Place,
    sync_tree,
)
from dr_pipelines.stores.lancedb.errors import translating
from dr_pipelines.stores.lancedb.records import LABEL
from dr_pipelines.stores.lancedb.schema import ENGINE
from dr_pipelines.stores.lancedb.store import LanceDriver
from dr_pipelines.stores.shared.label import Label, decoded, encoded
from dr_pipelines.stores.shared.pointers import needing_room, sync_directory

KINDS = frozenset(["manifest", "data file", "deletion file", "transaction file", "index file"])
"""All that Lance says of files of a version. Those of blobs are none of them: they lie in a folder
that has the name of their data file, and whatever lies there belongs to it."""
FOLDERS = frozenset(["data", "_deletions", "_indices", "_transactions", VERSIONS])
DATA = ".lance"
STAGED = ".restoring-"
CHUNK_BYTES = 4 * 2**20


def native_files_of(store: VectorStore) -> "LanceNativeFiles":
    """The files of a LanceDB store; raises `InvalidRequest` for another one."""
    driver = getattr(store, "driver", None)
    if not isinstance(driver, LanceDriver):
        raise InvalidRequest(f"{store.engine} keeps no Lance files")
    return LanceNativeFiles(driver)


class LanceNativeFiles:
    """`NativeFiles` of a LanceDB store."""

    def __init__(self, driver: LanceDriver) -> None:
        self._driver = driver
        self._place = driver.place

    def native_files(self, name: str) -> NativeVersion:
        dataset = self._driver.dataset(name)
        with translating(name):
            if dataset.base_paths():
                raise InvalidRequest(f"{name!r} is a shallow clone: its files are another table's")
            tracked = dataset.tracked_files(min_version=dataset.version).read_all().to_pylist()
            there = dataset.all_files().read_all().to_pylist()
        sizes = {file["path"]: file["size_bytes"] for file in there}
        of_version = [file for file in tracked if file["version"] == dataset.version]
        _refuse_unknown(name, of_version)
        paths = sorted({f["path"] for f in of_version} | _beside(of_version, sizes))
        missing = [path for path in paths if path not in sizes]
        if missing:
            raise Damaged(f"{name!r}: {len(missing)} of its files are gone, e.g. {missing[0]}")
        files = tuple(NativeFile(p, sizes[p], once=not p.startswith(f"{VERSIONS}/")) for p in paths)
        return NativeVersion(self._driver.engine, str(dataset.version), files)

    @contextmanager
    def open_native(self, name: str, path: str) -> Iterator[IO[bytes]]:
        uri = self._driver.dataset(name).uri
        key = _checked(path)
        if isinstance(self._place, LocalPlace):
            with _open_existing(Path(uri) / key) as file:
                yield file
            return
        with temporary_directory("native") as directory:
            copy = Path(directory) / "file"
            with translating(f"{name}: {path}"):
                self._session().download_file(f"{self._place.table(name)}{TABLE}/{key}", copy)
            with copy.open("rb") as file:
                yield file

    def restore_native(
        self,
        name: str,
        version: NativeVersion,
        *,
        read: OpenFile,
        spec: CollectionSpec | None = None,
    ) -> None:
        if version.engine.partition(" ")[0] != ENGINE:
            raise InvalidRequest(f"{name!r}: files of {version.engine}; only it can read them")
        if spec is not None and spec.name != name:
            raise InvalidRequest(f"the specification is of {spec.name!r}, not of {name!r}")
        self._refuse_taken(name)
        if isinstance(self._place, LocalPlace):
            self._restore_locally(name, version, read, spec, self._place.directory)
        else:
            self._restore_to_bucket(name, version, read, spec)

    def _refuse_taken(self, name: str) -> None:
        """Also where a table of that name is no collection: nothing that has a version goes."""
        if not PHYSICAL_NAME.fullmatch(name):
            raise InvalidRequest(f"collection name {name!r}: expected {PHYSICAL_NAME.pattern}")
        if self._place.holds(self._place.table(name)) or self._place.target(name) is not None:
            raise AlreadyExists(f"{name!r} is taken; choose another name or drop it")

    def _restore_locally(
        self,
        name: str,
        version: NativeVersion,
        read: OpenFile,
        spec: CollectionSpec | None,
        directory: Path,
    ) -> None:
        """Beside the others under a hidden name, then renamed."""
        staged = directory / f"{STAGED}{self._place.table(name)}"
        shutil.rmtree(staged, ignore_errors=True)  # what an interrupted restore has left
        try:
            _lay_out(staged, version.files, read)
            _relabel(staged, spec)
            with needing_room(staged):
                sync_tree(staged)
            with self._place.alone(), translating(name):
                self._refuse_taken(name)
                target = Path(self._place.uri(self._place.table(name)))
                shutil.rmtree(target, ignore_errors=True)  # without a version it is no table
                staged.rename(target)
                sync_directory(directory)
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def _restore_to_bucket(
        self, name: str, version: NativeVersion, read: OpenFile, spec: CollectionSpec | None
    ) -> None:
        """The manifest last: before it the table has no version. A new label is committed to a copy
        of the manifest on this machine, which needs no other file."""
        manifests = [file for file in version.files if _is_manifest(file)]
        with temporary_directory("native") as directory:
            staged = Path(directory) / f"{self._place.table(name)}{TABLE}"
            for file in version.files:
                if not _is_manifest(file):
                    _lay_out(staged, [file], read)
                    self._upload(name, staged, file.path)
                    (staged / file.path).unlink()
            _lay_out(staged, manifests, read)
            newest = _manifest_of(_relabel(staged, spec))
            paths = [p.relative_to(staged).as_posix() for p in staged.rglob("*") if p.is_file()]
            for path in paths:
                if path.startswith("_transactions/"):
                    self._upload(name, staged, path)
            self._refuse_taken(name)  # meanwhile?
            self._upload(name, staged, next(path for path in paths if path in newest))

    def _upload(self, name: str, staged: Path, path: str) -> None:
        with translating(f"{name}: {path}"):
            self._session().upload_file(staged / path, f"{self._place.table(name)}{TABLE}/{path}")

    def _session(self) -> Any:
        if not isinstance(self._place, S3Place):
            raise InvalidRequest(f"{self._place.about}: neither a directory nor a bucket")
        return self._place.session()


def _refuse_unknown(name: str, files: Sequence[Mapping[str, Any]]) -> None:
    for file in files:
        if file["type"] not in KINDS:
            raise InvalidRequest(
                f"{name!r} has a {file['type']}, {file['path']}: what belongs to such a file is "
                "not known here. Keep its records, by a backup without its files"
            )


def _beside(files: Sequence[Mapping[str, Any]], there: Collection[str]) -> set[str]:
    """Files in the folders of data files."""
    folders = {f["path"].removesuffix(DATA) for f in files if f["type"] == "data file"}
    return {path for path in there if path.rpartition("/")[0] in folders}


def _lay_out(root: Path, files: Sequence[NativeFile], read: OpenFile) -> None:
    for file in files:
        path = root / _checked(file.path)
        with needing_room(root):
            path.parent.mkdir(parents=True, exist_ok=True)
            with read(file.path) as source, path.open("wb") as target:
                shutil.copyfileobj(source, target, CHUNK_BYTES)
        size = path.stat().st_size
        if size != file.size_bytes:
            message = f"{file.path}: {size} bytes, expected {file.size_bytes}"
            raise Damaged(f"{message}; use another copy")


def _relabel(root: Path, spec: CollectionSpec | None) -> int:
    """Commit the new label, as a version after the one that was restored; the newest version."""
    import lance

    with translating(root.name):
        dataset = lance.dataset(str(root))
        if spec is not None:
            text = (dataset.schema.metadata or {}).get(LABEL.encode())
            # users built what there is
            built = text is None or decoded(text, of=repr(spec.name)).indexed
            dataset.update_schema_metadata({LABEL: encoded(Label(spec=spec, indexed=built))})
        return int(dataset.latest_version)


def _manifest_of(version: int) -> frozenset[str]:
    """Paths that the manifest of a version can have: names count down, those of old tables up."""
    names = (f"{2**64 - 1 - version:020}", str(version))
    return frozenset(f"{VERSIONS}/{name}{MANIFEST}" for name in names)


def _is_manifest(file: NativeFile) -> bool:
    return file.path.startswith(f"{VERSIONS}/")


def _checked(path: str) -> str:
    """A path of a table's file, and of no other: what is restored comes from elsewhere."""
    parts = PurePosixPath(path).parts
    if len(parts) < 2 or parts[0] not in FOLDERS or {"..", "/"} & set(parts) or "\\" in path:
        raise Damaged(f"{path!r} is not the path of a file in a Lance table")
    return path


@contextmanager
def _open_existing(path: Path) -> Iterator[IO[bytes]]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise NotFound(f"{path} is gone: its version was cleaned up") from None
    with file:
        yield file
