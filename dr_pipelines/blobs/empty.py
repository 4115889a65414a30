"""Where nothing was ever kept, for those who only read: nothing is there, and nothing is made."""

from collections.abc import Iterator
from typing import NoReturn

from dr_pipelines.errors import NotFound, Refused


class VacantBlobStore:
    """A `BlobStore` without objects that refuses to take any. `url` is where they would be."""

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def url(self) -> str:
        return self._url

    def create(self, key: str, data: bytes | memoryview) -> NoReturn:
        del data
        raise Refused(f"{self._url} was opened for reading: {key} cannot be written")

    def read(self, key: str, range: tuple[int, int] | None = None) -> NoReturn:
        del range
        raise NotFound(f"{self._url} has no {key}")

    def size(self, key: str) -> NoReturn:
        raise NotFound(f"{self._url} has no {key}")

    def keys(self, prefix: str) -> Iterator[str]:
        del prefix
        return iter(())

    def delete(self, key: str) -> NoReturn:
        raise NotFound(f"{self._url} has no {key}")
