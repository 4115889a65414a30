"""Stores that break one promise each."""

import time
from collections.abc import Iterator

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import Conflict, NotFound


class LastWriterWins(MemoryBlobStore):
    def create(self, key: str, data: bytes | memoryview) -> None:
        try:
            super().create(key, data)
        except Conflict:
            self.delete(key)
            super().create(key, data)


class ChecksThenActs(MemoryBlobStore):
    """Exclusive, unless two come at the same time."""

    def create(self, key: str, data: bytes | memoryview) -> None:
        if key in self._objects:
            raise Conflict(key)
        time.sleep(0.01)
        self._objects.pop(key, None)
        super().create(key, data)


class ConflictsButOverwrites(MemoryBlobStore):
    def create(self, key: str, data: bytes | memoryview) -> None:
        try:
            super().create(key, data)
        except Conflict:
            self._objects[key] = bytes(data)
            raise


class AcceptsTheSameBytesAgain(MemoryBlobStore):
    def create(self, key: str, data: bytes | memoryview) -> None:
        if self._objects.get(key) != data:
            super().create(key, data)


class OverwritesWhatIsEmpty(MemoryBlobStore):
    """`if not old` where `if old is None` was meant."""

    def create(self, key: str, data: bytes | memoryview) -> None:
        if key in self._objects and not self._objects[key]:
            self.delete(key)
        super().create(key, data)


class SkipsEmptyObjects(MemoryBlobStore):
    def create(self, key: str, data: bytes | memoryview) -> None:
        if data:
            super().create(key, data)


class KeepsTheCallersBuffer(MemoryBlobStore):
    def create(self, key: str, data: bytes | memoryview) -> None:
        super().create(key, data)
        self._objects[key] = data  # type: ignore[assignment]  # the fault

    def read(self, key: str, range: tuple[int, int] | None = None) -> bytes:
        return bytes(super().read(key, range))


class TruncatesLargeObjects(MemoryBlobStore):
    def read(self, key: str, range: tuple[int, int] | None = None) -> bytes:
        return super().read(key, range)[: 1024 * 1024]


class IncludesTheLastByte(MemoryBlobStore):
    def read(self, key: str, range: tuple[int, int] | None = None) -> bytes:
        return super().read(key, range and (range[0], range[1] + 1))


class FailsPastTheEnd(MemoryBlobStore):
    def read(self, key: str, range: tuple[int, int] | None = None) -> bytes:
        if range and range[1] > self.size(key):
            raise NotFound(key)
        return super().read(key, range)


class ReadsMissingAsEmpty(MemoryBlobStore):
    def read(self, key: str, range: tuple[int, int] | None = None) -> bytes:
        try:
            return super().read(key, range)
        except NotFound:
            return b""


class SaysMissingIsZeroBytes(MemoryBlobStore):
    def size(self, key: str) -> int:
        try:
            return super().size(key)
        except NotFound:
            return 0


class RoundsSizesUp(MemoryBlobStore):
    def size(self, key: str) -> int:
        return -(-super().size(key) // 512) * 512


class ListsOnePage(MemoryBlobStore):
    def keys(self, prefix: str) -> Iterator[str]:
        return iter(list(super().keys(prefix))[:1000])


class ListsInAnyOrder(MemoryBlobStore):
    def keys(self, prefix: str) -> Iterator[str]:
        return iter(sorted(super().keys(prefix), key=lambda key: key[::-1]))


class ListsAsADirectoryWalk(MemoryBlobStore):
    def keys(self, prefix: str) -> Iterator[str]:
        return iter(sorted(super().keys(prefix), key=lambda key: key.split("/")))


class ListsWholeDirectoriesOnly(MemoryBlobStore):
    def keys(self, prefix: str) -> Iterator[str]:
        inside = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
        return (key for key in super().keys(prefix) if key.startswith(inside))


class KeepsWhatIsDeleted(MemoryBlobStore):
    def delete(self, key: str) -> None:
        self._object(key)


class DeletesWhatIsMissing(MemoryBlobStore):
    def delete(self, key: str) -> None:
        try:
            super().delete(key)
        except NotFound:
            return


class DeletesByPrefix(MemoryBlobStore):
    def delete(self, key: str) -> None:
        super().delete(key)
        for other in list(self.keys(key)):
            super().delete(other)


class FoldsCase(MemoryBlobStore):
    """As some file systems do: two spellings become one object."""

    def create(self, key: str, data: bytes | memoryview) -> None:
        super().create(key.casefold(), data)

    def read(self, key: str, range: tuple[int, int] | None = None) -> bytes:
        return super().read(key.casefold(), range)


class AcceptsAnyKey(MemoryBlobStore):
    def create(self, key: str, data: bytes | memoryview) -> None:
        if key in self._objects:
            raise Conflict(key)
        self._objects[key] = bytes(data)
