"""What somebody wrote past the pipeline: when it stays, and what is kept when it does not."""

from datetime import timedelta

import pytest

from dr_pipelines.model.recovery_point import SegmentRef
from dr_pipelines.repository.segments import read_segment, records_only
from dr_pipelines.testing.world import SPEC, START, ListedSource, Process, Row, World, table_of
from tests.campaigns.machine import new_world

EDIT: Row = ("a#000000", "a", 0, "by hand", None, None, None, None, (1.0, 0.0, 0.0, 0.0))
DAYS = [(START + timedelta(days=day)).date() for day in range(3)]


@pytest.fixture
def world() -> World:
    """The second day of a document is served, and was edited; the first is not ingested yet."""
    world, source = new_world()
    for day in range(2):
        source.upsert("a", f"day {day}", at=START + timedelta(days=day))
    world.process().ingest(first=DAYS[1])
    write(world)
    return world


def write(world: World) -> None:
    physical = world.store.aliases()[world.collection]
    world.store.write(physical, table_of((EDIT,)), replaces=["a"])


def preimages(process: Process) -> list[str]:
    """Texts that the newest entry kept of what it replaced."""
    values = process.point().entry.body.detail["preimages"]
    refs = [SegmentRef.model_validate(value) for value in values]
    tables = [read_segment(process.repository, ref, spec=SPEC) for ref in refs]
    return [text for table in tables for text in records_only(table)["text"].to_pylist()]


def test_an_older_day_that_arrives_late_leaves_an_edit_alone(world: World) -> None:
    process = world.process()
    report = process.ingest(last=DAYS[0])
    assert report.applied.kept == ("a",)
    assert world.served() == {"a": (EDIT,)}
    assert preimages(process) == []


def test_the_next_version_replaces_an_edit_that_stays_in_the_repository(world: World) -> None:
    process = world.process()
    source = world.source
    assert isinstance(source, ListedSource)
    source.upsert("a", "day 2", at=START + timedelta(days=2))
    process.ingest(first=DAYS[2])
    assert [row[3] for row in world.served()["a"]] == ["day 2"]
    assert preimages(process) == ["by hand"]


def test_a_replay_of_the_day_of_its_version_replaces_an_edit(world: World) -> None:
    process = world.process()
    process.replay(DAYS[1], DAYS[1])
    assert [row[3] for row in world.served()["a"]] == ["day 1"]
    assert preimages(process) == ["by hand"]


def test_a_replay_of_another_day_leaves_an_edit_alone(world: World) -> None:
    process = world.process()
    process.ingest()
    process.replay(DAYS[0], DAYS[0])
    assert world.served() == {"a": (EDIT,)}
    assert preimages(process) == []


def test_an_edit_that_a_snapshot_recorded_outlives_a_replay(world: World) -> None:
    process = world.process()
    assert process.backup().findings.changed == ("a",)
    process.replay(DAYS[1], DAYS[1])
    assert world.served() == {"a": (EDIT,)} == process.folded()


def test_a_deletion_by_hand_is_recorded_as_an_absence(world: World) -> None:
    process = world.process()
    source = world.source
    assert isinstance(source, ListedSource)
    source.upsert("b", "stays", at=START + timedelta(days=2))
    process.ingest(first=DAYS[2])
    physical = world.store.aliases()[world.collection]
    world.store.write(physical, table_of(()), replaces=["a"])
    assert process.backup().findings.absent == ("a",)
    assert list(process.folded()) == ["b"]
    assert process.backup().findings.recorded == []
