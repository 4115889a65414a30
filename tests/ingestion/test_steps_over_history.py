"""A day that is ingested step by step asks for no more, however many days the log holds."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.ingestion.by_stage import commit_days, cut_days, embed_days, read_days
from dr_pipelines.ingestion.epochs import accept_epoch
from dr_pipelines.testing.blob_faults import Recording
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import START, ListedSource, Process, World

FEW, MANY = 9, 33
STEPS = ("read", "cut", "embed", "commit")


class Counted(ListedSource):
    """Counts the changes that are read of it."""

    changes_read = 0

    def changes(self, after: int, through: int):  # type: ignore[no-untyped-def]
        for batch in super().changes(after, through):
            self.changes_read += batch.num_rows
            yield batch

    def add(self, day: int) -> str:
        at = START + timedelta(days=day)
        return self.upsert(f"document {day % 5}", f"of day {day}", at=at).day.isoformat()


def days_before(days: int) -> tuple[World, Counted]:
    """A world whose log holds so many days."""
    source, numbers = Counted(), iter(range(10**9))
    world = World(
        source=source,
        blobs=Recording(MemoryBlobStore()),
        store=MemoryVectorStore(),
        witness=MemoryWitness(),
        new_id=lambda: f"01890000-0000-7000-8000-{next(numbers):012d}",
    )
    for day in range(days):
        source.add(day)
    world.process().ingest()
    return world, source


def cost(world: World, source: Counted, work: Callable[[Process], object]) -> tuple[int, int]:
    """Requests of objects, and changes read of the source, of some work by a new process."""
    blobs = world.blobs
    assert isinstance(blobs, Recording)
    process = world.process()
    blobs.calls.clear()
    source.changes_read = 0
    work(process)
    return len(blobs.calls), source.changes_read


def steps(days: int) -> dict[str, tuple[int, int]]:
    """The cost of each step of one day more."""
    world, source = days_before(days)
    names = [source.add(days)]
    work: dict[str, Callable[[Process], object]] = {
        "read": lambda p: read_days(p.lineage, names, history=p.history, on_day=_nothing),
        "cut": lambda p: cut_days(p.lineage, names, history=p.history, on_day=_nothing),
        "embed": lambda p: embed_days(p.lineage, names, history=p.history, on_day=_nothing),
        "commit": lambda p: commit_days(
            p.lineage, names, history=p.history, live=p.live, on_day=_nothing
        ),
    }
    return {name: cost(world, source, work[name]) for name in STEPS}


def _nothing(_: object) -> None:
    """Nobody is told."""


@pytest.fixture(scope="module")
def costs() -> tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]]:
    return steps(FEW), steps(MANY)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_one_day_asks_for_no_more_where_the_log_holds_more_days(
    costs: tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]], step: str
) -> None:
    few, many = (seen_changes[step] for seen_changes in costs)
    assert many[0] <= few[0] + 6, step  # a page or two more
    assert many[1] == few[1] <= 1


def test_a_new_epoch_reads_each_change_of_the_source_once() -> None:
    for days in (FEW, MANY):
        world, source = days_before(days)
        requests, changes_read = cost(
            world,
            source,
            lambda p: accept_epoch(p.lineage, "again", history=p.history, live=p.live),
        )
        assert changes_read == days
        assert requests <= 25 * days + 100  # linear in the days that are read
