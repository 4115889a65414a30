"""Where a store's Qdrant is: what its URL says."""

import re
from dataclasses import dataclass

from dr_pipelines.stores.shared import address
from dr_pipelines.stores.shared.address import Forms

TOKEN = "QDRANT_API_KEY"  # noqa: S105 - the name of a variable
FORMS = Forms(
    "expected qdrant://HOST:PORT (with ?https=1 and ?grpc_port=PORT where they apply), "
    "qdrant+local:DIRECTORY or qdrant+edge:DIRECTORY; the key of a server's API is taken from "
    f"{TOKEN}",
    secret=TOKEN,
    options=("https", "grpc_port"),
)


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
    """The server of a `qdrant://` URL."""
    server = address.server(url, FORMS)
    https, grpc = address.switched(server.options, "https", FORMS), server.options.get("grpc_port")
    if grpc is not None and not _is_port(grpc):
        raise FORMS.refusal("grpc_port is no port")
    return ServerAddress(
        server.host, server.port or 6333, https, None if grpc is None else int(grpc)
    )


def _is_port(text: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", text) is not None and 0 < int(text) < 2**16
