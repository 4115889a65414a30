"""A source whose history begins before the days that are kept: one state, then every change."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING

from dr_pipelines.model.lineage import SourceProvenance
from dr_pipelines.model.source_reading import SourceReading
from dr_pipelines.model.unread import Quarantined, Unread
from dr_pipelines.protocols import Source, SourcePartition, TimedChanges
from dr_pipelines.sources.changes import first_times_of
from dr_pipelines.sources.marks_file import MarksFile

if TYPE_CHECKING:  # Arrow is imported where there is a baseline
    import pyarrow as pa

KEY = ("document_id", "position", "ordinal", "deleted")
HELD_ROWS = 200_000


class BaselinedSource:
    """Another source from a first day on.

    What it said before that day becomes its baseline: of each document the version that stood when
    the day began, none of those that were deleted. It belongs to the first day, with that day's
    own changes. Later days are as they are. A source that says nothing earlier is as it is.
    """

    def __init__(self, source: Source, start: date, *, marks: MarksFile | None = None) -> None:
        self._source = source
        self._start = start
        self._marks = marks
        self._end: int | None = None
        self._last: SourcePartition | None = None
        self._cached: tuple[str, pa.Table] | None = None

    @property
    def provenance(self) -> SourceProvenance:
        return self._source.provenance

    @property
    def baseline(self) -> int:
        """The last position before the first day; 0 where there is none."""
        if self._end is None:
            self.partitions()
        return self._end or 0

    def change_token(self) -> str:
        return f"{self._source.change_token()}:{self._start}"

    def partitions(self) -> list[SourcePartition]:
        days = self._source.partitions()
        early = [day for day in days if day.day < self._start]
        self._end = early[-1].through if early else 0
        if not early:
            return days
        self._last = early[-1]
        later, count = days[len(early) :], self._count(early[-1])
        if later and (later[0].day == self._start or not count):
            return [
                replace(later[0], after=0, changes=later[0].changes + count),
                *later[1:],
            ]
        whole = replace(early[-1], day=self._start, after=0, changes=count)
        return [whole, *later] if count else []

    def anchor(self, position: int) -> str | None:
        return self._source.anchor(position)

    def changes(self, after: int, through: int) -> "Iterator[pa.RecordBatch]":
        end = self.baseline
        if after < end:
            yield from self._stood(after, min(through, end))
        if through > end:
            yield from self._source.changes(max(after, end), through)

    def first_times(self, after: int, through: int) -> tuple[datetime, datetime] | None:
        if after >= self.baseline and isinstance(self._source, TimedChanges):
            return self._source.first_times(after, through)
        return first_times_of(self.changes(after, through))

    def quarantined(self, after: int, through: int) -> list[Quarantined]:
        return self._source.quarantined(after, through)

    def unread(self) -> Unread:
        return self._source.unread()

    def reading(self) -> SourceReading:
        return self._source.reading()

    def _count(self, last: SourcePartition) -> int:
        """How many documents stood at a day's end, which its anchor decides: counted once on a
        machine that keeps marks."""
        if self._marks is None:
            return int(self._baseline(last).num_rows)
        of = f"{self._source.provenance.fingerprint}:{last.anchor}:{last.day}"
        count = (self._marks.load(of).value or {}).get("documents")
        if isinstance(count, int):
            return count
        count = int(self._baseline(last).num_rows)
        self._marks.keep(of, {"documents": count})  # where it cannot be, the source's own says so
        return count

    def _stood(self, after: int, through: int) -> "Iterator[pa.RecordBatch]":
        """Of the changes before the first day those that stood when it began, as changes of it."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self._last is None:
            self.partitions()
        baseline = self._baseline(self._last) if self._last else pa.table({})
        for batch in self._source.changes(after, through):
            at = pc.index_in(batch["document_id"], value_set=baseline["document_id"])
            stands = pc.and_(
                pc.equal(batch["position"], baseline["position"].take(at)),
                pc.equal(batch["ordinal"], baseline["ordinal"].take(at)),
            )
            standing = batch.filter(pc.fill_null(stands, False).combine_chunks())
            if standing.num_rows:
                days = pa.array([self._start] * standing.num_rows, pa.date32())
                day = standing.schema.field("day")
                yield standing.set_column(standing.schema.get_field_index("day"), day, days)

    def _baseline(self, last: SourcePartition) -> "pa.Table":
        """Document, position and ordinal of what stood at a day's end. Read once for each state of
        the history."""
        if self._cached is None or self._cached[0] != last.anchor:
            self._cached = (last.anchor, _newest(self._source, last.through))
        return self._cached[1]


def _newest(source: Source, through: int) -> "pa.Table":
    """The newest version of each document up to a position, but for those that are deleted. Memory
    grows with the documents, not with the changes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    tables, limit = list[pa.Table](), HELD_ROWS
    for batch in source.changes(0, through):
        tables.append(pa.Table.from_batches([batch]).select(list(KEY)))
        if sum(table.num_rows for table in tables) > limit:
            tables = [_last(tables)]
            limit = max(HELD_ROWS, 2 * tables[0].num_rows)
    newest = _last(tables)
    return newest.filter(pc.invert(newest["deleted"])).combine_chunks()


def _last(tables: "list[pa.Table]") -> "pa.Table":
    """The last row of each document."""
    import pyarrow as pa

    rows = pa.concat_tables(tables)
    grouped = rows.group_by("document_id", use_threads=False)
    newest = grouped.aggregate([(name, "last") for name in KEY[1:]])
    return newest.rename_columns([name.removesuffix("_last") for name in newest.column_names])
