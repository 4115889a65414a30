"""Documents by their texts: of a state beside hashes of what is stored, of a store put in order."""

from collections.abc import Iterable, Iterator

import pyarrow as pa

from dr_pipelines.model.record import Presence
from dr_pipelines.repository.scratch import insert, scratch_database
from dr_pipelines.repository.state import State

BATCH_ROWS = 8_192
INSERT_ROWS = 65_536

_HASHED = """
SELECT d.document_id, d.epoch, d.position, d.ordinal, d.edit, d.chunk_count, d.segment,
       d.document_sha256, h.sha256
FROM documents d LEFT JOIN hashes h USING (document_id)
WHERE d.presence = ? ORDER BY d.document_id
"""
_TEXTS = """
CREATE TABLE stored (id VARCHAR, document_id VARCHAR, chunk_index INTEGER, text VARCHAR);
"""
_ORDERED = "SELECT document_id, text FROM stored ORDER BY document_id, chunk_index, id"


def with_hashes(state: State, hashes: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Documents that are present, ascending by id, with their version, `chunk_count`, `segment`,
    the `document_sha256` that was noted, and the `sha256` that `hashes` (`document_id, sha256`) has
    of it: null where it has none."""
    state.sql.execute("CREATE OR REPLACE TABLE hashes (document_id VARCHAR, sha256 BLOB)")
    for rows in _gathered(hashes):
        insert(state.sql, "hashes", rows)
    yield from state.batches(_HASHED, [Presence.PRESENT])


def in_order_of_documents(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The `document_id` and `text` of records (`id, document_id, chunk_index, text`), in order of
    document and chunk, in bounded memory."""
    with scratch_database() as sql:
        sql.execute(_TEXTS)
        for batch in batches:
            insert(sql, "stored", pa.Table.from_batches([batch]))
        yield from sql.sql(_ORDERED).to_arrow_reader(BATCH_ROWS)


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Few larger tables of many small ones."""
    waiting, rows = list[pa.Table](), 0
    for table in tables:
        waiting.append(table)
        rows += table.num_rows
        if rows >= INSERT_ROWS:
            yield pa.concat_tables(waiting)
            waiting, rows = [], 0
    if waiting:
        yield pa.concat_tables(waiting)
