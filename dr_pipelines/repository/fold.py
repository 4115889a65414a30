"""The fold: for each document the rows of its newest version, whole (docs/format.md, Fold).

It runs in a temporary DuckDB database with a memory limit, over the indexes of segments alone, so
that a state of any size folds in bounded memory. Nothing here looks at vectors or text.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import Damaged
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import DOCUMENT_ROW, Presence
from dr_pipelines.model.recovery_point import (
    Counts,
    Digests,
    Manifest,
    SegmentRef,
    SourcePosition,
)
from dr_pipelines.repository import digest
from dr_pipelines.repository.manifests import segments
from dr_pipelines.repository.prefetch import map_concurrently
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.scratch import beside, insert, scratch_database
from dr_pipelines.repository.segments import read_index, touching

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

_SCHEMA = """
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
_VERSION_COLUMNS = [
    "version",
    "row",
    "document_id",
    "epoch",
    "position",
    "ordinal",
    "edit",
    "generation",
    "sequence",
    "presence",
    "chunk_count",
    "document_sha256",
]
_PIECE_COLUMNS = [
    "version",
    "row",
    "chunk_index",
    "id",
    "content_digest",
    "vector_digest",
]
"""As `_SCHEMA` has them, `segment` and `tenant` excepted."""


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
        self.segments = tuple(segments)
        row = sql.execute("SELECT current_database()").fetchone()
        self._database = str(row[0]) if row else "memory"

    def newest(self, *, before: int = ALWAYS) -> None:
        """Make `documents` and `records` what was newest before a log number (default: now)."""
        self.sql.execute(_NEWEST, [before])
        self.sql.execute(_RECORDS)
        _require_whole(self)

    def counts(self) -> Counts:
        """Records, documents present, documents gone, records by tenant."""
        present, gone = self.sql.execute(
            "SELECT count(*) FILTER (presence = ?), count(*) FILTER (presence <> ?) FROM documents",
            [Presence.PRESENT, Presence.PRESENT],
        ).fetchone() or (0, 0)
        by_tenant = self.sql.execute(
            "SELECT coalesce(tenant, ''), count(*) FROM records GROUP BY 1 ORDER BY 1"
        ).fetchall()
        tenants = dict(by_tenant) if self.spec.with_role("tenant") else {}
        records = sum(count for _, count in by_tenant)
        return Counts(records=records, documents=present, deleted=gone, tenants=tenants)

    def digests(self) -> Digests:
        """The sums of what is newest, tombstones included in `documents`."""
        content = vectors = documents = 0
        for batch in self.batches("SELECT content_digest, vector_digest FROM records"):
            content += digest.total(_fixed(batch["content_digest"]))
            vectors += digest.total(_fixed(batch["vector_digest"]))
        for batch in self.batches("FROM documents"):  # a sum: in any order
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

    def rows_of(self, segment: int, *, documents: pa.Array | None = None) -> npt.NDArray[np.int64]:
        """Rows of a segment that hold newest records, ascending; only those of `documents`."""
        query = "SELECT row FROM records WHERE segment = ? ORDER BY row"
        chosen: AbstractContextManager[None] = nullcontext()
        if documents is not None:
            chosen = beside(self.sql, "chosen", pa.table({"document_id": documents}))
            query = query.replace("WHERE", "SEMI JOIN chosen USING (document_id) WHERE")
        with chosen:
            rows: npt.NDArray[np.int64] = self.sql.execute(query, [segment]).fetchnumpy()["row"]
        return rows

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

    def version_rows(self, segment: int) -> npt.NDArray[np.int64]:
        """Rows of a segment that belong to newest versions or, once it was made, to `beneath`;
        document rows included, ascending."""
        query = """
            SELECT row FROM records WHERE segment = $1
            UNION ALL SELECT row FROM documents WHERE segment = $1
            UNION ALL SELECT row FROM beneath WHERE segment = $1
            UNION ALL SELECT p.row FROM pieces p SEMI JOIN beneath USING (version)
            WHERE p.segment = $1 ORDER BY row
        """
        rows: npt.NDArray[np.int64] = self.sql.execute(query, [segment]).fetchnumpy()["row"]
        return rows

    def batches(
        self, query: str, parameters: Sequence[object] = (), *, rows: int = BATCH_ROWS
    ) -> Iterator[pa.Table]:
        """A query's result in tables of at most `rows`, never all at once."""
        with self.sql.cursor() as cursor:  # of its own, so that other queries may run meanwhile
            cursor.execute(f"USE {self._database}")
            for batch in cursor.sql(query, params=list(parameters)).to_arrow_reader(rows):
                yield pa.Table.from_batches([batch])


@dataclass(frozen=True)
class FoldInput:
    """Rows to fold, in `index_schema`; `entry` is their log number where they name none."""

    ref: SegmentRef
    index: Callable[[], pa.Table]


@contextmanager
def fold(
    repository: Repository,
    manifest: Manifest,
    *,
    until: SourcePosition | None = None,
    documents: pa.Array | None = None,
) -> Iterator[State]:
    """The state that a manifest describes, until the context ends.

    With `until`, only what the source had said by that position counts, and edits seen in the
    store do not. With `documents`, only those are folded. Raises `Damaged`.
    """
    refs = touching(segments(repository, manifest), documents)
    inputs = [
        FoldInput(ref, partial(read_index, repository, ref, spec=manifest.spec)) for ref in refs
    ]
    with fold_inputs(
        repository, inputs, spec=manifest.spec, until=until, documents=documents
    ) as state:
        yield state


@contextmanager
def fold_inputs(
    repository: Repository,
    inputs: Sequence[FoldInput],
    *,
    spec: CollectionSpec,
    until: SourcePosition | None = None,
    documents: pa.Array | None = None,
) -> Iterator[State]:
    """The state that some rows add up to; see `fold`."""
    indexes = map_concurrently(lambda source: source.index(), inputs, waiting=1)
    with scratch_database() as sql, closing(indexes):
        sql.execute(_SCHEMA)
        tenant = spec.with_role("tenant")
        incoming, versions = _Incoming(sql, tenant=tenant.name if tenant else None), 0
        for number, (source, index) in enumerate(zip(inputs, indexes, strict=True)):
            cut = _earlier(source.ref.until, until)
            rows = _numbered(index, first_version=versions)
            versions += pc.sum(pc.equal(index["chunk_index"], DOCUMENT_ROW)).as_py() or 0
            keep = _selected(rows, cut=cut, documents=documents)
            incoming.add(rows, keep, number=number, entry=source.ref.entry)
        incoming.insert()
        state = State(
            sql, repository=repository, spec=spec, segments=[source.ref for source in inputs]
        )
        state.newest()
        yield state


def _numbered(index: pa.Table, *, first_version: int) -> pa.Table:
    """With `row`, and `version`: a number of its own for each version of a document. A document
    row stands before its records, so counting document rows numbers both."""
    is_document = pc.equal(index["chunk_index"], DOCUMENT_ROW).to_numpy()
    versions = np.cumsum(is_document) + (first_version - 1)
    rows = index.append_column("version", pa.array(versions, pa.int64()))
    return rows.append_column("row", pa.array(np.arange(index.num_rows), pa.int64()))


def _selected(
    rows: pa.Table, *, cut: SourcePosition | None, documents: pa.Array | None
) -> pa.ChunkedArray | None:
    keep = None
    if cut is not None:
        same = pc.and_(
            pc.equal(rows["epoch"], cut.epoch), pc.less_equal(rows["position"], cut.position)
        )
        keep = pc.and_(pc.equal(rows["edit"], 0), pc.or_(same, pc.less(rows["epoch"], cut.epoch)))
    if documents is not None:
        selected = pc.is_in(rows["document_id"], value_set=documents)
        keep = selected if keep is None else pc.and_(keep, selected)
    return keep


class _Incoming:
    """Rows on their way into `versions` and `pieces`: many segments are inserted at once, because
    a statement costs as much as thousands of rows."""

    def __init__(self, sql: duckdb.DuckDBPyConnection, *, tenant: str | None) -> None:
        self._sql = sql
        self._tenant = tenant
        self._versions: list[pa.Table] = []
        self._pieces: list[pa.Table] = []
        self._rows = 0

    def add(self, rows: pa.Table, keep: pa.ChunkedArray | None, *, number: int, entry: int) -> None:
        """Those rows of a segment that are kept (None: all), numbered; inserted now or later."""
        is_document = pc.equal(rows["chunk_index"], DOCUMENT_ROW)
        versions = _chosen(rows, _VERSION_COLUMNS, is_document, keep)
        place = versions.column_names.index("sequence")
        sequence = pc.fill_null(versions["sequence"].cast(pa.int64()), entry)
        self._versions.append(_of_segment(number, versions.set_column(place, "sequence", sequence)))
        names = [*_PIECE_COLUMNS, self._tenant] if self._tenant else _PIECE_COLUMNS
        pieces = _chosen(rows, names, pc.invert(is_document), keep)
        nulls = pa.nulls(len(pieces), pa.string())
        value = pieces[self._tenant].cast(pa.string()) if self._tenant else nulls
        pieces = pieces.select(_PIECE_COLUMNS).append_column("tenant_value", value)
        self._pieces.append(_of_segment(number, pieces))
        self._rows += len(versions) + len(pieces)
        if self._rows >= BATCH_ROWS:
            self.insert()

    def insert(self) -> None:
        """Insert what was added."""
        for table, waiting in (("versions", self._versions), ("pieces", self._pieces)):
            if waiting:
                insert(self._sql, table, pa.concat_tables(waiting))
                waiting.clear()
        self._rows = 0


def _chosen(
    rows: pa.Table, names: Sequence[str], which: pa.ChunkedArray, keep: pa.ChunkedArray | None
) -> pa.Table:
    return rows.select(names).filter(which if keep is None else pc.and_(which, keep))


def _of_segment(number: int, rows: pa.Table) -> pa.Table:
    return rows.add_column(1, "segment", pa.repeat(pa.scalar(number, pa.int32()), len(rows)))


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


def _earlier(a: SourcePosition | None, b: SourcePosition | None) -> SourcePosition | None:
    cuts = [cut for cut in (a, b) if cut is not None]
    return min(cuts, key=lambda cut: (cut.epoch, cut.position), default=None)


def _fixed_in(rows: pa.Table, name: str) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, _fixed(rows[name]))


def _fixed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """DuckDB returns blobs of variable length; digests are binary(32)."""
    return column.cast(pa.binary(32))
