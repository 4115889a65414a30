"""The RPO sensor, tick by tick, on real runs of an instance."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from assets.checks import FIRST_DAY, LAST_DAY
from assets.runs import NEED_TAG
from assets.tracked import COLLECTION_TAG
from dr_pipelines.embedders.hashing import HashingEmbedder
from dr_pipelines.errors import TextTooLong
from dr_pipelines.ingestion import by_stage
from dr_pipelines.ingestion.commit import DayCommit, append_days
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.model.recovery_point import Head
from dr_pipelines.monitoring import exposure
from dr_pipelines.protocols import SourcePartition
from dr_pipelines.sources.jsonl import JsonlSource
from tests.assets.location import STORE_ONLY, FrozenProject, Location

LAST_CHANGE = datetime(2026, 1, 9, 9, tzinfo=UTC)
NEED = "notes:ingest:1-0"
FAILURE = dg.DagsterRunStatus.FAILURE


def tick(
    location: Location, at: datetime, *, cursor: str | None = None, collection: str = "notes"
) -> dg.SensorResult:
    """One tick, as the daemon would see it."""
    sensor = location.definitions.resolve_sensor_def(f"rpo_{collection}")
    context = dg.build_sensor_context(
        instance=location.instance,
        cursor=cursor,
        resources={"dr_project": FrozenProject(policies=str(location.policies), at=at.isoformat())},
        definitions=location.definitions,
        sensor_name=f"rpo_{collection}",
    )
    result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


def requested(result: dg.SensorResult) -> list[tuple[str | None, str | None, dict[str, str]]]:
    return [(r.job_name, r.run_key, dict(r.tags)) for r in result.run_requests or ()]


def of_the_point(result: dg.SensorResult) -> list[dg.AssetObservation | dg.AssetMaterialization]:
    """Events of the recovery point, which say how the collection stands."""
    return [event for event in result.asset_events if event.asset_key.path[-1] == "recovery_point"]  # type: ignore[misc]


def ran(
    location: Location, need: str, *, status: dg.DagsterRunStatus, job: str = "ingest_notes"
) -> None:
    tags = {COLLECTION_TAG: "notes", NEED_TAG: need}
    create_run_for_test(location.instance, job_name=job, tags=tags, status=status)


def test_what_was_never_read_is_read_at_once_oldest_days_first(location: Location) -> None:
    assert requested(tick(location, LAST_CHANGE)) == [
        (
            "ingest_notes",
            "notes:ingest:1-0:1",
            {
                "dr/collection": "notes",
                "dr/need": "notes:ingest:1-0",
                "dr/attempt": "1",
                "dagster/asset_partition_range_start": "2026-01-05",
                "dagster/asset_partition_range_end": "2026-01-09",
            },
        )
    ]


def test_a_year_of_days_is_one_run_and_the_cursor_does_not_grow_with_it(
    location: Location,
) -> None:
    location.feed.write_text("")
    first = datetime(2026, 1, 5, 10, tzinfo=UTC)
    cursors = []
    for days in (2, 400):
        location.feed.write_text("")
        for n in range(days):
            location.say(n + 1, (first + timedelta(days=n)).isoformat(), "a", f"day {n}")
        result = tick(location, first + timedelta(days=days))
        cursors.append(len(result.cursor or ""))

    ((_, _, tags),) = requested(result)
    last = (first + timedelta(days=399)).date().isoformat()
    assert (tags[FIRST_DAY], tags[LAST_DAY]) == ("2026-01-05", last)
    assert cursors[1] < cursors[0] + 10


def test_the_run_that_is_requested_brings_the_collection_up_to_date(location: Location) -> None:
    request = (tick(location, LAST_CHANGE).run_requests or [])[0]

    job = location.definitions.resolve_job_def(request.job_name or "")
    done = job.execute_in_process(instance=location.instance, tags=dict(request.tags))

    assert done.success
    assert requested(tick(location, datetime.now(UTC))) == []


def test_days_that_a_killed_run_committed_stay_and_the_next_run_begins_after_them(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = list[str]()

    def dies(lineage: Lineage, commits: Sequence[DayCommit], **more: Any) -> Head:
        if len(days) == 2:
            raise RuntimeError("killed")
        days.extend(commit.day.name for commit in commits)
        return append_days(lineage, commits, **more)

    with monkeypatch.context() as patch:
        patch.setattr(by_stage, "append_days", dies)
        assert not location.run("ingest_notes", days=("2026-01-05", "2026-01-09")).success
    assert days == ["2026-01-05", "2026-01-06"]
    ((job, _, tags),) = requested(tick(location, LAST_CHANGE))

    assert (tags[FIRST_DAY], tags[LAST_DAY]) == ("2026-01-08", "2026-01-09")
    assert location.run(job or "", days=(tags[FIRST_DAY], tags[LAST_DAY])).success
    assert location.log_kinds().count("ingest") == 4


def test_a_quiet_look_builds_no_model_of_its_cursor_again(
    ingested: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = tick(ingested, LAST_CHANGE).cursor
    monkeypatch.setattr(exposure, "TypeAdapter", None)

    assert tick(ingested, LAST_CHANGE, cursor=cursor).cursor == cursor


def test_a_young_change_waits(ingested: Location) -> None:
    ingested.say(7, "2026-01-12T10:00:00Z", "e", "new")

    soon = tick(ingested, datetime(2026, 1, 12, 10, 20, tzinfo=UTC))
    late = tick(ingested, datetime(2026, 1, 12, 10, 45, tzinfo=UTC))

    assert requested(soon) == []
    assert soon.skip_reason is not None
    assert "within: exposed 0:20:00 of 1:00:00, 1 days behind" in str(soon.skip_reason)
    assert [(job, key) for job, key, _ in requested(late)] == [
        ("ingest_notes", "notes:ingest:1-6:1")
    ]


def test_a_late_change_was_not_there_to_be_read_before_its_day(ingested: Location) -> None:
    ingested.say(7, "2026-01-02T10:00:00Z", "e", "a week late")

    result = tick(ingested, datetime(2026, 1, 9, 0, 20, tzinfo=UTC))

    assert "exposed 0:20:00" in str(result.skip_reason)


def test_changes_behind_one_from_the_future_are_exposed_and_no_run_can_read_them_yet(
    ingested: Location,
) -> None:
    ingested.say(7, "2026-03-09T10:00:00Z", "e", "a clock that is ahead")
    ingested.say(8, "2026-01-12T10:00:00Z", "f", "what follows")

    result = tick(ingested, datetime(2026, 1, 12, 12, tzinfo=UTC))

    assert requested(result) == []
    message = str(result.skip_reason)
    assert "breached: exposed 2:00:00 of 1:00:00" in message
    assert "belong to 2026-03-09, which is to come. Until then: dr ingest notes" in message


def test_while_a_run_is_at_work_there_is_no_other(location: Location) -> None:
    ran(location, NEED, status=dg.DagsterRunStatus.STARTED)

    result = tick(location, LAST_CHANGE)

    assert requested(result) == []
    assert "is at work on it" in str(result.skip_reason)


def test_a_run_that_somebody_else_started_counts_too(location: Location) -> None:
    key = dg.AssetKey(["notes", "chunks"])
    create_run_for_test(
        location.instance,
        job_name="__ASSET_JOB",
        asset_selection=frozenset({key}),
        status=dg.DagsterRunStatus.STARTED,
    )

    assert requested(tick(location, LAST_CHANGE)) == []


def test_a_run_for_another_collection_is_none_of_its_business(location: Location) -> None:
    key = dg.AssetKey(["other", "chunks"])
    create_run_for_test(
        location.instance,
        job_name="__ASSET_JOB",
        asset_selection=frozenset({key}),
        status=dg.DagsterRunStatus.STARTED,
    )

    assert len(requested(tick(location, LAST_CHANGE))) == 1


def test_after_a_failure_the_next_try_waits_and_has_a_key_of_its_own(location: Location) -> None:
    ran(location, NEED, status=FAILURE)
    now = datetime.now(UTC)

    waiting = tick(location, now + timedelta(seconds=30))
    again = tick(location, now + timedelta(seconds=90))

    assert requested(waiting) == []
    assert "the next one waits" in str(waiting.skip_reason)
    assert [key for _, key, _ in requested(again)] == ["notes:ingest:1-0:2"]


def test_the_more_failures_the_longer_the_pause(location: Location) -> None:
    for _ in range(3):
        ran(location, NEED, status=FAILURE)
    now = datetime.now(UTC)

    assert requested(tick(location, now + timedelta(minutes=3))) == []
    assert len(requested(tick(location, now + timedelta(minutes=5)))) == 1


def test_a_source_that_goes_on_does_not_end_a_pause(location: Location) -> None:
    ran(location, NEED, status=FAILURE)
    location.say(7, "2026-01-12T10:00:00Z", "e", "new")

    assert requested(tick(location, datetime.now(UTC) + timedelta(seconds=30))) == []


def test_what_was_read_is_proven_in_time(ingested: Location) -> None:
    now = datetime.now(UTC)

    assert requested(tick(ingested, now + timedelta(minutes=20))) == []
    assert [(job, key) for job, key, _ in requested(tick(ingested, now + timedelta(hours=1)))] == [
        ("snapshot_notes", "notes:snapshot:after-0:1")
    ]


def test_a_proof_keeps_a_quiet_collection_from_costing_anything(ingested: Location) -> None:
    assert ingested.run("snapshot_notes").success

    result = tick(ingested, datetime.now(UTC) + timedelta(days=300))

    assert requested(result) == []
    assert "quiet: exposed 0:00:00" in str(result.skip_reason)


def test_a_quiet_collection_is_confirmed_once_an_objective(ingested: Location) -> None:
    ingested.run("snapshot_notes")
    now = datetime.now(UTC)

    cursor, events = None, list[list[str]]()
    for minutes in (0, 59, 61, 119, 122):
        result = tick(ingested, now + timedelta(minutes=minutes), cursor=cursor)
        cursor = result.cursor
        events.append([type(event).__name__ for event in of_the_point(result)])

    confirmed = ["AssetMaterialization"]
    assert events == [["AssetObservation"], [], confirmed, [], confirmed]
    assert result.asset_events[0].asset_key.path == ["notes", "recovery_point"]
    assert result.asset_events[0].metadata["log_entry"].value == 9


def test_a_missing_proof_is_never_confirmed(ingested: Location) -> None:
    result = tick(ingested, datetime.now(UTC))

    assert [type(event).__name__ for event in of_the_point(result)] == ["AssetObservation"]


def test_only_a_change_of_protection_is_observed(location: Location) -> None:
    first = tick(location, LAST_CHANGE)
    second = tick(location, LAST_CHANGE + timedelta(minutes=1), cursor=first.cursor)

    facts = {name: value.value for name, value in first.asset_events[0].metadata.items()}
    assert (facts["protection"], facts["days_behind"]) == ("breached", 4)
    assert second.asset_events == []


def test_the_live_store_is_never_opened(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the sensor opened the live store")

    monkeypatch.setattr("dr_pipelines.project.adapters.open_store", refuse)

    assert len(requested(tick(location, LAST_CHANGE))) == 1


def test_a_source_out_of_reach_is_an_error_of_the_tick(location: Location) -> None:
    location.feed.unlink()

    with pytest.raises(dg.Failure, match=r"no change feed at .*feed\.jsonl"):
        tick(location, LAST_CHANGE)


def test_a_source_that_was_rewritten_is_never_called_quiet(ingested: Location) -> None:
    ingested.feed.write_text("")
    ingested.say(1, "2026-01-05T08:00:00Z", "a", "another history")

    with pytest.raises(dg.Failure, match="truncated or rewritten"):
        tick(ingested, LAST_CHANGE)


def test_a_store_that_is_the_authority_is_snapshotted_once_an_objective(
    location: Location,
) -> None:
    location.set_policy(more=STORE_ONLY)

    result = tick(location, LAST_CHANGE, collection="memories")

    assert [(job, key) for job, key, _ in requested(result)] == [
        ("snapshot_memories", "memories:snapshot:after-0:1")
    ]


def test_the_sensor_is_on_by_default(location: Location) -> None:
    sensor = location.definitions.resolve_sensor_def("rpo_notes")

    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING


def test_a_tick_reads_the_feed_only_where_it_or_the_log_has_changed(
    ingested: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, read = list[str](), JsonlSource.partitions

    def counted(source: JsonlSource) -> list[SourcePartition]:
        reads.append("read")
        return read(source)

    monkeypatch.setattr(JsonlSource, "partitions", counted)
    soon = datetime(2026, 1, 12, 10, 20, tzinfo=UTC)
    first = tick(ingested, soon, cursor=tick(ingested, soon).cursor)
    again = tick(ingested, soon, cursor=first.cursor)
    assert (len(reads), again.skip_reason, again.cursor) == (1, first.skip_reason, first.cursor)

    ingested.say(7, "2026-01-12T10:00:00Z", "e", "new")
    changed = tick(ingested, soon, cursor=again.cursor)
    assert (len(reads), "1 days behind" in str(changed.skip_reason)) == (2, True)

    late = tick(ingested, datetime(2026, 1, 12, 10, 45, tzinfo=UTC), cursor=changed.cursor)
    assert (len(reads), [key for _, key, _ in requested(late)]) == (2, ["notes:ingest:1-6:1"])

    ingested.ingest_without_dagster()
    reads.clear()
    tick(ingested, soon, cursor=late.cursor)
    assert len(reads) == 1


def test_a_cursor_of_another_version_is_read_anew(ingested: Location) -> None:
    tick(ingested, LAST_CHANGE)  # it leaves marks, as each does that read the source
    result = tick(ingested, LAST_CHANGE)
    other = json.dumps({"protection": "within", "confirmed_at": None, "seen": '{"of": 1}'})
    assert tick(ingested, LAST_CHANGE, cursor=other).skip_reason == result.skip_reason
    assert tick(ingested, LAST_CHANGE, cursor='{"protection": "within"}').cursor == result.cursor


def test_a_first_tick_asks_for_a_backup_and_makes_nothing(location: Location) -> None:
    before = sorted(path.name for path in location.directory.iterdir())

    assert len(requested(tick(location, LAST_CHANGE))) == 1
    assert sorted(path.name for path in location.directory.iterdir()) == before


def test_an_unreadable_line_breaches_the_objective_and_is_never_confirmed_away(
    ingested: Location,
) -> None:
    assert ingested.run("snapshot_notes").success
    quiet = tick(ingested, datetime.now(UTC) + timedelta(hours=2))
    assert [type(event).__name__ for event in of_the_point(quiet)] == ["AssetMaterialization"]
    ingested.say_line("not json")

    result = tick(ingested, datetime.now(UTC) + timedelta(hours=2), cursor=quiet.cursor)

    assert requested(result) == []  # no run can read it
    assert "breached" in str(result.skip_reason)
    assert "1 line or file of the source cannot be read since 2026-01-09" in str(result.skip_reason)
    [event] = of_the_point(result)
    assert isinstance(event, dg.AssetObservation)
    metadata = {name: value.value for name, value in event.metadata.items()}
    assert (metadata["protection"], metadata["unread"]) == ("breached", 1)
    assert str(metadata["unread_such_as"]).startswith("line 7: invalid JSON")


def test_bytes_without_a_line_end_are_not_confirmed_away_either(ingested: Location) -> None:
    assert ingested.run("snapshot_notes").success
    with ingested.feed.open("a") as file:
        file.write('{"seq": 7')

    soon = tick(ingested, datetime.now(UTC) + timedelta(minutes=5))
    late = tick(ingested, datetime.now(UTC) + timedelta(hours=2))

    assert "within" in str(soon.skip_reason)
    assert "9 bytes without a line end since" in str(soon.skip_reason)
    assert "breached" in str(late.skip_reason)
    for result in (soon, late):
        assert not [e for e in of_the_point(result) if isinstance(e, dg.AssetMaterialization)]


def test_a_feed_of_which_no_line_can_be_read_fails_the_tick_with_a_message(
    ingested: Location,
) -> None:
    ingested.feed.write_text("one\ntwo\n")

    with pytest.raises(dg.Failure) as failed:
        tick(ingested, datetime.now(UTC))

    message = str(failed.value.description)
    assert "feed.jsonl: not one line can be read, of 2. It begins with" in message
    assert "line 1: invalid JSON" in message
    assert str(failed.value.metadata["next"].value).startswith("Ask for something else")


def test_a_refusal_to_embed_is_in_the_reason_and_is_observed(
    ingested: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingested.say(7, "2026-01-10T10:00:00Z", "e", "a heron waits")
    at = datetime(2026, 1, 10, 10, 1, tzinfo=UTC)  # nothing is due yet
    before = tick(ingested, at)

    def embed(*_: object, **__: object) -> None:
        raise TextTooLong({0: 99}, limit=10, model="hashing")

    monkeypatch.setattr(
        "dr_pipelines.ingestion.embeddings.require_same_model", lambda *_, **__: None
    )
    monkeypatch.setattr(HashingEmbedder, "embed", embed)
    assert not ingested.ingest(days=("2026-01-10", "2026-01-10")).success

    result = tick(ingested, at, cursor=before.cursor)

    assert "chunks are longer than model 'hashing' reads" in str(result.skip_reason)
    [event] = of_the_point(result)
    assert isinstance(event, dg.AssetObservation)
    assert "chunks are longer" in str(event.metadata["refused"].value)
    again = tick(ingested, at, cursor=result.cursor)
    assert of_the_point(again) == []
