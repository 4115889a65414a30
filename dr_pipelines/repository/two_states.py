"""Two states compared: which documents differ, and which vectors."""

from typing import Literal

import pyarrow as pa

from dr_pipelines.model.record import Presence
from dr_pipelines.repository.scratch import insert
from dr_pipelines.repository.state import State, differing

Change = Literal["added", "removed", "changed"]

_OTHER = """
CREATE OR REPLACE TABLE other_documents (document_id VARCHAR, document_sha256 BLOB);
CREATE OR REPLACE TABLE other_records (
    document_id VARCHAR, id VARCHAR, content_digest BLOB, vector_digest BLOB);
"""
_DOCUMENTS = "SELECT document_id, document_sha256 FROM documents WHERE presence = ?"
_RECORDS = "SELECT document_id, id, content_digest, vector_digest FROM records"
_MOVED = f"""
CREATE OR REPLACE TABLE moved AS
WITH here AS (SELECT document_id, document_sha256 FROM documents WHERE presence = $1),
touched AS ({differing("records", "other_records")})
SELECT coalesce(h.document_id, o.document_id) AS document_id,
       CASE WHEN o.document_id IS NULL THEN 'removed'
            WHEN h.document_id IS NULL THEN 'added' ELSE 'changed' END AS kind
FROM here h FULL JOIN other_documents o USING (document_id)
WHERE h.document_id IS NULL OR o.document_id IS NULL
   OR h.document_sha256 IS DISTINCT FROM o.document_sha256
   OR h.document_id IN (SELECT document_id FROM touched)
"""  # noqa: S608 - built from constants
_COUNTS = "SELECT kind, count(*) FROM moved GROUP BY kind"
_NAMED = "SELECT document_id FROM moved WHERE kind = ? ORDER BY document_id LIMIT ?"
_OTHER_VECTORS = """
CREATE OR REPLACE TABLE other_vectors (
    id VARCHAR, segment INTEGER, row BIGINT, vector_digest BLOB);
"""
_VECTORS = "SELECT id, segment, row, vector_digest FROM records"
_PAIRS = """
SELECT o.segment AS other_segment, o.row AS other_row, r.segment, r.row
FROM records r JOIN other_vectors o USING (id)
WHERE r.vector_digest IS DISTINCT FROM o.vector_digest
ORDER BY 1, 3, 2
"""


class Changes:
    """Documents that differ from one state to another, by digest: those present in one of them
    alone, and those with another text or other records."""

    def __init__(self, before: State, after: State) -> None:
        self._sql = before.sql
        self._sql.execute(_OTHER)
        for batch in after.batches(_DOCUMENTS, [Presence.PRESENT]):
            insert(self._sql, "other_documents", batch)
        for batch in after.batches(_RECORDS):
            insert(self._sql, "other_records", batch)
        self._sql.execute(_MOVED, [Presence.PRESENT])
        self._totals: dict[str, int] = dict(self._sql.execute(_COUNTS).fetchall())

    def total(self, change: Change) -> int:
        """How many documents were added, removed or changed."""
        return self._totals.get(change, 0)

    def documents(self, change: Change, *, limit: int) -> list[str]:
        """The first of them, ascending by id."""
        return [row[0] for row in self._sql.execute(_NAMED, [change, limit]).fetchall()]


def other_vectors(state: State, other: State) -> pa.Table:
    """Where records of both have vectors with other bits: `segment` and `row` in `state`,
    `other_segment` and `other_row` in `other`, in order of segments."""
    state.sql.execute(_OTHER_VECTORS)
    for batch in other.batches(_VECTORS):
        insert(state.sql, "other_vectors", batch)
    pairs = state.sql.sql(_PAIRS).to_arrow_table()
    state.sql.execute("DROP TABLE other_vectors")
    return pairs
