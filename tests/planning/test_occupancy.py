"""Who is at work on a collection, and who only seems to be."""

from datetime import UTC, datetime, timedelta

import pytest

from dr_pipelines.planning.occupancy import Occupancy, Run, occupancy

NOW = datetime(2026, 1, 9, 12, tzinfo=UTC)
RPO = timedelta(hours=1)
LONG, SHORT = NOW - RPO, NOW - RPO + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (Run("a"), Occupancy(working=("a",))),
        (Run("a", queued_since=SHORT, ours=True), Occupancy(working=("a",))),
        (Run("a", queued_since=SHORT), Occupancy(working=("a",))),
        (Run("a", queued_since=LONG, ours=True), Occupancy(stale=("a",))),
        (Run("a", queued_since=LONG), Occupancy(passed=("a",))),
        (Run("a", ours=True, gone=True), Occupancy(gone=("a",))),
        (Run("a", gone=True), Occupancy(gone=("a",))),
    ],
)
def test_a_run_counts_as_what_it_is(run: Run, expected: Occupancy) -> None:
    assert occupancy([run], rpo=RPO, now=NOW) == expected


def test_runs_keep_their_order() -> None:
    runs = [Run("a"), Run("b", queued_since=LONG, ours=True), Run("c"), Run("d", gone=True)]
    assert occupancy(runs, rpo=RPO, now=NOW) == Occupancy(("a", "c"), ("d",), ("b",), ())
