"""Records that a collection with columns of others would not take."""

from collections.abc import Iterator

import pyarrow.compute as pc

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.stores.milvus.column import T, of_json
from dr_pipelines.stores.shared.misfits import Batch, Problem, problem


def foreign_problems(batch: Batch, spec: CollectionSpec) -> Iterator[Problem]:
    """Nulls and long texts, by the columns of the specification's section: what such a collection's
    own layout refuses at a write."""
    for entry in spec.engine.get("milvus", {}).get("columns", []):
        ours, column = entry.get("column"), of_json(entry)
        if ours is None or ours not in batch.schema.names or column.generated:
            continue
        values = batch.column(ours)
        if not column.nullable and column.default is None:
            reason = f"column {column.name!r} would get a null, which it does not take"
            yield problem(ours, values.is_null(), reason)
        limit = int(column.params.get("max_length", 0))
        if column.type == T.VarChar and limit:
            reason = f"column {column.name!r} would get more than {limit} characters"
            yield problem(ours, pc.greater(pc.utf8_length(values), limit), reason)
