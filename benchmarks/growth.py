"""A repository after many days: what the same work costs as its history gets longer."""

import itertools
import json
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean, median
from typing import Any, Literal, get_args

from benchmarks.harness import Figure, Laps, Ratio, Scale
from dr_pipelines.backup.resources import Resources as BackupResources
from dr_pipelines.backup.run import back_up
from dr_pipelines.blobs.local import LocalBlobStore
from dr_pipelines.cli.read import NEWEST_POINTS
from dr_pipelines.contents.documents import stored_documents
from dr_pipelines.ingestion.lineage import Feed
from dr_pipelines.model.backup import BackupRequest
from dr_pipelines.monitoring.exposure import protection_status
from dr_pipelines.protocols import BlobStore
from dr_pipelines.recovery.stopped import VerdictRefused
from dr_pipelines.repository import points
from dr_pipelines.sources.jsonl import JsonlSource
from dr_pipelines.sources.marks_file import MarksFile
from dr_pipelines.testing.blob_faults import CallName, Recording
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import Process, World

WHAT = """\
A feed of one line a day, by the hashing embedder, in one process, from a directory into a store in
memory. In `rewritten` 200 documents get a new text in turn, all of them on the first day; in `new`
each day brings another document, up to day 500. Each verb runs at every number of days, as a
process that starts on a machine that knows the feed: CPU seconds and requests of objects. Pages of
lists fill up and are joined in cycles of 7, 8, 49 and 64 days, so that each figure is of five days,
13 days apart: the median of CPU seconds, the mean of requests. `day` is the ingestion of one new
day and `nothing` one that finds none; `documents` lists the state at the newest point. A verb that
follows what changed costs the same at the last number of days as at 100. `verify` looks at every
object of every point, once for each number of days."""
BEFORE: Mapping[str, Mapping[str, Any]] = {
    "CPU seconds": {
        "day": {50: 0.2, 100: 0.28, 500: 0.57},
        "nothing": {50: 0.02, 100: 0.03, 500: 0.1},
        "status": {50: 0.02, 100: 0.03, 500: 0.1},
        "points": {50: 0.21, 100: 0.61, 500: 12.22},
        "verify": {50: 0.13, 100: 0.43, 500: 14.75},
        "documents": {50: 0.13, 100: 0.27, 500: 1.08},
        "backup": {50: 0.21, 100: 0.32, 500: 1.64},
        "restore": {50: 0.25, 100: 0.45, 500: 1.46},
    },
    "requests": {
        "day": {50: 80, 100: 80, 500: 108},
        "nothing": {50: 15, 100: 15, 500: 15},
        "status": {50: 106, 100: 108, 500: 518},
        "points": {50: 153, 100: 306, 500: 1508},
        "verify": {50: 405, 100: 809, 500: 5297},
        "documents": {50: 104, 100: 204, 500: 710},
        "backup": {50: 441, 100: 745, 500: 3582},
        "restore": {50: 114, 100: 214, 500: 720},
    },
    "one day more": {
        "objects": {50: 7, 100: 7, 500: 7},
        "bytes": {50: 142_423, 100: 253_656, 500: 747_910},
    },
}
"""Of `rewritten`, as it was when every manifest had all days and segments were folded one by one;
`points` listed all of them, and no backup had been taken before a status."""
DOCUMENTS = 200
FIRST_DAY = datetime(2019, 1, 1, tzinfo=UTC)
Case = Literal["rewritten", "new"]
KINDS: tuple[CallName, ...] = ("create", "read", "size", "keys")
CASES: tuple[Case, ...] = get_args(Case)
LAP_DAYS = 13
NEW_DAYS = 500
"""Of `new`, where a state grows with its days, and what reads all of it with that."""
FLAT = ("nothing", "day", "status", "points", "documents", "backup", "restore")
ONCE = ("verify",)
"""Of the verbs: it is linear in the history."""
AIM = 1.5


@dataclass
class Requests:
    """Calls of a store of objects since the last look, by kind, and the bytes that they moved."""

    calls: dict[str, int] = field(default_factory=dict)
    read_bytes: int = 0
    written_bytes: int = 0


class Metered(Recording):
    """Counts what passes through."""

    def __init__(self, blobs: BlobStore) -> None:
        super().__init__(blobs)
        self._moved = Requests()

    def create(self, key: str, data: bytes | memoryview) -> None:
        self._moved.written_bytes += len(data)
        super().create(key, data)

    def read(self, key: str, range: tuple[int, int] | None = None) -> bytes:
        data = super().read(key, range)
        self._moved.read_bytes += len(data)
        return data

    def taken(self) -> Requests:
        """Calls and bytes since the last look."""
        moved, self._moved = self._moved, Requests()
        moved.calls = {name: self.count(name) for name in KINDS}
        self.calls.clear()
        return moved


@dataclass(frozen=True)
class Cost:
    """One verb, once."""

    cpu_seconds: float
    requests: Requests

    @property
    def calls(self) -> int:
        """Requests of all kinds."""
        return sum(self.requests.calls.values())


class DailyFeed:
    """A feed that says one thing a day, but for the first day where its documents are rewritten."""

    def __init__(self, path: Path, case: Case, *, documents: int = DOCUMENTS) -> None:
        self.path = path
        self._case = case
        self._documents = documents
        self._positions = itertools.count(1)
        self.days = 0

    def add_days(self, count: int) -> None:
        """So many days more."""
        with self.path.open("a") as file:
            for _ in range(count):
                for number in self._changed():
                    file.write(json.dumps(self._line(number)) + "\n")
                self.days += 1

    def _changed(self) -> Iterable[int]:
        if self._case == "new":
            return [self.days]
        return range(self._documents) if self.days == 0 else [self.days % self._documents]

    def _line(self, number: int) -> dict[str, Any]:
        return {
            "seq": next(self._positions),
            "ts": f"{FIRST_DAY + timedelta(days=self.days):%Y-%m-%dT%H:%M:%SZ}",
            "op": "upsert",
            "id": f"document-{number:05d}",
            "text": f"day{self.days}",
            "metadata": {},
        }


class Growing:
    """A collection that is ingested day by day, and verbs on it, each as a process of its own."""

    def __init__(
        self, directory: Path, case: Case, *, blobs: BlobStore | None = None, documents: int = 200
    ) -> None:
        self.feed = DailyFeed(directory / "feed.jsonl", case, documents=documents)
        self.metered = Metered(blobs or LocalBlobStore(directory / "repository"))
        self.marks = MarksFile(directory / "marks" / "feed", directory)
        ids = itertools.count()
        self.world = World(
            source=JsonlSource(self.feed.path),
            blobs=self.metered,
            store=MemoryVectorStore(),
            witness=MemoryWitness(),
            new_id=lambda: f"01890000-0000-7000-8000-{next(ids):012d}",
        )

    def grow(self, days: int) -> None:
        """Ingest up to a number of days."""
        self.feed.add_days(days - self.feed.days)
        self.process().ingest()
        _backup(self.process())  # as there is every day: a status looks back to the newest proof

    def process(self) -> Process:
        """One that starts: it has read nothing of the repository, and of the feed the machine has
        the marks that the process before left."""
        return replace(self.world, source=JsonlSource(self.feed.path, marks=self.marks)).process()

    def cost(self, work: Callable[[Process], object]) -> Cost:
        """Of some work, by a new process."""
        process = self.process()
        self.metered.taken()
        started = time.process_time()
        work(process)
        return Cost(time.process_time() - started, self.metered.taken())

    def costs(self, *, without: Container[str] = ()) -> dict[str, Cost]:
        """Every verb's, where the collection stands; a day more is there afterwards."""
        costs_at = {name: self.cost(work) for name, work in VERBS.items() if name not in without}
        self.feed.add_days(1)
        return {"day": self.cost(Process.ingest), **costs_at}


def _backup(process: Process) -> None:
    resources = BackupResources(process.history, process.live, process.lineage.store_name)
    back_up(BackupRequest(collection=process.collection), resources)


def _status(process: Process) -> None:
    feed = Feed(process.collection, process.lineage.source)
    protection_status(process.history, feed=feed, edited=False)


def _restore(process: Process) -> None:
    """A verdict on its answers may stop it at the end: texts of one line are much alike, and so
    which ten are nearest is open."""
    store = process.store
    assert isinstance(store, MemoryVectorStore)
    before = set(store.tables)
    with suppress(VerdictRefused):
        process.restore()
    for name in set(store.tables) - before:
        store.drop(name)


def _points(process: Process) -> None:
    list(points.points(process.history, newest=NEWEST_POINTS))


def _documents(process: Process) -> None:
    list(stored_documents(process.history, process.point("latest")))


VERBS: Mapping[str, Callable[[Process], object]] = {
    "nothing": Process.ingest,
    "status": _status,
    "points": _points,
    "verify": Process.verify,
    "documents": _documents,
    "backup": _backup,
    "restore": _restore,
}


def run(scale: Scale, directory: Path) -> Figure:
    """Measure both cases; the ratios are of the last number of days to 100, or to the first."""
    facts = {f"rewritten, {name}, as it was": dict(rows) for name, rows in BEFORE.items()}
    ratios = list[Ratio]()
    for case in CASES:
        place = directory / case
        place.mkdir()
        days = [d for d in scale.growth_days if case == "rewritten" or d <= NEW_DAYS]
        costs_at = measure(Growing(place, case), days, laps=scale.repeats)
        facts |= {f"{case}, {name}": rows for name, rows in _tables(costs_at).items()}
        if case == "rewritten":
            ratios += _ratios(costs_at)
    return Figure("growth", WHAT, "warm: a directory", Laps(), facts, tuple(ratios))


def measure(
    growing: Growing, days: Iterable[int], *, laps: int
) -> dict[int, dict[str, list[Cost]]]:
    """Costs of every verb by number of days, of a few days from there on."""
    costs_at = dict[int, dict[str, list[Cost]]]()
    for count in days:
        costs_at[count] = {}
        for lap in range(laps):
            growing.grow(count + lap * LAP_DAYS)
            costs = growing.costs(without=ONCE if lap else ())
            for name, cost in costs.items():
                costs_at[count].setdefault(name, []).append(cost)
    return costs_at


def _cpu_seconds(costs: Sequence[Cost]) -> float:
    return median(cost.cpu_seconds for cost in costs)


def _calls(costs: Sequence[Cost]) -> float:
    return mean(cost.calls for cost in costs)


def _tables(
    costs_at: Mapping[int, Mapping[str, Sequence[Cost]]],
) -> dict[str, dict[str, dict[int, float]]]:
    first = next(iter(costs_at.values()))
    by_verb = {name: {days: costs[name] for days, costs in costs_at.items()} for name in first}
    written = {days: [c.requests for c in costs] for days, costs in by_verb["day"].items()}
    return {
        "CPU seconds": {
            name: {days: round(_cpu_seconds(costs), 3) for days, costs in by_days.items()}
            for name, by_days in by_verb.items()
        },
        "requests": {
            name: {days: round(_calls(costs), 1) for days, costs in by_days.items()}
            for name, by_days in by_verb.items()
        },
        "one day more": {
            "objects": {
                d: round(mean(r.calls["create"] for r in w), 1) for d, w in written.items()
            },
            "bytes": {d: round(mean(r.written_bytes for r in w)) for d, w in written.items()},
            "bytes at most": {d: max(r.written_bytes for r in w) for d, w in written.items()},
        },
    }


def _ratios(costs_at: Mapping[int, Mapping[str, Sequence[Cost]]]) -> list[Ratio]:
    last = max(costs_at)
    base = 100 if 100 in costs_at else min(costs_at)
    figures: Mapping[str, Callable[[Sequence[Cost]], float]] = {
        "CPU": _cpu_seconds,
        "requests": _calls,
    }
    return [
        Ratio(
            f"{name}, {what}: {last} days : {base}",
            figure(costs_at[last][name]) / figure(costs_at[base][name]),
            AIM,
        )
        for what, figure in figures.items()
        for name in FLAT
    ]
