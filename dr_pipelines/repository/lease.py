"""A lease per collection among the processes of one machine, by an advisory file lock."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dr_pipelines.errors import Unavailable
from dr_pipelines.host.locks import lock
from dr_pipelines.host.permissions import Access, make_directory


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
            if not lock(handle, wait_seconds=self._wait_seconds):
                raise Unavailable(
                    f"another process has been writing to {collection!r} for "
                    f"{self._wait_seconds:.0f} s ({path}): try again when it is done"
                )
            yield
        finally:
            os.close(handle)
