"""One reading of a JSONL change feed: its days, where to seek to, and what could not be read."""

import os
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.unread import Quarantined, Unread, unread
from dr_pipelines.protocols import SourcePartition
from dr_pipelines.sources import first_bytes
from dr_pipelines.sources.changes import Change, day_of
from dr_pipelines.sources.jsonl_reading import (
    Mark,
    Step,
    bytes_without_end,
    opened,
    walk,
)
from dr_pipelines.sources.values import FindMisfit

MARK_BYTES = 1024 * 1024
FIRST_BYTES = 64
KEPT_LINES = 10_000
"""Unreadable lines that are known one by one; more are only counted."""


@dataclass(frozen=True, slots=True)
class Index:
    """The index that one reading builds: partitions, marks to seek to by ascending position, and
    lines that gave no change.
    """

    partitions: tuple[SourcePartition, ...]
    marks: tuple[Mark, ...]
    unread: Unread

    def before(self, position: int) -> Mark:
        """The last mark at or before a position."""
        return self.marks[bisect_right(self.marks, position, key=lambda m: m.position) - 1]


def read_index(path: Path, *, misfit: FindMisfit | None = None) -> Index:
    """One pass over the file. Raises `InvalidRequest` where it has bytes and not one line of it can
    be read."""
    days, lines, end = _Days(), _Lines(), 0
    with opened(path) as file:
        for step in walk(file, Mark.start(), misfit=misfit):
            lines.add(step)
            days.add(step)
            end = step.end
        tail = bytes_without_end(file, end)
        written = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
        file.seek(0)
        begins = file.read(FIRST_BYTES)
    unreadable = lines.unread()
    if not days.changes:
        _require_readable(path, begins, unreadable)
    if tail:
        unreadable = replace(unreadable, tail_bytes=tail, tail_since=written)
    return Index(days.partitions(), days.marks(), unreadable)


class _Days:
    """Partitions and marks, from the changes in their order."""

    def __init__(self) -> None:
        start = Mark.start()
        self._partitions = list[SourcePartition]()
        self._marks = [start]
        self._last = self._opened = start
        self._rows = self.changes = 0

    def add(self, step: Step) -> None:
        """The next line; one that is no change counts for nothing."""
        if not isinstance(step.result, Change):
            return
        if self._rows and day_of(step.mark.newest) != day_of(self._last.newest):
            self._end_day()
        self._last = step.mark
        self._rows, self.changes = self._rows + 1, self.changes + 1
        if self._last.offset - self._marks[-1].offset >= MARK_BYTES:
            self._marks.append(self._last)

    def partitions(self) -> tuple[SourcePartition, ...]:
        """All days; to be asked once, at the end."""
        if self._rows:
            self._end_day()
        return tuple(self._partitions)

    def marks(self) -> tuple[Mark, ...]:
        """Places to seek to: the end of each day, and every so many bytes."""
        return tuple(self._marks)

    def _end_day(self) -> None:
        last = self._last
        self._partitions.append(
            SourcePartition(
                day=day_of(last.newest),
                after=self._opened.position,
                through=last.position,
                anchor=last.sha256.hexdigest(),
                changes=self._rows,
            )
        )
        self._opened, self._rows = last, 0
        if self._marks[-1] is not last:
            self._marks.append(last)


@dataclass
class _Lines:
    """Lines that are no changes: which of them wait for somebody.

    `_said` and `_hashes` are the positions of all lines so far and the hash of each: a line that
    says a position again is the same line delivered twice, or another one.
    """

    _positions: "array[int]" = field(default_factory=lambda: array("q"))
    _hashes: "array[int]" = field(default_factory=lambda: array("q"))
    _open: dict[int, Quarantined] = field(default_factory=dict)
    _about: dict[str, list[int]] = field(default_factory=dict)
    _count: int = 0
    _superseded: int = 0
    _duplicates: int = 0

    def add(self, step: Step) -> None:
        """The next line."""
        if step.own is not None and not step.repeats:
            self._positions.append(step.own)
            self._hashes.append(hash(step.raw))
        if isinstance(step.result, Change):
            self._supersede(step.result.document_id)
        elif step.repeats and (earlier := self._hash_of(step)) is not None:
            if earlier == hash(step.raw):
                self._duplicates += 1
            else:
                reason = f"seq {step.own} came before with other content"
                self._wait(replace(step.result, reason=reason), repeats=True)
        else:
            self._wait(step.result, repeats=step.repeats)

    def unread(self) -> Unread:
        """The lines that wait for somebody, and counts of the others."""
        return unread(
            tuple(self._open.values()),
            count=self._count - self._superseded,
            superseded=self._superseded,
            duplicates=self._duplicates,
        )

    def _hash_of(self, step: Step) -> int | None:
        """The hash of the line that said this position first; None where none did."""
        at = bisect_left(self._positions, step.own or 0)
        indexed = at < len(self._positions) and self._positions[at] == step.own
        return self._hashes[at] if indexed else None

    def _wait(self, line: Quarantined, *, repeats: bool) -> None:
        number, self._count = self._count, self._count + 1
        if len(self._open) >= KEPT_LINES:
            return
        self._open[number] = line
        if line.document is not None and not repeats:  # a conflict is not settled by going on
            self._about.setdefault(line.document, []).append(number)

    def _supersede(self, document: str) -> None:
        for number in self._about.pop(document, ()) if self._about else ():
            del self._open[number]
            self._superseded += 1


def _require_readable(path: Path, begins: bytes, unreadable: Unread) -> None:
    """Raise where there is something and none of it is a change. A line that is still being written
    may become one, unless nothing that begins like this ever does."""
    looks = first_bytes.look(begins)
    if not unreadable.count and not (looks and looks[0] in first_bytes.BINARY):
        return
    guess = f" It looks like {looks[0]}: {looks[1]}." if looks else ""
    first = (
        f" {unreadable.lines[0].place}: {unreadable.lines[0].reason}" if unreadable.lines else ""
    )
    raise InvalidRequest(
        f"{path}: not one line can be read, of {unreadable.count}. It begins with "
        f"{first_bytes.shown(begins)}.{guess}{first}"
    )
