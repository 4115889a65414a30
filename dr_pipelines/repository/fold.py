"""The fold: for each document the rows of its newest version, whole (docs/format.md, Fold).

It runs in a temporary DuckDB database with a memory limit, over the indexes of segments alone, so
that a state of any size folds in bounded memory. Nothing here looks at vectors or text.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import DOCUMENT_ROW
from dr_pipelines.model.recovery_point import (
    Manifest,
    SegmentRef,
    SourcePosition,
)
from dr_pipelines.repository.joined import group_reads, said_by
from dr_pipelines.repository.manifests import segments
from dr_pipelines.repository.prefetch import map_concurrently
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.scratch import insert, scratch_database
from dr_pipelines.repository.state import BATCH_ROWS, SCHEMA, State

_VERSION_COLUMNS = [
    "version",
    "segment",
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
    "segment",
    "row",
    "chunk_index",
    "id",
    "content_digest",
    "vector_digest",
]
"""As `SCHEMA` has them, `tenant` excepted."""


FoldInput = Callable[[], pa.Table]
"""Rows to fold, in `joined_schema`, in the order of segments."""


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
    listed = segments(repository, manifest)
    bounds = _range(documents)
    inputs = (
        ()
        if bounds == ()
        else group_reads(repository, listed, spec=manifest.spec, documents=bounds or None)
    )
    with fold_inputs(
        repository, inputs, segments=listed, spec=manifest.spec, until=until, documents=documents
    ) as state:
        yield state


@contextmanager
def fold_inputs(
    repository: Repository,
    inputs: Iterable[FoldInput],
    *,
    segments: Sequence[SegmentRef],
    spec: CollectionSpec,
    until: SourcePosition | None = None,
    documents: pa.Array | None = None,
) -> Iterator[State]:
    """The state that some rows of segments add up to; see `fold`."""
    tables = map_concurrently(lambda read: read(), inputs, waiting=1)
    with scratch_database() as sql, closing(tables):
        sql.execute(SCHEMA)
        tenant = spec.with_role("tenant")
        incoming, versions = _Incoming(sql, tenant=tenant.name if tenant else None), 0
        for table in tables:
            rows = _numbered(table, first_version=versions)
            versions += pc.sum(pc.equal(table["chunk_index"], DOCUMENT_ROW)).as_py() or 0
            incoming.add(rows, _selected(rows, cut=until, documents=documents))
        incoming.insert()
        state = State(sql, repository=repository, spec=spec, segments=segments)
        state.newest()
        yield state


def _range(documents: pa.Array | None) -> tuple[str, str] | tuple[()] | None:
    """First and last of some documents; empty where there are none of them."""
    if documents is None:
        return None
    if len(documents) == 0:
        return ()
    bounds = pc.min_max(documents).as_py()
    return bounds["min"], bounds["max"]


def _numbered(index: pa.Table, *, first_version: int) -> pa.Table:
    """With `version`: a number of its own for each version of a document. A document row stands
    before its records, so counting document rows numbers both."""
    is_document = pc.equal(index["chunk_index"], DOCUMENT_ROW).to_numpy()
    versions = np.cumsum(is_document) + (first_version - 1)
    return index.append_column("version", pa.array(versions, pa.int64()))


def _selected(
    rows: pa.Table, *, cut: SourcePosition | None, documents: pa.Array | None
) -> pa.ChunkedArray | None:
    keep = said_by(rows, cut) if cut is not None else None
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

    def add(self, rows: pa.Table, keep: pa.ChunkedArray | None) -> None:
        """Those rows that are kept (None: all); inserted now or later."""
        is_document = pc.equal(rows["chunk_index"], DOCUMENT_ROW)
        versions = _chosen(rows, _VERSION_COLUMNS, is_document, keep)
        self._versions.append(versions)
        names = [*_PIECE_COLUMNS, self._tenant] if self._tenant else _PIECE_COLUMNS
        pieces = _chosen(rows, names, pc.invert(is_document), keep)
        nulls = pa.nulls(len(pieces), pa.string())
        value = pieces[self._tenant].cast(pa.string()) if self._tenant else nulls
        pieces = pieces.select(_PIECE_COLUMNS).append_column("tenant_value", value)
        self._pieces.append(pieces)
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
