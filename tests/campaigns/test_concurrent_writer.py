"""A writer that never stops while snapshots are taken: each explains itself, and undoes
nothing.

The writer acts between any two batches of the scan and around any call to the repository. The store
is the worst there may be: each batch of a scan is what is there when it is read.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dr_pipelines.backup.result import Snapshot
from dr_pipelines.errors import Unavailable
from dr_pipelines.ingestion.binding import (
    bind,
)
from dr_pipelines.ingestion.commit import (
    append_days,
    prepare_day,
)
from dr_pipelines.ingestion.days import Reading, plan_days
from dr_pipelines.model.record import Presence
from dr_pipelines.repository.segments import read_segment
from dr_pipelines.testing.blob_faults import Recording
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.store_faults import RecordingStore
from dr_pipelines.testing.world import (
    START,
    OneAtATime,
    Process,
    contents,
    grouped,
    table_of,
)
from tests.campaigns.machine import new_world
from tests.campaigns.model import Model, Position, Rows
from tests.campaigns.results import CAMPAIGN, record_result

HISTORIES = CAMPAIGN.pick(short=12, long=100)
SEED = CAMPAIGN.seed(20_260_501)
DOCUMENTS = ("a", "b", "c", "d", "e", "f")


class Drifting(MemoryVectorStore):
    """Its scans have no snapshot: two records at a time, as they are when they are read."""

    def scan(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
        ordered: bool = True,
    ) -> Iterator[pa.RecordBatch]:
        del ordered  # it comes in order anyway
        last = ""
        while True:
            whole = list(super().scan(name, documents=documents, batch_rows=batch_rows))
            table = pa.Table.from_batches(whole) if whole else None
            rest = table.filter(pc.greater(table["id"], last)).slice(0, 2) if table else None
            if rest is None or not rest.num_rows:
                return
            last = rest["id"][-1].as_py()
            yield from rest.select(columns or rest.column_names).to_batches()


@dataclass
class History:
    """One collection, a writer, and what was ever seen in the store."""

    draw: random.Random
    done: Counter[str] = field(default_factory=Counter)
    seen: dict[str, list[tuple[int, Rows]]] = field(default_factory=dict)
    edits: dict[str, Rows] = field(default_factory=dict)
    tick: int = 0
    first: int = 0
    scanning: int | None = None
    began: int = 0
    busy: bool = False
    budget: int = 0

    def __post_init__(self) -> None:
        world, self.source = new_world()
        self.world = replace(world, store=Drifting())
        self.model = Model(self.source, self.world.embedder, watched=True)
        self.writer = self.world.process()
        self.now = START
        for document in DOCUMENTS[:4]:
            self.say(document)
        self.writer.ingest()
        self.model.alias = self.world.store.aliases()[self.world.collection]
        self.observe()

    @property
    def physical(self) -> str:
        return self.model.at.physical or str(self.model.alias)

    # --- the writer --------------------------------------------------------------------------

    def say(self, document: str) -> None:
        self.now += timedelta(hours=self.draw.choice([1, 20]))
        if self.draw.random() < 0.2:
            self.source.delete(document, at=self.now)
        else:
            text = f"{len(self.source.history)} " + "said " * self.draw.randrange(5)
            self.source.upsert(document, text, at=self.now)

    def act(self) -> None:
        """One thing that the writer does, while a snapshot is under way."""
        self.observe()
        acts = [self.direct, self.direct, self.direct, self.commit, self.apply, self.ingest]
        act = self.draw.choice([*acts, self.compact] if self.draw.random() < 0.2 else acts)
        self.done[act.__name__] += 1
        act()
        self.observe()

    def direct(self) -> None:
        """Someone writes a document past the pipeline; not one that is being applied just now."""
        document = self.draw.choice(DOCUMENTS)
        lease = self.world.lease
        assert isinstance(lease, OneAtATime)
        if lease.names and document in self.in_work():
            return
        rows: Rows = ()
        if self.draw.random() < 0.75:
            text = f"by hand {self.tick}"
            fields = (document, 0, text, None, None, None, None, (1.0, 0.0, 0.0, 0.0))
            rows = ((f"{document}#000000", *fields),)
        self.world.store.write(self.physical, table_of(rows), replaces=[document])
        self.model.put(document, rows)
        self.edits[document] = rows
        self.note(document, rows)

    def in_work(self) -> set[str]:
        return self.model.at.touched((*self.model.at.pending, *self.model.at.taken_over))

    def commit(self) -> None:
        """Ingest a day, and leave it to be applied."""
        self.say(self.draw.choice(DOCUMENTS))
        writer = self.writer
        bound = bind(writer.lineage, history=writer.history, live=writer.live)
        reading = Reading.of(writer.history, writer.point().manifest)
        days = self.source.partitions()
        (day,) = plan_days(writer.lineage, reading, [days[-1].day.isoformat()], source=days)
        ready = prepare_day(writer.lineage, day, history=writer.history)
        append_days(writer.lineage, [ready], history=writer.history, bound=bound)

    def apply(self) -> None:
        writer = self.writer
        try:
            writer.live.follow(writer.history)
        except Unavailable:
            self.done["apply found the lease taken"] += 1

    def ingest(self) -> None:
        self.say(self.draw.choice(DOCUMENTS))
        self.writer.ingest()

    def compact(self) -> None:
        lease = self.world.lease
        assert isinstance(lease, OneAtATime)
        if not lease.names:
            self.writer.compact()

    # --- the snapshot ------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Back up in a process that the writer interrupts wherever it can."""
        process = self.world.process()
        blobs = Recording(self.world.blobs, hook=self.interrupt)
        layered = replace(
            process,
            repository=replace(process.repository, blobs=blobs),
            store=RecordingStore(self.world.store, self.interrupt),
        )
        self.budget, self.scanning = self.draw.randrange(1, 7), None
        self.began = self.tick
        self.first = self.head()
        snapshot = layered.backup()
        self.budget = 0
        self.observe()
        return snapshot

    def interrupt(self, call: str, name: str, moment: str, number: int) -> None:
        if self.busy:
            return
        if call == "scan" and moment == "before" and not self.leased():
            self.scanning = self.scanning or self.head()
        if self.budget and self.draw.random() < (0.3 if call == "batch" else 0.05):
            self.busy, self.budget = True, self.budget - 1
            self.act()
            self.busy = False

    def leased(self) -> bool:
        lease = self.world.lease
        assert isinstance(lease, OneAtATime)
        return bool(lease.names)

    def head(self) -> int:
        return self.writer.repository.log(self.world.collection).head().number

    # --- what must hold ------------------------------------------------------------------------

    def observe(self) -> None:
        """Take in the log and the store; every change of the store has a reason."""
        self.tick += 1
        log = self.writer.repository.log(self.world.collection)
        for entry, _ in log.entries(self.model.at.number + 1):
            delta = None
            if entry.kind == "snapshot":
                delta = recorded(self.writer, entry.i)
                self.explain(delta)
            self.model.follow(entry, delta=delta)
        stored = contents(self.world.store, self.physical)
        for document in sorted({*stored, *self.model.live}):
            old, new = self.model.live.get(document, ()), stored.get(document, ())
            if old != new:
                self.require_reason(document, old, new)
                self.edits.pop(document, None)
                self.model.put(document, new)
                self.note(document, new)

    def note(self, document: str, rows: Rows) -> None:
        self.seen.setdefault(document, [(0, ())]).append((self.tick, rows))

    def require_reason(self, document: str, old: Rows, new: Rows) -> None:
        """The pipeline wrote a newest version, over something it may overwrite."""
        recent = [p for p in self.model.points.values() if p.number + 8 > self.model.at.number]
        assert new in [p.rows(document) for p in recent], document
        assert any(may_overwrite(p, document, old) for p in recent), (document, old, new)

    def explain(self, delta: dict[str, Rows]) -> None:
        """Every recorded row was there during the snapshot, and was nobody's work in progress."""
        at = self.model.at
        assert self.scanning is not None
        assert not set(delta) & at.touched((*at.pending, *range(self.scanning + 1, at.number + 1)))
        moving = at.touched((*at.pending, *range(self.first + 1, at.number + 1)))
        for document, rows in delta.items():
            assert rows in self.values(document), (document, rows)
            self.done["recorded"] += 1
            if self.edits.get(document) == rows:
                del self.edits[document]
        for document in sorted({*at.versions, *self.seen} - moving):
            values = self.values(document)
            if len(values) == 1:
                explained = delta.get(document, at.rows(document))
                repairable = document in at.touched(at.taken_over)
                assert values == {explained} or (repairable and at.logged(document, *values))

    def values(self, document: str) -> set[Rows]:
        """Values that the store held of a document from the beginning of the snapshot on."""
        history = self.seen.get(document, [(0, ())])
        before = [rows for tick, rows in history if tick <= self.began]
        return {before[-1], *(rows for tick, rows in history if tick > self.began)}

    def settle(self) -> None:
        """When everybody has stopped: what differs from the log is an edit, and gets recorded."""
        self.writer.ingest()
        self.observe()
        assert self.model.at.pending == ()
        for document in sorted({*self.model.live, *self.model.at.versions}):
            rows = self.model.live.get(document, ())
            if rows != self.model.at.rows(document):
                repairable = document in self.model.at.touched(self.model.at.taken_over)
                assert self.edits.get(document) == rows or (
                    repairable and self.model.at.logged(document, rows)
                )
        self.budget, self.began = 0, self.tick
        self.first = self.scanning = self.head()
        result = self.world.process().backup()
        self.observe()
        assert result.indeterminate == ()
        final = self.writer.folded()
        assert final == self.world.served() == self.model.at.state()
        for document, rows in self.edits.items():
            assert final.get(document, ()) == rows
        for number, position in self.model.points.items():
            assert self.writer.folded(f"log:{number}") == position.state()
        assert self.writer.verify(3).findings == ()


def may_overwrite(position: Position, document: str, stored: Rows) -> bool:
    newest = position.newest(document)
    fresh = newest is not None and newest.sequence in position.pending
    return fresh or position.logged(document, stored)


def recorded(process: Process, number: int) -> dict[str, Rows]:
    """Rows of a snapshot's own segments."""
    point = process.history.point(number)
    documents = dict[str, Rows]()
    for ref in process.history.segments(point.manifest):
        if ref.entry != number:
            continue
        rows = read_segment(process.repository, ref, spec=point.manifest.spec)
        for row in rows.filter(pc.equal(rows["chunk_index"], -1)).to_pylist():
            assert row["presence"] in (Presence.PRESENT, Presence.ABSENT)
            documents[row["document_id"]] = ()
        records = rows.filter(pc.not_equal(rows["chunk_index"], -1))
        columns = [f.name for f in next(iter(process.store.scan(process.collection))).schema]
        documents |= grouped([records.select(columns)])
    return documents


@pytest.fixture(scope="module")
def done() -> Iterator[Counter[str]]:
    """Actions of writers, over all histories."""
    done = Counter[str]()
    yield done
    figures = dict(sorted(done.items()))
    record_result("concurrent-writer", histories=HISTORIES, seed=SEED, done=figures)


@pytest.mark.parametrize("number", range(HISTORIES))
def test_a_snapshot_explains_itself_and_undoes_nothing(number: int, done: Counter[str]) -> None:
    history = History(random.Random(SEED + number))
    for _ in range(2):
        history.snapshot()
    history.settle()
    done.update(history.done)
