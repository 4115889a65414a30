"""After a restore to the middle of a day ingestion goes on: nothing is skipped, twice or back."""

from datetime import timedelta

import pytest

from dr_pipelines.model.recovery import Route
from dr_pipelines.proof.ingested import (
    audit_counts,
    audit_digests,
    audit_provenance,
    audit_schema,
)
from dr_pipelines.testing.world import (
    START,
    Contents,
    ListedSource,
    Process,
    World,
    expected_rows,
)
from tests.campaigns.machine import copied, new_world
from tests.campaigns.results import CAMPAIGN

Told = tuple[World, ListedSource]


def built() -> Told:
    """Three days; documents change twice a day, go, come back, and are late."""
    world, source = new_world()
    for hours, document, text in (
        (0, "a", "one"),
        (1, "b", "two"),
        (2, "a", "three, in pieces"),
        (24, "b", None),
        (20, "c", "late"),
        (25, "a", ""),
        (48, "b", "back again"),
        (49, "a", None),
    ):
        at = START + timedelta(hours=hours)
        if text is None:
            source.delete(document, at=at)
        else:
            source.upsert(document, text, at=at)
    world.process().ingest()
    return world, source


def at(world: World, source: ListedSource, position: int) -> Contents:
    newest = {change.document_id: change for change in source.history[:position]}
    rows = {
        document: expected_rows(change, world.embedder)
        for document, change in sorted(newest.items())
    }
    return {document: stored for document, stored in rows.items() if stored}


def covered(process: Process) -> list[str]:
    return list(process.history.days(process.point().manifest))


def problems(process: Process) -> list[str]:
    """Findings of the audits against any day that was read; each audit must have examined
    something."""
    audits, days = (audit_counts, audit_schema, audit_provenance, audit_digests), covered(process)
    examined = [audit(process.lineage, history=process.history, days=days) for audit in audits]
    return [audit.summary for audit in examined if not audit.passed]


@pytest.fixture(scope="module")
def three_days() -> Told:
    """Nothing writes to it: each test has a copy."""
    return built()


@pytest.mark.parametrize("route", [Route.LOAD, Route.REPLAY])
@pytest.mark.parametrize("position", CAMPAIGN.pick(short=(2, 5), long=range(1, 9)))
def test_ingestion_goes_on_from_the_middle_of_a_day(
    three_days: Told, position: int, route: Route
) -> None:
    world, source = copied(three_days[0]), three_days[1]
    world.process().restore(f"seq:{position}", route=route, switch=True)
    assert world.served() == at(world, source, position)
    process = world.process()
    assert problems(process) == []
    through = {p.day.isoformat(): p.through for p in source.partitions()}
    behind = tuple(day for day, last in through.items() if last > position)
    assert process.ingest().days == behind
    assert world.served() == process.folded() == at(world, source, len(source.history))
    assert process.ingest().entries == ()
    assert problems(process) == []
    assert process.backup().equal
    days = source.partitions()
    for first, last in ((0, 0), (0, -1)):
        process.replay(days[first].day, days[last].day)
        assert world.served() == process.folded() == at(world, source, len(source.history))
        assert problems(process) == []
    if route is Route.LOAD:
        for earlier in range(1, len(source.history) + 1):
            assert process.folded(f"seq:{earlier}") == at(world, source, earlier)


@pytest.fixture(scope="module")
def two_goes() -> Told:
    """A day that was ingested in two goes. Nothing writes to it: each test has a copy."""
    world, source = new_world()
    for goes in (("a", "b", "c"), ("a", "d")):
        for document in goes:
            at_hour = START + timedelta(hours=len(source.history))
            source.upsert(document, f"{document}, said at {at_hour:%H}", at=at_hour)
        world.process().ingest()
    return world, source


@pytest.mark.parametrize("route", [Route.LOAD, Route.REPLAY])
@pytest.mark.parametrize("cuts", [(3,), (2,), (4,), (2, 2), (4, 2), (1, 4), (4, 3, 3)])
def test_a_day_that_was_ingested_in_two_goes_is_caught_up_with_from_anywhere(
    two_goes: Told, cuts: tuple[int, ...], route: Route
) -> None:
    """A checkpoint that begins where the restore ended is there already, and must count again."""
    world, source = copied(two_goes[0]), two_goes[1]
    for position in cuts:
        process = world.process()
        process.restore(f"seq:{position}", route=route, switch=True)
        assert world.served() == at(world, source, position)
        assert problems(process) == []
        process.replay(START.date(), START.date())
        assert world.served() == at(world, source, position)
        assert problems(process) == []
        assert process.ingest().days == ("2026-01-01",)
        assert world.served() == process.folded() == at(world, source, 5)
        assert problems(process) == []
        process.replay(START.date(), START.date())
        assert world.served() == process.folded() == at(world, source, 5)
        assert problems(process) == []
    assert process.verify(3).findings == ()


def test_what_was_compacted_away_is_not_held_against_a_day() -> None:
    world, source = built()
    process = world.process()
    process.compact()
    source.upsert("z", "more of the same day", at=START + timedelta(hours=49))
    process.ingest()
    assert problems(process) == []
    process.compact()
    process.restore("seq:2", switch=True)
    assert (covered(process), problems(process)) == (["2026-01-01"], [])
    process.ingest()
    assert problems(process) == []
