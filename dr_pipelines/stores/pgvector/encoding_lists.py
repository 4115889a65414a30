"""Arrow's lists and sparse vectors as arrays and sparsevecs in binary COPY: see `encoding`."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.stores.pgvector.encoding import (
    Encoder,
    Piece,
    binary,
    components,
    joined,
    matrix_of,
    sized,
    strings,
    vectors,
)
from dr_pipelines.stores.pgvector.shapes import fronts, heads

MAX_COMPONENTS = 16_000
"""Components of a sparsevec that are not 0."""


def string_lists(
    element: int, *, written: Callable[[pa.Array], pa.Array] = lambda texts: texts
) -> Encoder:
    """Arrays of texts; `element` is the number of their type in the database, `written` what is
    made of the texts first."""

    def encode(column: pa.Array) -> list[Piece]:
        return _arrays(column, _items(strings(written(column.flatten()))), element)

    return encode


def shaped_lists(element: int) -> Encoder:
    """Arrays of texts that may have their shape in front, as `shapes` says."""
    plain = string_lists(element)

    def encode(column: pa.Array) -> list[Piece]:
        shapes, counts = fronts(column)
        if shapes.null_count == len(shapes):
            return plain(column)
        shaped = shapes.is_valid().to_numpy(zero_copy_only=False)
        mask = np.ones(int(counts.sum()), bool)
        mask[(np.cumsum(counts) - counts)[shaped]] = False
        items = _items(strings(column.flatten().filter(pa.array(mask))))
        return _arrays(column, items, element, counts=counts - shaped, heads=heads(shapes, element))

    return encode


def several(element: int) -> Encoder:
    """Arrays of vectors; `element` is the number of their type in the database."""

    def encode(column: pa.Array) -> list[Piece]:
        return _arrays(column, _items(vectors(column.flatten())), element)

    return encode


def packed_several(column: pa.Array) -> list[Piece]:
    """All components of all vectors of a record, four bytes each, least significant first."""
    matrix = components(column.flatten()).astype("<f4")
    counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    return sized(column, _grouped(binary(matrix_of(matrix, len(matrix))), counts))


def _items(pieces: Sequence[Piece]) -> pa.Array:
    return joined([np.empty((len(pieces[0]), 0), np.uint8), *pieces])


def _arrays(
    column: pa.Array,
    items: pa.Array,
    element: int,
    *,
    counts: npt.NDArray[np.int64] | None = None,
    heads: pa.Array | None = None,
) -> list[Piece]:
    """The head of an array: dimensions, whether it may hold nulls, type; size, where it begins.
    Where `heads` has one it is that, and `counts` says how many items follow."""
    if counts is None:
        counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    plain = np.empty((len(column), 5), ">i4")
    plain[:] = (1, 1, element, 0, 1)
    plain[:, 3] = counts
    whole = binary(matrix_of(plain, len(column)))
    if heads is not None:
        whole = pc.coalesce(heads, whole)
    none = np.array([0, 0, element], ">i4").tobytes()
    starts = pc.if_else(pa.array(counts > 0), whole, pa.scalar(none, pa.binary()))
    return sized(column, pc.binary_join_element_wise(starts, _grouped(items, counts), b""))


def _grouped(items: pa.Array, counts: npt.NDArray[np.int64]) -> pa.Array:
    """The bytes of so many items, one behind the other, for each row."""
    bounds = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=bounds[1:])
    offset = items.offset
    places = np.frombuffer(items.buffers()[1], np.int32)[offset : offset + len(items) + 1]
    memory = [None, pa.py_buffer(places[bounds]), items.buffers()[2]]
    return pa.Array.from_buffers(pa.binary(), len(counts), memory)


def sparse(dimension: int) -> Encoder:
    """Dimension, count and 0 in four bytes each, then indices, then values: what the engine's type
    holds. It knows no component that is 0, and no more than `MAX_COMPONENTS`."""

    def encode(column: pa.Array) -> list[Piece]:
        plain = column if not _beyond(column).any() else _without_zeros(column)
        return sized(plain, _sparse(plain, dimension))

    return encode


def sparse_beyond(dimension: int) -> Encoder:
    """The same format, for what the engine's type does not hold; null for the rest."""

    def encode(column: pa.Array) -> list[Piece]:
        beyond = _beyond(column)
        if not beyond.any():
            return strings(pa.nulls(len(column), pa.string()))
        rest = pc.if_else(pa.array(beyond), column, pa.scalar(None, column.type))
        return sized(rest, _sparse(rest, dimension))

    return encode


def _beyond(column: pa.Array) -> npt.NDArray[np.bool_]:
    """Which sparse vectors hold a component that is 0, or too many."""
    values = pc.struct_field(column, "values")
    exceeds = pc.fill_null(pc.greater(pc.list_value_length(values), MAX_COMPONENTS), False)
    beyond: npt.NDArray[np.bool_] = np.array(exceeds.to_numpy(zero_copy_only=False))
    zeros = pc.equal(values.flatten(), 0)
    beyond[pc.list_parent_indices(values).filter(zeros).to_numpy()] = True
    return beyond


def _without_zeros(column: pa.Array) -> pa.Array:
    """As near as the engine's type comes: without zeros; null where there are too many."""
    indices, values = (pc.struct_field(column, name) for name in ("indices", "values"))
    mask = pc.not_equal(values.flatten(), 0)
    owners = pc.list_parent_indices(values).filter(mask).to_numpy()
    counts = np.bincount(owners, minlength=len(column))
    bounds = pa.array(np.concatenate([[0], counts.cumsum()]).astype(np.int32))
    parts = [
        pa.ListArray.from_arrays(bounds, part.flatten().filter(mask)) for part in (indices, values)
    ]
    gone = pc.or_(pa.array(counts > MAX_COMPONENTS), column.is_null())
    return pa.StructArray.from_arrays(parts, fields=list(column.type), mask=gone)


def _sparse(column: pa.Array, dimension: int) -> pa.Array:
    counts, parts = _parts(column, ">i4", ">f4")
    heads = np.zeros((len(column), 3), ">i4")
    heads[:, 0], heads[:, 1] = dimension, counts
    return pc.binary_join_element_wise(binary(matrix_of(heads, len(column))), *parts, b"")


def packed_sparse(column: pa.Array) -> list[Piece]:
    """Indices in eight bytes, values in four, least significant first."""
    _, parts = _parts(column, "<i8", "<f4")
    return sized(column, pc.binary_join_element_wise(*parts, b""))


def _parts(
    column: pa.Array, index: str, value: str
) -> tuple[npt.NDArray[np.int64], list[pa.Array]]:
    """How many components each record has; the bytes of its indices, and of its values."""
    parts = list[pa.Array]()
    counts = np.zeros(len(column), np.int64)
    for name, kind in (("indices", index), ("values", value)):
        lists = pc.struct_field(column, name)  # null where the struct is
        counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        flat = lists.flatten().to_numpy(zero_copy_only=False).astype(kind)
        parts.append(_grouped(binary(matrix_of(flat, len(flat))), counts))
    return counts, parts
