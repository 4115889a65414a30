"""After a restore to the middle of a day ingestion goes on: nothing is skipped, twice or back."""

from datetime import timedelta

import pytest

from dr_pipelines.model.recovery import Route
from dr_pipelines.testing.world import START, Contents, ListedSource, World, said
from tests.campaigns.machine import new_world
from tests.campaigns.results import CAMPAIGN


def built() -> tuple[World, ListedSource]:
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
    rows = {document: said(change, world.embedder) for document, change in sorted(newest.items())}
    return {document: found for document, found in rows.items() if found}


@pytest.mark.parametrize("route", Route)
@pytest.mark.parametrize("position", CAMPAIGN.pick(short=(2, 5), long=range(1, 9)))
def test_ingestion_goes_on_from_the_middle_of_a_day(position: int, route: Route) -> None:
    world, source = built()
    world.process().restore(f"seq:{position}", route=route, switch=True)
    assert world.served() == at(world, source, position)
    process = world.process()
    through = {p.day.isoformat(): p.through for p in source.partitions()}
    behind = tuple(day for day, last in through.items() if last > position)
    assert process.ingest().days == behind
    assert world.served() == process.folded() == at(world, source, len(source.history))
    assert process.ingest().entries == ()
    assert process.backup().equal
    days = source.partitions()
    process.replay(days[0].day, days[-1].day)
    assert world.served() == process.folded() == at(world, source, len(source.history))
    if route is Route.LOAD:
        for earlier in range(1, len(source.history) + 1):
            assert process.folded(f"seq:{earlier}") == at(world, source, earlier)
