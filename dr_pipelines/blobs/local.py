"""Objects as files in a directory.

An object is written to a temporary file, synced, and linked to its name: a name appears once, with
all its bytes. Its directory is synced before `create` returns, also when that raises `Conflict`, so
that whoever lost a race may build on the winner's object although the winner has not synced yet.
The same sync makes every earlier object of that directory durable: who finds the newest entry of a
log and creates the next one has made both last.

Temporary files lie in `.tmp/`; those a killed process left may be removed while nobody writes.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from mmap import PROT_READ, mmap
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from uuid import uuid4

from dr_pipelines.blobs.keys import (
    KEY_BYTES,
    RESERVED,
    check_key,
    check_prefix,
    check_range,
)
from dr_pipelines.errors import (
    Conflict,
    Damaged,
    DrError,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    Unavailable,
)
from dr_pipelines.host.permissions import Access

SHOWN_CHARACTERS = 60
NO_HARD_LINKS = (errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS)


class OsFiles:
    """The file calls of `LocalBlobStore`, so that a test can record them or make them fail."""

    access = Access.PRIVATE

    def make_directory(self, path: Path) -> None:
        path.mkdir(0o700)
        path.chmod(self.access.directory_mode)

    def write_new(self, path: Path, data: bytes | memoryview) -> None:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb", buffering=0) as file:
            os.fchmod(handle, self.access.file_mode)  # whatever the umask
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]

    def link(self, source: Path, target: Path) -> None:
        target.hardlink_to(source)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def sync_file(self, path: Path) -> None:
        _sync(path, os.O_RDONLY)

    def sync_directory(self, path: Path) -> None:
        _sync(path, os.O_RDONLY | os.O_DIRECTORY)

    def size(self, path: Path) -> int:
        """Raises `OSError` for anything but a regular file."""
        status = path.lstat()
        if S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not S_ISREG(status.st_mode):
            raise OSError(errno.ELOOP, "not a regular file")
        return status.st_size

    def read(self, path: Path, start: int, stop: int) -> bytes:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            file.seek(start)
            return file.read(max(0, stop - start))

    def map(self, path: Path) -> memoryview:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            empty = os.fstat(handle).st_size == 0  # which cannot be mapped
            return memoryview(b"" if empty else mmap(handle, 0, prot=PROT_READ))
        finally:
            os.close(handle)

    def entries(self, path: Path) -> list[tuple[str, bool]]:
        """(name, is a directory) of the regular files and directories in it."""
        with os.scandir(path) as listing:
            return [
                (entry.name, entry.is_dir(follow_symlinks=False))
                for entry in listing
                if entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)
            ]


class LocalBlobStore:
    """A `BlobStore` in a directory of a file system with hard links; `create` makes the directory,
    and everything in it, for those of `access` alone.

    A symbolic link below the root is never followed: what it replaces is `Damaged`. A key cannot be
    the directory of another (`a` beside `a/b`): the second one raises `InvalidRequest`.
    """

    def __init__(
        self,
        root: Path | str,
        files: OsFiles | None = None,
        *,
        access: Access = Access.PRIVATE,
    ) -> None:
        self._root = Path(root).resolve()
        self._files = files or OsFiles()
        self._files.access = access
        self._durable = {Path(self._root.anchor)}

    @property
    def url(self) -> str:
        return self._root.as_uri()

    def create(self, key: str, data: bytes | memoryview) -> None:
        path = self._path(key)
        temporary = self._unlinked(self._root / RESERVED / uuid4().hex, RESERVED)
        with self._translating(key):
            try:
                won = self._place(path, temporary, data)
            except NotADirectoryError as error:
                raise InvalidRequest(
                    f"{self.url}: {key} is the directory of another key, or the reverse"
                ) from error
            except FileNotFoundError as error:
                self._durable = {Path(self._root.anchor)}
                raise Unavailable(f"{self.url}: a directory of {key} was removed") from error
        self._sync_parent(path, key)
        if not won:
            raise Conflict(f"{self.url}: {key} exists")

    def read(self, key: str, range: tuple[int, int] | None = None) -> bytes:
        path = self._path(key)
        start, stop = check_range(range) or (0, None)
        with self._translating(key, broken=Damaged):
            end = size = self._files.size(path)
            if stop is not None:
                end = min(stop, size)
            data = self._files.read(path, start, end)
        if len(data) != max(0, end - start):
            raise Damaged(
                f"{self.url}: {key} ended early, after {start + len(data)} of {size} bytes"
            )
        return data

    def map(self, key: str) -> memoryview:
        path = self._path(key)
        with self._translating(key, broken=Damaged):
            self._files.size(path)  # first: refuses what is not an object
            return self._files.map(path)

    def size(self, key: str) -> int:
        path = self._path(key)
        with self._translating(key, broken=Damaged):
            return self._files.size(path)

    def keys(self, prefix: str) -> Iterator[str]:
        directory = check_prefix(prefix).rpartition("/")[0]
        path = self._path(f"{directory}/x").parent if directory else self._root
        return self._walk(path, f"{directory}/" if directory else "", prefix)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with self._translating(key):
            self._files.size(path)  # first: refuses what is not an object
            self._files.unlink(path)
        self._sync_parent(path, key)

    def _walk(self, directory: Path, parent: str, prefix: str) -> Iterator[str]:
        """Depth first, a directory sorted as its name and a '/', which is how its keys sort. Raises
        `Damaged` where directories go deeper than any key."""
        if len(parent) > KEY_BYTES:
            raise Damaged(f"{self.url}: {parent[:SHOWN_CHARACTERS]}… is deeper than any object")
        try:
            with self._translating(parent):
                entries = self._files.entries(directory)
        except NotFound:
            return
        for name in sorted(f"{name}/" if is_dir else name for name, is_dir in entries):
            key = parent + name
            if key == f"{RESERVED}/" or not (key.startswith(prefix) or prefix.startswith(key)):
                continue
            if key.endswith("/"):
                yield from self._walk(directory / name, key, prefix)
            elif key.startswith(prefix):
                yield key

    def _path(self, key: str) -> Path:
        return self._unlinked(self._root / check_key(key), f"a directory of {key}")

    def _unlinked(self, path: Path, what: str) -> Path:
        """The path itself; raises `Damaged` where a directory above it is a symbolic link."""
        if os.path.realpath(path.parent) != str(path.parent):
            raise Damaged(f"{self.url}: {what} was replaced by a symbolic link")
        return path

    def _place(self, path: Path, temporary: Path, data: bytes | memoryview) -> bool:
        """Create the file under its final name; False if the name was taken."""
        self._ensure_directory(path.parent)
        self._ensure_directory(temporary.parent)
        try:
            self._files.write_new(temporary, data)
            self._files.sync_file(temporary)
            return self._link(temporary, path)
        finally:
            with suppress(OSError):  # a temporary file left behind harms nobody
                self._files.unlink(temporary)

    def _link(self, temporary: Path, path: Path) -> bool:
        try:
            self._files.link(temporary, path)
        except FileExistsError:
            if path.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "is a directory") from None
            return False
        except OSError as error:
            if error.errno in NO_HARD_LINKS:
                raise InvalidRequest(
                    f"{self.url}: {error.strerror}; a file system with hard links is needed"
                ) from error
            raise
        return True

    def _ensure_directory(self, directory: Path) -> None:
        """Create it where missing and make its name durable, once per store object.

        Its parent is synced even when it exists: who created it may not have come that far.
        """
        if directory in self._durable:
            return
        if directory in self._root.parents and directory.is_dir():
            return  # not ours
        self._ensure_directory(directory.parent)
        try:
            self._files.make_directory(directory)
        except FileExistsError:
            if not directory.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "is an object") from None
        try:
            self._files.sync_directory(directory.parent)
        except PermissionError:
            if directory != self._root:  # who may not open its parent did not create it either
                raise
        self._durable.add(directory)

    def _sync_parent(self, path: Path, key: str) -> None:
        try:
            self._files.sync_directory(path.parent)
        except OSError as error:
            raise OutcomeUnknown(
                f"{self.url}: {key} may not survive a power cut: {error.strerror}"
            ) from error

    @contextmanager
    def _translating(self, key: str, *, broken: type[DrError] = Unavailable) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise translated(error, root=self._root, key=key, broken=broken) from error


def translated(error: OSError, *, root: Path, key: str, broken: type[DrError]) -> DrError:
    """The error of the project for a failed file call; `broken` is the class for a broken disk."""
    where = root.as_uri()
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        if not root.is_dir():
            return Unavailable(f"{where}: no such directory; is its disk mounted?")
        return NotFound(f"{where}: no object {key}")
    if error.errno == errno.ELOOP:
        return Damaged(f"{where}: {key}: {error.strerror}")
    if error.errno == errno.EIO:
        return broken(f"{where}: {key}: {error.strerror}")
    return Unavailable(f"{where}: {key}: {error.strerror}")


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
