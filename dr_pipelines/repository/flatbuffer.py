"""Reading FlatBuffers of unknown origin: every access is within the bytes, or `Malformed`.

Arrow describes its files by them. This reads the few values that bound what a file may become,
before Arrow is given it.
"""

import struct
from collections.abc import Iterator


class Malformed(ValueError):
    """Bytes that are no such structure."""


def unpack(form: str, data: memoryview, place: int) -> tuple[int, ...]:
    """Little-endian values at a place; raises `Malformed` outside of the bytes."""
    if not 0 <= place <= len(data) - struct.calcsize(f"<{form}"):
        raise Malformed(f"{place} is outside of {len(data)} bytes")
    return struct.unpack_from(f"<{form}", data, place)


class FlatTable:
    """A table: its fields by number, as the schema of the format numbers them."""

    def __init__(self, data: memoryview, place: int) -> None:
        self._data = data
        self._place = place
        self._vtable = place - unpack("i", data, place)[0]
        self._size = unpack("H", data, self._vtable)[0]

    @classmethod
    def root(cls, data: memoryview) -> "FlatTable":
        """The table that a buffer is."""
        return cls(data, unpack("I", data, 0)[0])

    def number(self, field: int, form: str, default: int = 0) -> int:
        """An integer field, by `struct`'s letter."""
        place = self._field(field)
        return default if place is None else unpack(form, self._data, place)[0]

    def table(self, field: int) -> "FlatTable | None":
        """A field that is a table, or a union's value."""
        place = self._field(field)
        return None if place is None else FlatTable(self._data, self._target(place))

    def structs(self, field: int, form: str, *, limit: int) -> Iterator[tuple[int, ...]]:
        """The elements of a vector of structs, of at most so many."""
        place = self._field(field)
        if place is None:
            return
        target = self._target(place)
        count, size = unpack("I", self._data, target)[0], struct.calcsize(f"<{form}")
        if count > limit:
            raise Malformed(f"{count} elements, more than {limit}")
        for number in range(count):
            yield unpack(form, self._data, target + 4 + number * size)

    def _field(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if entry + 2 > self._size:
            return None
        offset = unpack("H", self._data, self._vtable + entry)[0]
        return self._place + offset if offset else None

    def _target(self, place: int) -> int:
        return place + unpack("I", self._data, place)[0]
