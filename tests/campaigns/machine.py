"""A state machine over whole verbs: whatever is done in whatever order, a model knows the rest."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import pyarrow.compute as pc
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import NotFound, Refused
from dr_pipelines.model.details import PreimageEvidence, RecoveryEvidence
from dr_pipelines.model.record import DOCUMENT_ROW, store_schema
from dr_pipelines.model.recovery import Route
from dr_pipelines.model.recovery_point import LogEntry
from dr_pipelines.repository.history import History
from dr_pipelines.repository.rows import newest_rows
from dr_pipelines.repository.segments import read_segment
from dr_pipelines.testing.blob_faults import Recording
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.store_faults import RecordingStore
from dr_pipelines.testing.world import (
    SPEC,
    START,
    Contents,
    ListedSource,
    OneAtATime,
    Process,
    Row,
    World,
    contents,
    grouped,
    segments_of,
    table_of,
)
from tests.campaigns.model import Model

DOCUMENTS = ("a", "b", "c", "d/e", "ü", "f#000000", "g")
TEXTS = ("", "one", "one two three", "four five six seven eight", "日本語のテキスト", "\x00 -0.0")
WHO = st.sampled_from([0, 0, 1, 1, 2])
"""Which process runs a verb: one of two that stay, or a new one in the place of the first."""
CRASHES = st.one_of(st.none(), st.none(), st.tuples(st.integers(1, 90), st.booleans()))


def is_unforetold(entry: LogEntry) -> bool:
    """An entry that comes before a direct edit is overwritten, of which there may be any number, or
    the report of a recovery, which one that fails leaves too."""
    return isinstance(entry.body.detail, PreimageEvidence | RecoveryEvidence)


class Crashed(BaseException):
    """The process is gone; nothing in it may catch this."""


@dataclass
class Fuse:
    """Ends a process at its n-th call of a store, before or after it; `n` None: never."""

    n: int | None = None
    after: bool = False
    calls: int = 0
    blown: bool = False

    def __call__(self, call: str, name: str, moment: str, number: int) -> None:
        if moment == "before":
            self.calls += 1
        if self.blown or (self.calls == self.n and (moment == "after") == self.after):
            self.blown = True
            raise Crashed


def new_world() -> tuple[World, ListedSource]:
    source, numbers = ListedSource(), itertools.count(1)
    world = World(
        source,
        MemoryBlobStore(),
        MemoryVectorStore(),
        MemoryWitness(),
        lambda: f"w{next(numbers):06d}",
    )
    return world, source


def copied(world: World) -> World:
    """The same repository and store on another machine, whose ids are nobody else's."""
    original, blobs, store = world.store, MemoryBlobStore(), MemoryVectorStore()
    assert isinstance(original, MemoryVectorStore)
    for key in world.blobs.keys(""):
        blobs.create(key, world.blobs.read(key))
    store.tables.update(original.tables)
    store.targets.update(original.targets)
    return replace(world, blobs=blobs, store=store, witness=MemoryWitness(), lease=OneAtATime())


@dataclass
class Steps:
    """How much was done, of what; shared by all runs of a campaign."""

    done: dict[str, int] = field(default_factory=dict)

    def add(self, name: str) -> None:
        self.done[name] = self.done.get(name, 0) + 1

    @property
    def total(self) -> int:
        return sum(self.done.values())


class Collections(RuleBasedStateMachine):
    """One collection from its first ingestion on. `steps` counts over all runs."""

    steps = Steps()

    def __init__(self) -> None:
        super().__init__()
        self.world, self.source = new_world()
        self.model = Model(self.source, self.world.embedder)
        self.processes = [self.world.process(), self.world.process()]
        self.now = START
        self.lost = False
        self.checked: tuple[int, object] = (-1, None)
        self.last_findings: dict[str, Any] = {}

    # --- the source ------------------------------------------------------------------------

    @initialize(days=st.integers(1, 3))
    def begin(self, days: int) -> None:
        for day in range(days):
            self.change("a", TEXTS[1 + day], 1 if day else 0, 0)
            self.change("b", TEXTS[2 + day], 0, 0)

    @rule(
        document=st.sampled_from(DOCUMENTS),
        text=st.one_of(st.none(), *[st.just(t) for t in TEXTS]),
        more=st.lists(st.tuples(st.sampled_from(DOCUMENTS), st.sampled_from(TEXTS)), max_size=4),
        days=st.sampled_from([0, 0, 0, 1, 1, 3]),
        late_hours=st.sampled_from([0, 0, 0, 5, 50]),
    )
    def source_changes(
        self,
        document: str,
        text: str | None,
        more: list[tuple[str, str]],
        days: int,
        late_hours: int,
    ) -> None:
        self.steps.add("source")
        self.change(document, text, days, late_hours)
        for other, content in more:
            self.change(other, content, 0, 0)

    def change(self, document: str, text: str | None, days: int, late_hours: int) -> None:
        self.now += timedelta(days=days, hours=1)
        at = self.now - timedelta(hours=late_hours)
        if text is None:
            self.source.delete(document, at=at)
        else:
            self.source.upsert(document, text, at=at, title=document, team=text[:1])

    # --- verbs -----------------------------------------------------------------------------

    @rule(who=WHO, some=st.booleans(), pick=st.integers(0, 9), crash=CRASHES)
    def ingest(self, who: int, some: bool, pick: int, crash: Any) -> None:
        days = self.model.uncovered()
        only = date.fromisoformat(days[pick % len(days)]) if some and days else None
        days = [d for d in days if only is None or d == only.isoformat()]
        each = ["ingest"] if self.lost else ["ingest", "applied"]
        expected = [] if self.lost else self.finishing()
        expected += [kind for _ in days for kind in each]
        first = len(self.model.points) == 0
        report = self.run("ingest", who, crash, lambda p: p.ingest(first=only, last=only), expected)
        if report is not None:
            assert list(report.days) == days
            assert (report.unapplied is not None) == (self.lost and bool(self.model.at.pending))
        if first:
            self.model.alias = self.world.store.aliases().get(self.world.collection)

    @precondition(lambda self: self.model.points and not self.lost)
    @rule(who=WHO, crash=CRASHES)
    def backup(self, who: int, crash: Any) -> None:
        self.run("backup", who, crash, lambda p: p.backup(), [*self.finishing(), "snapshot"])

    @precondition(lambda self: self.model.at.covered and not self.lost)
    @rule(who=WHO, pick=st.integers(0, 9), length=st.integers(0, 2), crash=CRASHES)
    def replay(self, who: int, pick: int, length: int, crash: Any) -> None:
        days = sorted(self.model.at.covered)
        pick = pick % len(days)
        chosen = days[pick : pick + length + 1]
        first, last = date.fromisoformat(chosen[0]), date.fromisoformat(chosen[-1])
        expected = [*self.finishing(), *(kind for _ in chosen for kind in ("ingest", "applied"))]
        report = self.run("replay", who, crash, lambda p: p.replay(first, last), expected)
        if report is not None:
            assert list(report.days) == chosen

    @precondition(lambda self: self.model.points and not self.lost)
    @rule(who=WHO, crash=CRASHES)
    def compact(self, who: int, crash: Any) -> None:
        done = self.run("compact", who, crash, lambda p: p.compact(), None)
        if done is not None and done.number is not None:
            assert done.number == self.model.at.number

    @precondition(lambda self: self.model.points)
    @rule(
        who=WHO,
        at=st.sampled_from(["latest", "latest", "log", "seq"]),
        pick=st.integers(0, 99),
        route=st.sampled_from([Route.LOAD, Route.REPLAY]),
        switch=st.booleans(),
        crash=CRASHES,
    )
    def restore(self, who: int, at: str, pick: int, route: Route, switch: bool, crash: Any) -> None:
        number = 1 + pick % self.model.at.number
        base = self.model.points[self.model.at.number if at == "latest" else number]
        if at == "seq":
            reached = max(point.frontier() for point in self.model.points.values())
            position = 1 + pick % reached if reached else 0
            look = self.answering(position)
            if look is None:
                self.fails("no-such-seq", who, lambda p: p.point(f"seq:{position}"), NotFound)
                return
            base = self.model.cut(look, position)
            point_name = f"seq:{position}"
        else:
            point_name = "latest" if at == "latest" else f"log:{number}"
        expected = ["restore", "applied"] if switch else []
        done = self.run(
            f"restore-{route}{'-switch' if switch else ''}",
            who,
            crash,
            lambda p: p.restore(point_name, route=route, switch=switch),
            expected,
        )
        if done is not None:
            assert contents(self.world.store, done.plan.physical) == base.state()
            assert done.bit_identical
            assert done.records == sum(len(rows) for rows in base.state().values())

    def answering(self, position: int) -> Any:
        """The newest point that holds every version from a position back, or None."""
        for number in sorted(self.model.points, reverse=True):
            point = self.model.points[number]
            if point.since <= position <= point.frontier():
                return point
        return None

    # --- the world -------------------------------------------------------------------------

    @precondition(lambda self: self.editable())
    @rule(document=st.sampled_from(DOCUMENTS), text=st.sampled_from(TEXTS), vector=st.booleans())
    def direct_write(self, document: str, text: str, vector: bool) -> None:
        """Someone writes a document, or a vector of it, past the pipeline."""
        self.steps.add("direct-write")
        rows = self.model.live.get(document, ())
        if vector and rows:
            changed = (*rows[0][:-1], (0.0, 0.0, -0.0, 1.0))
            self.write(document, (changed, *rows[1:]))
        elif text:
            row: Row = (
                *(f"{document}#000000", document, 0, text, None, "direct", None, None),
                (1.0, 0.0, 0.0, 0.0),
            )
            self.write(document, (row,))
        else:
            self.write(document, rows[:-1])

    @precondition(lambda self: self.editable() and self.model.live)
    @rule(pick=st.integers(0, 9))
    def direct_delete(self, pick: int) -> None:
        self.steps.add("direct-delete")
        self.write(sorted(self.model.live)[pick % len(self.model.live)], ())

    @precondition(lambda self: self.editable() and len(self.model.points) > 1)
    @rule(pick=st.integers(0, 99), document=st.sampled_from(DOCUMENTS))
    def direct_return(self, pick: int, document: str) -> None:
        """Someone puts a document back to what it once was."""
        self.steps.add("direct-return")
        number = 1 + pick % self.model.at.number
        self.write(document, self.model.points[number].rows(document))

    @precondition(lambda self: self.editable())
    @rule(sure=st.integers(0, 5))
    def lose_the_collection(self, sure: int) -> None:
        if sure:
            return
        self.steps.add("loss")
        store = self.world.store
        assert isinstance(store, MemoryVectorStore)
        store.targets.clear()
        store.tables.clear()
        self.model.live, self.model.alias, self.lost = {}, None, True

    @precondition(lambda self: self.lost and self.model.at.covered)
    @rule(who=WHO, verb=st.sampled_from(["backup", "replay"]), crash=CRASHES)
    def nothing_works_until_it_is_restored(self, who: int, verb: str, crash: Any) -> None:
        """Operations that need the store report that it is gone; replays in the log remain."""
        day = date.fromisoformat(min(self.model.at.covered))
        verbs: dict[str, Callable[[Process], Any]] = {
            "backup": lambda p: p.backup(),
            "replay": lambda p: p.replay(day, day),
        }
        self.fails(f"{verb}-lost", who, verbs[verb], NotFound)
        self.run(
            "restore-lost-switch",
            who,
            crash,
            lambda p: p.restore(switch=True),
            ["restore", "applied"],
        )

    def editable(self) -> bool:
        return bool(self.model.points) and not self.lost and not self.switching()

    def switching(self) -> bool:
        """True if a restore is committed and its alias perhaps not moved yet."""
        return bool(self.model.restores & set(self.model.at.pending))

    def write(self, document: str, rows: tuple[Row, ...]) -> None:
        self.world.store.write(self.model.at.physical, table_of(rows), replaces=[document])
        self.model.put(document, tuple(sorted(rows)))

    # --- running a verb ----------------------------------------------------------------------

    def process(self, who: int) -> Process:
        if who == 2:
            self.processes[0] = self.world.process()
        return self.processes[who % 2]

    def finishing(self) -> list[str]:
        return ["applied"] if self.model.at.pending else []

    def fails(
        self, name: str, who: int, verb: Callable[[Process], Any], error: type[Exception]
    ) -> None:
        self.steps.add(name)
        try:
            verb(self.process(who))
        except error:
            self.follow(None)
            return
        raise AssertionError(f"{name} did not fail with {error.__name__}")

    def run(
        self,
        name: str,
        who: int,
        crash: tuple[int, bool] | None,
        verb: Callable[[Process], Any],
        expected: list[str] | None,
    ) -> Any:
        """Run a verb, perhaps cut short, and follow what it committed."""
        n, after = crash or (None, False)
        fuse = Fuse(n, after)
        process = self.process(who)
        layered = replace(
            process,
            repository=replace(process.repository, blobs=Recording(self.world.blobs, hook=fuse)),
            store=RecordingStore(self.world.store, fuse),
        )
        try:
            result = verb(layered)
        except Crashed:
            self.steps.add(f"{name}-crash")
            self.crashed(who % 2, expected)
            return None
        except Refused:
            self.steps.add(f"{name}-refused")
            assert name == "backup"
            self.follow(self.finishing())
            assert self.model.look().refused
            return None
        self.steps.add(name)
        self.follow(expected, switched=name.endswith("switch"))
        if name == "backup":
            assert self.preimages(self.newest()) == self.last_findings["overwritten"]
            assert result.equal == (not self.last_findings["stale"])
            assert set(result.findings.recorded) == set(self.last_findings["recorded"])
            assert set(result.findings.stale) == set(self.last_findings["stale"])
            self.model.repair(self.last_findings["stale"])
        return result

    def crashed(self, who: int, expected: list[str] | None) -> None:
        """Commits of a crashed operation are a beginning of it, and every write had a reason."""
        before = self.model.at.number
        assert isinstance(self.world.lease, OneAtATime)
        self.world.lease.names.clear()
        self.processes[who] = self.world.process()
        self.follow(None)
        kinds = self.kinds(before)
        assert expected is None or kinds == expected[: len(kinds)], (kinds, expected)
        aliases = self.world.store.aliases()
        alias = aliases.get(self.world.collection)
        if self.model.at.number == 0:
            return
        if self.switching():
            assert alias in (self.model.alias, self.model.at.physical)
        self.model.alias = alias
        if self.lost:
            return
        stored = contents(self.world.store, self.model.at.physical)
        for document in sorted({*stored, *self.model.live}):
            old, new = self.model.live.get(document, ()), stored.get(document, ())
            assert old == new or self.model.may_become(document, old, new), document
            self.model.put(document, new)

    def kinds(self, after: int) -> list[str]:
        log = self.processes[0].repository.log(self.world.collection)
        return [entry.kind for entry, _ in log.entries(after + 1) if not is_unforetold(entry)]

    def follow(self, expected: list[str] | None, *, switched: bool = False) -> None:
        """Take in what is new in the log."""
        log = self.processes[0].repository.log(self.world.collection)
        new = [entry for entry, _ in log.entries(self.model.at.number + 1)]
        if expected is not None:
            assert [entry.kind for entry in new if not is_unforetold(entry)] == expected
        if self.model.alias is None and not self.lost:
            self.model.alias = self.world.store.aliases().get(self.world.collection)
        for entry in new:
            delta = None
            if entry.kind == "snapshot":
                look = self.model.look()
                assert not look.refused
                delta = look.recorded
                repaired = {d: self.model.live.get(d, ()) for d in sorted(look.stale)}
                overwritten = {document: rows for document, rows in repaired.items() if rows}
                self.last_findings = {
                    "recorded": delta,
                    "stale": look.stale,
                    "overwritten": overwritten,
                }
            if entry.kind == "restore":
                self.lost = False
            self.model.follow(entry, delta=delta)
            if entry.kind == "applied":
                assert self.preimages(entry) == self.model.overwritten

    def newest(self) -> LogEntry:
        log = self.processes[0].repository.log(self.world.collection)
        return log.read(self.model.at.number)[0]

    def preimages(self, entry: LogEntry) -> Contents:
        """The pre-images that an entry kept of what it replaced."""
        preimages, repository = Contents(), self.processes[0].repository
        for ref in segments_of(entry):
            rows = read_segment(repository, ref, spec=SPEC)
            records = rows.filter(pc.not_equal(rows["chunk_index"], DOCUMENT_ROW))
            preimages |= grouped([records.select(store_schema(SPEC).names)])
        return preimages

    # --- what must hold ----------------------------------------------------------------------

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        if self.model.at.number == 0:
            return
        live = None if self.lost else contents(self.world.store, self.model.at.physical)
        if live is not None:
            assert live == self.model.live
        if not self.lost and not self.switching():
            assert self.world.store.aliases()[self.world.collection] == self.model.at.physical
        if self.checked[0] == self.model.at.number:
            return
        self.checked = (self.model.at.number, None)
        self.check_point(self.model.at.number)

    def check_point(self, number: int) -> None:
        repository, position = self.processes[0].repository, self.model.points[number]
        history = History(repository, self.world.collection)
        point = history.point(number)
        manifest = point.manifest
        with history.fold_point(point) as state:
            assert grouped(newest_rows(state)) == position.state()
            assert state.digests() == manifest.digests
            assert state.counts() == manifest.counts
        covered = {day: (p.after, p.through) for day, p in history.days(manifest).items()}
        assert covered == position.covered
        assert point.entry.body.pending == position.pending
        assert manifest.taken_over == position.taken_over
        assert (manifest.timeline, manifest.since) == (position.timeline, position.since)
        assert manifest.current.physical == position.physical
        assert manifest.counts.documents == position.present()
        assert manifest.spec.same_contract(SPEC)

    def teardown(self) -> None:
        """Nothing that ever was a recovery point is lost, and catching up leaves nothing out."""
        if self.model.at.number == 0:
            return
        if self.lost:
            self.run("final-switch", 0, None, lambda p: p.restore(switch=True), None)
        self.run("final-ingest", 0, None, lambda p: p.ingest(), None)
        assert self.model.uncovered() == []
        self.run("final-again", 0, None, lambda p: p.ingest(), [])
        self.everything_is_as_the_model_says()
        for document, newest in {c.document_id: c for c in self.source.history}.items():
            version = self.model.at.newest(document)
            assert version is not None
            assert version.order[0] == newest.position
        for number in self.model.points:
            self.check_point(number)
        assert self.processes[0].verify(3).findings == ()
