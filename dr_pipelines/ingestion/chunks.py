"""Chunks: the documents of a day, cut."""

from dr_pipelines.errors import NotFound
from dr_pipelines.ingestion.days import Day
from dr_pipelines.ingestion.documents import DocumentsRead
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.ingestion.rows import build_chunk_rows, check_chunks
from dr_pipelines.model.record import chunk_schema
from dr_pipelines.model.recovery_point import CheckpointRef
from dr_pipelines.repository.checkpoints import (
    find_chunks,
    range_of,
    read_documents,
    write_checkpoint,
)
from dr_pipelines.repository.history import History
from dr_pipelines.repository.segments import with_content_digests


def chunk_day(
    lineage: Lineage,
    day: Day,
    read: DocumentsRead,
    *,
    history: History,
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
        done = logged.get(ref)
        if done is None or done.provenance != lineage.chunks_fingerprint:
            done = _left_chunks(lineage, ref, history=history)
        if done is None and adopt_only:
            raise NotFound(f"{lineage.collection}: the documents of {day.name} are not cut yet")
        made.append(done or _cut_documents(lineage, ref, history=history, generation=generation))
    return tuple(made)


def _left_chunks(lineage: Lineage, of: CheckpointRef, *, history: History) -> CheckpointRef | None:
    return find_chunks(
        history,
        of=of,
        provenance=lineage.chunks_fingerprint,
        spec=lineage.spec,
    )


def _cut_documents(
    lineage: Lineage, of: CheckpointRef, *, history: History, generation: int
) -> CheckpointRef:
    rows = build_chunk_rows(
        read_documents(history.repository, of),
        lineage.chunker,
        spec=lineage.spec,
        epoch=of.epoch,
        generation=generation,
        provenance_fingerprint=lineage.chunks_fingerprint,
        batch=history.repository.writer.run or history.repository.writer.id,
    )
    check_chunks(rows, lineage.spec)
    return write_checkpoint(
        history,
        with_content_digests(rows, lineage.spec),
        stage="chunks",
        schema=chunk_schema(lineage.spec),
        position_range=range_of(of),
        provenance=lineage.chunks_fingerprint,
        input_sha256=of.made_of,
    )
