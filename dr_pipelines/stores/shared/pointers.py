"""Aliases as small files, each replaced in one step, and the lock of a directory of collections."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dr_pipelines.errors import (
    Damaged,
    InvalidRequest,
    Unavailable,
)
from dr_pipelines.host.locks import lock
from dr_pipelines.model.collection import NAME, PHYSICAL_NAME

SUFFIX = ".alias"


def entries(directory: Path) -> list[str]:
    """The names in a directory, in any order; none where there is no such directory. Raises
    `Unavailable` where it cannot be read: what is out of reach is not gone."""
    try:
        return [path.name for path in directory.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise out_of_reach(directory, error) from None


def out_of_reach(path: Path, error: OSError) -> Unavailable:
    """For a place that cannot be read now."""
    return Unavailable(
        f"{path} cannot be read ({error.strerror}): what it holds is not known. Check that it is "
        "mounted, and who may read it"
    )


class Pointers:
    """`<directory>/<alias>.alias` holds the name of the collection that the alias stands for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def all(self) -> dict[str, str]:
        """Alias → physical name, ascending. Raises `Damaged` where one of them cannot be read: what
        asks for all of them must not take it for absent."""
        targets = {name: self.target(name) for name in self._names()}
        return {name: target for name, target in targets.items() if target is not None}

    def readable(self) -> dict[str, str]:
        """`all`, without those that cannot be read: no reader can follow them."""
        targets = {}
        for name in self._names():
            with suppress(Damaged):
                targets[name] = self.target(name)
        return {name: target for name, target in targets.items() if target is not None}

    def target(self, alias: str) -> str | None:
        """The physical name that the alias stands for, if it is one. Raises `Damaged`."""
        if not NAME.fullmatch(alias):
            return None
        path = self._path(alias)
        try:
            target = path.read_bytes().decode(errors="replace")  # what is no text is no name
        except FileNotFoundError:
            return None
        except OSError as error:
            raise out_of_reach(path, error) from None
        if not PHYSICAL_NAME.fullmatch(target):
            raise Damaged(
                f"alias file {path} does not hold a collection's name; delete the file and promote "
                f"a collection as {alias!r} again"
            )
        return target

    def point(self, alias: str, target: str) -> None:
        """Replace the file; a reader sees the old name or the new one, also after a power cut."""
        if not PHYSICAL_NAME.fullmatch(target):
            raise InvalidRequest(
                f"alias {alias!r} cannot stand for {target!r}; restore it as NAME@…"
            )
        temporary = self._directory / f".{alias}.{uuid.uuid4().hex}"
        with needing_room(self._path(alias)):
            try:
                with temporary.open("w", encoding="utf-8") as file:
                    file.write(target)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(self._path(alias))
            finally:
                temporary.unlink(missing_ok=True)
            sync_directory(self._directory)

    def _names(self) -> list[str]:
        names = entries(self._directory)
        return sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))

    def _path(self, alias: str) -> Path:
        return self._directory / f"{alias}{SUFFIX}"


@contextmanager
def needing_room(path: Path) -> Iterator[None]:
    """Raise `Unavailable` where a disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Unavailable(f"{path}: the disk is full; make room and try again") from error


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
    with path.open("ab") as file:
        if not lock(file, wait_seconds=wait_seconds):
            raise Unavailable(f"{path} stayed locked for {wait_seconds:g} s; try again later")
        yield  # closing the file unlocks it
