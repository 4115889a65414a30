"""Work that one process begins, another finishes first: nothing newer is lost, nothing goes
unnamed."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from dr_pipelines.backup.snapshot import take_snapshot
from dr_pipelines.errors import Conflict, Refused, Unavailable
from dr_pipelines.ingestion.binding import (
    bind,
)
from dr_pipelines.ingestion.commit import (
    append_days,
    prepare_day,
)
from dr_pipelines.ingestion.epochs import accept_epoch
from dr_pipelines.ingestion.replay import covered_days
from dr_pipelines.recovery.plan import plan_recovery
from dr_pipelines.recovery.run import run_recovery
from dr_pipelines.testing.world import START, Process, segments_of, table_of
from tests.campaigns.machine import new_world
from tests.campaigns.test_races import commit_only

LATER = START + timedelta(hours=30)


class _Store:
    """A store that lets something happen around a call."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def _applied(process: Process) -> None:
    process.live.follow(process.history)


def test_a_snapshot_leaves_out_what_was_pending_when_it_began() -> None:
    """The old rows are read; before they are recorded, the new ones are applied."""
    world, source = new_world()
    for number in range(8):
        source.upsert(f"d{number}", f"old {number}", at=START)
    writer = world.process()
    writer.ingest()
    source.upsert("d0", "new", at=LATER)
    commit_only(writer, source.partitions()[-1].day.isoformat())

    class AppliedMeanwhile(_Store):
        def scan(self, name: str, *, documents: Any = None, **rest: Any) -> Iterator[Any]:
            read = list(self._store.scan(name, documents=documents, **rest))
            if documents is not None:
                _applied(writer)
            yield from read

    observer = world.process()
    snapshot = take_snapshot(observer.history, store=AppliedMeanwhile(world.store))
    assert (snapshot.indeterminate, snapshot.equal) == (("d0",), False)
    assert world.served() == world.process().folded()
    assert writer.backup().equal


def test_two_restores_of_one_point_never_share_a_collection() -> None:
    world, source = new_world()
    source.upsert("a", "old", at=START)
    world.process().ingest()
    overtaken: list[BaseException] = []

    class Overtaken(_Store):
        def write(self, name: str, rows: pa.Table, **rest: Any) -> None:
            if not overtaken:
                with pytest.raises((Unavailable, Refused)) as refused:
                    world.process().restore("log:1", switch=True)
                overtaken.append(refused.value)
            self._store.write(name, rows, **rest)

    slow = replace(world.process(), store=Overtaken(world.store))  # type: ignore[arg-type]
    slow.restore("log:1")
    assert len(overtaken) == 1


def test_a_plan_whose_target_was_switched_to_meanwhile_is_refused() -> None:
    world, source = new_world()
    source.upsert("a", "old", at=START)
    process = world.process()
    process.ingest()
    plan = plan_recovery(process.request("log:1"), process.resources())
    world.process().restore("log:1", switch=True)
    source.upsert("a", "newer", at=LATER)
    world.process().ingest()
    with pytest.raises(Refused, match="was switched to by another restore meanwhile"):
        run_recovery(plan, process.resources())
    assert world.served() == world.process().folded()


def test_a_replay_planned_before_a_new_epoch_is_not_part_of_it() -> None:
    world, source = new_world()
    source.upsert("a", "old", at=START)
    process, slow = world.process(), world.process()
    process.ingest()
    bound = bind(slow.lineage, history=slow.history, live=slow.live)
    first = START.date()
    (day,) = covered_days(slow.lineage, history=slow.history, first=first, last=first)
    ready = prepare_day(slow.lineage, day, history=slow.history, again=True)
    source.history[0] = replace(source.history[0], text="rewritten")
    accept_epoch(
        process.lineage,
        "second",
        history=process.history,
        live=process.live,
    )
    with pytest.raises(Conflict, match="was ingested by another run meanwhile"):
        append_days(slow.lineage, [ready], history=slow.history, bound=bound)
    assert process.ingest().days == ()
    assert world.served() == process.folded()


def test_the_pre_image_of_an_edit_is_named_before_it_is_overwritten() -> None:
    world, source = new_world()
    source.upsert("a", "old", at=START)
    writer = world.process()
    writer.ingest()
    physical = world.store.aliases()[world.collection]
    (row,) = next(iter(world.store.scan(physical, documents=["a"]))).to_pylist()
    edited = tuple({**row, "text": "by hand"}.values())
    world.store.write(physical, table_of((edited,)), replaces=["a"])
    source.upsert("a", "new", at=LATER)
    commit_only(writer, source.partitions()[-1].day.isoformat())

    class Killed(BaseException):
        pass

    class DiesAfterWriting(_Store):
        def write(self, name: str, rows: pa.Table, **rest: Any) -> None:
            self._store.write(name, rows, **rest)
            raise Killed

    with pytest.raises(Killed):
        _applied(replace(writer, store=DiesAfterWriting(world.store)))  # type: ignore[arg-type]
    survivor = world.process()
    _applied(survivor)
    log = survivor.repository.log(world.collection)
    named = [refs for entry, _ in log.entries() if (refs := segments_of(entry))]
    assert [len(refs) for refs in named] == [1]
    assert survivor.verify(3).findings == ()
