"""Ids of rows of a table without a key, made here of what their columns' output functions write: as
the server writes a row and digests it (`contents.OF_ROW`)."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.stores.pgvector.contents import DIGITS

QUOTED = '["\\\\(), \\t\\n\\v\\f\\r]'
"""Characters for which the server puts a value of a row in quotes, as it does an empty one."""


def digests(columns: Sequence[pa.Array]) -> pa.Array:
    """The digest of each row, of the texts of its columns."""
    inside = pc.binary_join_element_wise(*map(_quoted, columns), ",")
    whole = pc.binary_join_element_wise("(", inside, ")", "").cast(pa.binary())
    # Arrow has no such function; of a row it takes longer to be digested than to be reached
    return pa.array([hashlib.sha256(row).hexdigest() for row in whole.to_pylist()], pa.string())


def _quoted(texts: pa.Array) -> pa.Array:
    doubled = pc.replace_substring(pc.replace_substring(texts, "\\", "\\\\"), '"', '""')
    wrapped = pc.binary_join_element_wise('"', doubled, '"', "")
    plain = pc.and_(pc.not_equal(texts, ""), pc.invert(pc.match_substring_regex(texts, QUOTED)))
    return pc.fill_null(pc.if_else(plain, texts, wrapped), "")


def numbered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Rows in order of their digests, with these as ids: the second and later of equal ones get
    their number."""
    last, count = "", 0
    for batch in batches:
        ids = batch.column("id")
        starts = np.ones(len(ids), bool)
        starts[1:] = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
        begun = ids[0].as_py() == last
        starts[0] = not begun
        run = np.maximum.accumulate(np.where(starts, np.arange(len(ids)), -1))
        number = np.where(run < 0, count + 1 + np.arange(len(ids)), np.arange(len(ids)) - run + 1)
        last, count = ids[-1].as_py(), int(number[-1])
        yield _with_ids(batch, _numbered_ids(ids, number))


def _numbered_ids(
    digests: pa.Array, number: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> pa.Array:
    digits = pc.utf8_lpad(pa.array(number).cast(pa.string()), DIGITS, "0")
    return pc.if_else(
        pa.array(number > 1), pc.binary_join_element_wise(digests, digits, "-"), digests
    )


def _with_ids(batch: pa.RecordBatch, ids: pa.Array) -> pa.RecordBatch:
    columns = [
        ids if name in ("id", "document_id") else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)
