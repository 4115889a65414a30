"""Aliases as small files, each replaced in one step, and the lock of a directory of collections."""

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dr_pipelines.errors import Damaged, Unavailable
from dr_pipelines.model.collection import NAME, PHYSICAL_NAME

SUFFIX = ".alias"
POLL_SECONDS = 0.02


class Pointers:
    """`<directory>/<alias>.alias` holds the name of the collection that the alias stands for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def all(self) -> dict[str, str]:
        """Alias → physical name, ascending."""
        names = sorted(p.name.removesuffix(SUFFIX) for p in self._directory.glob(f"*{SUFFIX}"))
        found = {name: self.target(name) for name in names}
        return {name: target for name, target in found.items() if target is not None}

    def target(self, alias: str) -> str | None:
        """The physical name that the alias stands for, if it is one."""
        if not NAME.fullmatch(alias):
            return None
        try:
            target = self._path(alias).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        if not PHYSICAL_NAME.fullmatch(target):
            path = self._path(alias)
            raise Damaged(f"alias file {path} does not hold a collection's name; promote it again")
        return target

    def point(self, alias: str, target: str) -> None:
        """Replace the file; a reader sees the old name or the new one, also after a power cut."""
        temporary = self._directory / f".{alias}.{uuid.uuid4().hex}"
        with temporary.open("w", encoding="utf-8") as file:
            file.write(target)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path(alias))
        sync_directory(self._directory)

    def _path(self, alias: str) -> Path:
        return self._directory / f"{alias}{SUFFIX}"


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    sync_file(directory)


def sync_file(path: Path) -> None:
    """Make what was written durable.

    Never call it for a database that this process has open: closing any descriptor of a file gives
    up all of the process's locks on it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(directory: Path, *, wait_seconds: float) -> Iterator[None]:
    """Exclude every other process and thread that changes which names exist.

    Raises:
        Unavailable: somebody else held the lock for that long.
    """
    path = directory / ".lock"
    deadline = time.monotonic() + wait_seconds
    with path.open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Unavailable(
                        f"{path} stayed locked for {wait_seconds:g} s; try again later"
                    ) from None
                time.sleep(POLL_SECONDS)
        yield  # closing the file unlocks it
