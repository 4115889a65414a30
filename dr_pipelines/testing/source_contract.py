"""The contract that every source must meet.

class TestMySource(SourceContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        return MySource(...)

The source holds at least three changes on at least two days; what it holds is its own matter.
"""

# ruff: noqa: S101 - a suite is made of assertions

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from dr_pipelines.ingestion.rows import check_changes
from dr_pipelines.model.record import CHANGE_SCHEMA
from dr_pipelines.protocols import Source, TimedChanges

FOR_EVER = 2**62


def rows(source: Source, after: int = 0, through: int = FOR_EVER) -> list[dict[str, Any]]:
    """Changes as dictionaries."""
    return [row for batch in source.changes(after, through) for row in batch.to_pylist()]


class SourceContract:
    """Partitions, anchors and changes agree with each other, whoever asks in which order."""

    @pytest.fixture
    def source(self) -> Iterator[Source]:
        raise NotImplementedError("override the `source` fixture")

    def test_a_glance_at_an_unchanged_source_is_equal(self, source: Source) -> None:
        before = source.change_token()
        rows(source)
        assert before
        assert source.change_token() == before

    def test_the_sample_is_worth_testing(self, source: Source) -> None:
        assert len(source.partitions()) >= 2
        assert len(rows(source)) >= 3

    def test_changes_are_in_the_schema(self, source: Source) -> None:
        for batch in source.changes(0, FOR_EVER):
            assert batch.schema.equals(CHANGE_SCHEMA)

    def test_all_changes_in_order_pass_the_row_checks(self, source: Source) -> None:
        check_changes(pa.Table.from_batches(source.changes(0, FOR_EVER), CHANGE_SCHEMA))

    def test_partitions_are_contiguous_from_the_start_to_the_head(self, source: Source) -> None:
        partitions = source.partitions()
        assert [p.after for p in partitions] == [0, *(p.through for p in partitions[:-1])]
        assert partitions[-1].through == max(row["position"] for row in rows(source))

    def test_days_of_partitions_ascend(self, source: Source) -> None:
        days = [p.day for p in source.partitions()]
        assert days == sorted(set(days))

    def test_a_partition_holds_the_changes_of_its_day(self, source: Source) -> None:
        for partition in source.partitions():
            changes = rows(source, partition.after, partition.through)
            assert len(changes) == partition.changes > 0
            assert {row["day"] for row in changes} == {partition.day}

    def test_partitions_in_any_order_are_all_changes(self, source: Source) -> None:
        parts = [rows(source, p.after, p.through) for p in reversed(source.partitions())]
        assert [row for part in reversed(parts) for row in part] == rows(source)

    def test_any_range_is_cut_out_of_all_changes(self, source: Source) -> None:
        everything = rows(source)
        positions = sorted({row["position"] for row in everything})
        for after in (0, positions[0], positions[1], positions[-1]):
            for through in (0, positions[0], positions[-2], positions[-1], FOR_EVER):
                expected = [row for row in everything if after < row["position"] <= through]
                assert rows(source, after, through) == expected

    def test_the_day_is_that_of_the_newest_time_so_far(self, source: Source) -> None:
        newest = None
        for row in rows(source):
            newest = row["updated_at"] if newest is None else max(newest, row["updated_at"])
            assert row["day"] == newest.date()

    def test_the_anchor_of_a_partition_is_that_of_its_last_position(self, source: Source) -> None:
        for partition in source.partitions():
            assert partition.anchor == source.anchor(partition.through)

    def test_anchors_differ_from_position_to_position(self, source: Source) -> None:
        positions = {row["position"] for row in rows(source)}
        anchors = {source.anchor(position) for position in positions}
        assert None not in anchors
        assert len(anchors) == len(positions)

    def test_times_without_rows_are_those_of_the_rows(self, source: Source) -> None:
        """Of a source that says them."""
        if not isinstance(source, TimedChanges):
            return
        ends = [(p.after, p.through) for p in source.partitions()]
        for after, through in [*ends, (0, FOR_EVER), (ends[-1][1], FOR_EVER)]:
            batch = next(source.changes(after, through), None)
            times = None if batch is None else batch["updated_at"].to_pylist()
            expected = None if times is None else (times[0], min(times))
            assert source.first_times(after, through) == expected

    def test_there_is_no_anchor_outside_the_history(self, source: Source) -> None:
        head = source.partitions()[-1].through
        assert [source.anchor(p) for p in (-1, 0, head + 1_000_000, FOR_EVER)] == [None] * 4

    def test_reading_twice_gives_the_same(self, source: Source) -> None:
        first = (rows(source), source.partitions(), source.provenance)
        assert (rows(source), source.partitions(), source.provenance) == first

    def test_it_says_how_much_of_it_was_read(self, source: Source) -> None:
        source.partitions()
        assert source.reading().before + source.reading().new > 0
        assert source.reading().sentence

    def test_what_is_quarantined_belongs_to_one_partition(self, source: Source) -> None:
        everything = source.quarantined(0, FOR_EVER)
        parts = [source.quarantined(p.after, p.through) for p in source.partitions()]
        assert [q for part in parts for q in part] == everything
        assert all(q.place and q.reason for q in everything)
