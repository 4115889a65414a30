"""Is a batch what a collection holds? The checks that every adapter makes before it writes."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import CollectionSpec, Vector, VectorKind, VectorType
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.record import store_schema


def checked_batch(batch: pa.Table, spec: CollectionSpec) -> pa.Table:
    """The same rows in exactly `store_schema(spec)`, each column in one piece.

    Raises:
        InvalidRequest: other columns, order or types (nothing is cast), a null where none may be, a
            repeated id, a vector with a null, NaN or infinite component or one that its declared
            dtype does not have, a sparse vector whose indices do not ascend; with an example.
    """
    schema = store_schema(spec)
    _check_schema(batch.schema, schema, spec.name)
    _check_required(batch, schema, spec.name)
    _check_unique(batch, spec.name)
    whole = pa.table([_one(batch.column(f.name)) for f in schema], schema=schema)
    for vector in spec.vectors:
        _CHECKS[vector.kind](whole, vector, spec.name)
    return whole


def in_order_of_id(batch: pa.Table) -> pa.Table:
    """The same rows, ascending by id: copied only where they are not."""
    ids = batch.column("id")
    ascending = len(ids) < 2 or pc.all(pc.less(ids[:-1], ids[1:])).as_py()
    return batch if ascending else batch.sort_by("id")


def _check_schema(found: pa.Schema, expected: pa.Schema, name: str) -> None:
    if found.names != expected.names:
        missing = [n for n in expected.names if n not in found.names]
        extra = [n for n in found.names if n not in expected.names]
        hint = f"missing {missing}, unknown {extra}" if missing or extra else "in another order"
        raise InvalidRequest(
            f"batch for {name!r}: columns {hint}; expected {', '.join(expected.names)}"
        )
    for ours, theirs in zip(expected, found, strict=True):
        if ours.type != theirs.type:
            raise InvalidRequest(
                f"batch for {name!r}: column {ours.name!r} is {theirs.type}, expected {ours.type}; "
                "cast it before writing"
            )


def _check_required(batch: pa.Table, schema: pa.Schema, name: str) -> None:
    for field in schema:
        column = batch.column(field.name)
        if not field.nullable and column.null_count:
            row = pc.index(column.is_null(), pa.scalar(True)).as_py()
            raise InvalidRequest(
                f"batch for {name!r}: {field.name} is null in row {row}; every record needs one"
            )


def _check_unique(batch: pa.Table, name: str) -> None:
    ids = batch.column("id")
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    raise InvalidRequest(
        f"batch for {name!r}: {len(repeated)} repeated ids, e.g. {repeated[0].as_py()!r}; "
        "a batch holds one record for each id"
    )


def _check_dense(batch: pa.Table, vector: Vector, name: str) -> None:
    column = _one(batch.column(vector.name))
    width = column.type.list_size
    present = pc.indices_nonzero(column.is_valid())
    values = column.flatten()  # without the slots of null vectors
    _check_components(values, vector, name, lambda place: _id(batch, present[place // width]))


def _check_several(batch: pa.Table, vector: Vector, name: str) -> None:
    column = _one(batch.column(vector.name))
    parents, vectors = pc.list_parent_indices(column), column.flatten()
    if vectors.null_count:
        row = parents[pc.index(vectors.is_null(), pa.scalar(True)).as_py()]
        raise InvalidRequest(
            f"batch for {name!r}: one of the vectors {vector.name!r} of record "
            f"{_id(batch, row)!r} is null; leave it out"
        )
    width = vectors.type.list_size
    values = vectors.flatten()
    _check_components(values, vector, name, lambda place: _id(batch, parents[place // width]))


def _check_sparse(batch: pa.Table, vector: Vector, name: str) -> None:
    column = _one(batch.column(vector.name))
    indices, values = (pc.struct_field(column, part) for part in ("indices", "values"))
    rows = pc.list_parent_indices(indices)
    places = indices.flatten()
    numbers = pc.fill_null(places, -1).to_numpy(zero_copy_only=False)
    owners = rows.to_numpy(zero_copy_only=False)
    wrong = (numbers < 0) | (numbers >= vector.dimension)
    wrong[1:] |= (np.diff(numbers) <= 0) & (np.diff(owners) == 0)
    lengths = (pc.fill_null(pc.list_value_length(part), -1) for part in (indices, values))
    uneven = np.flatnonzero(np.not_equal(*(n.to_numpy(zero_copy_only=False) for n in lengths)))
    parts_missing = pc.and_(column.is_valid(), pc.or_(indices.is_null(), values.is_null()))
    half = np.flatnonzero(parts_missing.to_numpy(zero_copy_only=False))
    bad = [*half.tolist(), *uneven.tolist(), *owners[wrong].tolist()]
    if bad:
        raise InvalidRequest(
            f"batch for {name!r}: sparse vector {vector.name!r} of record "
            f"{_id(batch, bad[0])!r}: expected as many values as indices, which ascend and are "
            f"below {vector.dimension}"
        )
    _check_components(values.flatten(), vector, name, lambda place: _id(batch, rows[place]))


_CHECKS = {
    VectorKind.DENSE: _check_dense,
    VectorKind.MULTI: _check_several,
    VectorKind.SPARSE: _check_sparse,
}


def _check_components(
    values: pa.Array, vector: Vector, name: str, owner: Callable[[int], str]
) -> None:
    """Refuse components that are not finite, or that the declared type does not have; `owner` names
    the record that holds the component at a place."""
    numbers = values.to_numpy(zero_copy_only=False)  # a null component reads as NaN
    bad = ~np.isfinite(numbers)
    expected = "components are finite, a record without a vector has a null vector"
    if not bad.any() and vector.dtype is not VectorType.FLOAT32:
        kept = narrowed(numbers, vector.dtype)
        bad = kept.view(np.uint32) != numbers.view(np.uint32)  # no integer is -0.0
        expected = f"its components are {vector.dtype.value}, and nothing is rounded"
    if not bad.any():
        return
    place = int(np.argmax(bad))
    value = values[place].as_py()
    raise InvalidRequest(
        f"batch for {name!r}: component {place % vector.dimension} of {vector.name!r} is "
        f"{'null' if value is None else value} in record {owner(place)!r}; {expected}"
    )


def narrowed(values: FloatArray, dtype: VectorType) -> FloatArray:
    """float32 values as a narrower type keeps them: the nearest one, ties to even; integers are cut
    to their range, of a bit only 0 and 1 stay."""
    match dtype:
        case VectorType.FLOAT16:
            with np.errstate(over="ignore"):
                half: FloatArray = values.astype(np.float16).astype(np.float32)
            return half
        case VectorType.BFLOAT16:
            words = values.view(np.uint32).astype(np.int64)
            rounded = (words + 0x7FFF + ((words >> 16) & 1)) & 0xFFFF0000
            brain: FloatArray = rounded.astype(np.uint32).view(np.float32)
            return brain
        case VectorType.INT8:
            return _whole(values, -128, 127)
        case VectorType.UINT8:
            return _whole(values, 0, 255)
        case VectorType.BIT:
            bits: FloatArray = (values != 0).astype(np.float32)
            return bits
        case _:
            return values


def _whole(values: FloatArray, low: int, high: int) -> FloatArray:
    kept: FloatArray = np.rint(values).clip(low, high) + np.float32(0)  # -0.0 becomes 0.0
    return kept


def _id(batch: pa.Table, row: int | pa.Scalar) -> str:
    place = row.as_py() if isinstance(row, pa.Scalar) else row
    return str(batch.column("id")[place].as_py())


def _one(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)  # combining copies
    combined = column.combine_chunks()
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined
