"""Runs that only seem to be at work: queued for too long, or without a process."""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.test_utils import create_run_for_test

from assets.runs import NEED_TAG, STALE_TAG
from assets.tracked import COLLECTION_TAG
from assets.workers import MACHINE_TAG, is_alive, this_machine
from tests.assets.location import Location
from tests.assets.test_sensors import NEED, requested, tick

STATUS = dg.DagsterRunStatus
OURS = {COLLECTION_TAG: "notes", NEED_TAG: NEED}


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that plays a run's worker."""
    started = subprocess.Popen(["sleep", "300"])
    yield started
    started.kill()
    started.wait()


def queued(location: Location, tags: dict[str, str]) -> str:
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "__repository__")
    run = create_run_for_test(
        location.instance,
        job_name="ingest_notes",
        tags=tags,
        status=STATUS.QUEUED,
        remote_job_origin=RemoteJobOrigin(repository, "ingest_notes"),
    )
    return run.run_id


def started(
    location: Location,
    *,
    machine: str = "",
    process: int | None = None,
    restores: str | None = None,
) -> str:
    """A run that Dagster takes for started, and what it knows of where."""
    tags = {MACHINE_TAG: machine or this_machine()} | ({} if restores else OURS)
    config = {"ops": {"restore_collection": {"config": {"collection": restores}}}}
    run = create_run_for_test(
        location.instance,
        job_name="restore" if restores else "ingest_notes",
        tags=tags,
        run_config=config if restores else None,
    )
    if process is not None:
        location.instance.report_engine_event(
            f"Started process for run (pid: {process}).", run, EngineEventData.in_process(process)
        )
    start = DagsterEvent(dg.DagsterEventType.RUN_START.value, "ingest_notes")
    location.instance.report_dagster_event(start, run.run_id)
    return run.run_id


def status(location: Location, run_id: str) -> dg.DagsterRunStatus:
    run = location.instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=61)


def test_a_run_that_waits_for_its_turn_is_waited_for(location: Location) -> None:
    run = queued(location, OURS)

    result = tick(location, datetime.now(UTC) + timedelta(minutes=58))

    assert requested(result) == []
    assert f"run {run} is at work on it" in str(result.skip_reason)
    assert status(location, run) is STATUS.QUEUED


def test_one_that_waits_longer_than_the_objective_is_cancelled_before_another_starts(
    location: Location,
) -> None:
    run = queued(location, OURS)

    ((_, key, tags),) = requested(tick(location, in_an_hour()))

    assert key == "notes:ingest:1-0:2"
    assert (tags["dr/instead-of"], tags["dagster/priority"]) == (run, "1")
    assert status(location, run) is STATUS.CANCELED
    messages = [e.message for e in location.instance.all_logs(run) if e.dagster_event]
    assert any("has waited for its turn for longer than 1:00:00" in m for m in messages)


def test_what_was_cancelled_so_is_no_try_in_vain(location: Location) -> None:
    tick(location, in_an_hour())
    run = queued(location, OURS)
    tick(location, in_an_hour())
    assert STALE_TAG in dict(location.instance.get_run_by_id(run).tags)  # type: ignore[union-attr]

    soon = tick(location, datetime.now(UTC) + timedelta(seconds=1))

    assert [key for _, key, _ in requested(soon)] == ["notes:ingest:1-0:2"]


def test_one_of_somebody_else_is_passed_and_left_alone(location: Location) -> None:
    run = queued(location, {COLLECTION_TAG: "notes"})

    ((_, key, tags),) = requested(tick(location, in_an_hour()))

    assert (key, tags["dr/instead-of"]) == ("notes:ingest:1-0:1", run)
    assert status(location, run) is STATUS.QUEUED


def test_a_run_whose_process_is_gone_is_marked_as_failed_at_the_second_look(
    location: Location, process: "subprocess.Popen[bytes]"
) -> None:
    run = started(location, process=process.pid)
    now = datetime.now(UTC)
    busy = tick(location, now)
    assert f"run {run} is at work on it" in str(busy.skip_reason)

    process.kill()
    first = tick(location, now, cursor=busy.cursor)
    assert (requested(first), status(location, run)) == ([], STATUS.STARTED)
    assert f"the process of run {run} is gone" in str(first.skip_reason)

    second = tick(location, now, cursor=first.cursor)
    assert (requested(second), status(location, run)) == ([], STATUS.FAILURE)
    assert "it was marked as failed" in str(second.skip_reason)

    after = tick(location, now + timedelta(minutes=2), cursor=second.cursor)
    assert [key for _, key, _ in requested(after)] == ["notes:ingest:1-0:2"]


def test_a_machine_that_was_started_again_has_none_of_its_processes(location: Location) -> None:
    name = this_machine().rpartition("/")[0]
    run = started(location, machine=f"{name}/another-boot")

    first = tick(location, datetime.now(UTC))
    tick(location, datetime.now(UTC), cursor=first.cursor)

    assert status(location, run) is STATUS.FAILURE


def test_of_another_machine_nothing_is_said(
    location: Location, process: "subprocess.Popen[bytes]"
) -> None:
    run = started(location, machine="elsewhere/boot", process=process.pid)
    process.kill()
    process.wait()

    cursor = None
    for _ in range(3):
        result = tick(location, datetime.now(UTC), cursor=cursor)
        cursor = result.cursor

    assert f"run {run} is at work on it" in str(result.skip_reason)


def test_a_run_whose_process_is_gone_is_found_although_nothing_is_due(ingested: Location) -> None:
    assert ingested.run("snapshot_notes").success
    name = this_machine().rpartition("/")[0]
    run = started(ingested, machine=f"{name}/another-boot")

    first = tick(ingested, datetime.now(UTC))
    tick(ingested, datetime.now(UTC), cursor=first.cursor)

    assert status(ingested, run) is STATUS.FAILURE


@pytest.mark.parametrize(("collection", "expected"), [("notes", "FAILURE"), ("other", "STARTED")])
def test_a_restore_whose_process_is_gone_is_found_by_its_collection(
    location: Location, collection: str, expected: str
) -> None:
    name = this_machine().rpartition("/")[0]
    run = started(location, machine=f"{name}/another-boot", restores=collection)

    first = tick(location, datetime.now(UTC))
    tick(location, datetime.now(UTC), cursor=first.cursor)

    assert status(location, run).value == expected


def test_a_restore_at_work_keeps_nobody_from_starting(
    location: Location, process: "subprocess.Popen[bytes]"
) -> None:
    started(location, process=process.pid, restores="notes")

    assert len(requested(tick(location, datetime.now(UTC)))) == 1


def test_what_a_step_records_of_its_machine_is_this_one(location: Location) -> None:
    done = location.ingest("documents")

    assert location.instance.get_run_by_id(done.run_id).tags[MACHINE_TAG] == this_machine()  # type: ignore[union-attr]


def test_a_process_that_is_dead_but_not_buried_is_not_alive(
    process: "subprocess.Popen[bytes]",
) -> None:
    now = datetime.now(UTC)
    assert is_alive(process.pid, began=now)
    assert not is_alive(process.pid, began=now - timedelta(hours=1))  # another, by that number

    process.kill()
    subprocess.run(["sleep", "0.1"], check=True)
    assert not is_alive(process.pid, began=now)  # a zombie: nobody has waited for it

    process.wait()
    assert not is_alive(process.pid, began=now)
