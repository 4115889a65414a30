"""The code location as it is deployed: webserver, daemon, queue, sensor, backfill."""

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


def finished(server: Server, **tags: str) -> list[dict[str, Any]]:
    """Runs with some tags, once there are some and none of them is unfinished."""
    runs = [r for r in server.runs() if tags.items() <= r["tags"].items()]
    return [] if any(run["status"] in UNFINISHED for run in runs) else runs


@pytest.mark.timeout(300)
def test_the_sensor_starts_what_is_due_and_a_backfill_replays(
    location: Location, tmp_path: Path
) -> None:
    with running(tmp_path / "dagster", location.policies) as server:
        server.wait("healthy daemons", lambda: all(server.daemons().values()), seconds=60)
        need = {"dr/need": "notes:ingest:1-0"}
        runs = server.wait("run of the sensor", lambda: finished(server, **need), seconds=120)

        assert [(run["status"], run["jobName"]) for run in runs] == [("SUCCESS", "ingest_notes")]
        assert location.log_kinds() == ["ingest"] * 4 + ["applied"]
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
