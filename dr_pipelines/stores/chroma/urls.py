"""The parts of a store's URL."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from dr_pipelines.errors import InvalidRequest

EXPECTED = (
    "chroma://HOST:PORT/?tenant=TENANT&database=DATABASE&ssl=1 or "
    "chroma+local:DIRECTORY?tenant=TENANT&database=DATABASE, each part after ? optional"
)
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
        InvalidRequest: it is no such URL. The message does not repeat it: it may hold a secret.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "chroma+local":
        path, _, query = rest.partition("?")
        options = _options(query, known=("tenant", "database"))
        if not path:
            raise _wrong("it names no directory")
        return Local(base / Path(unquote(path)).expanduser(), _namespace(options))
    if scheme != "chroma":
        raise _wrong(f"its scheme is {scheme[:40]!r}")
    return _remote(url)


def _remote(url: str) -> Remote:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _wrong("its host or port is none") from None
    if parts.username is not None or parts.password is not None:
        raise _wrong("credentials do not belong into it; set CHROMA_TOKEN")
    if not host or parts.path not in ("", "/") or parts.fragment:
        raise _wrong("it has no host, or a path")
    options = _options(parts.query, known=("tenant", "database", "ssl"))
    ssl = options.get("ssl", "0")
    if ssl not in ("0", "1"):
        raise _wrong("ssl is neither 0 nor 1")
    return Remote(host, port or DEFAULT_PORT, ssl == "1", _namespace(options))


def _options(query: str, *, known: tuple[str, ...]) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    if len(options) < len(pairs) or not set(options) <= set(known):
        raise _wrong(f"after ? it may have {', '.join(known)}, each once")
    return options


def _namespace(options: dict[str, str]) -> Namespace:
    named = {key: options[key] for key in ("tenant", "database") if key in options}
    for key, value in named.items():
        if not NAMESPACE.fullmatch(value) or value in ("...", ".."):
            raise _wrong(f"its {key} is no name of 3 to 512 characters")
    return Namespace(**named)


def _wrong(why: str) -> InvalidRequest:
    return InvalidRequest(f"store URL: {why}; expected {EXPECTED}")
