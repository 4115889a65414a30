"""Is a batch what a collection holds? The checks that every adapter makes before it writes."""

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import store_schema
from dr_pipelines.stores.shared.columns import whole
from dr_pipelines.stores.shared.misfits import Check, misfits_of, value_problems


def checked_batch(
    batch: pa.Table, spec: CollectionSpec, *, check: Check = value_problems
) -> pa.Table:
    """The same rows in exactly `store_schema(spec)`, each column in one piece.

    `check` is what the store's `misfits` asks of values: the generic `value_problems`, or the
    engine's own beside it.

    Raises:
        InvalidRequest: other columns, order or types (nothing is cast), a null where none may be, a
            repeated id, a record that `check` names; with an example.
    """
    schema = store_schema(spec)
    _check_schema(batch.schema, schema, spec.name)
    _check_required(batch, schema, spec.name)
    _check_unique(batch, spec.name)
    rows = pa.table([whole(batch.column(f.name)) for f in schema], schema=schema)
    for misfit in misfits_of(rows, check(rows, spec)):
        raise InvalidRequest(f"batch for {spec.name!r}: {misfit}")
    return rows


def in_order_of_id(batch: pa.Table) -> pa.Table:
    """The same rows, ascending by id: copied only where they are not."""
    ids = batch.column("id")
    ascending = len(ids) < 2 or pc.all(pc.less(ids[:-1], ids[1:])).as_py()
    return batch if ascending else batch.sort_by("id")


def _check_schema(schema: pa.Schema, expected: pa.Schema, name: str) -> None:
    if schema.names != expected.names:
        missing = [n for n in expected.names if n not in schema.names]
        extra = [n for n in schema.names if n not in expected.names]
        hint = f"missing {missing}, unknown {extra}" if missing or extra else "in another order"
        raise InvalidRequest(
            f"batch for {name!r}: columns {hint}; expected {', '.join(expected.names)}"
        )
    for ours, theirs in zip(expected, schema, strict=True):
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
