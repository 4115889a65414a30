"""Objects in this process's memory: for tests, and for scratch that may be lost."""

from collections.abc import Iterator
from threading import Lock

from dr_pipelines.blobs.keys import check_key, check_prefix, check_range
from dr_pipelines.errors import Conflict, NotFound


class MemoryBlobStore:
    """A `BlobStore` that lives as long as the object does."""

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._objects: dict[str, bytes] = {}
        self._lock = Lock()

    @property
    def url(self) -> str:
        return f"memory:{self._name}"

    def create(self, key: str, data: bytes | memoryview) -> None:
        copy = bytes(data)
        with self._lock:
            if check_key(key) in self._objects:
                raise Conflict(f"{self.url}: {key} exists")
            self._objects[key] = copy

    def read(self, key: str, range: tuple[int, int] | None = None) -> bytes:
        start, stop = check_range(range) or (0, None)
        return self._object(key)[start:stop]

    def size(self, key: str) -> int:
        return len(self._object(key))

    def keys(self, prefix: str) -> Iterator[str]:
        check_prefix(prefix)
        with self._lock:
            matches = [key for key in self._objects if key.startswith(prefix)]
        return iter(sorted(matches))  # code points sort as their UTF-8 bytes do

    def delete(self, key: str) -> None:
        with self._lock:
            if self._objects.pop(check_key(key), None) is None:
                raise NotFound(f"{self.url}: no object {key}")

    def _object(self, key: str) -> bytes:
        try:
            return self._objects[check_key(key)]
        except KeyError:
            raise NotFound(f"{self.url}: no object {key}") from None
