"""The fold: for each document the rows of its newest version, whole (docs/format.md, Fold).

It runs in a temporary DuckDB database with a memory limit, over the indexes of segments alone, so
that a state of any size folds in bounded memory. Nothing here looks at vectors or text.
"""

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from uuid import uuid4

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
    RecoveryPoint,
    SegmentRef,
    SourcePosition,
)
from dr_pipelines.repository import digest
from dr_pipelines.repository.manifests import segments
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segments import read_index, touching

MEMORY_LIMIT = "192MB"
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
ALWAYS = 1 << 62


class State:
    """What a collection holds at one position.

    Tables of `sql`: `versions` and `pieces` (every logged version and its records), `documents`
    and `records` (the newest of each document). `segment` numbers refer to `segments`, `row` to
    the row of that segment.
    """

    def __init__(
        self,
        sql: duckdb.DuckDBPyConnection,
        *,
        spec: CollectionSpec,
        segments: Sequence[SegmentRef],
    ) -> None:
        self.sql = sql
        self.spec = spec
        self.segments = tuple(segments)
        found = sql.execute("SELECT current_database()").fetchone()
        self._database = str(found[0]) if found else "memory"

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
        for batch in self.documents():
            documents += digest.total(digest.document_digests(batch))
        return Digests(
            content=digest.to_hex(content),
            vectors=digest.to_hex(vectors),
            documents=digest.to_hex(documents),
        )

    def documents(self) -> Iterator[pa.Table]:
        """The newest document rows, ascending by id."""
        query = "SELECT * FROM documents ORDER BY document_id"
        for batch in self.batches(query):
            column = _fixed(batch["document_sha256"])
            place = batch.column_names.index("document_sha256")
            yield batch.set_column(place, "document_sha256", column)

    def rows_of(self, segment: int, *, documents: pa.Array | None = None) -> npt.NDArray[np.int64]:
        """Rows of a segment that hold newest records, ascending; only those of `documents`."""
        query = "SELECT row FROM records WHERE segment = ? ORDER BY row"
        if documents is not None:
            wanted = pa.table({"document_id": documents})
            self.sql.register("wanted", wanted)
            query = query.replace("WHERE", "SEMI JOIN wanted USING (document_id) WHERE")
        rows: npt.NDArray[np.int64] = self.sql.execute(query, [segment]).fetchnumpy()["row"]
        return rows

    def version_rows(self, segment: int) -> npt.NDArray[np.int64]:
        """Rows of a segment that belong to newest versions, document rows included, ascending."""
        query = """
            SELECT row FROM records WHERE segment = $1
            UNION ALL SELECT row FROM documents WHERE segment = $1 ORDER BY row
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
    with fold_inputs(inputs, spec=manifest.spec, until=until, documents=documents) as state:
        yield state


@contextmanager
def fold_point(repository: Repository, point: RecoveryPoint) -> Iterator[State]:
    """The state at a recovery point."""
    with fold(repository, point.manifest, until=point.until) as state:
        yield state


@contextmanager
def fold_inputs(
    inputs: Sequence[FoldInput],
    *,
    spec: CollectionSpec,
    until: SourcePosition | None = None,
    documents: pa.Array | None = None,
) -> Iterator[State]:
    """The state that some rows add up to; see `fold`."""
    with scratch_database() as sql:
        sql.execute(_SCHEMA)
        versions = 0
        for number, given in enumerate(inputs):
            index, cut = given.index(), _earlier(given.ref.until, until)
            rows = _numbered(index, first_version=versions)
            versions += pc.sum(pc.equal(index["chunk_index"], DOCUMENT_ROW)).as_py() or 0
            keep = _kept(rows, cut=cut, documents=documents)
            rows = rows if keep is None else rows.filter(keep)
            _insert(sql, rows, number=number, entry=given.ref.entry, spec=spec)
        state = State(sql, spec=spec, segments=[given.ref for given in inputs])
        state.newest()
        yield state


@contextmanager
def scratch_database() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database of its own in memory that spills to a temporary directory and is gone afterwards.

    All of a process share one engine and its memory limit: to start one takes 35 ms of CPU, which
    is more than most folds; to attach a database takes 1 ms.
    """
    engine = _engine(os.getpid())
    name = f"fold_{next(engine.numbers)}"
    with engine.connection.cursor() as sql:
        sql.execute(f"ATTACH ':memory:' AS {name}; USE {name}")
        try:
            yield sql
        finally:
            sql.execute(f"USE memory; DETACH {name}")


@dataclass(frozen=True)
class _Engine:
    connection: duckdb.DuckDBPyConnection
    numbers: "itertools.count[int]"


@cache
def _engine(process: int) -> _Engine:
    """The engine of a process; one that was forked needs its own."""
    config = {
        "memory_limit": MEMORY_LIMIT,
        # made by the first spill, removed when the process ends
        "temp_directory": str(Path(tempfile.gettempdir()) / f"dr-fold-{process}-{uuid4().hex}"),
        "threads": 2,
        "preserve_insertion_order": False,
    }
    return _Engine(duckdb.connect(":memory:", config=config), itertools.count())


def _numbered(index: pa.Table, *, first_version: int) -> pa.Table:
    """With `row`, and `version`: a number of its own for each version of a document. A document
    row stands before its records, so counting document rows numbers both."""
    is_document = pc.equal(index["chunk_index"], DOCUMENT_ROW).to_numpy()
    versions = np.cumsum(is_document) + (first_version - 1)
    rows = index.append_column("version", pa.array(versions, pa.int64()))
    return rows.append_column("row", pa.array(np.arange(index.num_rows), pa.int64()))


def _insert(
    sql: duckdb.DuckDBPyConnection,
    rows: pa.Table,
    *,
    number: int,
    entry: int,
    spec: CollectionSpec,
) -> None:
    tenant = spec.with_role("tenant")
    is_document = pc.equal(rows["chunk_index"], DOCUMENT_ROW)
    _insert_versions(sql, rows.filter(is_document), number=number, entry=entry)
    records = rows.filter(pc.invert(is_document))
    _insert_pieces(sql, records, number=number, tenant=tenant.name if tenant else None)


def _kept(
    rows: pa.Table, *, cut: SourcePosition | None, documents: pa.Array | None
) -> pa.ChunkedArray | None:
    keep = None
    if cut is not None:
        same = pc.and_(
            pc.equal(rows["epoch"], cut.epoch), pc.less_equal(rows["position"], cut.position)
        )
        keep = pc.and_(pc.equal(rows["edit"], 0), pc.or_(same, pc.less(rows["epoch"], cut.epoch)))
    if documents is not None:
        wanted = pc.is_in(rows["document_id"], value_set=documents)
        keep = wanted if keep is None else pc.and_(keep, wanted)
    return keep


def _insert_versions(
    sql: duckdb.DuckDBPyConnection, rows: pa.Table, *, number: int, entry: int
) -> None:
    sql.register("incoming", rows)
    sql.execute(
        """
        INSERT INTO versions
        SELECT version, ?, row, document_id, epoch, position, ordinal, edit, generation,
               coalesce(sequence, ?), presence, chunk_count, document_sha256 FROM incoming
        """,
        [number, entry],
    )
    sql.unregister("incoming")


def _insert_pieces(
    sql: duckdb.DuckDBPyConnection, rows: pa.Table, *, number: int, tenant: str | None
) -> None:
    names = ["version", "row", "chunk_index", "id", "content_digest", "vector_digest"]
    value = rows[tenant].cast(pa.string()) if tenant else pa.nulls(rows.num_rows, pa.string())
    sql.register("incoming", rows.select(names).append_column("tenant_value", value))
    sql.execute(
        """
        INSERT INTO pieces
        SELECT version, ?, row, chunk_index, id, content_digest, vector_digest, tenant_value
        FROM incoming
        """,
        [number],
    )
    sql.unregister("incoming")


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
        document, expected, found, segment = broken
        raise Damaged(
            f"{state.segments[segment].key}: document {document!r} has {found} records, "
            f"not {expected}"
        )


def _earlier(a: SourcePosition | None, b: SourcePosition | None) -> SourcePosition | None:
    cuts = [cut for cut in (a, b) if cut is not None]
    return min(cuts, key=lambda cut: (cut.epoch, cut.position), default=None)


def _fixed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """DuckDB returns blobs of variable length; digests are binary(32)."""
    return column.cast(pa.binary(32))
