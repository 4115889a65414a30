"""Rows whose vectors lie beside them are taken, cut, joined and sorted as whole rows."""

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.repository.segment_rows import SegmentRows
from dr_pipelines.repository.segments import (
    SORT_COLUMNS,
    read_rows,
    read_segment,
    sort_rows,
    write_segment,
)
from tests.repository.builders import SPEC, Version, repository, rows_of

ROWS = rows_of([Version("a", texts=("one", "two")), Version("b", texts=()), Version("c")])


def whole(rows: SegmentRows) -> pa.Table:
    """Joined again."""
    return rows.joined(ROWS.column_names).combine_chunks()


@pytest.mark.parametrize("numbers", [[], [0], [4, 1, 0], [5, 4, 3, 2, 1, 0], [1, 2], [1, 1]])
def test_rows_are_taken_with_their_vectors(numbers: list[int]) -> None:
    taken = SegmentRows.of(ROWS, SPEC).taken(np.array(numbers, np.int64))
    assert whole(taken).equals(ROWS.take(pa.array(numbers, pa.int64())).combine_chunks())


@pytest.mark.parametrize("count", range(ROWS.num_rows + 1))
def test_rows_are_cut_and_joined_with_their_vectors(count: int) -> None:
    first, rest = SegmentRows.of(ROWS, SPEC).cut(count)
    assert whole(first).equals(ROWS.slice(0, count).combine_chunks())
    assert whole(rest).equals(ROWS.slice(count).combine_chunks())
    assert whole(SegmentRows.joined_up([first, rest])).equals(ROWS)


def test_rows_are_sorted_with_their_vectors() -> None:
    mixed = ROWS.take(pa.array([3, 1, 5, 0, 4, 2]))
    rows = SegmentRows.of(mixed, SPEC).in_order(SORT_COLUMNS)
    assert whole(rows).equals(sort_rows(mixed).combine_chunks())


def test_rows_are_read_as_they_are_stored() -> None:
    home = repository()
    ref = write_segment(home, "books", ROWS, spec=SPEC, kind="base")
    assert whole(read_rows(home, ref, spec=SPEC)).equals(read_segment(home, ref, spec=SPEC))
