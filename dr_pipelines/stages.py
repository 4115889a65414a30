"""The stages of one day: documents → chunks → embeddings. Each leaves checkpoints and can be
repeated, interrupted and resumed; none of them touches the log or the live store."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import InvalidRequest, NotFound, SourceRewritten
from dr_pipelines.ingest.lineage import Lineage
from dr_pipelines.ingest.rows import (
    build_chunk_rows,
    check_changes,
    check_chunks,
    check_embeddings,
    embedding_inputs,
)
from dr_pipelines.model.record import CHANGE_SCHEMA, DOCUMENT_ROW, chunk_schema, segment_schema
from dr_pipelines.model.recovery_point import (
    CheckpointRef,
    Manifest,
    Partition,
    SegmentRef,
    SourcePosition,
)
from dr_pipelines.protocols import Progress, SourcePartition
from dr_pipelines.repository.checkpoints import (
    Stretch,
    find_chunks,
    find_documents,
    find_embeddings,
    piece_of,
    read_documents,
    write_checkpoint,
    write_embeddings,
)
from dr_pipelines.repository.manifests import segments
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segments import (
    read_chunks,
    row_digests,
    split_documents,
    with_content_digests,
    with_vector_digests,
)

DOCUMENTS_ROWS = 5_000
DOCUMENTS_BYTES = 32 << 20
PIECE_ROWS = 512
FIRST_EPOCH = 1


@dataclass(frozen=True)
class Reading:
    """What has been read so far: the epoch and the coverage of each day."""

    epoch: int
    partitions: dict[str, Partition]

    @classmethod
    def of(cls, manifest: Manifest | None) -> "Reading":
        if manifest is None:
            return cls(FIRST_EPOCH, {})
        return cls(manifest.epoch, dict(manifest.partitions))


@dataclass(frozen=True)
class Day:
    """A day's work: what a log entry covers already, and what the source has beyond it."""

    name: str
    covered: Partition | None
    fresh: Stretch | None
    quarantined: int = 0

    @property
    def quiet(self) -> bool:
        """Whether the source never said anything on this day."""
        return self.covered is None and self.fresh is None


@dataclass(frozen=True)
class Piece:
    """A piece of a chunks checkpoint that is to be embedded, or the segment that an earlier run
    left of it."""

    of: CheckpointRef
    name: str
    rows: pa.Table
    segment: SegmentRef | None


@dataclass(frozen=True)
class DocumentsRead:
    """Documents checkpoints of a day in source order; `anchor` is the source's at their end."""

    covered: tuple[CheckpointRef, ...]
    fresh: tuple[CheckpointRef, ...]
    anchor: str
    quarantined: int
    adopted: int = 0

    @property
    def all(self) -> tuple[CheckpointRef, ...]:
        return (*self.covered, *self.fresh)


def require_same_source(lineage: Lineage, reading: Reading) -> None:
    """Stop when the source's head moved back or its history changed since it was read."""
    if not reading.partitions:
        return
    newest = max(reading.partitions.values(), key=lambda p: p.anchored)
    found = lineage.source.anchor(newest.anchored)
    if found == newest.anchor:
        return
    what = "ends before" if found is None else "has other contents up to"
    raise SourceRewritten(
        f"{lineage.collection}: the source {what} position {newest.anchored}, which was read "
        "before: it was truncated or rewritten. Restore the source, or accept its new history by "
        f"name: dr ingest {lineage.collection} --accept-epoch NAME"
    )


def source_days(
    lineage: Lineage, *, first: date | None = None, last: date | None = None
) -> list[SourcePartition]:
    """Days with changes, oldest first; raises `InvalidRequest` when some precede the start."""
    days = lineage.source.partitions()
    if days and lineage.start and days[0].day < lineage.start:
        raise InvalidRequest(
            f"{lineage.collection}: the source begins on {days[0].day}, before partitions_start "
            f"{lineage.start}; set partitions_start to {days[0].day} or earlier"
        )
    return [
        day
        for day in days
        if (first is None or day.day >= first) and (last is None or day.day <= last)
    ]


def plan_day(lineage: Lineage, reading: Reading, name: str) -> Day:
    """What there is to do for a day; raises `NotFound` when the source has no changes on it."""
    day = plan_days(lineage, reading, [name], source=lineage.source.partitions())[0]
    if day.quiet:
        raise NotFound(f"{lineage.collection}: the source has no changes on {name}")
    return day


def plan_days(
    lineage: Lineage, reading: Reading, names: Sequence[str], *, source: Sequence[SourcePartition]
) -> list[Day]:
    """What there is to do for some days, given all the days of the source; quiet ones included."""
    found = {partition.day.isoformat(): partition for partition in source}
    return [_plan(lineage, reading, name, found.get(name)) for name in names]


def _plan(lineage: Lineage, reading: Reading, name: str, found: SourcePartition | None) -> Day:
    covered = reading.partitions.get(name)
    if found is None:
        return Day(name, covered, None, covered.quarantined if covered else 0)
    after = covered.through if covered else found.after
    fresh = Stretch(name, reading.epoch, after, found.through) if found.through > after else None
    start = covered.after if covered else found.after
    quarantined = len(lineage.source.quarantined(start, found.through))
    return Day(name, covered, fresh, quarantined)


def read_day(
    lineage: Lineage, day: Day, *, repository: Repository, adopt_only: bool = False
) -> DocumentsRead:
    """The documents checkpoints of a day; what none holds yet is read from the source.

    With `adopt_only` nothing is read: the stage before is expected to have done it.
    """
    covered = day.covered.documents if day.covered else ()
    anchor = day.covered.anchor if day.covered else ""
    if day.fresh is None:
        return DocumentsRead(covered, (), anchor, day.quarantined)
    chain = _adopted_documents(lineage, day.fresh, repository=repository)
    adopted = len(chain)
    position = chain[-1][0].through if chain else day.fresh.after
    if position < day.fresh.through and not adopt_only:
        rest = Stretch(day.name, day.fresh.epoch, position, day.fresh.through)
        chain += list(_read_documents(lineage, rest, repository=repository))
    anchor = chain[-1][1] if chain else anchor
    return DocumentsRead(covered, tuple(r for r, _ in chain), anchor, day.quarantined, adopted)


def chunk_day(
    lineage: Lineage,
    day: Day,
    read: DocumentsRead,
    *,
    repository: Repository,
    generation: int,
    adopt_only: bool = False,
) -> tuple[CheckpointRef, ...]:
    """Chunks checkpoints, one for each documents checkpoint of a day, in the same order.

    Those that the log names are used as they are, unless the chunker has changed since. With
    `adopt_only` nothing is cut: raises `NotFound` where the stage before has not done it.
    """
    logged = (
        dict(zip(day.covered.documents, day.covered.chunks, strict=True)) if day.covered else {}
    )
    made = []
    for ref in read.all:
        known = logged.get(ref)
        if known is None or known.provenance != lineage.chunks_fingerprint:
            known = _left_chunks(lineage, ref, repository=repository)
        if known is None and adopt_only:
            raise NotFound(f"{lineage.collection}: the documents of {day.name} are not cut yet")
        made.append(
            known or _cut_documents(lineage, ref, repository=repository, generation=generation)
        )
    return tuple(made)


def embed_day(
    lineage: Lineage,
    chunks: tuple[CheckpointRef, ...],
    *,
    repository: Repository,
    manifest: Manifest | None,
    generation: int,
    covered: Partition | None = None,
    again: bool = False,
    progress: Progress | None = None,
) -> tuple[SegmentRef, ...]:
    """Segments for every piece of some chunks checkpoints of one day.

    Checkpoints that the log covers are left out, unless they are wanted `again` (a replay).
    Segments that a killed run left are adopted. At most one unfinished piece is embedded twice.
    """
    found = pieces(
        lineage, chunks, repository=repository, manifest=manifest, covered=covered, again=again
    )
    made = []
    for piece in found:
        segment = piece.segment or _embed_piece(
            lineage,
            piece.rows,
            of=piece.of,
            name=piece.name,
            repository=repository,
            generation=generation,
            again=again,
            progress=progress,
        )
        made.append(cut_segment(segment, piece.of, covered))
    return tuple(made)


def pieces(
    lineage: Lineage,
    chunks: Sequence[CheckpointRef],
    *,
    repository: Repository,
    manifest: Manifest | None,
    covered: Partition | None,
    again: bool,
) -> Iterator[Piece]:
    """The pieces of one day's chunks checkpoints that are not covered yet, or all of them `again`,
    each with the segment that an earlier run or stage left of it."""
    known = covered.chunks if covered and not again else ()
    wanted = [ref for ref in chunks if ref not in known]
    if not wanted:
        return
    logged = segments(repository, manifest) if manifest else ()
    claimed = frozenset(ref.key for ref in logged)
    waiting = find_embeddings(
        repository,
        lineage.collection,
        day=wanted[0].partition,
        provenance=lineage.provenance.fingerprint,
        spec=lineage.spec,
        claimed=claimed,
        newer_than=covered.entry if covered and again else -1,
    )
    for ref in wanted:
        rows = read_chunks(repository, ref, spec=lineage.spec)
        for number, piece in enumerate(split_documents(rows, limit_rows=PIECE_ROWS)):
            name = piece_of(ref, number)
            yield Piece(ref, name, piece, adoptable(waiting, name, piece))


def adoptable(waiting: Mapping[str, SegmentRef], name: str, piece: pa.Table) -> SegmentRef | None:
    """The segment that a killed run left for a piece, if it holds the rows of this piece."""
    left = waiting.get(name)
    if left is None or left.rows != piece.num_rows:
        return None
    return left if left.digests.content == row_digests(piece).content else None


def cut_segment(segment: SegmentRef, of: CheckpointRef, covered: Partition | None) -> SegmentRef:
    """After a restore to the middle of a checkpoint its later rows are not this history's."""
    if covered is None or of not in covered.chunks or of.through <= covered.through:
        return segment
    cut = SourcePosition(epoch=covered.epoch, position=covered.through)
    return segment.model_copy(update={"until": cut})


def embedded_rows(
    lineage: Lineage, chunks: pa.Table, *, generation: int, progress: Progress | None = None
) -> pa.Table:
    """Chunk rows with their vectors and vector digests, in `segment_schema`."""
    texts = embedding_inputs(chunks)
    vectors = lineage.embedder.embed(texts, progress=progress)
    values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    is_record = pc.not_equal(chunks["chunk_index"], DOCUMENT_ROW).combine_chunks()
    places = pc.if_else(is_record, pc.cumulative_sum(is_record.cast(pa.int64())), None)
    column = values.take(pc.subtract(places, 1))
    schema = segment_schema(lineage.spec)
    columns = {name: chunks[name] for name in chunks.column_names if name in schema.names}
    columns[lineage.spec.vectors[0].name] = column
    columns["vector_digest"] = pa.nulls(chunks.num_rows, pa.binary(32))
    columns["generation"] = pa.array([generation] * chunks.num_rows, pa.int64())
    columns["provenance"] = pa.array(
        [lineage.provenance.fingerprint] * chunks.num_rows, pa.string()
    )
    rows = pa.table([columns[name] for name in schema.names], schema=schema)
    return with_vector_digests(rows, lineage.spec)


def _adopted_documents(
    lineage: Lineage, fresh: Stretch, *, repository: Repository
) -> list[tuple[CheckpointRef, str]]:
    """Checkpoints that continue each other from the start of a stretch, read from this source."""
    found = find_documents(
        repository,
        lineage.collection,
        stretch=fresh,
        provenance=lineage.source.provenance.fingerprint,
    )
    chain, position = list[tuple[CheckpointRef, str]](), fresh.after
    while True:
        following = [
            (ref, anchor)
            for ref, anchor in found
            if ref.after == position and lineage.source.anchor(ref.through) == anchor
        ]
        if not following:
            return chain
        chain.append(max(following, key=lambda item: item[0].through))
        position = chain[-1][0].through


def _read_documents(
    lineage: Lineage, stretch: Stretch, *, repository: Repository
) -> Iterator[tuple[CheckpointRef, str]]:
    after = stretch.after
    for rows, through in _bounded(lineage, stretch):
        check_changes(rows)
        anchor = lineage.source.anchor(through)
        if anchor is None:
            raise SourceRewritten(f"{lineage.collection}: the source shrank while it was read")
        part = Stretch(stretch.day, stretch.epoch, after, through)
        yield (
            write_checkpoint(
                repository,
                lineage.collection,
                rows,
                stage="documents",
                schema=CHANGE_SCHEMA,
                stretch=part,
                provenance=lineage.source.provenance.fingerprint,
                input_sha256=anchor,
            ),
            anchor,
        )
        after = through


def _bounded(lineage: Lineage, stretch: Stretch) -> Iterator[tuple[pa.Table, int]]:
    """The changes of a stretch in tables of bounded size, each ending with a whole position."""
    held: pa.Table = CHANGE_SCHEMA.empty_table()
    for batch in lineage.source.changes(stretch.after, stretch.through):
        held = pa.concat_tables([held, pa.Table.from_batches([batch])])
        if held.num_rows < DOCUMENTS_ROWS and held.nbytes < DOCUMENTS_BYTES:
            continue
        last = held["position"][-1]
        whole = pc.less(held["position"], last)
        ready = held.filter(whole)
        if ready.num_rows:
            yield ready.combine_chunks(), ready["position"][-1].as_py()
            held = held.filter(pc.invert(whole))
    if held.num_rows:
        yield held.combine_chunks(), stretch.through


def _left_chunks(
    lineage: Lineage, of: CheckpointRef, *, repository: Repository
) -> CheckpointRef | None:
    return find_chunks(
        repository,
        lineage.collection,
        of=of,
        provenance=lineage.chunks_fingerprint,
        spec=lineage.spec,
    )


def _cut_documents(
    lineage: Lineage, of: CheckpointRef, *, repository: Repository, generation: int
) -> CheckpointRef:
    rows = build_chunk_rows(
        read_documents(repository, of),
        lineage.chunker,
        spec=lineage.spec,
        epoch=of.epoch,
        generation=generation,
        provenance_fingerprint=lineage.chunks_fingerprint,
        batch=repository.writer.run or repository.writer.id,
    )
    check_chunks(rows, lineage.spec)
    return write_checkpoint(
        repository,
        lineage.collection,
        with_content_digests(rows, lineage.spec),
        stage="chunks",
        schema=chunk_schema(lineage.spec),
        stretch=Stretch(of.partition, of.epoch, of.after, of.through),
        provenance=lineage.chunks_fingerprint,
        input_sha256=of.sha256,
    )


def _embed_piece(
    lineage: Lineage,
    piece: pa.Table,
    *,
    of: CheckpointRef,
    name: str,
    repository: Repository,
    generation: int,
    again: bool,
    progress: Progress | None,
) -> SegmentRef:
    rows = embedded_rows(lineage, piece, generation=generation, progress=progress)
    check_embeddings(rows, lineage.spec, normalized=lineage.embedder.provenance.normalized)
    return write_embeddings(
        repository,
        lineage.collection,
        rows,
        spec=lineage.spec,
        of=of,
        name=name,
        kind="replay" if again else "ingest",
        provenance=lineage.provenance.fingerprint,
        environment=lineage.embedder.environment.fingerprint,
    )
