"""A small world to run whole verbs in: a source made of a list, stores, a clock, processes.

Everything a test needs to lose, cut, crash or race is a part that it can replace.
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from dr_pipelines.backup.resources import Resources as BackupResources
from dr_pipelines.backup.result import Snapshot
from dr_pipelines.backup.run import back_up
from dr_pipelines.chunkers.simple import CharacterChunker
from dr_pipelines.embedders.hashing import HashingEmbedder
from dr_pipelines.errors import Unavailable
from dr_pipelines.ingestion.ingest import (
    Ingested,
    ingest,
)
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.ingestion.replay import Replayed, replay
from dr_pipelines.live.live import Live
from dr_pipelines.model.backup import BackupRequest
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Vector,
)
from dr_pipelines.model.lineage import SourceProvenance
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery import Recovery, Request, Route
from dr_pipelines.model.recovery_point import LogEntry, RecoveryPoint, SegmentRef, Writer
from dr_pipelines.model.source_reading import SourceReading
from dr_pipelines.model.unread import Quarantined, Unread
from dr_pipelines.proof.verify import Verification, verify
from dr_pipelines.protocols import (
    BlobStore,
    Clock,
    Embedder,
    Lease,
    NativeFiles,
    Source,
    SourcePartition,
    VectorReader,
    VectorStore,
)
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.recovery.run import recover
from dr_pipelines.repository.history import History
from dr_pipelines.repository.log import Witness
from dr_pipelines.repository.points import resolve
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.rows import newest_rows
from dr_pipelines.sources.changes import Change, in_batches, microseconds_of
from dr_pipelines.upkeep.compaction import Compacted, compact

COLLECTION = "notes"
DIMENSION = 4
CHUNK_CHARACTERS = 8
STORE_NAME = "default"
START = datetime(2026, 1, 1, tzinfo=UTC)

SPEC = CollectionSpec(
    name=COLLECTION,
    vectors=(Vector(dimension=DIMENSION),),
    fields=(
        Field(name="title", type=FieldType.STRING),
        Field(name="team", type=FieldType.STRING, role="tenant"),
    ),
)

Row = tuple[Any, ...]
Contents = dict[str, tuple[Row, ...]]
"""Document → its records as plain values, in order of id; documents without records are absent."""


class ListedSource:
    """A source whose history is appended to by the test."""

    def __init__(self) -> None:
        self.history: list[Change] = []

    def upsert(self, document: str, text: str, *, at: datetime, **metadata: Any) -> Change:
        """Append a new version of a document; `metadata` are fields."""
        title = metadata.get("title")
        return self._append(
            document,
            at,
            text=text,
            title=title,
            metadata=canonical_json(metadata).decode(),
            size_bytes=len(text),
        )

    def delete(self, document: str, *, at: datetime) -> Change:
        """Append a deletion."""
        return self._append(document, at)

    @property
    def provenance(self) -> SourceProvenance:
        return SourceProvenance(connector="listed")

    @property
    def head(self) -> int:
        """The last position."""
        return len(self.history)

    @property
    def baseline(self) -> int:
        return 0

    def change_token(self) -> str:
        return self.anchor(self.head) or ""

    def partitions(self) -> list[SourcePartition]:
        partitions = []
        for day, changes in itertools.groupby(self.history, key=lambda change: change.day):
            positions = [change.position for change in changes]
            anchor = self.anchor(positions[-1]) or ""
            partitions.append(
                SourcePartition(day, positions[0] - 1, positions[-1], anchor, len(positions))
            )
        return partitions

    def anchor(self, position: int) -> str | None:
        if not 1 <= position <= self.head:
            return None
        return hashlib.sha256(repr(self.history[:position]).encode()).hexdigest()

    def changes(self, after: int, through: int) -> Iterator[pa.RecordBatch]:
        return in_batches(self.history[max(after, 0) : max(through, 0)])

    def quarantined(self, after: int, through: int) -> list[Quarantined]:
        del after, through  # everything can be read
        return []

    def unread(self) -> Unread:
        return Unread()

    def reading(self) -> SourceReading:
        return SourceReading(unit="changes", new=self.head)

    def _append(self, document: str, at: datetime, **content: Any) -> Change:
        time = microseconds_of(at)
        newest = max(time, self.history[-1].newest if self.history else time)
        change = Change(document, self.head + 1, 0, time, newest, **content)
        self.history.append(change)
        return change


class TickingClock:
    """A second later at every look."""

    def __init__(self, start: datetime = START) -> None:
        self._seconds = itertools.count(1)
        self._start = start

    def __call__(self) -> datetime:
        return self._start + timedelta(seconds=next(self._seconds))


class OneAtATime:
    """A lease that never waits: who finds it taken gets `Unavailable` at once."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    @contextmanager
    def __call__(self, collection: str) -> Iterator[None]:
        if collection in self.names:
            raise Unavailable(f"{collection!r} is being written to")
        self.names.add(collection)
        try:
            yield
        finally:
            self.names.discard(collection)


@dataclass(frozen=True)
class Process:
    """One run of the program, a writer of its own: the verbs, bound to what it works on."""

    repository: Repository
    store: VectorStore
    lineage: Lineage
    lease: Lease

    @property
    def collection(self) -> str:
        return self.lineage.collection

    @property
    def history(self) -> History:
        """The collection's log."""
        return History(self.repository, self.collection)

    @property
    def live(self) -> Live:
        """The collection as it is served."""
        return Live(self.store, self.lease, self.collection)

    def ingest(self, first: date | None = None, last: date | None = None) -> Ingested:
        """`dr ingest`: all days that are not covered, or those in [first, last]."""
        return ingest(
            self.lineage,
            history=self.history,
            live=self.live,
            first=first,
            last=last,
        )

    def backup(self, *, accept_absence: bool = False) -> Snapshot:
        """`dr backup` of one collection, but for its proof."""
        request = BackupRequest(
            collection=self.collection, accept_absence=accept_absence, prove=False
        )
        store_name = self.lineage.store_name
        resources = BackupResources(self.history, self.live, store_name)
        return back_up(request, resources).taken

    def compact(self) -> Compacted:
        return compact(self.history, live=self.live)

    def replay(self, first: date, last: date) -> Replayed:
        """`dr replay`."""
        return replay(
            self.lineage,
            history=self.history,
            live=self.live,
            first=first,
            last=last,
        )

    def point(self, at: str = "latest") -> RecoveryPoint:
        return resolve(self.history, at)

    def restore(
        self,
        at: str = "latest",
        *,
        route: Route = Route.LOAD,
        switch: bool = False,
        native: NativeFiles | None = None,
    ) -> Recovery:
        """`dr restore`: plan it and carry it out."""
        request = self.request(at, route=route, switch=switch)
        return recover(request, self.resources(native=native))

    def request(self, at: str = "latest", **more: Any) -> Request:
        """A recovery of the collection into the store that it is in; `more` are fields of it."""
        return Request(collection=self.collection, store=self.lineage.store_name, at=at, **more)

    def resources(self, *, native: NativeFiles | None = None) -> Resources:
        """Everything that a recovery works with."""
        return Resources(
            repository=self.repository,
            store=self.store,
            store_name=self.lineage.store_name,
            lease=self.lease,
            lineage=self.lineage,
            native=native,
        )

    def verify(self, level: int = 2) -> Verification:
        return verify(self.history, level=level)

    def folded(self, at: str = "latest") -> Contents:
        """The contents of a recovery point."""
        with self.history.fold_point(self.point(at)) as state:
            return grouped(newest_rows(state))


@dataclass(frozen=True)
class World:
    """The state that outlives a process: source, repository, store, this machine's memory and
    lease."""

    source: Source
    blobs: BlobStore
    store: VectorStore
    witness: Witness
    new_id: Callable[[], str]
    lease: Lease = field(default_factory=OneAtATime)
    clock: Clock = field(default_factory=TickingClock)
    embedder: Embedder = field(default_factory=lambda: HashingEmbedder(DIMENSION))
    collection: str = COLLECTION

    def process(
        self, *, blobs: BlobStore | None = None, store: VectorStore | None = None
    ) -> Process:
        """A new process, over its own layers around the world's blobs and store."""
        repository = Repository.create(
            blobs or self.blobs,
            capabilities={"exclusive_create": True},
            witness=self.witness,
            writer=Writer(id=self.new_id(), host="here", version="0"),
            clock=self.clock,
            new_id=self.new_id,
        )
        lineage = Lineage(
            collection=self.collection,
            spec=SPEC.physical(self.collection),
            source=self.source,
            chunker=CharacterChunker(CHUNK_CHARACTERS),
            embedder=self.embedder,
            store_name=STORE_NAME,
        )
        return Process(repository, store or self.store, lineage, self.lease)

    def named(self, collection: str, source: Source) -> "World":
        """The same world from another collection's view."""
        return replace(self, collection=collection, source=source)

    def served(self) -> Contents:
        """The contents behind the collection's alias."""
        return contents(self.store, self.collection)


def contents(store: VectorReader, name: str) -> Contents:
    """Everything a collection holds."""
    return grouped(pa.Table.from_batches([batch]) for batch in store.scan(name))


def segments_of(entry: LogEntry) -> list[SegmentRef]:
    """Segments that an entry keeps beside its manifest, such as pre-images."""
    return [ref for ref in entry.body.objects if isinstance(ref, SegmentRef)]


def table_of(rows: tuple[Row, ...]) -> pa.Table:
    """Records as a store takes them."""
    schema = store_schema(SPEC)
    columns = list(zip(*rows, strict=True)) or [() for _ in schema]
    arrays = [pa.array(column, f.type) for f, column in zip(schema, columns, strict=True)]
    return pa.table(arrays, schema=schema)


def expected_rows(change: Change, embedder: Embedder) -> tuple[Row, ...]:
    """The records that a change of a `ListedSource` must become."""
    text = change.text or ""
    pieces = [text[i : i + CHUNK_CHARACTERS] for i in range(0, len(text), CHUNK_CHARACTERS)]
    vectors = embedder.embed(pieces).tolist() if pieces else []
    metadata = _metadata(change)
    return tuple(
        (
            f"{change.document_id}#{number:06d}",
            change.document_id,
            number,
            piece,
            change.uri,
            metadata.get("title"),
            metadata.get("team"),
            None,
            tuple(vector),
        )
        for number, (piece, vector) in enumerate(zip(pieces, vectors, strict=True))
    )


def _metadata(change: Change) -> dict[str, Any]:
    return dict(json.loads(change.metadata)) if change.metadata else {}


def grouped(tables: Iterable[pa.Table]) -> Contents:
    """Records of tables, by document."""
    documents: dict[str, list[Row]] = {}
    for table in tables:
        for row in table.to_pylist():
            values = [tuple(v) if isinstance(v, list) else v for v in row.values()]
            documents.setdefault(row["document_id"], []).append(tuple(values))
    return {document: tuple(sorted(rows)) for document, rows in sorted(documents.items())}
