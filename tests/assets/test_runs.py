"""Runs that only seem to be at work: queued for too long, or without a process."""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.test_utils import create_run_for_test

from assets.run_process import MACHINE_TAG, PROCESS_TAG, RunProcess, is_alive, note, this_machine
from assets.runs import NEED_TAG, STALE_TAG
from assets.tracked import COLLECTION_TAG
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
    **other: str,
) -> str:
    """A run that Dagster takes for started, and what its step has recorded, with what is `other`
    than that."""
    config = {"ops": {"restore_collection": {"config": {"collection": restores}}}}
    run = create_run_for_test(
        location.instance,
        job_name="restore" if restores else "ingest_notes",
        tags={} if restores else OURS,
        run_config=config if restores else None,
    )
    if process is not None:
        worker = replace(RunProcess.of(run.run_id, process), **other)
        tags = {MACHINE_TAG: machine or this_machine(), PROCESS_TAG: worker.text()}
        location.instance.add_run_tags(run.run_id, tags)
    start = DagsterEvent(dg.DagsterEventType.RUN_START.value, "ingest_notes")
    location.instance.report_dagster_event(start, run.run_id)
    return run.run_id


def looked_at(location: Location, run_id: str) -> dg.DagsterRunStatus:
    """The decision on a run after three ticks."""
    cursor = None
    for _ in range(3):
        cursor = tick(location, datetime.now(UTC), cursor=cursor).cursor
    return status(location, run_id)


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


def test_a_machine_that_was_started_again_has_none_of_its_processes(
    location: Location, process: "subprocess.Popen[bytes]"
) -> None:
    assert looked_at(location, started(location, process=process.pid, boot="b")) is STATUS.FAILURE


def test_a_clock_that_was_set_meanwhile_ends_no_process(
    location: Location, process: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the clock that it has now, the process began an hour after its run."""
    run = started(location, process=process.pid)
    real = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path, *args: set_forward(path, real(path, *args)))

    assert looked_at(location, run) is STATUS.STARTED


def set_forward(path: Path, text: str) -> str:
    """The kernel's account of its boot once its clock was set an hour forward."""
    if str(path) != "/proc/stat":
        return text
    return re.sub(r"(?m)^btime (\d+)$", lambda match: f"btime {int(match[1]) + 3600}", text)


def test_another_process_with_its_number_is_not_it(
    location: Location, process: "subprocess.Popen[bytes]"
) -> None:
    assert looked_at(location, started(location, process=process.pid, began="1")) is STATUS.FAILURE


def test_a_run_that_is_tried_again_does_not_end_with_the_process_of_the_one_before(
    location: Location, process: "subprocess.Popen[bytes]"
) -> None:
    """Dagster copies its tags; it may wait for its slot of a pool before it records its own."""
    again = started(location, process=process.pid, run_id="the-one-before", boot="before")

    assert looked_at(location, again) is STATUS.STARTED


@pytest.mark.parametrize(("ours", "expected"), [(True, "FAILURE"), (False, "STARTED")])
def test_a_container_of_the_same_name_is_another_unless_runs_have_none_of_their_own(
    location: Location,
    process: "subprocess.Popen[bytes]",
    monkeypatch: pytest.MonkeyPatch,
    ours: bool,
    expected: str,
) -> None:
    run = started(location, process=process.pid, namespace="pid:[1]")
    process.kill()
    process.wait()
    if ours:
        launcher = property(lambda self: dg.DefaultRunLauncher())
        monkeypatch.setattr(type(location.instance), "run_launcher", launcher)

    assert looked_at(location, run).value == expected


def test_of_another_machine_nothing_is_said(
    location: Location, process: "subprocess.Popen[bytes]"
) -> None:
    run = started(location, machine="elsewhere", process=process.pid)
    process.kill()
    process.wait()

    cursor = None
    for _ in range(3):
        result = tick(location, datetime.now(UTC), cursor=cursor)
        cursor = result.cursor

    assert f"run {run} is at work on it" in str(result.skip_reason)


def test_a_run_whose_process_is_gone_is_found_although_nothing_is_due(ingested: Location) -> None:
    assert ingested.run("snapshot_notes").success
    run = started(ingested, process=os.getpid(), boot="another")

    first = tick(ingested, datetime.now(UTC))
    tick(ingested, datetime.now(UTC), cursor=first.cursor)

    assert status(ingested, run) is STATUS.FAILURE


@pytest.mark.parametrize(("collection", "expected"), [("notes", "FAILURE"), ("other", "STARTED")])
def test_a_restore_whose_process_is_gone_is_found_by_its_collection(
    location: Location, collection: str, expected: str
) -> None:
    run = started(location, process=os.getpid(), boot="another", restores=collection)

    first = tick(location, datetime.now(UTC))
    tick(location, datetime.now(UTC), cursor=first.cursor)

    assert status(location, run).value == expected


def test_a_restore_at_work_keeps_nobody_from_starting(
    location: Location, process: "subprocess.Popen[bytes]"
) -> None:
    started(location, process=process.pid, restores="notes")

    assert len(requested(tick(location, datetime.now(UTC)))) == 1


def test_a_step_records_the_process_of_its_run(location: Location) -> None:
    done = location.ingest("documents")

    tags = location.instance.get_run_by_id(done.run_id).tags  # type: ignore[union-attr]
    assert tags[MACHINE_TAG] == this_machine()
    assert RunProcess.parse(tags[PROCESS_TAG]) == RunProcess.of(done.run_id, os.getpid())


def test_a_step_elsewhere_than_its_run_records_nothing(
    location: Location, process: "subprocess.Popen[bytes]"
) -> None:
    """In a container of its own, for one: the number of its run's process means another here."""
    run = create_run_for_test(location.instance, job_name="ingest_notes")
    text = f"Started process for run (pid: {process.pid})."
    location.instance.report_engine_event(text, run, EngineEventData.in_process(process.pid))

    note(location.instance, run.run_id)

    assert MACHINE_TAG not in location.instance.get_run_by_id(run.run_id).tags  # type: ignore[union-attr]


def test_a_process_that_is_dead_but_not_buried_is_not_alive(
    process: "subprocess.Popen[bytes]",
) -> None:
    worker = RunProcess.of("", process.pid)
    assert is_alive(worker)

    process.kill()
    subprocess.run(["sleep", "0.1"], check=True)
    assert not is_alive(worker)  # a zombie: nobody has waited for it

    process.wait()
    assert not is_alive(worker)
