"""The parts of a store's URL."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from dr_pipelines.stores.shared import address
from dr_pipelines.stores.shared.address import Forms

TOKEN = "CHROMA_TOKEN"  # noqa: S105 - the name of a variable
EXPECTED = (
    "expected chroma://HOST:PORT/?tenant=TENANT&database=DATABASE&ssl=1 or "
    "chroma+local:DIRECTORY?tenant=TENANT&database=DATABASE, each part after ? optional"
)
LOCAL = Forms(EXPECTED, options=("tenant", "database"))
REMOTE = Forms(EXPECTED, secret=TOKEN, options=("tenant", "database", "ssl"))
DEFAULT_PORT = 8000
DEFAULT_TENANT, DEFAULT_DATABASE = "default_tenant", "default_database"
"""Chroma's own."""
OURS = ".dr"
"""Directory beside Chroma's files: the lock, who had it last, aliases."""
NAMESPACE = re.compile(r"[^\s/\\\x00-\x1f]{3,512}")
"""Names of tenants and databases: they become parts of paths, of Chroma's and of ours."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """Where in Chroma a store's collections are."""

    tenant: str = DEFAULT_TENANT
    database: str = DEFAULT_DATABASE


@dataclass(frozen=True, slots=True)
class Remote:
    """A server."""

    host: str
    port: int
    ssl: bool
    namespace: Namespace


@dataclass(frozen=True, slots=True)
class Local:
    """A directory that is opened in this process."""

    directory: Path
    namespace: Namespace

    @property
    def home(self) -> Path:
        """The directory of this package's own files there."""
        return self.directory / OURS

    @property
    def aliases(self) -> Path:
        """Where the aliases of this tenant's database are."""
        names = (self.namespace.tenant, self.namespace.database)
        return self.home.joinpath("aliases", *(quote(name, safe="") for name in names))


def parsed_url(url: str, *, base: Path) -> Remote | Local:
    """Where a URL points; a relative directory is taken from `base`.

    Raises:
        InvalidRequest: it is no such URL.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "chroma+local":
        path, _, query = rest.partition("?")
        namespace = _namespace(address.options(query, LOCAL))
        return Local(address.directory(unquote(path), LOCAL, base=base), namespace)
    if scheme != "chroma":
        raise LOCAL.refusal(f"its scheme is {scheme[:40]!r}")
    server = address.server(url, REMOTE)
    ssl = address.switched(server.options, "ssl", REMOTE)
    return Remote(server.host, server.port or DEFAULT_PORT, ssl, _namespace(server.options))


def _namespace(options: dict[str, str]) -> Namespace:
    named = {key: options[key] for key in ("tenant", "database") if key in options}
    for key, value in named.items():
        if not NAMESPACE.fullmatch(value) or value in ("...", ".."):
            raise LOCAL.refusal(f"its {key} is no name of 3 to 512 characters")
    return Namespace(**named)
