"""Rows of `COPY … (FORMAT BINARY)` as Arrow columns, a column at a time.

A field is a length in four bytes, most significant first, and as many bytes; a null has the length
-1. Where a column's fields begin is known for all rows at once from where those of the column
before it end, so that no step below looks at a single row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dr_pipelines.errors import Damaged, InvalidRequest

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]

EPOCH = 946_684_800_000_000
"""Microseconds from 1970 to 2000, where the engine's times begin."""
INFINITY = 2**63 - 1
MINUS_INFINITY = -(2**63)
FOLD = -INFINITY + 1
LAST_FOLDED = FOLD + 9_223_371_331_199_999_999 - (INFINITY - EPOCH)
"""The engine has thirty years, 294247 to 294276, behind the last moment of Arrow's numbers, and
none among their first: those thirty years travel as these, in their order."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows, each as its own bytes, one behind the other: all bytes, and where each row ends.
    What is decoded of them is copied, so that their memory may be used again."""

    data: Bytes
    ends: Places


@dataclass(frozen=True, slots=True)
class Fields:
    """One column of some rows: `begin` and `length` of each field in `data`; length -1 is null."""

    data: Bytes
    begin: Places
    length: Places

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        present: npt.NDArray[np.bool_] = self.length >= 0
        return present

    @property
    def end(self) -> Places:
        last: Places = self.begin + np.maximum(self.length, 0)
        return last

    def numbers(self, kind: str, *, skip: int = 0) -> npt.NDArray[np.generic]:
        """The number that begins `skip` bytes into each field, which is long enough or null."""
        target = np.dtype(kind)
        return records(self.data, self._places(skip), target.itemsize).view(kind).ravel()

    def matrix(self, kind: str, columns: int, *, skip: int = 0) -> npt.NDArray[np.generic]:
        """As many numbers of each field, which is long enough or null."""
        width = np.dtype(kind).itemsize * columns
        return records(self.data, self._places(skip), width).view(kind).reshape(-1, columns)

    def where(self, mask: npt.NDArray[np.bool_]) -> "Fields":
        """The same, with nulls for all that are not kept."""
        return Fields(self.data, self.begin, np.where(mask, self.length, -1))

    def or_else(self, others: "Fields") -> "Fields":
        """The same, with those of another column of the same rows in the places of nulls."""
        begin = np.where(self.present, self.begin, others.begin)
        return Fields(self.data, begin, np.where(self.present, self.length, others.length))

    def nulls(self) -> pa.Array | None:
        """A mask for Arrow: true where there is nothing."""
        present = self.present
        return None if present.all() else pa.array(~present)

    def _places(self, skip: int) -> Places:
        places: Places = np.where(self.present, self.begin + skip, 0)  # what a null reads is masked
        return places


Decoder = Callable[[Fields], pa.Array]


def decoded(rows: Rows, decoders: Sequence[Decoder]) -> list[pa.Array]:
    """The columns of some rows, without header and trailer.

    Raises:
        Damaged: the bytes are not such rows.
    """
    columns = fields_of(rows, len(decoders))
    return [decoder(fields) for decoder, fields in zip(decoders, columns, strict=True)]


def fields_of(rows: Rows, count: int) -> list[Fields]:
    """Where the fields of each of `count` columns are.

    Raises:
        Damaged: the bytes are not such rows.
    """
    data, ends = rows.data, rows.ends
    place: Places = np.append(0, ends[:-1]) + 2  # behind the number of fields
    columns = list[Fields]()
    for _ in range(count):
        length = records(data, place, 4).view(">i4").ravel().astype(np.int64)
        columns.append(Fields(data, place + 4, length))
        place = columns[-1].end
    if not np.array_equal(place, ends):
        raise Damaged("the server sent rows that are not in PostgreSQL's binary format")
    return columns


def records(data: Bytes, places: Places, width: int) -> npt.NDArray[np.void]:
    """`width` bytes from each place, copied as one item each: the places need no alignment."""
    if len(places) == 0:
        return np.empty(0, f"V{width}")
    if len(data) < width:  # every field is null
        return np.zeros(len(places), f"V{width}")
    windows: npt.NDArray[np.void] = np.ndarray(
        (len(data) - width + 1,), f"V{width}", buffer=data, strides=(1,)
    )
    return windows[np.minimum(places, len(windows) - 1)]


def strings(fields: Fields) -> pa.Array:
    """Texts."""
    return binaries(fields, pa.string())


def binaries(fields: Fields, type: pa.DataType | None = None) -> pa.Array:
    """Bytes of any length.

    Arrow gathers them: fields and the gaps between them, in turn, are an array of its own kind over
    the same bytes, and every other of its items is taken.
    """
    bounds = np.empty(2 * len(fields.begin) + 1, np.int32)
    bounds[:-1:2], bounds[1::2] = fields.begin, fields.end
    bounds[-1:] = len(fields.data)
    memory = [None, pa.py_buffer(bounds), pa.py_buffer(fields.data)]
    items = pa.Array.from_buffers(type or pa.binary(), len(bounds) - 1, memory)
    places = np.arange(0, len(bounds) - 1, 2)
    return items.take(pa.array(places, mask=None if fields.present.all() else ~fields.present))


def numbers(kind: str, type: pa.DataType) -> Decoder:
    """Numbers of one width, such as `>i8`."""

    def decode(fields: Fields) -> pa.Array:
        values = fields.numbers(kind).astype(np.dtype(kind).newbyteorder("="))
        return pa.array(values, type, mask=_mask(fields))

    return decode


def booleans(fields: Fields) -> pa.Array:
    """True and false, a byte each."""
    return pa.array(fields.numbers("u1") != 0, mask=_mask(fields))


def times(fields: Fields) -> pa.Array:
    """Moments in UTC. The engine's infinities are the ends of the range of Arrow's numbers; what
    these do not reach is folded."""
    values = fields.numbers(">i8").astype(np.int64)
    endless = (values == INFINITY) | (values == MINUS_INFINITY)
    with np.errstate(over="ignore"):
        moved = np.where(endless, np.maximum(values, -INFINITY), values + EPOCH)
        beyond = ~endless & (values >= INFINITY - EPOCH)
        moved = np.where(beyond, values - (INFINITY - EPOCH) + FOLD, moved)
    return pa.array(moved, pa.int64(), mask=_mask(fields)).cast(pa.timestamp("us", tz="UTC"))


def vectors(dimension: int, *, kind: str = ">f4") -> Decoder:
    """Vectors of one dimension: it comes first, in four bytes, then the components."""
    width = 4 + dimension * np.dtype(kind).itemsize

    def decode(fields: Fields) -> pa.Array:
        if not np.isin(fields.length, (-1, width)).all():
            raise InvalidRequest(
                f"a vector has not {dimension} components: its column declares no dimension and "
                "holds several. Give each its own column or table"
            )
        return dense_vectors(native(fields.matrix(kind, dimension, skip=4)), fields)

    return decode


def native(matrix: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """The same numbers as this machine has them; of four bytes each, in the same memory."""
    values = matrix
    if matrix.dtype.itemsize > 1 and not matrix.dtype.isnative:
        values = matrix.byteswap(inplace=True).view(matrix.dtype.newbyteorder("="))
    return values.astype(np.float32, copy=False)


def bits(dimension: int) -> Decoder:
    """Bit strings of one length: it comes first, in four bytes, then the bits."""
    size = -(-dimension // 8)

    def decode(fields: Fields) -> pa.Array:
        packed = fields.matrix("u1", size, skip=4)
        values = np.unpackbits(packed.view(np.uint8), axis=1, count=dimension)
        return dense_vectors(values.astype(np.float32), fields)

    return decode


def packed_vectors(dimension: int) -> Decoder:
    """Components as this package keeps those of vectors that the engine has no type for."""

    def decode(fields: Fields) -> pa.Array:
        return dense_vectors(native(fields.matrix("<f4", dimension)), fields)

    return decode


def dense_vectors(matrix: npt.NDArray[np.float32], fields: Fields) -> pa.Array:
    """A vector for each row of a matrix."""
    present = fields.present
    if not present.all():
        matrix[~present] = 0  # what lies behind a null may be anything
    values = pa.array(matrix.ravel())
    return pa.FixedSizeListArray.from_arrays(values, matrix.shape[1], mask=fields.nulls())


def _mask(fields: Fields) -> npt.NDArray[np.bool_] | None:
    present = fields.present
    return None if present.all() else ~present


def batch_of(arrays: Sequence[pa.Array], fields: pa.Schema) -> pa.RecordBatch:
    """Decoded columns as a batch of these fields."""
    columns = [
        array if array.type == field.type else array.cast(field.type)
        for array, field in zip(arrays, fields, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=fields)
