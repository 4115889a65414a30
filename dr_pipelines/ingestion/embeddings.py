"""Embeddings: the chunks of a day with their vectors, as segments of a bounded number of rows."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import InvalidRequest, TextTooLong
from dr_pipelines.ingestion.canaries import require_same_model
from dr_pipelines.ingestion.coverage import counted_chunks
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.ingestion.refusals import refusals_recorded
from dr_pipelines.ingestion.rows import check_embeddings, embedding_inputs
from dr_pipelines.model.record import DOCUMENT_ROW, segment_schema
from dr_pipelines.model.recovery_point import CheckpointRef, Manifest, Partition
from dr_pipelines.protocols import Progress
from dr_pipelines.repository.checkpoints import (
    Embedded,
    find_embeddings,
    piece_of,
    write_embeddings,
)
from dr_pipelines.repository.history import History
from dr_pipelines.repository.segments import (
    count_records,
    records_only,
    row_digests,
    split_documents,
    with_vector_digests,
)

PIECE_ROWS = 512
NAMED = 10
"""Chunks that a message names."""


@dataclass(frozen=True)
class Piece:
    """A piece of a chunks checkpoint that is to be embedded, or the segment that an earlier run
    left of it."""

    of: CheckpointRef
    name: str
    rows: pa.Table
    left: Embedded | None


def embed_day(
    lineage: Lineage,
    chunks: tuple[CheckpointRef, ...],
    *,
    history: History,
    manifest: Manifest | None,
    generation: int,
    covered: Partition | None = None,
    again: bool = False,
    progress: Progress | None = None,
) -> tuple[Embedded, ...]:
    """Segments for every piece of some chunks checkpoints of one day.

    Checkpoints that the log covers are left out, unless they are wanted `again` (a replay).
    Segments that a killed run left are adopted. At most one unfinished piece is embedded twice.
    """
    day_pieces = pieces(
        lineage, chunks, history=history, manifest=manifest, covered=covered, again=again
    )
    return tuple(
        piece.left
        or _embed_piece(
            lineage,
            piece.rows,
            of=piece.of,
            name=piece.name,
            history=history,
            manifest=manifest,
            generation=generation,
            again=again,
            progress=progress,
        )
        for piece in day_pieces
    )


def pieces(
    lineage: Lineage,
    chunks: Sequence[CheckpointRef],
    *,
    history: History,
    manifest: Manifest | None,
    covered: Partition | None,
    again: bool,
) -> Iterator[Piece]:
    """The pieces of one day's chunks checkpoints that are not covered yet, or all that is covered
    of them `again`, each with the segment that an earlier run or stage left of it."""
    covered_refs = covered.chunks if covered and not again else ()
    remaining = [ref for ref in chunks if ref not in covered_refs]
    if not remaining:
        return
    through = covered.through if covered and again else remaining[-1].through
    day = remaining[0].partition
    logged = history.segments(manifest).of_day(day) if manifest else ()
    claimed = frozenset(ref.key for ref in logged)
    waiting = find_embeddings(
        history,
        day=day,
        provenance=lineage.provenance.fingerprint,
        spec=lineage.spec,
        claimed=claimed,
        newer_than=covered.entry if covered and again else -1,
    )
    for ref, rows in counted_chunks(history.repository, remaining, through, spec=lineage.spec):
        for number, piece in enumerate(split_documents(rows, limit_rows=PIECE_ROWS)):
            name = piece_of(ref, number)
            yield Piece(ref, name, piece, adoptable(waiting, name, piece))


def adoptable(waiting: Mapping[str, Embedded], name: str, piece: pa.Table) -> Embedded | None:
    """The segment that a killed run left for a piece, if it holds the rows of this piece."""
    left = waiting.get(name)
    if left is None or left.segment.rows != piece.num_rows:
        return None
    expected, actual = row_digests(piece), left.segment.digests
    same = (actual.content, actual.documents) == (expected.content, expected.documents)
    return left if same else None


def embedded_rows(
    lineage: Lineage, chunks: pa.Table, *, generation: int, progress: Progress | None = None
) -> pa.Table:
    """Chunk rows with their vectors and vector digests, in `segment_schema`."""
    texts = embedding_inputs(chunks)
    try:
        vectors = lineage.embedder.embed(texts, progress=progress)
    except TextTooLong as error:
        raise _named(error, chunks, lineage) from error
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


def _named(error: TextTooLong, chunks: pa.Table, lineage: Lineage) -> InvalidRequest:
    """The same error, by the names of the chunks."""
    records = records_only(chunks)
    places = sorted(error.counts, key=lambda place: -error.counts[place])
    names = pc.take(records["id"], pa.array(places[:NAMED])).to_pylist()
    listed = ", ".join(
        f"{name!r} has {error.counts[place]}" for name, place in zip(names, places, strict=False)
    )
    more = len(places) - len(names)
    return InvalidRequest(
        f"{lineage.collection}: {len(places)} chunks are longer than model {error.model!r} reads, "
        f"{error.limit} {error.unit} with title and prompt: {listed}"
        f"{f' and {more} more' if more else ''}. They are not cut, and nothing of them was "
        "embedded. Give the collection a chunker of kind tokens whose max_tokens the model reads, "
        "smaller chunks, or a model that reads more"
    )


def _embed_piece(
    lineage: Lineage,
    piece: pa.Table,
    *,
    of: CheckpointRef,
    name: str,
    history: History,
    manifest: Manifest | None,
    generation: int,
    again: bool,
    progress: Progress | None,
) -> Embedded:
    with refusals_recorded(history):
        if count_records(piece):
            require_same_model(lineage, history=history, manifest=manifest)
        started = time.monotonic()
        rows = embedded_rows(lineage, piece, generation=generation, progress=progress)
        check_embeddings(rows, lineage.spec, normalized=lineage.embedder.provenance.normalized)
    seconds = time.monotonic() - started
    segment = write_embeddings(
        history,
        rows,
        spec=lineage.spec,
        of=of,
        name=name,
        kind="replay" if again else "ingest",
        provenance=lineage.provenance.fingerprint,
        environment=lineage.embedder.environment.fingerprint,
        seconds=seconds,
    )
    return Embedded(segment, seconds)
