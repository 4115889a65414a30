"""A lease per collection among the processes of one machine, by an advisory file lock."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dr_pipelines.errors import Unavailable
from dr_pipelines.host.permissions import Access, make_directory

POLL_SECONDS = 0.05


class FileLease:
    """`with lease("handbook"):` one process at a time; released by the kernel when it dies."""

    def __init__(
        self,
        directory: Path,
        *,
        wait_seconds: float = 60.0,
        access: Access = Access.PRIVATE,
    ) -> None:
        self._directory = directory
        self._access = access
        self._wait_seconds = wait_seconds

    @contextmanager
    def __call__(self, collection: str) -> Iterator[None]:
        make_directory(self._directory, self._access)
        path = self._directory / f"{collection}.lock"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, self._access.file_mode)
        try:
            with suppress(PermissionError):  # another user of the group made it
                os.fchmod(handle, self._access.file_mode)
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
