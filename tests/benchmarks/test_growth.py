"""Verbs cost what changed, not how long the history is: requests are counted, never times."""

from pathlib import Path

import pytest

from benchmarks.growth import Cost, Growing
from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.testing.world import Process

DOCUMENTS = 5
DAYS = 24


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> list[Cost]:
    """The cost of each of some days, ingested one by one."""
    growing = grown(tmp_path_factory.mktemp("days"), 2)
    costs = []
    for _ in range(DAYS):
        growing.feed.add_days(1)
        costs.append(growing.cost(Process.ingest))
    return costs


def grown(directory: Path, days: int) -> Growing:
    growing = Growing(directory, "rewritten", blobs=MemoryBlobStore(), documents=DOCUMENTS)
    growing.grow(days)
    return growing


def test_a_day_with_one_change_adds_few_and_small_objects(days: list[Cost]) -> None:
    assert max(cost.requests.calls["create"] for cost in days) <= 10
    assert max(cost.requests.written_bytes for cost in days) <= 32 << 10


def test_days_cost_the_same_as_they_pass(days: list[Cost]) -> None:
    """Some write a page; on the average a later day reads and writes no more than an early one."""
    first, last = days[: DAYS // 3], days[-DAYS // 3 :]
    for count in (lambda cost: cost.calls, lambda cost: cost.requests.written_bytes):
        early, late = (sum(count(cost) for cost in part) for part in (first, last))
        assert late <= 1.15 * early


def test_compaction_makes_the_newest_point_smaller_and_says_by_how_much(tmp_path: Path) -> None:
    growing = grown(tmp_path, DAYS)
    process = growing.process()
    objects = set(growing.metered.keys(""))
    before = process.point()
    done = process.compact()
    assert done.after.objects < done.before.objects
    assert done.after.size_bytes < done.before.size_bytes
    assert objects < set(growing.metered.keys(""))  # nothing was deleted
    assert process.folded(f"log:{before.number}") == process.folded()
    assert process.verify(level=3).findings == ()


def test_a_verb_asks_for_no_more_after_twenty_days_than_after_two(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    few, many = (grown(tmp_path_factory.mktemp("verbs"), days).costs() for days in (9, 25))
    for verb in ("nothing", "status", "day", "backup", "documents", "restore"):
        assert many[verb].calls <= 1.2 * few[verb].calls + 3, verb  # a page or two more
    assert many["verify"].calls <= 3.5 * few["verify"].calls  # linear, where it was a square
