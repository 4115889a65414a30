"""Where the newest records of a state lie: in packed pages where segments are small, else in
segments; read an object at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pyarrow as pa

from dr_pipelines.model.recovery_point import ObjectRef, SegmentPageRef
from dr_pipelines.repository.packed import packed_records
from dr_pipelines.repository.segment_list import Group, Segments
from dr_pipelines.repository.segments import read_records
from dr_pipelines.repository.state import State
from dr_pipelines.repository.take_rows import Numbers


@dataclass(frozen=True, slots=True)
class RecordPlaces:
    """Newest records of a state that lie together: segments, numbered in `group`, each with rows of
    it, all ascending."""

    state: State
    group: Group
    rows: tuple[tuple[int, Numbers], ...]

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        """All that is read for them."""
        page = self.group.page
        if page is not None and page.packed is not None:
            return (page.packed, *page.packed.vectors)
        segment = self.group.only
        return (segment, *segment.companions)

    def read(self, columns: list[str]) -> pa.Table:
        """These columns of the records, in order; raises `Damaged`."""
        spec, repository = self.state.spec, self.state.repository
        if self.group.page is not None:
            return self._packed(self.group.page, columns)
        numbers = np.concatenate([numbers for _, numbers in self.rows])
        segment = self.group.only
        return read_records(repository, segment, spec=spec, columns=columns, numbers=numbers)

    def _packed(self, page: SegmentPageRef, columns: list[str]) -> pa.Table:
        segments = np.concatenate(
            [np.full(len(rows), number, np.int64) for number, rows in self.rows]
        )
        rows = np.concatenate([rows for _, rows in self.rows])
        state = self.state
        return packed_records(
            state.repository, page, segments, rows, spec=state.spec, columns=columns
        )


def record_places(state: State, *, documents: pa.Array | None = None) -> Iterator[RecordPlaces]:
    """The newest records of a state, or of some documents, in order of segments."""
    placed = (
        (_holder(state, number), number, rows)
        for number, rows in state.rows_by_segment(documents=documents)
    )
    for _, together in groupby(placed, key=lambda one: one[0].first):
        parts = list(together)
        group = parts[0][0]
        yield RecordPlaces(
            state, group, tuple((number - group.first, rows) for _, number, rows in parts)
        )


def _holder(state: State, number: int) -> Group:
    listed = state.segments
    if isinstance(listed, Segments):
        return listed.holder(number)
    return Group(number, None, listed[number])
