"""A lease per collection among the processes of one machine, by an advisory file lock."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dr_pipelines.errors import Unavailable

POLL_SECONDS = 0.05


class FileLease:
    """`with lease("handbook"):` one process at a time; released by the kernel when it dies."""

    def __init__(self, directory: Path, *, wait_seconds: float = 60.0) -> None:
        self._directory = directory
        self._wait_seconds = wait_seconds

    @contextmanager
    def __call__(self, collection: str) -> Iterator[None]:
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / f"{collection}.lock"
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._wait(handle, collection, path)
            yield
        finally:
            os.close(handle)

    def _wait(self, handle: int, collection: str, path: Path) -> None:
        deadline = time.monotonic() + self._wait_seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Unavailable(
                        f"another process has been writing to {collection!r} for "
                        f"{self._wait_seconds:.0f} s ({path}): try again when it is done"
                    ) from None
                time.sleep(POLL_SECONDS)
            else:
                return
