"""Vector columns, from and to the vectors of points.

Under cosine the engine divides a vector by its length, unless the square of the length is within
1e-6 of 1 or below 1.2e-7: the bits that were given are gone. Where that can happen, they are kept
beside, in the payload, as base64 of little-endian float32.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import Metric, Vector, VectorKind
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.record import vector_type
from dr_pipelines.stores.qdrant.lengths import UNIT, sent
from dr_pipelines.stores.shared.columns import Mask, from_base64, of_rows, to_base64, valid

FLOAT_BYTES = 4
MOST_COMPONENTS = 2**20
"""Of all the vectors of one point under one name; the engine refuses more."""


def given_vectors(
    column: pa.Array, vector: Vector, *, trusting: bool
) -> tuple[list[Any], dict[int, str]]:
    """For each row what a `Point` has of this vector (None: nothing), and for some rows the bits to
    keep beside. `trusting`: vectors of length 1 come back as they are."""
    match vector.kind:
        case VectorKind.DENSE:
            return _given_dense(column, vector, trusting=trusting)
        case VectorKind.MULTI:
            return _given_several(column, vector, trusting=trusting)
        case _:
            return _given_sparse(column), {}


def found_vectors(read: Sequence[Any], beside: Sequence[str | None], vector: Vector) -> pa.Array:
    """The column of vectors that points have, or of the bits that are beside them."""
    match vector.kind:
        case VectorKind.DENSE:
            return _found_dense(read, beside, vector)
        case VectorKind.MULTI:
            return _found_several(read, beside, vector)
        case _:
            rows = [None if v is None else {"indices": v.indices, "values": v.values} for v in read]
            return pa.array(rows, vector_type(vector))


def held_vectors(ids: Sequence[str], column: pa.Array, vector: Vector, name: str) -> list[Any]:
    """For each row what a `Point` has of this vector, so that the engine holds it as it is: in a
    collection that another program made nothing is kept beside. `ids` and `name` are for messages.

    Raises:
        InvalidRequest: the engine cannot have held one of them, and would not.
    """
    if vector.metric is Metric.COSINE and vector.kind is not VectorKind.SPARSE:
        matrix, wrong = sent(_matrix(column, vector), vector)
        if wrong.any():
            record = ids[int(_parents(column)[int(np.argmax(wrong))])]
            raise InvalidRequest(
                f"batch for {name!r}: vector {vector.name!r} of record {record!r} is not of length "
                "1: Qdrant divides it by its length, and in a collection that another program made "
                "nothing is kept beside it"
            )
        column = _with_components(column, matrix)
    return given_vectors(column, vector, trusting=True)[0]


def check_sizes(ids: Sequence[str], column: pa.Array, vector: Vector, name: str) -> None:
    """Refuse more vectors under one name than a point can have."""
    if vector.kind is not VectorKind.MULTI:
        return
    sizes = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    bad = sizes.astype(np.int64) * vector.dimension > MOST_COMPONENTS
    if bad.any():
        raise InvalidRequest(
            f"batch for {name!r}: {vector.name!r} of record {ids[int(np.argmax(bad))]!r} has more "
            f"than {MOST_COMPONENTS:,} components, which is the most that Qdrant takes"
        )


def _given_dense(
    column: pa.Array, vector: Vector, *, trusting: bool
) -> tuple[list[Any], dict[int, str]]:
    matrix = _matrix(column, vector)
    rows: list[Any] = [None] * len(column)
    places = np.flatnonzero(valid(column)).tolist()
    for place, row in zip(places, matrix, strict=True):
        rows[place] = row
    if vector.metric is not Metric.COSINE:
        return rows, {}
    unchanged = _is_unit(matrix, within=UNIT) if trusting else np.zeros(len(matrix), bool)
    changed = np.flatnonzero(~unchanged).tolist()
    return rows, {places[n]: to_base64(matrix[n]) for n in changed}


def _given_several(
    column: pa.Array, vector: Vector, *, trusting: bool
) -> tuple[list[Any], dict[int, str]]:
    matrix = _matrix(column, vector)
    ends = np.cumsum(pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False))
    present = valid(column)
    cosine = vector.metric is Metric.COSINE
    unit = _is_unit(matrix, within=UNIT) & trusting
    rows: list[Any] = [None] * len(column)
    beside = dict[int, str]()
    start = 0
    for place, end in enumerate(ends.tolist()):
        several = matrix[start:end]
        if present[place] and len(several):
            rows[place] = several
        if present[place] and (not len(several) or (cosine and not unit[start:end].all())):
            beside[place] = to_base64(several)  # the engine takes no empty list of vectors
        start = end
    return rows, beside


def _given_sparse(column: pa.Array) -> list[Any]:
    indices, values = (pc.struct_field(column, part) for part in ("indices", "values"))
    return [
        None if not whole else (i.values.to_numpy(), v.values.to_numpy(zero_copy_only=False))
        for whole, i, v in zip(column.is_valid().to_pylist(), indices, values, strict=True)
    ]


def _found_dense(read: Sequence[Any], beside: Sequence[str | None], vector: Vector) -> pa.Array:
    width = vector.dimension
    there = np.array(
        [v is not None or b is not None for v, b in zip(read, beside, strict=True)], bool
    )
    flat = _components(read, width)
    matrix = flat.reshape(len(read), width)
    for place, text in enumerate(beside):
        if text is not None:
            matrix[place] = from_base64(text)
    mask = None if there.all() else pa.array(~there)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), width, mask=mask)


def _components(read: Sequence[Any], width: int) -> FloatArray:
    """Components of dense vectors, one behind the other, zeros for one that is not there."""
    packed, zeros = next((type(v) for v in read if v is not None), None) is bytes, [0.0] * width
    if not packed:
        rows = chain.from_iterable(zeros if v is None else v for v in read)
        return np.fromiter(rows, np.float32, count=len(read) * width)
    size = width * FLOAT_BYTES
    if any(v is not None and len(v) != size for v in read):
        raise ValueError(f"a vector that has not {width} components")
    nothing = bytes(size)
    whole = b"".join(nothing if v is None else v for v in read)
    return np.frombuffer(bytearray(whole), np.float32)  # which may be written into


def _found_several(read: Sequence[Any], beside: Sequence[str | None], vector: Vector) -> pa.Array:
    width = vector.dimension
    rows = [
        from_base64(text)
        if text is not None
        else None
        if v is None
        else np.array(v, np.float32).ravel()
        for v, text in zip(read, beside, strict=True)
    ]
    sizes = [0 if row is None else len(row) // width for row in rows]
    flat = np.concatenate([np.zeros(0, np.float32), *(row for row in rows if row is not None)])
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat), width)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    mask = pa.array([row is None for row in rows])
    return pa.ListArray.from_arrays(pa.array(offsets), vectors, mask=mask)


def _matrix(column: pa.Array, vector: Vector) -> FloatArray:
    """The vectors of a column, those of nulls left out."""
    flat = column.flatten()
    flat = flat.flatten() if vector.kind is VectorKind.MULTI else flat
    matrix: FloatArray = flat.to_numpy(zero_copy_only=False).reshape(-1, vector.dimension)
    return matrix


def _with_components(column: pa.Array, matrix: FloatArray) -> pa.Array:
    """The column with these vectors, in the order in which `_matrix` gives them."""
    width = matrix.shape[1]
    mask = column.is_null() if column.null_count else None
    if pa.types.is_fixed_size_list(column.type):
        return of_rows(matrix, valid(column), column.type)
    sizes = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    inner = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), width)
    return pa.ListArray.from_arrays(pa.array(offsets), inner, mask=mask)


def _parents(column: pa.Array) -> npt.NDArray[np.int64]:
    """For each vector of a column the row that has it."""
    if pa.types.is_list(column.type):
        parents: npt.NDArray[np.int64] = pc.list_parent_indices(column).to_numpy()
        return parents
    return np.flatnonzero(valid(column))


def _is_unit(matrix: FloatArray, *, within: float) -> Mask:
    """Rows of length 1, and those of zeros, which have no length to divide by."""
    squares = np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64)
    unit: Mask = (np.abs(squares - 1.0) <= within) | (squares == 0.0)
    return unit
