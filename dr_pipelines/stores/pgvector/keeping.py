"""Records with values that the engine cannot keep, whatever their table says."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.model.collection import CollectionSpec, FieldType
from dr_pipelines.stores.pgvector.decoding import LAST_FOLDED
from dr_pipelines.stores.pgvector.making import AS_IT_WAS, section_of
from dr_pipelines.stores.pgvector.shapes import fronts, wrong_fronts
from dr_pipelines.stores.pgvector.texts import escaped_column, has_nul
from dr_pipelines.stores.shared.misfits import (
    Batch,
    Problem,
    problem,
)

MAX_KEY_BYTES = 2_600
"""A third of a page: longer texts have no place in the index of a key."""
FIRST_MOMENT = -210_866_803_200_000_000
"""4713 BC, in microseconds from 1970."""
NUL = "holds the character NUL, which PostgreSQL does not keep"


def kept_problems(batch: Batch, spec: CollectionSpec) -> Iterator[Problem]:
    """Rows with a NUL in a text of a table of others: ours have texts escaped; with an id
    or a document's id that has no place in the index of a key of ours, where texts are compressed
    by nobody; with a moment that the engine does not have."""
    foreign = section_of(spec).get("layout") == AS_IT_WAS
    if foreign:
        texts = {f.name for f in batch.schema if f.type in (pa.string(), pa.list_(pa.string()))}
        for name in sorted(texts):
            yield from _nul(batch, name)
    else:
        for name in ("id", "document_id"):
            long = pc.greater(
                pc.binary_length(escaped_column(_one(batch.column(name)))), MAX_KEY_BYTES
            )
            yield problem(name, long, f"{name} has more than {MAX_KEY_BYTES} bytes")
    for declared in spec.fields:
        if declared.type is FieldType.TIMESTAMP:
            moments = batch.column(declared.name).cast(pa.int64())
            outside = pc.and_(pc.less(moments, FIRST_MOMENT), pc.greater(moments, LAST_FOLDED))
            yield problem(declared.name, outside, f"{declared.name} is before 4713 BC")


def _nul(batch: Batch, name: str) -> Iterator[Problem]:
    column = _one(batch.column(name))
    lists = pa.types.is_list(column.type)
    values = column.flatten() if lists else column
    if not has_nul(values):
        return
    mask = np.array(pc.fill_null(pc.match_substring(values, "\0"), False))
    if lists:  # of which one may say a shape in front
        shapes, counts = fronts(column)
        shaped = shapes.is_valid().to_numpy(zero_copy_only=False)
        first = (np.cumsum(counts) - counts)[shaped]
        mask[first] = wrong_fronts(shapes, counts)[shaped]
    rows = np.flatnonzero(mask)
    if lists:
        rows = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)[rows]
    yield Problem(name, rows.astype(np.int64), lambda _: f"{name} {NUL}")


def _one(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    if isinstance(column, pa.Array):
        return column
    whole = column.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
