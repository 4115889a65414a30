"""A source that is older than what is kept of it: one state, then every change."""

from datetime import date, datetime
from pathlib import Path

import pytest

from dr_pipelines.protocols import Source
from dr_pipelines.sources import baseline
from dr_pipelines.sources.baseline import BaselinedSource
from dr_pipelines.sources.git import GitSource
from dr_pipelines.sources.jsonl import JsonlSource
from dr_pipelines.testing.source_contract import SourceContract, rows
from tests.ingestion.feeds import Repository, line, written

LINES = [
    line(1, "2026-01-01T00:00:00Z", id="a", text="old"),
    b"not json",
    line(2, "2026-01-01T00:00:00Z", id="gone"),
    line(3, "2026-01-02T00:00:00Z", id="a", text="stands"),
    line(4, "2026-01-03T00:00:00Z", id="b", text="stands too"),
    line(6, "2026-01-03T12:00:00Z", id="gone", op="delete", text=None),
    line(7, "2026-01-05T00:00:00Z", id="b", op="delete", text=None),
    line(8, "2026-01-05T12:00:00Z", id="c"),
    line(9, "2026-01-06T00:00:00Z", id="a", text="new"),
]


class BaselineContract(SourceContract):
    def test_the_day_is_that_of_the_newest_time_so_far(self, source: Source) -> None:
        """But for the baseline, which belongs to the first day."""
        for row in rows(source):
            first = row["position"] <= source.baseline
            assert row["day"] == (date(2026, 1, 4) if first else row["updated_at"].date())


class TestBaselineOfAFeed(BaselineContract):
    @pytest.fixture
    def source(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
        monkeypatch.setattr(baseline, "HELD_ROWS", 1)
        feed = JsonlSource(written(tmp_path / "feed.jsonl", LINES))
        return BaselinedSource(feed, date(2026, 1, 4))


class TestBaselineOfARepository(BaselineContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        repository = Repository(tmp_path / "repository")
        for name in ("a.md", "b.md", "c.md"):
            repository.write(name, "old")
            repository.commit("2026-01-01T00:00:00Z")
        repository.git("rm", "-q", "b.md")
        repository.write("a.md", "stands")
        repository.commit("2026-01-02T00:00:00Z")
        repository.write("a.md", "new")
        repository.commit("2026-01-05T00:00:00Z")
        return BaselinedSource(GitSource(repository.path), date(2026, 1, 4))


def rows_of(source: Source) -> list[tuple[int, str, str | None]]:
    return [(row["position"], row["document_id"], row["text"]) for row in rows(source)]


@pytest.mark.parametrize(
    ("start", "expected", "days"),
    [
        (1, [1, 2, 3, 4, 6, 7, 8, 9], [(1, 0, 2), (2, 2, 3), (3, 3, 6), (5, 6, 8), (6, 8, 9)]),
        (3, [2, 3, 4, 6, 7, 8, 9], [(3, 0, 6), (5, 6, 8), (6, 8, 9)]),
        (4, [3, 4, 7, 8, 9], [(4, 0, 6), (5, 6, 8), (6, 8, 9)]),
        (5, [3, 4, 7, 8, 9], [(5, 0, 8), (6, 8, 9)]),
        (20, [8, 9], [(20, 0, 9)]),
    ],
)
def test_what_stood_when_the_first_day_began_is_its_beginning(
    tmp_path: Path, start: int, expected: list[int], days: list[tuple[int, int, int]]
) -> None:
    feed = JsonlSource(written(tmp_path / "feed.jsonl", LINES))
    source = BaselinedSource(feed, date(2026, 1, start))
    assert [(p.day.day, p.after, p.through) for p in source.partitions()] == days
    assert [position for position, _, _ in rows_of(source)] == expected
    assert [p.changes for p in source.partitions()] == [
        len(rows(source, p.after, p.through)) for p in source.partitions()
    ]


def test_a_source_of_which_nothing_stood_begins_with_its_next_day(tmp_path: Path) -> None:
    lines = [LINES[2], LINES[5], line(7, "2026-01-05T00:00:00Z")]
    feed = JsonlSource(written(tmp_path / "feed.jsonl", lines))
    source = BaselinedSource(feed, date(2026, 1, 4))
    assert [(p.day.day, p.after, p.through, p.changes) for p in source.partitions()] == [
        (5, 0, 7, 1)
    ]
    gone = BaselinedSource(JsonlSource(written(tmp_path / "gone", lines[:2])), date(2026, 1, 4))
    assert (gone.partitions(), rows_of(gone)) == ([], [])


def test_a_time_of_a_change_in_the_baseline_stays_its_own(tmp_path: Path) -> None:
    feed = JsonlSource(written(tmp_path / "feed.jsonl", LINES))
    first = rows(BaselinedSource(feed, date(2026, 1, 4)))[0]
    assert first["updated_at"] == datetime.fromisoformat("2026-01-02T00:00:00+00:00")
    assert first["day"] == date(2026, 1, 4)


def test_another_first_day_is_another_glance(tmp_path: Path) -> None:
    feed = JsonlSource(written(tmp_path / "feed.jsonl", LINES))
    change_tokens = {BaselinedSource(feed, date(2026, 1, day)).change_token() for day in (4, 5)}
    assert len(change_tokens) == 2
