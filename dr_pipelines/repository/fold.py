"""The fold: for each document the rows of its newest version, whole (docs/format.md, Fold).

It runs in a temporary DuckDB database with a memory limit, over the indexes of segments alone, so
that a state of any size folds in bounded memory. Nothing here looks at vectors or text.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

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
from dr_pipelines.repository.manifests import segments
from dr_pipelines.repository.prefetch import map_concurrently
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.scratch import insert, scratch_database
from dr_pipelines.repository.segments import read_index, touching
from dr_pipelines.repository.state import BATCH_ROWS, SCHEMA, State

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
"""As `SCHEMA` has them, `segment` and `tenant` excepted."""


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
        sql.execute(SCHEMA)
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


def _earlier(a: SourcePosition | None, b: SourcePosition | None) -> SourcePosition | None:
    cuts = [cut for cut in (a, b) if cut is not None]
    return min(cuts, key=lambda cut: (cut.epoch, cut.position), default=None)
