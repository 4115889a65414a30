"""A real Chroma server for tests."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.servers.ports import free_port
from tests.servers.program import ProgramServer, running


class ChromaServer(ProgramServer):
    """`chroma run` on a directory."""

    @property
    def url(self) -> str:
        return f"chroma://127.0.0.1:{self.port}/"

    def command(self) -> list[str]:
        program = str(Path(sys.executable).with_name("chroma"))
        options = ["--port", str(self.port), "--path", str(self.directory / "data")]
        return [program, "run", "--host", "127.0.0.1", *options]

    def answers(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/api/v2/heartbeat", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


@contextmanager
def running_chroma(directory: Path) -> Iterator[ChromaServer]:
    """Start a server with its data in `directory`, and kill it at the end."""
    with running(ChromaServer(directory, free_port())) as server:
        yield server
