"""milvus-lite as a server for tests.

It speaks the protocol of Milvus and is not the Milvus engine; no Milvus server can be had here.
"""

import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pymilvus import MilvusClient

from tests.servers.ports import free_port
from tests.servers.program import ProgramServer, running


class MilvusServer(ProgramServer):
    """milvus-lite on a directory."""

    @property
    def uri(self) -> str:
        """For pymilvus."""
        return f"http://127.0.0.1:{self.port}"

    def url(self, database: str = "") -> str:
        """For the adapter."""
        return f"milvus://127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The name of an empty database."""
        name = f"d{uuid.uuid4().hex}"
        client = MilvusClient(self.uri, dedicated=True)
        client.create_database(name)
        client.close()
        return name

    def client(self, database: str) -> MilvusClient:
        """pymilvus' own client, connected to a database."""
        return MilvusClient(self.uri, db_name=database, dedicated=True)

    def command(self) -> list[str]:
        program = [sys.executable, "-m", "milvus_lite", "server"]
        options = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [*program, *options, "--data-dir", str(self.directory / "data")]

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False


@contextmanager
def running_milvus(directory: Path) -> Iterator[MilvusServer]:
    """Start a server with its data in `directory`, and kill it at the end."""
    with running(MilvusServer(directory, free_port())) as server:
        yield server
