"""The code location as it is deployed: webserver, daemon, queue, sensor, backfill; what dies."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.assets.location import Location
from tests.assets.server import Server, running

BACKFILL = """
mutation Backfill($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
UNFINISHED = {"QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING"}
NEED = {"dr/need": "notes:ingest:1-0"}
EVERY_DAY = ["ingest"] * 4 + ["applied"]


def with_tags(server: Server, **tags: str) -> list[dict[str, Any]]:
    return [r for r in server.runs() if tags.items() <= r["tags"].items()]


def finished(server: Server, *statuses: str, **tags: str) -> list[dict[str, Any]]:
    """Runs with some tags, once there are some, none of them unfinished, one of the statuses."""
    runs = with_tags(server, **tags)
    if any(run["status"] in UNFINISHED for run in runs):
        return []
    return runs if {run["status"] for run in runs} >= set(statuses) else []


def holding_its_slot(server: Server) -> tuple[str, int] | None:
    """The sensor's run and its process, once its last step has begun."""
    for run in with_tags(server, **NEED):
        messages = server.messages(run["runId"])
        if any('Started execution of step "notes__collection"' in message for message in messages):
            process = server.worker(run["runId"])
            assert process is not None
            return run["runId"], process
    return None


@pytest.mark.timeout(420)
@pytest.mark.parametrize("hurried", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_killed_worker_is_followed_by_another_and_a_backfill_replays(
    location: Location, tmp_path: Path, hurried: bool
) -> None:
    with running(tmp_path / "dagster", location.policies, hurried=hurried) as server:
        with location.project.lease("notes"):  # for which its last step waits
            server.wait("healthy daemons", lambda: all(server.daemons().values()), seconds=60)
            killed, process = server.wait(
                "step of the sensor's run", lambda: holding_its_slot(server), seconds=120
            )
            os.kill(process, signal.SIGKILL)
        runs = server.wait("run after it", lambda: finished(server, "SUCCESS", **NEED), seconds=150)

        assert {run["jobName"] for run in runs} == {"ingest_notes"}
        assert {r["runId"]: r["status"] for r in runs}[killed] == "FAILURE"
        assert location.log_kinds() == EVERY_DAY
        before = location.state()

        params = {
            "partitionNames": ["2026-01-05", "2026-01-06"],
            "assetSelection": [
                {"path": ["notes", name]}
                for name in ("documents", "chunks", "embeddings", "collection")
            ],
        }
        launched = server.query(BACKFILL, params=params)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        backfill = {"dagster/backfill": launched["backfillId"]}
        replays = server.wait(
            "run of the backfill", lambda: finished(server, **backfill), seconds=120
        )

        assert [run["status"] for run in replays] == ["SUCCESS"]
        assert location.state() == before
        assert location.log_kinds()[5:] == ["ingest", "ingest", "applied"]


@pytest.mark.long
@pytest.mark.timeout(420)
def test_a_run_that_dies_with_its_daemon_is_followed_by_another(
    location: Location, tmp_path: Path
) -> None:
    with running(tmp_path / "dagster", location.policies, hurried=False) as server:
        with location.project.lease("notes"):
            killed, _ = server.wait(
                "step of the sensor's run", lambda: holding_its_slot(server), seconds=120
            )
            server.kill_daemon()
        server.start_daemon()
        runs = server.wait("run after it", lambda: finished(server, "SUCCESS", **NEED), seconds=240)

        assert {r["runId"]: r["status"] for r in runs}[killed] == "FAILURE"
        assert "has ended without a word" in " ".join(server.messages(killed))
        assert location.log_kinds() == EVERY_DAY
