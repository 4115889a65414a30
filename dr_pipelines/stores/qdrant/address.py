"""Where a store's Qdrant is: what its URL says."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from dr_pipelines.errors import InvalidRequest

EXPECTED = (
    "expected qdrant://HOST:PORT (with ?https=1 and ?grpc_port=PORT where they apply), "
    "qdrant+local:DIRECTORY or qdrant+edge:DIRECTORY; the key of a server's API is taken from "
    "QDRANT_API_KEY"
)
SWITCH = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A server. `grpc_port` None: REST only."""

    host: str
    port: int = 6333
    https: bool = False
    grpc_port: int | None = None

    def __str__(self) -> str:
        return f"qdrant://{self.host}:{self.port}"


def server_address(url: str) -> ServerAddress:
    """The server of a `qdrant://` URL; no message repeats the URL, which may hold a secret."""
    try:
        parts = urlsplit(url)
        options = dict(
            parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        )
        port = parts.port
    except ValueError:
        raise InvalidRequest(f"the URL of a Qdrant store is malformed: {EXPECTED}") from None
    unknown = sorted(options.keys() - {"https", "grpc_port"})
    https, grpc = SWITCH.get(options.get("https", "0")), options.get("grpc_port")
    good = https is not None and (grpc is None or _is_port(grpc)) and not unknown
    if not good or not parts.hostname or parts.username or parts.path.strip("/"):
        said = f"unknown options {', '.join(unknown)}; " if unknown else ""
        raise InvalidRequest(f"the URL of a Qdrant store cannot be used: {said}{EXPECTED}")
    return ServerAddress(
        host=parts.hostname,
        port=port or 6333,
        https=bool(https),
        grpc_port=None if grpc is None else int(grpc),
    )


def directory(rest: str, *, base: Path) -> Path:
    """The directory that follows `qdrant+local:` or `qdrant+edge:`."""
    if not rest or "\0" in rest:
        raise InvalidRequest(f"the URL of a Qdrant store names no directory: {EXPECTED}")
    return base / Path(rest).expanduser()


def _is_port(text: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", text) is not None and 0 < int(text) < 2**16
