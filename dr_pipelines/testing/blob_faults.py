"""Ways in which object stores fail, as layers around any of them, and damage done to one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import Literal

from dr_pipelines.errors import Conflict, OutcomeUnknown
from dr_pipelines.protocols import BlobStore

CallName = Literal["create", "read", "size", "keys", "delete"]
Moment = Literal["before", "after"]
Hook = Callable[[CallName, str, Moment, int], None]
"""Called with (call, key or prefix, moment, number of the call from 1); what it raises is raised
to the caller, so it can fail a call, or end the process at a chosen one."""


@dataclass(frozen=True, slots=True)
class Call:
    name: CallName
    key: str


class Recording:
    """Keeps every call in `calls`, failed ones too, and calls `hook` before and after each.

    A listing is one call: it is read to its end at once.
    """

    def __init__(self, blobs: BlobStore, *, hook: Hook | None = None) -> None:
        self._blobs = blobs
        self._hook = hook
        self._lock = Lock()
        self.calls: list[Call] = []

    @property
    def url(self) -> str:
        return self._blobs.url

    def count(self, name: CallName | None = None) -> int:
        """How many calls were made, of all or of one name."""
        return sum(name in (None, call.name) for call in self.calls)

    def create(self, key: str, data: bytes | memoryview) -> None:
        n = self._before("create", key)
        self._blobs.create(key, data)
        self._after("create", key, n)

    def read(self, key: str, range: tuple[int, int] | None = None) -> bytes:
        n = self._before("read", key)
        data = self._blobs.read(key, range)
        self._after("read", key, n)
        return data

    def size(self, key: str) -> int:
        n = self._before("size", key)
        size = self._blobs.size(key)
        self._after("size", key, n)
        return size

    def keys(self, prefix: str) -> Iterator[str]:
        n = self._before("keys", prefix)
        keys = list(self._blobs.keys(prefix))
        self._after("keys", prefix, n)
        return iter(keys)

    def delete(self, key: str) -> None:
        n = self._before("delete", key)
        self._blobs.delete(key)
        self._after("delete", key, n)

    def _before(self, name: CallName, key: str) -> int:
        with self._lock:
            self.calls.append(Call(name, key))
            n = len(self.calls)
        if self._hook:
            self._hook(name, key, "before", n)
        return n

    def _after(self, name: CallName, key: str, n: int) -> None:
        if self._hook:
            self._hook(name, key, "after", n)


class Lost(StrEnum):
    """The fate of a create whose response is lost."""

    DONE = "done, and the answer lost"
    DROPPED = "never done, and the answer lost"
    RETRIED = "done, and reported as a conflict, as a client's own retry does"


class LostAnswers:
    """Loses the answers to the first `times` creates of keys that `keys` accepts.

    The default accepts every key. A create that conflicts anyway conflicts: only answers of
    successful ones are lost.
    """

    def __init__(
        self,
        blobs: BlobStore,
        *,
        keys: Callable[[str], bool] = bool,
        how: Lost = Lost.DONE,
        times: int = 1,
    ) -> None:
        self._blobs = blobs
        self._keys = keys
        self._how = how
        self._left = times
        self._lock = Lock()

    @property
    def url(self) -> str:
        return self._blobs.url

    def create(self, key: str, data: bytes | memoryview) -> None:
        lost = self._take(key)
        if lost and self._how is Lost.DROPPED:
            raise OutcomeUnknown(f"{self.url}: {key}: the answer was lost")
        self._blobs.create(key, data)
        if lost and self._how is Lost.RETRIED:
            raise Conflict(f"{self.url}: {key} exists")
        if lost:
            raise OutcomeUnknown(f"{self.url}: {key}: the answer was lost")

    def read(self, key: str, range: tuple[int, int] | None = None) -> bytes:
        return self._blobs.read(key, range)

    def size(self, key: str) -> int:
        return self._blobs.size(key)

    def keys(self, prefix: str) -> Iterator[str]:
        return self._blobs.keys(prefix)

    def delete(self, key: str) -> None:
        self._blobs.delete(key)

    def _take(self, key: str) -> bool:
        with self._lock:
            lost = self._left > 0 and self._keys(key)
            self._left -= lost
        return lost


def replace(blobs: BlobStore, key: str, data: bytes) -> None:
    """Give an object other bytes, as no honest client ever does."""
    blobs.delete(key)
    blobs.create(key, data)


def flip_bit(blobs: BlobStore, key: str, *, offset: int, bit: int = 0) -> None:
    """Flip one bit of the byte at `offset`; a negative offset counts from the end."""
    data = bytearray(blobs.read(key))
    data[offset] ^= 1 << bit
    replace(blobs, key, bytes(data))


def truncate(blobs: BlobStore, key: str, *, size: int) -> None:
    """Keep the first `size` bytes; a negative size counts from the end."""
    replace(blobs, key, blobs.read(key)[:size])


def swap(blobs: BlobStore, one: str, other: str) -> None:
    """Give each object the other's bytes."""
    first, second = blobs.read(one), blobs.read(other)
    replace(blobs, one, second)
    replace(blobs, other, first)


def remove(blobs: BlobStore, key: str) -> None:
    """Lose an object."""
    blobs.delete(key)
