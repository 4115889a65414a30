"""Dagster sees the work of `dr`: days that it ingested, points that it proved."""

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from assets.outside_runs import OutsideRuns
from assets.tracked import track
from dr_pipelines.backup.snapshot import backup
from dr_pipelines.proof.points import newest_proof, newest_snapshot, record_proof
from dr_pipelines.repository.history import History
from tests.assets import test_lineage as lineage
from tests.assets.location import Location
from tests.assets.test_sensors import tick

DAILY = ("documents", "chunks", "embeddings", "collection")
WITH_CHANGES = {"2026-01-05", "2026-01-06", "2026-01-08", "2026-01-09"}
NOW = datetime(2026, 1, 9, 10, tzinfo=UTC)


def hear(location: Location, cursor: str | None = None, at: datetime = NOW) -> dg.SensorResult:
    """One tick whose events are stored, as the daemon does."""
    result = tick(location, at, cursor=cursor)
    for event in result.asset_events:
        location.instance.report_runless_asset_event(event)
    return result


def made(result: dg.SensorResult) -> list[tuple[str, str | None]]:
    """Asset and day of the materialisations of days."""
    return [
        (event.asset_key.path[-1], event.partition)
        for event in result.asset_events
        if isinstance(event, dg.AssetMaterialization) and event.partition
    ]


def missing(location: Location) -> dict[str, set[str]]:
    """Days with changes that "materialize missing" would select."""
    seen = {
        name: location.instance.get_materialized_partitions(dg.AssetKey(["notes", name]))
        for name in DAILY
    }
    return {name: WITH_CHANGES - days for name, days in seen.items() if WITH_CHANGES - days}


def newest(location: Location, asset: str) -> tuple[dict[str, Any], float] | None:
    event = location.instance.get_latest_materialization_event(dg.AssetKey(["notes", asset]))
    if event is None or event.asset_materialization is None:
        return None
    facts = event.asset_materialization.metadata
    return {name: value.value for name, value in facts.items()}, event.timestamp


def back_up(location: Location) -> None:
    """`dr backup`, without Dagster."""
    opened = location.project
    backup(
        History(opened.repository(), "notes"),
        live=opened.collection("notes").live(),
    )
    history = History(opened.repository(), "notes")
    record_proof(history, newest_snapshot(history), checks=("equal", "restorable"))


def test_days_that_were_ingested_without_dagster_are_not_missing(ingested: Location) -> None:
    assert set(missing(ingested)) == set(DAILY)

    heard = hear(ingested)

    assert missing(ingested) == {}
    assert len(made(heard)) == len(DAILY) * len(WITH_CHANGES)
    assert "4 days were made without Dagster and are reported" in str(heard.skip_reason)


def test_what_is_reported_says_what_the_log_says(ingested: Location) -> None:
    hear(ingested)

    reported = ingested.instance.fetch_materializations(
        dg.AssetRecordsFilter(
            dg.AssetKey(["notes", "collection"]), asset_partitions=["2026-01-05"]
        ),
        limit=9,
    ).records
    (record,) = reported
    assert record.asset_materialization is not None
    facts = {name: value.value for name, value in record.asset_materialization.metadata.items()}
    assert (facts["dagster/partition_row_count"], facts["log_entry"]) == (3, 1)
    assert (facts["outcome"], facts["quarantined"]) == ("without Dagster", 0)


def test_what_is_reported_is_stale_only_where_the_policy_has_changed(ingested: Location) -> None:
    hear(ingested)
    quiet = {(name, "2026-01-07") for name in DAILY}
    assert lineage.stale(ingested) - quiet == set()

    ingested.set_policy(dimension=16)

    stale = lineage.stale(ingested) - quiet
    assert stale == {(n, d) for n in ("embeddings", "collection") for d in WITH_CHANGES}


def test_a_day_is_reported_once(ingested: Location) -> None:
    first = hear(ingested)
    second = hear(ingested, first.cursor)
    lost = hear(ingested)  # the cursor

    assert (made(second), made(lost)) == ([], [])


def test_a_day_that_goes_on_is_reported_again(ingested: Location) -> None:
    first = hear(ingested)
    ingested.say(7, "2026-01-09T09:30:00Z", "e", "said later")
    ingested.ingest_without_dagster()

    second = hear(ingested, first.cursor)

    assert made(second) == [(name, "2026-01-09") for name in DAILY]
    assert lineage.stale(ingested) - {(name, "2026-01-07") for name in DAILY} == set()


def test_what_dagster_made_is_not_reported(location: Location) -> None:
    assert location.ingest().success

    assert made(hear(location)) == []


def test_nothing_is_reported_while_a_run_is_at_work(ingested: Location) -> None:
    from dagster._core.test_utils import create_run_for_test

    key = frozenset({dg.AssetKey(["notes", "chunks"])})
    create_run_for_test(
        ingested.instance,
        job_name="__ASSET_JOB",
        asset_selection=key,
        status=dg.DagsterRunStatus.STARTED,
    )

    result = tick(ingested, datetime(2026, 1, 9, 9, 10, tzinfo=UTC))
    assert made(result) == []
    assert "is at work on it" in str(result.skip_reason)
    back_up(ingested)
    quiet = hear(ingested)  # nothing is due now
    assert (made(quiet), "is at work on it" in str(quiet.skip_reason)) == ([], True)


def test_days_before_the_first_partition_are_not_reported(ingested: Location) -> None:
    head = ingested.project.reading().log("notes").head().number
    (tracked,) = track(ingested.project)
    later = tracked.policy.model_copy(update={"partitions_start": date(2026, 1, 6)})
    hand = OutsideRuns(
        replace(tracked, policy=later),
        ingested.instance,
        ingested.project.collection("notes").history(),
        head,
    )

    heard = hand.days(since=0, today="2026-01-10")

    assert {event.partition for event in heard.events} == WITH_CHANGES - {"2026-01-05"}
    assert heard.summary == (
        "3 days were made without Dagster and are reported; 1 days before partitions_start are no "
        "partitions and not reported"
    )


def test_days_to_come_are_said_where_nothing_else_is_reported(ingested: Location) -> None:
    head = ingested.project.reading().log("notes").head().number
    (tracked,) = track(ingested.project)
    hand = OutsideRuns(
        tracked, ingested.instance, ingested.project.collection("notes").history(), head
    )

    heard = hand.days(since=0, today="2026-01-04")

    assert (list(heard.events), heard.left, heard.through) == ([], 4, 0)
    assert heard.summary == "4 days are not reported before they begin"


def test_a_tick_reports_some_days_and_says_how_many_are_left(
    ingested: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assets.outside_runs.DAYS_A_TICK", 3)

    first = hear(ingested)
    assert {day for _, day in made(first)} == WITH_CHANGES - {"2026-01-09"}
    assert "3 days were made without Dagster and are reported, 1 more to come" in str(
        first.skip_reason
    )

    hear(ingested, first.cursor)
    assert missing(ingested) == {}


@pytest.mark.parametrize("cursor_lost", [False, True])
def test_the_first_point_that_is_proven_gives_the_recovery_point_a_state(
    ingested: Location, cursor_lost: bool
) -> None:
    before = hear(ingested).cursor
    assert newest(ingested, "recovery_point") is None
    back_up(ingested)
    proof = newest_proof(History(ingested.project.reading(), "notes"))

    hear(ingested, None if cursor_lost else before)

    for asset in ("snapshot", "recovery_point"):
        event = newest(ingested, asset)
        assert event is not None
        facts, at = event
        assert (facts["log_entry"], facts["dagster/row_count"]) == (proof.number, 3)
        assert proof.at is not None
        assert at == pytest.approx(proof.at.timestamp())


def test_a_proof_is_as_old_in_dagster_as_it_is(ingested: Location) -> None:
    back_up(ingested)
    ingested.say(7, "2026-01-09T09:30:00Z", "e", "since then")

    late = datetime.now(UTC) + timedelta(days=3)
    hear(ingested, at=late)

    event = newest(ingested, "recovery_point")
    assert event is not None
    assert late.timestamp() - event[1] > timedelta(days=2).total_seconds()


def test_a_proof_that_dagster_made_is_not_reported_again(ingested: Location) -> None:
    assert ingested.run("snapshot_notes").success
    before = newest(ingested, "recovery_point")

    hear(ingested)

    assert newest(ingested, "recovery_point") == before


def test_a_proof_is_reported_once(ingested: Location) -> None:
    back_up(ingested)
    first = hear(ingested)
    before = _events(ingested, ("snapshot", "recovery_point"))

    hear(ingested, first.cursor)
    hear(ingested)

    assert _events(ingested, ("snapshot", "recovery_point")) == before == 2


def _events(location: Location, assets: Collection[str]) -> int:
    return sum(
        len(location.instance.fetch_materializations(dg.AssetKey(["notes", a]), limit=99).records)
        for a in assets
    )
