"""Repositories on memory adapters, and rows to put into them."""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, settings

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Vector,
)
from dr_pipelines.model.details import RefusalEvidence
from dr_pipelines.model.record import (
    DOCUMENT_ROW,
    Presence,
    record_id,
    segment_schema,
)
from dr_pipelines.model.recovery_point import (
    Coverage,
    Manifest,
    ObjectRef,
    Partition,
    SegmentList,
    SegmentRef,
    Timeline,
    Writer,
)
from dr_pipelines.protocols import BlobStore
from dr_pipelines.repository.log import Log, Witness
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segments import sort_rows, with_content_digests, with_vector_digests
from dr_pipelines.testing.memory_witness import MemoryWitness

LONG = os.environ.get("DR_LONG") == "1"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TIMELINE = Timeline(id=1, physical="books@1", store="default")
SPEC = CollectionSpec(
    name="books",
    vectors=(Vector(dimension=2),),
    fields=(
        Field(name="tenant", type=FieldType.STRING, role="tenant"),
        Field(name="tags", type=FieldType.STRINGS),
    ),
)
REFUSED = RefusalEvidence(reason="a test")
"""What an entry may say that changes nothing."""
ENTRY_MANIFEST = ObjectRef(key="books/manifests/none/0.json", sha256="0" * 64, size_bytes=0)


def examples(count: int) -> settings:
    """Hypothesis settings: many more with DR_LONG=1."""
    return settings(
        max_examples=count * 4 if LONG else count,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


EXCLUSIVE: Mapping[str, Any] = {"exclusive_create": True}


def ticking(start: datetime = NOON) -> Callable[[], datetime]:
    seconds = itertools.count()
    return lambda: start + timedelta(seconds=next(seconds))


def repository(
    blobs: BlobStore | None = None,
    *,
    writer: str = "w1",
    witness: Witness | None = None,
    capabilities: Mapping[str, Any] = EXCLUSIVE,
) -> Repository:
    """A repository, made or opened, for one writing process."""
    numbers = itertools.count()
    return Repository.create(
        MemoryBlobStore() if blobs is None else blobs,
        capabilities=capabilities,
        witness=MemoryWitness() if witness is None else witness,
        writer=Writer(id=writer, host="test", version="0"),
        clock=ticking(),
        new_id=lambda: f"{writer}-{next(numbers)}",
    )


def log(
    blobs: BlobStore,
    *,
    collection: str = "books",
    writer: str = "w1",
    witness: Witness | None = None,
    new_transaction: Callable[[], str] | None = None,
) -> Log:
    numbers = itertools.count()
    return Log(
        blobs,
        collection,
        witness=MemoryWitness() if witness is None else witness,
        writer=Writer(id=writer, host="test", version="0"),
        clock=ticking(),
        new_transaction=new_transaction or (lambda: f"{writer}-{next(numbers)}"),
    )


def index_of(ref: SegmentRef) -> ObjectRef:
    """The index of a segment that has one."""
    assert ref.index is not None
    return ref.index


def manifest(
    *,
    segments: Iterable[SegmentRef] = (),
    partitions: Mapping[str, Partition] | None = None,
    **changes: object,
) -> Manifest:
    """A state of these segments and days."""
    lists = {
        "segments": SegmentList.of(segments),
        "coverage": Coverage.of(partitions or {}),
    }
    empty = Manifest(collection="books", spec=SPEC, timeline=1, timelines=(TIMELINE,))
    return empty.model_copy(update={**lists, **changes})


@dataclass(frozen=True)
class Version:
    """A version of a document: what its document row and records say."""

    document: str
    position: int = 1
    texts: tuple[str, ...] = ("text",)
    epoch: int = 1
    ordinal: int = 0
    edit: int = 0
    generation: int = 0
    sequence: int | None = None
    presence: str = Presence.PRESENT
    tenant: str | None = None
    vector: tuple[float, float] = (0.0, 1.0)
    updated_at: datetime = NOON

    @property
    def sha256(self) -> bytes | None:
        if self.presence != Presence.PRESENT:
            return None
        return hashlib.sha256("".join(self.texts).encode()).digest()


def gone(version: Version, presence: str = Presence.DELETED) -> Version:
    """The same place in the order, but the document is gone."""
    return replace(version, presence=presence, texts=())


def rows_of(versions: Sequence[Version], spec: CollectionSpec = SPEC) -> pa.Table:
    """Sorted rows in `segment_schema(spec)`, digests filled in."""
    rows = pa.Table.from_pylist(
        [row for version in versions for row in _rows(version, spec)], schema=segment_schema(spec)
    )
    return with_vector_digests(with_content_digests(sort_rows(rows), spec), spec)


def _rows(version: Version, spec: CollectionSpec) -> list[dict[str, object]]:
    shared: dict[str, object] = {
        "document_id": version.document,
        "epoch": version.epoch,
        "position": version.position,
        "ordinal": version.ordinal,
        "edit": version.edit,
        "generation": version.generation,
        "sequence": version.sequence,
        "updated_at": version.updated_at,
    }
    head = {
        "chunk_index": DOCUMENT_ROW,
        "presence": version.presence,
        "chunk_count": len(version.texts),
        "document_sha256": version.sha256,
    }
    records = [
        {
            "chunk_index": number,
            "id": record_id(version.document, number),
            "text": text,
            "tenant": version.tenant,
            spec.vectors[0].name: list(version.vector),
        }
        for number, text in enumerate(version.texts)
    ]
    return [{**shared, **row} for row in (head, *records)]  # type: ignore[dict-item]
