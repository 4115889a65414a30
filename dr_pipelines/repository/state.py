"""The contents of a collection at one position, in a temporary database that is asked by methods.

Nothing here looks at vectors or text: the database has the indexes of segments, and so a state of
any size fits into bounded memory.
"""

from collections.abc import Iterable, Iterator, Sequence

import duckdb
import numpy as np
import pyarrow as pa

from dr_pipelines.errors import Damaged
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import Presence
from dr_pipelines.model.recovery_point import (
    Counts,
    Digests,
    SegmentRef,
)
from dr_pipelines.repository import digest
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.scratch import beside
from dr_pipelines.repository.take_rows import Numbers

BATCH_ROWS = 32_768
NEWEST_FIRST = ", ".join(
    f"{name} DESC"
    for name in (
        "epoch",
        "position",
        "ordinal",
        "edit",
        "generation",
        "sequence",
        "segment",
    )
)

VALUE = "sha256(string_agg(hex(content_digest) || hex(vector_digest), '' ORDER BY id))"
"""SQL: the value of a document, over all of its records; null where it has none."""


def differing(left: str, right: str) -> str:
    """SQL: documents of which two tables do not have the same records; null among them where a
    record is in one table alone."""
    return f"""
SELECT DISTINCT unnest([l.document_id, r.document_id]) AS document_id
FROM {left} l FULL JOIN {right} r USING (id)
WHERE l.document_id IS DISTINCT FROM r.document_id
   OR l.content_digest IS DISTINCT FROM r.content_digest
   OR l.vector_digest IS DISTINCT FROM r.vector_digest"""  # noqa: S608 - of names of tables here


SCHEMA = """
CREATE TABLE versions (
    version BIGINT, segment INTEGER, row BIGINT, document_id VARCHAR, epoch INTEGER,
    position BIGINT, ordinal INTEGER, edit INTEGER, generation BIGINT, sequence BIGINT,
    presence VARCHAR, chunk_count INTEGER, document_sha256 BLOB);
CREATE TABLE pieces (
    version BIGINT, segment INTEGER, row BIGINT, chunk_index INTEGER, id VARCHAR,
    content_digest BLOB, vector_digest BLOB, tenant VARCHAR);
CREATE TABLE beneath AS FROM versions LIMIT 0;
"""
_NEWEST = f"""
CREATE OR REPLACE TABLE documents AS
SELECT * FROM versions WHERE sequence < ?
QUALIFY row_number() OVER (PARTITION BY document_id ORDER BY {NEWEST_FIRST}) = 1;
"""  # noqa: S608 - built from constants
_RECORDS = """
CREATE OR REPLACE TABLE records AS
SELECT d.document_id, p.* FROM pieces p JOIN documents d USING (version)
"""
_BENEATH = f"""
CREATE OR REPLACE TABLE beneath AS
SELECT v.* FROM versions v SEMI JOIN (FROM documents WHERE edit > 0) USING (document_id)
WHERE v.edit = 0
QUALIFY row_number() OVER (PARTITION BY document_id ORDER BY {NEWEST_FIRST}) = 1;
"""  # noqa: S608 - built from constants
_VERSION_PLACES = """
SELECT segment, row FROM (
    SELECT segment, row FROM records UNION ALL SELECT segment, row FROM documents
    UNION ALL SELECT segment, row FROM beneath
    UNION ALL SELECT p.segment, p.row FROM pieces p SEMI JOIN beneath USING (version))
"""
_CHOSEN = """
CREATE OR REPLACE TABLE chosen_documents AS FROM documents SEMI JOIN chosen USING (document_id);
CREATE OR REPLACE TABLE chosen_records AS FROM records SEMI JOIN chosen USING (document_id);
"""
_IDS = "SELECT document_id FROM documents ORDER BY document_id"
_IDS_OF_SOURCE = f"""
WITH source AS (
    SELECT * FROM versions WHERE edit = 0
    QUALIFY row_number() OVER (PARTITION BY document_id ORDER BY {NEWEST_FIRST}) = 1)
SELECT d.document_id FROM documents d JOIN source s USING (document_id)
WHERE d.presence = ? AND s.presence = ?
ORDER BY d.document_id
"""  # noqa: S608 - built from constants
_NEXT_EDITS = """
SELECT c.document_id, coalesce(d.epoch, 0) AS epoch, coalesce(d.position, 0) AS position,
       coalesce(d.ordinal, 0) AS ordinal, coalesce(d.edit, 0) + 1 AS edit,
       coalesce(d.generation, 0) AS generation
FROM chosen c LEFT JOIN documents d USING (document_id) ORDER BY c.document_id
"""
ALWAYS = 1 << 62


class State:
    """The contents of a collection at one position.

    Tables of `sql`: `versions` and `pieces` (every logged version and its records), `documents`
    and `records` (the newest of each document). They are for the modules of this package alone;
    who asks from elsewhere is answered by a method, here or of what is compared with a state.
    """

    def __init__(
        self,
        sql: duckdb.DuckDBPyConnection,
        *,
        repository: Repository,
        spec: CollectionSpec,
        segments: Sequence[SegmentRef],
    ) -> None:
        self.sql = sql
        self.repository = repository
        self.spec = spec
        self.segments = segments
        row = sql.execute("SELECT current_database()").fetchone()
        self._database = str(row[0]) if row else "memory"

    def newest(self, *, before: int = ALWAYS) -> None:
        """Make `documents` and `records` what was newest before a log number (default: now)."""
        self.sql.execute(_NEWEST, [before])
        self.sql.execute(_RECORDS)
        _require_whole(self)

    def counts(self) -> Counts:
        """Records, documents present, documents gone, records by tenant."""
        return self._counts("documents", "records")

    def digests(self) -> Digests:
        """The sums of what is newest, tombstones included in `documents`."""
        return self._digests("documents", "records")

    def sums_of(self, documents: pa.Array) -> tuple[Counts, Digests]:
        """The same of some documents alone."""
        with beside(self.sql, "chosen", pa.table({"document_id": documents})):
            self.sql.execute(_CHOSEN)
        tables = ("chosen_documents", "chosen_records")
        return self._counts(*tables), self._digests(*tables)

    def _counts(self, documents: str, records: str) -> Counts:
        counted = "SELECT count(*) FILTER (presence = ?), count(*) FILTER (presence <> ?)"
        present, gone = self.sql.execute(
            f"{counted} FROM {documents}", [Presence.PRESENT, Presence.PRESENT]
        ).fetchone() or (0, 0)
        by_tenant = self.sql.execute(
            f"SELECT coalesce(tenant, ''), count(*) FROM {records} GROUP BY 1 ORDER BY 1"  # noqa: S608 - a table of ours
        ).fetchall()
        tenants = dict(by_tenant) if self.spec.with_role("tenant") else {}
        records = sum(count for _, count in by_tenant)
        return Counts(records=records, documents=present, deleted=gone, tenants=tenants)

    def _digests(self, documents_in: str, records_in: str) -> Digests:
        content = vectors = documents = 0
        for batch in self.batches(f"SELECT content_digest, vector_digest FROM {records_in}"):  # noqa: S608 - a table of ours
            content += digest.total(_fixed(batch["content_digest"]))
            vectors += digest.total(_fixed(batch["vector_digest"]))
        for batch in self.batches(f"FROM {documents_in}"):  # a sum: in any order
            documents += digest.total(digest.document_digests(_fixed_in(batch, "document_sha256")))
        return Digests(
            content=digest.to_hex(content),
            vectors=digest.to_hex(vectors),
            documents=digest.to_hex(documents),
        )

    def documents(self) -> Iterator[pa.Table]:
        """The newest document rows, ascending by id."""
        query = "SELECT * FROM documents ORDER BY document_id"
        for batch in self.batches(query):
            yield _fixed_in(batch, "document_sha256")

    def rows_by_segment(
        self, *, documents: pa.Array | None = None
    ) -> Iterator[tuple[int, Numbers]]:
        """Segments that hold newest records, each with the rows of it that do, both ascending;
        only records of `documents`."""
        if documents is None:
            yield from self._by_segment("SELECT segment, row FROM records")
            return
        with beside(self.sql, "chosen", pa.table({"document_id": documents})):
            query = "SELECT segment, row FROM records SEMI JOIN chosen USING (document_id)"
            chosen = self.sql.sql(f"{query} ORDER BY ALL").to_arrow_table()
        yield from grouped([chosen])

    def version_rows_by_segment(self) -> Iterator[tuple[int, Numbers]]:
        """Segments, each with the rows of it that belong to newest versions or, once it was made,
        to `beneath`, both ascending; document rows included."""
        return self._by_segment(_VERSION_PLACES)

    def _by_segment(self, query: str) -> Iterator[tuple[int, Numbers]]:
        return grouped(self.batches(f"{query} ORDER BY ALL"))

    def document_ids(self, *, rows: int = BATCH_ROWS) -> Iterator[pa.ChunkedArray]:
        """Every document that has a version, gone ones included, ascending, at most `rows` at a
        time."""
        for batch in self.batches(_IDS, rows=rows):
            yield batch["document_id"]

    def source_document_ids(self, *, rows: int = BATCH_ROWS) -> Iterator[pa.ChunkedArray]:
        """Documents that are present, and whose newest version from the source is: ascending, at
        most `rows` at a time."""
        present = [Presence.PRESENT, Presence.PRESENT]
        for batch in self.batches(_IDS_OF_SOURCE, present, rows=rows):
            yield batch["document_id"]

    def next_edits(self, documents: pa.Array) -> pa.Table:
        """The versions that edits of some documents have now: `document_id, epoch, position,
        ordinal, edit, generation`, ascending by document. One without a version begins at 0."""
        with beside(self.sql, "chosen", pa.table({"document_id": documents})):
            return self.sql.sql(_NEXT_EDITS).to_arrow_table()

    def with_source_versions(self) -> int:
        """Make `beneath`: of each document whose newest version is an edit, the newest that the
        source said. Returns their records."""
        self.sql.execute(_BENEATH)
        count = self.sql.execute("SELECT count(*) FROM pieces SEMI JOIN beneath USING (version)")
        return int((count.fetchone() or (0,))[0])

    def batches(
        self, query: str, parameters: Sequence[object] = (), *, rows: int = BATCH_ROWS
    ) -> Iterator[pa.Table]:
        """A query's result in tables of at most `rows`, never all at once."""
        with self.sql.cursor() as cursor:  # of its own, so that other queries may run meanwhile
            cursor.execute(f"USE {self._database}")
            for batch in cursor.sql(query, params=list(parameters)).to_arrow_reader(rows):
                yield pa.Table.from_batches([batch])


def grouped(places: Iterable[pa.Table]) -> Iterator[tuple[int, Numbers]]:
    """Rows of each segment, of tables of `segment` and `row` that ascend by both."""
    current, parts = -1, list[Numbers]()
    for batch in places:
        segments, rows = batch["segment"].to_numpy(), batch["row"].to_numpy()
        if not len(rows):
            continue
        starts = np.flatnonzero(np.diff(segments, prepend=-1))
        for start, part in zip(starts, np.split(rows, starts[1:]), strict=True):
            if parts and segments[start] != current:
                yield current, np.concatenate(parts)
                parts = []
            current = int(segments[start])
            parts.append(part)
    if parts:
        yield current, np.concatenate(parts)


def _require_whole(state: State) -> None:
    """Every newest version has as many records as its document row says."""
    broken = state.sql.execute(
        """
        SELECT document_id, chunk_count, count(r.id), any_value(d.segment) FROM documents d
        LEFT JOIN records r USING (version, document_id)
        GROUP BY document_id, chunk_count HAVING count(r.id) IS DISTINCT FROM chunk_count LIMIT 1
        """
    ).fetchone()
    if broken:
        document, expected, actual, segment = broken
        raise Damaged(
            f"{state.segments[segment].key}: document {document!r} has {actual} records, "
            f"not {expected}"
        )


def _fixed_in(rows: pa.Table, name: str) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, _fixed(rows[name]))


def _fixed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """DuckDB returns blobs of variable length; digests are binary(32)."""
    return column.cast(pa.binary(32))
