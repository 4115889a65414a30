"""A whole state embedded again from its chunks checkpoints, for a restore by replay.

Vectors are taken from nowhere: the segments that hold them may be lost or damaged. Rows that were
only ever seen in the store (edits, and tombstones of an earlier epoch) have no checkpoint; they
come from the segments that hold them.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import Damaged, Refused
from dr_pipelines.ingestion.canaries import require_same_model
from dr_pipelines.ingestion.embeddings import PIECE_ROWS, adoptable, embedded_rows
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import chunk_schema, index_schema, narrow_schema
from dr_pipelines.model.recovery_point import (
    CheckpointRef,
    ObjectRef,
    RecoveryPoint,
    SegmentRef,
    SourcePosition,
    extents,
)
from dr_pipelines.protocols import Progress
from dr_pipelines.repository import digest
from dr_pipelines.repository.checkpoints import (
    Embedded,
    find_embeddings,
    read_chunks,
    write_embeddings,
)
from dr_pipelines.repository.fold import fold_inputs
from dr_pipelines.repository.history import History
from dr_pipelines.repository.joined import numbered, shifted
from dr_pipelines.repository.manifests import covered_days, segments
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segments import (
    count_records,
    read_index,
    read_segment,
    records_only,
    split_documents,
    write_segment,
)
from dr_pipelines.repository.state import State


@dataclass(frozen=True)
class Reembedded:
    """Segments that hold a whole state, tombstones and what edits hide included. `embedded` counts
    the vectors made, `adopted` those that an interrupted run had made before."""

    segments: tuple[SegmentRef, ...]
    embedded: int
    adopted: int


def reembed(
    point: RecoveryPoint,
    lineage: Lineage,
    *,
    repository: Repository,
    progress: Progress | None = None,
) -> Reembedded:
    """Embed the state at a recovery point again, by the lineage's model; beneath an edit also what
    the source said last, so that positions of the source can be asked for afterwards.

    Resumable: pieces that an interrupted run finished are adopted, at most one is embedded twice.
    The lineage's source and chunker are those that made the checkpoints: a plan says so. Raises
    `Refused` where a text was not kept, `Damaged` when a checkpoint does not prove itself.
    """
    history = History(repository, lineage.collection)
    made, embedded, adopted = list[SegmentRef](), 0, 0
    day, waiting = "", dict[str, Embedded]()
    with _state_of_chunks(repository, point) as (state, chunks):
        total = state.counts().records + state.with_source_versions()
        for number, rows_used in state.version_rows_by_segment():
            if number >= len(chunks):
                rows = _unchunked(repository, state.segments[number], lineage, point)
                made.append(_kept_rows(lineage, rows.take(pa.array(rows_used)), point, history))
                continue
            ref = chunks[number]
            rows = read_chunks(repository, ref, spec=point.manifest.spec).take(pa.array(rows_used))
            _require_content(rows, ref, point.manifest.spec)
            if ref.partition != day:  # the checkpoints of a day follow one another
                day, waiting = ref.partition, _left_over(lineage, ref.partition, history)
            for segment, fresh in _embed(
                lineage,
                rows,
                of=ref,
                point=point,
                history=history,
                waiting=waiting,
                progress=_shifted(progress, embedded + adopted, total),
            ):
                made.append(segment)
                embedded += segment.records if fresh else 0
                adopted += 0 if fresh else segment.records
    return Reembedded(tuple(made), embedded, adopted)


@contextmanager
def _state_of_chunks(
    repository: Repository, point: RecoveryPoint
) -> Iterator[tuple[State, list[CheckpointRef]]]:
    """The state at a point, folded from chunks checkpoints and unchunked rows alone."""
    manifest = point.manifest
    read, refs = list[Callable[[], pa.Table]](), list[SegmentRef]()
    chunks = list[CheckpointRef]()
    for partition in covered_days(repository, manifest).values():
        for ref, end in extents(partition.chunks, partition.through):
            cut = SourcePosition(epoch=partition.epoch, position=end)
            chunks.append(ref)
            refs.append(_as_segment(ref, cut))
            read.append(partial(_chunk_index, repository, ref, manifest.spec))
    for segment in segments(repository, manifest):
        if segment.kind in ("delta", "base"):
            refs.append(segment)
            read.append(partial(_unchunked_index, repository, segment, manifest.spec))
    inputs = (
        partial(_numbered, number, ref, index)
        for number, (ref, index) in enumerate(zip(refs, read, strict=True))
    )
    with fold_inputs(
        repository, inputs, segments=refs, spec=manifest.spec, until=point.until
    ) as state:
        yield state, chunks


def _numbered(number: int, ref: SegmentRef, index: Callable[[], pa.Table]) -> pa.Table:
    return shifted(numbered(index(), ref), number)


def _as_segment(ref: CheckpointRef, cut: SourcePosition) -> SegmentRef:
    here = ObjectRef(key=ref.key, sha256=ref.sha256, size_bytes=ref.size_bytes)
    return SegmentRef(
        **here.model_dump(),
        index=here,
        kind="ingest",
        entry=0,
        rows=ref.rows,
        records=0,
        first_document="",
        last_document="",
        until=cut,
    )


def _chunk_index(repository: Repository, ref: CheckpointRef, spec: CollectionSpec) -> pa.Table:
    rows = read_chunks(repository, ref, spec=spec)
    rows = rows.append_column("vector_digest", pa.nulls(rows.num_rows, pa.binary(32)))
    return rows.select(index_schema(spec).names)


def _unchunked_index(repository: Repository, ref: SegmentRef, spec: CollectionSpec) -> pa.Table:
    index = read_index(repository, ref, spec=spec)
    return index.filter(_is_unchunked(index))


def _unchunked(
    repository: Repository, ref: SegmentRef, lineage: Lineage, point: RecoveryPoint
) -> pa.Table:
    """Without the vectors where another model makes them anew: they may be lost."""
    spec, same = point.manifest.spec, point.manifest.provenance == lineage.provenance
    columns = None if same else narrow_schema(spec).names
    rows = read_segment(repository, ref, spec=spec, columns=columns)
    return rows.filter(_is_unchunked(rows))


def _is_unchunked(rows: pa.Table) -> pa.ChunkedArray:
    """Rows that no change of the source explains: edits, and tombstones between epochs."""
    return pc.or_(pc.greater(rows["edit"], 0), pc.equal(rows["position"], 0))


def _require_content(rows: pa.Table, ref: CheckpointRef, spec: CollectionSpec) -> None:
    records = records_only(rows)
    computed = digest.content_digests(records, spec)
    if not records["content_digest"].combine_chunks().equals(computed):
        raise Damaged(f"{ref.key}: its rows do not have the digests that it says")


def _left_over(lineage: Lineage, day: str, history: History) -> dict[str, Embedded]:
    """Pieces of a day that are there already, whoever made them."""
    return find_embeddings(
        history,
        day=day,
        provenance=lineage.provenance.fingerprint,
        spec=lineage.spec,
        claimed=frozenset(),
    )


def _embed(
    lineage: Lineage,
    rows: pa.Table,
    *,
    of: CheckpointRef,
    point: RecoveryPoint,
    history: History,
    waiting: Mapping[str, Embedded],
    progress: Progress | None,
) -> Iterator[tuple[SegmentRef, bool]]:
    """Segments of a checkpoint's newest rows, and whether each was embedded now."""
    for number, piece in enumerate(split_documents(rows, limit_rows=PIECE_ROWS)):
        name = f"{of.made_of}:{number}:{point.id}"
        left = adoptable(waiting, name, piece)
        if left is not None:
            yield left.segment, False
            continue
        if count_records(piece):
            require_same_model(lineage, history=history, manifest=point.manifest)
        embedded = embedded_rows(lineage, piece, generation=point.number, progress=progress)
        yield (
            write_embeddings(
                history,
                embedded,
                spec=lineage.spec,
                of=of,
                name=name,
                kind="replay",
                provenance=lineage.provenance.fingerprint,
                environment=lineage.embedder.environment.fingerprint,
            ),
            True,
        )


def _kept_rows(
    lineage: Lineage, rows: pa.Table, point: RecoveryPoint, history: History
) -> SegmentRef:
    """Rows without a checkpoint: with their vectors where the model is the same, else embedded
    from their text alone."""
    if point.manifest.provenance != lineage.provenance:
        records = records_only(rows)
        if records["text"].null_count:
            raise Refused(
                f"{lineage.collection}: {records['text'].null_count} records were written to the "
                "store without text, so another model cannot embed them"
            )
        names = [name for name in chunk_schema(lineage.spec).names if name != "prefix"]
        chunks = rows.select(names).append_column("prefix", pa.nulls(rows.num_rows, pa.string()))
        if records.num_rows:
            require_same_model(lineage, history=history, manifest=point.manifest)
        rows = embedded_rows(lineage, chunks, generation=point.number)
    return write_segment(
        history.repository, lineage.collection, rows, spec=lineage.spec, kind="delta"
    )


def _shifted(progress: Progress | None, done: int, total: int) -> Progress | None:
    if progress is None:
        return None
    return lambda step, _: progress(done + step, total)
