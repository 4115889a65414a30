"""Obstacles to a recovery are looked for once a day."""

import dagster as dg
import pytest

from tests.assets.location import STORE_ONLY, Location, verdicts


def evaluation(location: Location, job: str = "readiness_notes") -> dg.AssetCheckEvaluation:
    (made,) = location.run(job).get_asset_check_evaluations()
    return made


def metadata(location: Location) -> dict[str, object]:
    made = evaluation(location).metadata
    return {name: value.value for name, value in made.items()}


def test_nothing_in_the_way_passes_with_figures(ingested: Location) -> None:
    location = ingested
    assert verdicts(location.run("readiness_notes")) == {"recoverable": True}
    facts = metadata(location)
    assert (facts["obstacles"], facts["route"], facts["rto"]) == (0, "load", "not measured")
    assert (facts["rpo"], facts["measurements"]) == ("will be met", 0)


@pytest.mark.parametrize("job", ["snapshot_notes"])
def test_no_snapshot_waits_for_it(ingested: Location, job: str) -> None:
    assert "recoverable" not in verdicts(ingested.run(job))


def test_an_obstacle_fails_it_with_the_way_out(ingested: Location) -> None:
    ingested.feed.write_text(ingested.feed.read_text().splitlines(keepends=True)[0])
    made = evaluation(ingested)
    facts = metadata(ingested)
    assert (made.passed, facts["obstacles"], facts["kinds"]) == (False, 1, ["source"])
    assert "Way out: bring the source back" in (made.description or "")


def test_every_collection_has_it_each_day_at_a_minute_of_its_own(location: Location) -> None:
    location.set_policy(more=STORE_ONLY)
    schedules = {s.name: s for s in location.definitions.schedules or ()}
    crons = {name: s.cron_schedule for name, s in schedules.items()}  # type: ignore[union-attr]
    assert set(crons) == {"daily_readiness_notes", "daily_readiness_memories"}
    assert len(set(crons.values())) == 2
