"""Edits made past the pipeline: when they stay, and what is kept when they do not."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dr_pipelines.model.recovery import Route
from dr_pipelines.repository.segments import read_segment, records_only
from dr_pipelines.testing.world import (
    SPEC,
    START,
    ListedSource,
    Process,
    Row,
    World,
    contents,
    segments_of,
    table_of,
)
from tests.campaigns.machine import new_world
from tests.campaigns.test_races import commit_only

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


class WrittenToMeanwhile:
    """A store that somebody edits each time a document has been looked up."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world.store, name)

    def scan(self, name: str, *, documents: Any = None, **rest: Any) -> Iterator[Any]:
        read = list(self._world.store.scan(name, documents=documents, **rest))
        if documents is not None:
            write(self._world)
        yield from read


def taken_over() -> World:
    """Entries of another run were applied, and somebody put a document back to before them."""
    world, source = new_world()
    source.upsert("a", "day 0", at=START)
    world.process().ingest()
    old = world.served()["a"]
    source.upsert("a", "day 1", at=START + timedelta(days=1))
    commit_only(world.process(), DAYS[1].isoformat())
    world.process().ingest()
    physical = world.store.aliases()[world.collection]
    world.store.write(physical, table_of(old), replaces=["a"])
    return world


def preimages(process: Process) -> list[str]:
    """Texts that the newest entry kept of what it replaced."""
    refs = segments_of(process.point().entry)
    tables = [read_segment(process.repository, ref, spec=SPEC) for ref in refs]
    return [text for table in tables for text in records_only(table)["text"].to_pylist()]


def test_an_older_day_that_arrives_late_leaves_an_edit_alone(world: World) -> None:
    process = world.process()
    report = process.ingest(last=DAYS[0])
    assert report.applied.retained == ("a",)
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
    done = process.replay(DAYS[0], DAYS[0])
    assert done.applied.retained == ("a",)
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


def test_what_a_repair_replaces_is_named_in_the_log() -> None:
    world = taken_over()
    process = world.process()
    assert process.backup().findings.stale == ("a",)
    assert [row[3] for row in world.served()["a"]] == ["day 1"]
    assert preimages(process) == ["day 0"]
    assert process.backup().equal


def test_an_edit_made_while_a_document_is_repaired_is_kept() -> None:
    world = taken_over()
    process = world.process()
    replace(process, store=WrittenToMeanwhile(world)).backup()
    assert [row[3] for row in world.served()["a"]] == ["day 1"]
    assert preimages(process) == ["by hand"]


@pytest.mark.parametrize("route", [Route.LOAD, Route.REPLAY])
def test_what_an_edit_hides_is_still_there_after_a_restore_by_replay(route: Route) -> None:
    world, source = new_world()
    source.upsert("a", "day 0", at=START)
    process = world.process()
    process.ingest()
    write(world)
    process.backup()
    process.restore(route=Route.REPLAY, switch=True)
    assert world.served() == {"a": (EDIT,)}
    source.upsert("b", "day 1", at=START + timedelta(days=1))
    process.ingest()
    done = process.restore("seq:2", route=route)
    restored = contents(world.store, done.plan.physical)
    assert {name: [row[3] for row in rows] for name, rows in restored.items()} == {
        "a": ["day 0"],
        "b": ["day 1"],
    }
