"""Arrow columns as rows of `COPY … (FORMAT BINARY)`, a column at a time.

A column becomes pieces: bytes of one width for every row, or bytes of any length. Pieces that lie
side by side and have one width are one matrix; Arrow joins the rest row by row. The formats are
those of `decoding`.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.stores.pgvector.decoding import (
    EPOCH,
    FOLD,
    INFINITY,
    LAST_FOLDED,
    MINUS_INFINITY,
    Bytes,
)

Piece: TypeAlias = Bytes | pa.Array
"""A matrix of bytes with a row for each record, or an array of type binary without nulls."""
Encoder: TypeAlias = Callable[[pa.Array], list[Piece]]

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = b"\xff\xff"
NULL = np.frombuffer(b"\xff\xff\xff\xff", np.uint8)


def encoded(columns: Sequence[pa.Array], encoders: Sequence[Encoder]) -> memoryview:
    """The bytes of some rows, without header and trailer; below 2 GiB."""
    rows = len(columns[0])
    count = np.frombuffer(len(columns).to_bytes(2, "big"), np.uint8)
    pieces: list[Piece] = [np.broadcast_to(count, (rows, 2))]
    for column, encode in zip(columns, encoders, strict=True):
        pieces += encode(column)
    whole = joined(pieces)
    first, last = (whole.offset, whole.offset + rows)
    bounds = np.frombuffer(whole.buffers()[1], np.int32)
    return memoryview(whole.buffers()[2])[bounds[first] : bounds[last]]


MEANT = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
"""Characters that `COPY … (FORMAT TEXT)` takes for its own, and how they are written."""


def lines(columns: Sequence[pa.Array]) -> memoryview:
    """The bytes of some rows of texts and numbers for `COPY … (FORMAT TEXT)`; below 2 GiB."""
    written = [_written(column.cast(pa.string())) for column in columns]
    whole = pc.binary_join_element_wise(*written, "\t")
    whole = pc.binary_join_element_wise(whole, pa.scalar("\n"), "")
    bounds = np.frombuffer(whole.buffers()[1], np.int32)
    return memoryview(whole.buffers()[2])[bounds[whole.offset] : bounds[whole.offset + len(whole)]]


def _written(texts: pa.Array) -> pa.Array:
    for character, form in MEANT.items():
        texts = pc.replace_substring(texts, character, form)
    return pc.fill_null(texts, "\\N")


def joined(pieces: Sequence[Piece]) -> pa.Array:
    """The bytes of all pieces of each row, one behind the other."""
    merged = list[Piece]()
    for piece in pieces:
        if merged and isinstance(merged[-1], np.ndarray) and isinstance(piece, np.ndarray):
            merged[-1] = np.hstack([merged[-1], piece])
        else:
            merged.append(piece)
    arrays = [binary(piece) if isinstance(piece, np.ndarray) else piece for piece in merged]
    if len(arrays) == 1:
        return arrays[0]
    return pc.binary_join_element_wise(*arrays, pa.scalar(b"", pa.binary()))


def binary(matrix: Bytes) -> pa.Array:
    """Each row's bytes of a matrix as an item."""
    rows, width = matrix.shape
    bounds = np.arange(rows + 1, dtype=np.int32) * width
    data = np.ascontiguousarray(matrix)
    return pa.Array.from_buffers(
        pa.binary(), rows, [None, pa.py_buffer(bounds), pa.py_buffer(data)]
    )


def _fixed(column: pa.Array, values: Bytes) -> list[Piece]:
    """Fields of one width, given as a matrix with a row for each record."""
    rows, width = values.shape
    length = np.frombuffer(width.to_bytes(4, "big"), np.uint8)
    whole = np.hstack([np.broadcast_to(length, (rows, 4)), values])
    if column.null_count == 0:
        return [whole]
    present = column.is_valid().to_numpy(zero_copy_only=False)
    whole[~present, :4] = NULL
    sizes = np.where(present, 4 + width, 4)
    bounds = np.zeros(rows + 1, np.int32)
    np.cumsum(sizes, out=bounds[1:])
    mask = np.zeros(whole.shape, bool)
    mask[:, :4] = True
    mask[present] = True
    memory = [None, pa.py_buffer(bounds), pa.py_buffer(whole[mask])]
    return [pa.Array.from_buffers(pa.binary(), rows, memory)]


def sized(column: pa.Array, values: pa.Array, *, prefix: bytes = b"") -> list[Piece]:
    """Fields of any length, given as bytes; those of nulls do not count."""
    lengths = pc.fill_null(pc.add(pc.binary_length(values), len(prefix)), -1)
    if column.null_count:
        lengths = pc.if_else(column.is_valid(), lengths, -1)
        values = pc.if_else(column.is_valid(), values, pa.scalar(b"", pa.binary()))
    sizes = lengths.to_numpy(zero_copy_only=False).astype(">i4").view(np.uint8).reshape(-1, 4)
    if not prefix:
        return [sizes, values]
    if column.null_count == 0:
        start = np.broadcast_to(np.frombuffer(prefix, np.uint8), (len(column), len(prefix)))
        return [np.hstack([sizes, start]), values]
    starts = pc.if_else(column.is_valid(), pa.scalar(prefix), pa.scalar(b""))
    return [sizes, starts, values]


def _plain(column: pa.Array, kind: str) -> npt.NDArray[np.generic]:
    zero = pa.scalar(0, column.type)
    whole = pc.fill_null(column, zero) if column.null_count else column
    values: npt.NDArray[np.generic] = whole.to_numpy(zero_copy_only=False).astype(kind)
    return values


def matrix_of(values: npt.NDArray[np.generic], rows: int) -> Bytes:
    """So many rows of bytes."""
    width = values.nbytes // rows if rows else values.dtype.itemsize
    return np.ascontiguousarray(values).view(np.uint8).reshape(rows, width)


def strings(column: pa.Array) -> list[Piece]:
    """Texts."""
    return sized(column, column.cast(pa.binary()))


def documents(column: pa.Array) -> list[Piece]:
    """JSON for a column of type jsonb: the version of its format comes first."""
    return sized(column, column.cast(pa.binary()), prefix=b"\x01")


def numbers(kind: str) -> Encoder:
    """Numbers of one width, such as `>i8`, which holds them."""
    return lambda column: _fixed(column, matrix_of(_plain(column, kind), len(column)))


def numbers_in_text(kind: str) -> Encoder:
    """Whole numbers that are given as texts.

    Raises:
        InvalidRequest: one is not.
    """

    def encode(column: pa.Array) -> list[Piece]:
        try:
            values = column.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise InvalidRequest(f"expected a whole number: {error}") from None
        limits = np.iinfo(np.dtype(kind))
        inside = pc.and_(pc.greater_equal(values, limits.min), pc.less_equal(values, limits.max))
        if pc.all(inside).as_py() is False:
            row = pc.index(inside, False).as_py()
            raise InvalidRequest(f"number {values[row].as_py()} does not fit its column")
        return _fixed(column, matrix_of(_plain(values, kind), len(column)))

    return encode


def uuids(column: pa.Array) -> list[Piece]:
    """UUIDs that are given as texts.

    Raises:
        InvalidRequest: one is not, as the engine writes it.
    """
    plain = pc.fill_null(pc.replace_substring(column, "-", ""), "0" * 32)
    try:
        data = bytes.fromhex("".join(plain.to_pylist()))  # hex in Arrow would need a kernel
    except ValueError:
        data = b""
    wrong = pc.not_equal(pc.utf8_length(plain), 32)
    if len(data) != 16 * len(column) or pc.any(wrong).as_py():
        raise InvalidRequest("expected UUIDs of 32 hexadecimal digits")
    return _fixed(column, np.frombuffer(data, np.uint8).reshape(-1, 16))


def booleans(column: pa.Array) -> list[Piece]:
    """True and false, a byte each."""
    whole = pc.fill_null(column, False) if column.null_count else column
    return _fixed(column, whole.to_numpy(zero_copy_only=False).astype(np.uint8).reshape(-1, 1))


def times(column: pa.Array) -> list[Piece]:
    """Moments in UTC that the engine has; the ends of the range are its infinities."""
    values = _plain(column.cast(pa.int64()), "<i8").astype(np.int64)
    with np.errstate(over="ignore"):
        moved = values - EPOCH
        unfolded = values - FOLD + (INFINITY - EPOCH)
    moved = np.where((values >= FOLD) & (values <= LAST_FOLDED), unfolded, moved)
    moved = np.where(values == INFINITY, INFINITY, moved)
    moved = np.where(values <= -INFINITY, MINUS_INFINITY, moved)
    return _fixed(column, matrix_of(moved.astype(">i8"), len(column)))


def components(column: pa.Array) -> npt.NDArray[np.float32]:
    """float32[rows, dimension]; what a null has does not count."""
    width = column.type.list_size
    if column.null_count == 0:
        values = column.flatten()
        matrix: npt.NDArray[np.float32] = values.to_numpy(zero_copy_only=False)
        return matrix.reshape(-1, width)
    whole = np.zeros((len(column), width), np.float32)
    present = column.is_valid().to_numpy(zero_copy_only=False)
    whole[present] = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return whole


def _headed(column: pa.Array, kind: str) -> Bytes:
    """Dimension and 0 in two bytes each, then the components."""
    matrix, width = components(column), column.type.list_size
    size = np.dtype(kind).itemsize
    whole = np.empty((len(matrix), 4 + size * width), np.uint8)
    whole[:, :4] = np.array([width, 0], ">u2").view(np.uint8)
    if width:
        whole[:, 4:].view(kind)[:] = matrix  # of one memory: converted where they lie
    return whole


def vectors(column: pa.Array) -> list[Piece]:
    """Vectors of four bytes a component."""
    return _fixed(column, _headed(column, ">f4"))


def halves(column: pa.Array) -> list[Piece]:
    """Vectors of two bytes a component, which hold them."""
    return _fixed(column, _headed(column, ">f2"))


def bits(column: pa.Array) -> list[Piece]:
    """Bit strings: their length in four bytes, then the bits."""
    packed = np.packbits(components(column) != 0, axis=1)
    head = np.frombuffer(column.type.list_size.to_bytes(4, "big"), np.uint8)
    return _fixed(column, np.hstack([np.broadcast_to(head, (len(packed), 4)), packed]))


def alternatives(encoders: Sequence[Encoder]) -> Encoder:
    """A field that is one of several, as a struct with one of its own for each; one is there at
    most."""

    def encode(column: pa.StructArray) -> list[Piece]:
        first, *others = zip(column.flatten(), encoders, strict=True)
        whole = joined(first[1](first[0]))
        for values, one in others:
            whole = pc.if_else(values.is_valid(), joined(one(values)), whole)
        return [whole]

    return encode


def packed_vectors(column: pa.Array) -> list[Piece]:
    """Components in four bytes each, least significant first, for which the engine has no type."""
    return _fixed(column, matrix_of(components(column).astype("<f4"), len(column)))
