"""A server that tests start as a program, on loopback only, with its data in a directory."""

import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

START_SECONDS = 60


@dataclass
class ProgramServer(ABC):
    """It can be killed and started again on the same port."""

    directory: Path
    port: int
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @abstractmethod
    def command(self) -> list[str]:
        """The program with its arguments."""

    @abstractmethod
    def answers(self) -> bool:
        """True if it responds right now."""

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = self.directory / "server.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command(),
                stdout=output,
                stderr=output,
                cwd=self.directory,  # Chroma reads a file .env where it is started
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                text = log.read_text()[-2000:]
                raise RuntimeError(f"{type(self).__name__} did not start: {text}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


Started = TypeVar("Started", bound=ProgramServer)


@contextmanager
def running(server: Started) -> Iterator[Started]:
    """Start a server, and kill it at the end."""
    server.directory.mkdir(parents=True, exist_ok=True)
    try:
        server.start()
        yield server
    finally:
        server.kill()
