"""Arrays and sparsevecs of binary COPY as Arrow's lists and sparse vectors: see `decoding`.

What an array holds is read place by place: first elements of all rows, then second ones.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.record import SPARSE
from dr_pipelines.stores.pgvector.decoding import (
    Bytes,
    Decoder,
    Fields,
    Places,
    binaries,
    records,
    strings,
)
from dr_pipelines.stores.pgvector.shapes import shape_text, with_shapes


def several(dimension: int) -> Decoder:
    """An array of vectors of one dimension for each row."""
    item = 8 + 4 * dimension

    def decode(fields: Fields) -> pa.Array:
        heads = _array_heads(fields)
        if heads.shapes is not None:
            raise InvalidRequest("an array of vectors has several dimensions, or no place 1")
        matrix = _flat(heads.items).reshape(-1, item)[:, 8:].copy()
        values = matrix.view(">f4").astype(np.float32)
        dense = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), dimension)
        return _lists(dense, heads.counts, fields)

    return decode


def packed_several(dimension: int) -> Decoder:
    """Any number of vectors as this package keeps those that the engine has no type for."""

    def decode(fields: Fields) -> pa.Array:
        values = _flat(fields).view("<f4").astype(np.float32)
        dense = pa.FixedSizeListArray.from_arrays(pa.array(values), dimension)
        counts = np.where(fields.present, fields.length // (4 * dimension), 0)
        return _lists(dense, counts, fields)

    return decode


def string_lists(fields: Fields) -> pa.Array:
    """Arrays of texts; one that is no plain list has its shape in front."""
    heads = _array_heads(fields)
    begin, left = heads.items.begin, heads.counts.copy()
    begins, lengths = list[Places](), list[Places]()
    while len(rows := np.flatnonzero(left > 0)):
        begin, left = begin[rows], left[rows] - 1
        length = records(fields.data, begin, 4).view(">i4").ravel().astype(np.int64)
        begins.append(begin + 4)
        lengths.append(length)
        begin = begin + 4 + np.maximum(length, 0)
    place = np.concatenate(begins) if begins else np.empty(0, np.int64)
    order = np.argsort(place, kind="stable")  # rows lie one behind the other
    length = np.concatenate(lengths)[order] if lengths else place
    items = strings(Fields(fields.data, place[order], length))
    if heads.shapes is None:
        return _lists(items, heads.counts, fields)
    whole = with_shapes(items, heads.counts, heads.shapes)
    return pa.ListArray.from_arrays(whole.offsets, whole.values, mask=fields.nulls())


def sparse(dimension: int) -> Decoder:
    """Dimension, count and 0 in four bytes each, then indices, then values."""

    def decode(fields: Fields) -> pa.Array:
        if (fields.present & (fields.numbers(">i4") != dimension)).any():
            raise InvalidRequest(
                f"a sparse vector has not the dimension {dimension}: its column declares none and "
                "holds several. Give each its own column or table"
            )
        counts = np.where(fields.present, fields.numbers(">i4", skip=4).astype(np.int64), 0)
        places = Fields(fields.data, fields.begin + 12, 4 * counts)
        indices = _flat(places).view(">i4").astype(np.int64)
        values = _flat(Fields(fields.data, places.end, 4 * counts)).view(">f4")
        return _sparse(indices, values.astype(np.float32), counts, fields)

    return decode


def packed_sparse(fields: Fields) -> pa.Array:
    """Indices and values as this package keeps those that the engine has no type for."""
    counts = np.where(fields.present, fields.length // 12, 0)
    places = Fields(fields.data, fields.begin, 8 * counts)
    indices = _flat(places).view("<i8")
    values = _flat(Fields(fields.data, places.end, 4 * counts)).view("<f4")
    return _sparse(indices, values, counts, fields)


@dataclass(frozen=True, slots=True)
class _Heads:
    """How many elements each array has, and where they are."""

    counts: Places
    items: Fields
    shapes: pa.Array | None
    """A text for each that is no plain list; None where all are."""


def _array_heads(fields: Fields) -> _Heads:
    """An array begins with its number of dimensions, a flag and the type of its elements; then, for
    each dimension, comes its size and where it begins, in four bytes each."""
    dimensions = np.where(fields.present, fields.numbers(">i4").astype(np.int64), 0)
    filled = dimensions > 0
    long = Fields(fields.data, fields.begin, np.where(filled, fields.length, -1))
    counts = np.where(filled, long.numbers(">i4", skip=12).astype(np.int64), 0)
    lower = np.where(filled, long.numbers(">i4", skip=16).astype(np.int64), 1)
    odd = (dimensions > 1) | (lower != 1)
    shapes = None
    if odd.any():
        sizes = np.where(odd, 8 * dimensions, -1)
        codes = binaries(Fields(fields.data, fields.begin + 12, sizes)).dictionary_encode()
        pairs = [np.frombuffer(head, ">i4")[::2] for head in codes.dictionary.to_pylist()]
        whole = np.array([pair.prod(dtype=np.int64) for pair in pairs])
        counts[odd] = whole[codes.indices.drop_null().to_numpy()]
        texts = pa.array([shape_text(head) for head in codes.dictionary.to_pylist()], pa.string())
        shapes = texts.take(codes.indices)
    begin = 12 + 8 * dimensions
    length = np.where(filled, fields.length - begin, 0)
    return _Heads(counts, Fields(fields.data, fields.begin + begin, length), shapes)


def _flat(fields: Fields) -> Bytes:
    """The bytes of all fields, one behind the other."""
    values = binaries(fields)
    data = values.buffers()[2]
    return np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)


def _lists(items: pa.Array, counts: Places, fields: Fields) -> pa.Array:
    bounds = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=bounds[1:])
    return pa.ListArray.from_arrays(pa.array(bounds), items, mask=fields.nulls())


def _sparse(
    indices: npt.NDArray[np.int64], values: npt.NDArray[np.float32], counts: Places, fields: Fields
) -> pa.Array:
    plain = Fields(fields.data, fields.begin, counts)
    parts = [_lists(pa.array(part), counts, plain) for part in (indices, values)]
    return pa.StructArray.from_arrays(parts, fields=list(SPARSE), mask=fields.nulls())
