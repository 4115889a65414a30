"""Checkpoints: what a stage has durably made of a stretch of the source, for one day.

A checkpoint that a log entry names is found through the manifest. One that no entry names yet
(the stage before finished, or was killed) is found by listing; it is adopted only when what it
says of itself fits and its rows prove it. A listing that misses one costs work, nothing else.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import Damaged, NotFound
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import (
    CHANGE_SCHEMA,
    Presence,
    chunk_schema,
    index_schema,
    narrow_schema,
)
from dr_pipelines.model.recovery_point import (
    MAX_OBJECT_BYTES,
    CheckpointRef,
    ObjectRef,
    PositionRange,
    SegmentRef,
)
from dr_pipelines.repository import digest
from dr_pipelines.repository.codec import (
    decode_table,
    encode_table,
    require_schema,
    sealed_metadata,
)
from dr_pipelines.repository.history import History
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segment_vectors import LABEL, adopted_vectors, index_key
from dr_pipelines.repository.segments import (
    count_records,
    has_index,
    read_records,
    records_only,
    row_digests,
    write_segment,
)

Stage = Literal["documents", "chunks", "embeddings"]


@dataclass(frozen=True, slots=True)
class Embedded:
    """A segment of an embedded piece, and how long embedding it took; None where that was not
    measured."""

    segment: SegmentRef
    seconds: float | None = None


def write_checkpoint(
    history: History,
    rows: pa.Table,
    *,
    stage: Literal["documents", "chunks"],
    schema: pa.Schema,
    position_range: PositionRange,
    provenance: str,
    input_sha256: str,
    fields: str = "",
) -> CheckpointRef:
    """Store a stage's rows. `input_sha256` names what they were made from: the source's anchor
    for documents, the documents checkpoint for chunks. `fields` identifies the declared fields by
    which documents were read or set aside."""
    require_schema(rows, schema, what=f"{stage} checkpoint")
    metadata = _labels(stage, position_range, provenance=provenance, input_sha256=input_sha256)
    if stage == "documents":
        metadata["fields"] = fields
    key = checkpoint_key(history, stage, position_range.day)
    ref = history.repository.put(key, encode_table(rows, metadata=metadata))
    return _checkpoint_ref(ref, stage, position_range, rows=rows, provenance=provenance)


def find_documents(
    history: History,
    *,
    position_range: PositionRange,
    provenance: str,
    fields: str = "",
) -> list[tuple[CheckpointRef, str]]:
    """Unclaimed documents checkpoints within a stretch, read by the same declared fields, with the
    anchor each was read at."""
    matches = []
    expected = {"provenance": provenance, "fields": fields, "epoch": str(position_range.epoch)}
    for ref, labels, data in _listed(history, "documents", position_range.day):
        made = _range_of(labels)
        if made is None or any(labels.get(name) != value for name, value in expected.items()):
            continue
        if not (position_range.after <= made.after < made.through <= position_range.through):
            continue
        rows = _decode_or_none(data, CHANGE_SCHEMA, what=ref.key)
        if rows is not None:
            made_ref = _checkpoint_ref(ref, "documents", made, rows=rows, provenance=provenance)
            matches.append((made_ref, labels.get("input", "")))
    return matches


def find_chunks(
    history: History,
    *,
    of: CheckpointRef,
    provenance: str,
    spec: CollectionSpec,
) -> CheckpointRef | None:
    """An unclaimed chunks checkpoint made from a documents checkpoint; digests are recomputed."""
    for ref, labels, data in _listed(history, "chunks", of.partition):
        if labels.get("provenance") != provenance or labels.get("input") != of.made_of:
            continue
        rows = _decode_or_none(data, chunk_schema(spec), what=ref.key)
        if rows is not None and _content_holds(rows, spec):
            return _checkpoint_ref(ref, "chunks", range_of(of), rows=rows, provenance=provenance)
    return None


def write_embeddings(
    history: History,
    rows: pa.Table,
    *,
    spec: CollectionSpec,
    of: CheckpointRef,
    name: str,
    kind: Literal["ingest", "replay"],
    provenance: str,
    environment: str,
    seconds: float | None = None,
) -> SegmentRef:
    """Store an embedded piece of a chunks checkpoint: a segment that `find_embeddings` finds again
    by its name, with the `seconds` that embedding took."""
    position_range = range_of(of)
    labels = _labels("embeddings", position_range, provenance=provenance, input_sha256=name)
    if seconds is not None:
        labels["seconds"] = f"{seconds:.3f}"
    return write_segment(
        history.repository,
        history.collection,
        rows,
        spec=spec,
        kind=kind,
        partition=of.partition,
        provenance=provenance,
        environment=environment,
        metadata={**labels, "environment": environment, "kind": kind},
        input_sha256=name,
        key=checkpoint_key(history, "embeddings", of.partition),
    )


def find_embeddings(
    history: History,
    *,
    day: str,
    provenance: str,
    spec: CollectionSpec,
    claimed: frozenset[str],
    newer_than: int = -1,
) -> dict[str, Embedded]:
    """Unclaimed segments of a day by the piece they were made from, newest generation each.

    `claimed` are keys that a manifest names; work planned at or before the log number `newer_than`
    is not taken, since what stands would beat it. Vector and content digests are recomputed.
    """
    newest: dict[str, tuple[int, Embedded]] = {}
    for ref, labels, data in _listed(history, "embeddings", day, skip=claimed):
        if labels.get("provenance") != provenance:
            continue
        rows = _decode_or_none(data, narrow_schema(spec), what=ref.key)
        if rows is None or not _content_holds(rows, spec):
            continue
        segment = _adopted(history.repository, ref, rows, spec, labels=labels, day=day)
        generation = pc.max(rows["generation"]).as_py()
        piece = labels.get("input", "")
        if generation <= newer_than:
            continue
        if segment and (piece not in newest or newest[piece][0] < generation):
            newest[piece] = (generation, Embedded(segment, _seconds(labels)))
    return {piece: embedded for piece, (_, embedded) in newest.items()}


def _seconds(labels: dict[str, str]) -> float | None:
    """Nothing but a forecast goes by it, so a label that is no time is none."""
    try:
        seconds = float(labels["seconds"])
    except (KeyError, ValueError):
        return None
    return seconds if 0 <= seconds < math.inf else None


def piece_of(chunks: CheckpointRef, piece: int) -> str:
    """Names a piece of a chunks checkpoint."""
    return f"{chunks.made_of}:{piece}"


def pieces_of(segment: SegmentRef) -> str | None:
    """The chunks checkpoint that a segment is a piece of, by its `made_of`; None for a piece of
    something else, such as of a state that was embedded again."""
    of, _, piece = (segment.input or "").partition(":")
    return of if piece.isdecimal() else None


def range_of(ref: CheckpointRef) -> PositionRange:
    """The range of the source that a checkpoint covers."""
    return PositionRange(ref.partition, ref.epoch, ref.after, ref.through)


def read_documents(repository: Repository, ref: CheckpointRef) -> pa.Table:
    """The rows of a documents checkpoint, in `CHANGE_SCHEMA`; raises `Damaged`."""
    return own_rows(_decoded(repository, ref, CHANGE_SCHEMA), ref)


def read_chunks(repository: Repository, ref: CheckpointRef, *, spec: CollectionSpec) -> pa.Table:
    """The rows of a chunks checkpoint, in `chunk_schema(spec)`; raises `Damaged`."""
    return own_rows(_decoded(repository, ref, chunk_schema(spec)), ref)


def read_whole(repository: Repository, ref: CheckpointRef, *, spec: CollectionSpec) -> pa.Table:
    """All rows of the object that a checkpoint is in; raises `Damaged`."""
    schema = CHANGE_SCHEMA if ref.stage == "documents" else chunk_schema(spec)
    return _decoded(repository, ref, schema)


def own_rows(whole: pa.Table, ref: CheckpointRef) -> pa.Table:
    """The rows of a checkpoint among those of its object; raises `Damaged` where they are not all
    there, or not of the positions that it covers."""
    if ref.first is None:
        return whole
    rows = whole.slice(ref.first, ref.rows)
    bounds = pc.min_max(rows["position"]).as_py()
    if rows.num_rows != ref.rows or (
        ref.rows and not ref.after < bounds["min"] <= bounds["max"] <= ref.through
    ):
        raise Damaged(f"{ref.key}: rows {ref.first} and on are not those of {ref.partition}")
    return rows


def _decoded(repository: Repository, ref: CheckpointRef, schema: pa.Schema) -> pa.Table:
    rows = ref.rows if ref.first is None else None
    return decode_table(repository.fetch(ref), schema, what=ref.key, rows=rows)


def checkpoint_key(history: History, stage: Stage, day: str) -> str:
    """A fresh name for a checkpoint."""
    return (
        f"{history.collection}/checkpoints/{stage}/{day}/{history.repository.new_name('-')}.parquet"
    )


def _labels(
    stage: Stage, position_range: PositionRange, *, provenance: str, input_sha256: str
) -> dict[str, str]:
    return {
        "stage": stage,
        "day": position_range.day,
        "epoch": str(position_range.epoch),
        "after": str(position_range.after),
        "through": str(position_range.through),
        "provenance": provenance,
        "input": input_sha256,
    }


def _range_of(labels: dict[str, str]) -> PositionRange | None:
    try:
        after, through = int(labels["after"]), int(labels["through"])
        return PositionRange(labels["day"], int(labels["epoch"]), after, through)
    except (KeyError, ValueError):
        return None


def _listed(
    history: History,
    stage: Stage,
    day: str,
    *,
    skip: frozenset[str] = frozenset(),
) -> Iterator[tuple[ObjectRef, dict[str, str], bytes]]:
    blobs = history.repository.blobs
    for key in blobs.keys(f"{history.collection}/checkpoints/{stage}/{day}/"):
        if not key.endswith(".parquet") or key.endswith(".index.parquet") or key in skip:
            continue
        try:
            data = blobs.read(key, (0, MAX_OBJECT_BYTES + 1))
        except NotFound:
            continue
        yield ObjectRef.of(key, data), sealed_metadata(data), data


def _decode_or_none(data: bytes, schema: pa.Schema, *, what: str) -> pa.Table | None:
    """A damaged checkpoint that nothing names is worth nothing: its work is done again."""
    try:
        return decode_table(data, schema, what=what)
    except Damaged:
        return None


def _checkpoint_ref(
    ref: ObjectRef,
    stage: Literal["documents", "chunks"],
    position_range: PositionRange,
    *,
    rows: pa.Table,
    provenance: str,
) -> CheckpointRef:
    return CheckpointRef(
        **ref.model_dump(),
        stage=stage,
        partition=position_range.day,
        epoch=position_range.epoch,
        after=position_range.after,
        through=position_range.through,
        rows=rows.num_rows,
        provenance=provenance,
        empty=_without_records(rows) if stage == "chunks" else 0,
    )


def _without_records(rows: pa.Table) -> int:
    """Versions of documents that are there and of which no chunk was made."""
    present = pc.equal(pc.fill_null(rows["presence"], ""), Presence.PRESENT)
    return pc.sum(pc.and_(present, pc.equal(rows["chunk_count"], 0))).as_py() or 0


def _adopted(
    repository: Repository,
    ref: ObjectRef,
    rows: pa.Table,
    spec: CollectionSpec,
    *,
    labels: dict[str, str],
    day: str,
) -> SegmentRef | None:
    """A segment that nothing names yet; None unless its index and its vectors are those of its
    rows."""
    index = _adopted_index(repository, ref, rows, spec) if has_index(ref.size_bytes) else None
    vectors = adopted_vectors(repository, ref.key, label=labels.get(LABEL))
    if vectors is None or (index is None and has_index(ref.size_bytes)):
        return None
    segment = SegmentRef(
        **ref.model_dump(),
        index=index,
        vectors=vectors,
        kind="replay" if labels.get("kind") == "replay" else "ingest",
        entry=0,
        rows=rows.num_rows,
        records=count_records(rows),
        first_document=rows["document_id"][0].as_py(),
        last_document=rows["document_id"][-1].as_py(),
        partition=day,
        provenance=labels.get("provenance"),
        environment=labels.get("environment"),
        input=labels.get("input"),
        digests=row_digests(rows),
    )
    return segment if _vectors_hold(repository, segment, spec) else None


def _adopted_index(
    repository: Repository, ref: ObjectRef, rows: pa.Table, spec: CollectionSpec
) -> ObjectRef | None:
    key = index_key(ref.key)
    try:
        data = repository.blobs.read(key, (0, MAX_OBJECT_BYTES + 1))
    except NotFound:
        return None
    index = _decode_or_none(data, index_schema(spec), what=key)
    if index is None or not index.equals(rows.select(index.column_names)):
        return None
    return ObjectRef.of(key, data)


def _content_holds(rows: pa.Table, spec: CollectionSpec) -> bool:
    records = records_only(rows)
    return bool(
        records["content_digest"].combine_chunks().equals(digest.content_digests(records, spec))
    )


def _vectors_hold(repository: Repository, segment: SegmentRef, spec: CollectionSpec) -> bool:
    names = ["id", "vector_digest", *(vector.name for vector in spec.vectors)]
    try:
        records = read_records(repository, segment, spec=spec, columns=names)
    except Damaged:
        return False
    return bool(
        records["vector_digest"].combine_chunks().equals(digest.vector_digests(records, spec))
    )
