"""Is a batch what a collection holds? The checks that every adapter makes before it writes."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import store_schema


def checked_batch(batch: pa.Table, spec: CollectionSpec) -> pa.Table:
    """The same rows in exactly `store_schema(spec)`, each column in one piece.

    Raises:
        InvalidRequest: other columns, order or types (nothing is cast), a null where none may be, a
            repeated id, or a vector with a null, NaN or infinite component; with an example.
    """
    schema = store_schema(spec)
    _check_schema(batch.schema, schema, spec.name)
    _check_required(batch, schema, spec.name)
    _check_unique(batch, spec.name)
    whole = pa.table([_one(batch.column(f.name)) for f in schema], schema=schema)
    for vector in spec.vectors:
        _check_vector(whole, vector.name, spec.name)
    return whole


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


def _check_vector(batch: pa.Table, vector: str, name: str) -> None:
    column = _one(batch.column(vector))
    values = column.flatten()  # without the slots of null vectors
    bad = ~np.isfinite(values.to_numpy(zero_copy_only=False))  # a null component reads as NaN
    if not bad.any():
        return
    component = int(np.argmax(bad))
    present = pc.indices_nonzero(column.is_valid())
    row = present[component // column.type.list_size].as_py()
    value = values[component].as_py()
    raise InvalidRequest(
        f"batch for {name!r}: component {component % column.type.list_size} of {vector!r} is "
        f"{'null' if value is None else value} in record {batch.column('id')[row].as_py()!r}; "
        "components are finite, a record without a vector has a null vector"
    )


def _one(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined
