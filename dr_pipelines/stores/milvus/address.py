"""Where a Milvus is: its URL, read once."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from dr_pipelines.errors import InvalidRequest

TOKEN = "MILVUS_TOKEN"  # noqa: S105  # the name of a variable, not its value
EXPECTED = (
    "expected milvus://HOST[:PORT][/DATABASE][?secure=1], with a token or user:password in the "
    f"environment variable {TOKEN}, or milvus+lite:PATH"
)
DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
DEFAULT_PORT = 19530


@dataclass(frozen=True, slots=True)
class Address:
    """A server, or (`path`) a directory that milvus-lite serves within this process."""

    host: str = ""
    port: int = DEFAULT_PORT
    database: str = ""
    secure: bool = False
    token: str = field(default="", repr=False)
    path: Path | None = None

    def __str__(self) -> str:
        """Without secrets: for messages."""
        if self.path is not None:
            return f"milvus+lite:{self.path}"
        return f"milvus://{self.host}:{self.port}/{self.database}"


def parse(url: str, *, base: Path) -> Address:
    """The address that a URL names; a relative path is relative to `base`.

    Raises:
        InvalidRequest: it names none. The message does not repeat the URL, which may hold a secret.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "milvus+lite" and rest:
        return Address(path=(base / Path(rest).expanduser()).absolute())
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or DEFAULT_PORT
    except ValueError:
        raise InvalidRequest(f"store URL: {EXPECTED}") from None
    query = parse_qs(parts.query, keep_blank_values=True)
    secure, database = query.pop("secure", ["0"])[-1], unquote(parts.path.strip("/"))
    bad = parts.scheme != "milvus" or not host or query or secure not in ("0", "1")
    if bad or host is None or (database and not DATABASE.fullmatch(database)):
        raise InvalidRequest(f"store URL: {EXPECTED}")
    if parts.username or parts.password:
        raise InvalidRequest(f"store URL: credentials do not belong into it; set {TOKEN} instead")
    token = os.environ.get(TOKEN, "")
    return Address(host, port, database, secure == "1", token)
