"""Two processes whose steps fall between each other's, one place after the other."""

from dataclasses import replace
from datetime import timedelta

import pytest

from dr_pipelines.errors import Conflict, TimelineClosed
from dr_pipelines.ingestion.binding import (
    bind,
)
from dr_pipelines.ingestion.commit import (
    append_days,
    prepare_day,
)
from dr_pipelines.ingestion.days import Reading, plan_days
from dr_pipelines.testing.blob_faults import Recording
from dr_pipelines.testing.store_faults import RecordingStore
from dr_pipelines.testing.world import START, Process, table_of
from tests.campaigns.machine import new_world


def commit_only(process: Process, day: str) -> None:
    """Ingest a day, and stop before it is applied."""
    bound = bind(process.lineage, history=process.history, live=process.live)
    reading = Reading.of(process.history, process.point().manifest)
    source = process.lineage.source.partitions()
    (planned,) = plan_days(process.lineage, reading, [day], source=source)
    ready = prepare_day(process.lineage, planned, history=process.history)
    append_days(process.lineage, [ready], history=process.history, bound=bound)


@pytest.mark.parametrize("moment", range(1, 9))
def test_what_is_committed_while_another_compacts_is_applied(moment: int) -> None:
    world, source = new_world()
    writer, compactor = world.process(), world.process()
    for day in range(2):
        source.upsert("a", f"day {day}", at=START + timedelta(days=day))
        writer.ingest()
    source.upsert("b", "said meanwhile", at=START + timedelta(days=2))
    newest = source.partitions()[-1].day.isoformat()

    def hook(call: str, key: str, when: str, number: int) -> None:
        if (number, when) == (moment, "before"):
            commit_only(writer, newest)

    blobs = Recording(world.blobs, hook=hook)
    other = replace(compactor, repository=replace(compactor.repository, blobs=blobs))
    try:
        other.compact()
    except Conflict:
        assert writer.point().entry.body.pending == (5,)
    assert writer.point("log:5").entry.kind == "ingest"
    writer.ingest()
    assert writer.point().entry.body.pending == ()
    assert list(world.served()) == ["a", "b"]
    assert world.served() == writer.folded()


def test_what_was_prepared_for_a_history_that_ended_is_not_committed() -> None:
    """A slow writer, bound before a restore, comes back after it."""
    world, source = new_world()
    writer = world.process()
    source.upsert("a", "the first day", at=START)
    writer.ingest()
    source.upsert("a", "the second day", at=START + timedelta(days=1))
    bound = bind(writer.lineage, history=writer.history, live=writer.live)
    reading = Reading.of(writer.history, writer.point().manifest)
    days = source.partitions()
    (day,) = plan_days(writer.lineage, reading, [days[-1].day.isoformat()], source=days)
    ready = prepare_day(writer.lineage, day, history=writer.history)
    world.process().restore("log:1", switch=True)
    with pytest.raises(TimelineClosed, match="a restore switched from"):
        append_days(writer.lineage, [ready], history=writer.history, bound=bound)
    assert writer.ingest().days == (day.name,)
    assert world.served() == writer.folded()


def test_a_snapshot_that_a_restore_overtakes_is_not_committed() -> None:
    world, source = new_world()
    source.upsert("a", "the first day", at=START)
    world.process().ingest()
    restored = False

    def hook(call: str, name: str, when: str, number: int) -> None:
        nonlocal restored
        if (call, when) == ("batch", "after") and not restored:
            restored = True
            world.process().restore(switch=True)

    process = replace(world.process(), store=RecordingStore(world.store, hook))
    with pytest.raises(TimelineClosed, match="a restore switched from"):
        process.backup()
    assert process.point().entry.kind == "applied"
    assert process.backup().equal


def test_a_replay_repairs_although_older_replays_left_their_pieces() -> None:
    """Pieces of a history that was left are adopted only where they count as newer."""
    world, source = new_world()
    process = world.process()
    source.upsert("a", "said once", at=START)
    process.ingest()
    expected = world.served()
    for _ in range(2):
        process.replay(START.date(), START.date())
    process.restore("log:2", switch=True)
    physical = world.store.aliases()[world.collection]
    for _ in range(4):
        world.store.write(physical, table_of(()), replaces=["a"])
        process.replay(START.date(), START.date())
        assert world.served() == expected


def test_what_a_displaced_writer_writes_late_is_repaired_and_not_recorded() -> None:
    world, source = new_world()
    slow = world.process()
    for day in range(2):
        source.upsert("a", f"day {day}", at=START + timedelta(days=day))
    slow.ingest(last=START.date())
    old = world.served()["a"]
    commit_only(slow, source.partitions()[-1].day.isoformat())
    other = world.process()
    assert other.ingest().applied.taken_over == (3,)
    new = world.served()
    physical = world.store.aliases()[world.collection]
    world.store.write(physical, table_of(old), replaces=["a"])  # the slow one, at last
    snapshot = other.backup()
    assert (snapshot.findings.stale, snapshot.findings.recorded) == (("a",), [])
    assert not snapshot.equal
    assert world.served() == other.folded() == new
    assert other.backup().equal


def test_an_old_value_without_a_takeover_is_an_edit_by_hand() -> None:
    world, source = new_world()
    process = world.process()
    for day in range(2):
        source.upsert("a", f"day {day}", at=START + timedelta(days=day))
    process.ingest(last=START.date())
    old = world.served()
    process.ingest()
    physical = world.store.aliases()[world.collection]
    world.store.write(physical, table_of(old["a"]), replaces=["a"])
    assert process.backup().findings.changed == ("a",)
    assert world.served() == process.folded() == old
