"""Days of a JSONL change feed, and the places in it to seek to."""

from datetime import date
from typing import Any

from dr_pipelines.protocols import SourcePartition
from dr_pipelines.sources.changes import Change, day_of
from dr_pipelines.sources.jsonl_reading import Mark, Step

MARK_BYTES = 1024 * 1024


class Days:
    """Partitions and marks, from the changes in their order."""

    def __init__(self) -> None:
        start = Mark.start()
        self._partitions = list[SourcePartition]()
        self._marks = [start]
        self._last = start
        self._opened = self._rows = self.changes = 0

    def add(self, step: Step) -> None:
        """The next line; one that is no change counts for nothing."""
        if not isinstance(step.result, Change):
            return
        if self._rows and day_of(step.mark.newest) != day_of(self._last.newest):
            self._partitions.append(self._day())
            self._opened, self._rows = self._last.position, 0
            if self._marks[-1] is not self._last:
                self._marks.append(self._last)
        self._last = step.mark
        self._rows, self.changes = self._rows + 1, self.changes + 1
        if self._last.offset - self._marks[-1].offset >= MARK_BYTES:
            self._marks.append(self._last)

    def partitions(self) -> tuple[SourcePartition, ...]:
        """All days; the last one is not over."""
        return (*self._partitions, *([self._day()] if self._rows else []))

    def marks(self) -> tuple[Mark, ...]:
        """Places to seek to: the end of each day, and every so many bytes."""
        last = [self._last] if self._marks[-1].offset < self._last.offset else []
        return (*self._marks, *last)

    def value(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "partitions": [
                [p.day.isoformat(), p.after, p.through, p.anchor, p.changes]
                for p in self._partitions
            ],
            "marks": [mark.value() for mark in self._marks],
            "last": self._last.value(),
            "counts": [self._opened, self._rows, self.changes],
        }

    @classmethod
    def parse(cls, value: dict[str, Any]) -> "Days":
        """As `value` wrote it."""
        days = cls()
        days._partitions = [
            SourcePartition(date.fromisoformat(day), after, through, anchor, changes)
            for day, after, through, anchor, changes in value["partitions"]
        ]
        days._marks = [Mark.parse(mark) for mark in value["marks"]]
        days._last = Mark.parse(value["last"])
        if days._marks[-1] == days._last:
            days._last = days._marks[-1]
        days._opened, days._rows, days.changes = map(int, value["counts"])
        return days

    def _day(self) -> SourcePartition:
        last = self._last
        return SourcePartition(
            day=day_of(last.newest),
            after=self._opened,
            through=last.position,
            anchor=last.anchor,
            changes=self._rows,
        )
