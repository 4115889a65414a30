"""One reading of a JSONL change feed: its days, where to seek to, and what could not be read."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.source_reading import NO_MARKS, SourceReading
from dr_pipelines.model.unread import Quarantined, Unread
from dr_pipelines.protocols import SourcePartition
from dr_pipelines.sources import first_bytes
from dr_pipelines.sources.jsonl_chain import Chain
from dr_pipelines.sources.jsonl_days import Days
from dr_pipelines.sources.jsonl_lines import Lines
from dr_pipelines.sources.jsonl_marks import ASSURANCE, Earlier, Marks, TooFarBack
from dr_pipelines.sources.jsonl_reading import (
    Mark,
    Step,
    bytes_without_end,
    opened,
    walk,
    written_at,
)
from dr_pipelines.sources.marks_file import Trust
from dr_pipelines.sources.values import FindMisfit

FIRST_BYTES = 64


@dataclass(frozen=True, slots=True)
class Index:
    """The index that one reading builds: partitions, marks to seek to by ascending position, and
    lines that gave no change. `to_keep` is what the next reading can go on with.
    """

    partitions: tuple[SourcePartition, ...]
    marks: tuple[Mark, ...]
    unread: Unread
    to_keep: Marks
    reading: SourceReading

    def anchor(self, position: int) -> str | None:
        """The anchor of a position that is the last one of its day; None for any other."""
        at = bisect_left(self.partitions, position, key=lambda partition: partition.through)
        day = self.partitions[at] if at < len(self.partitions) else None
        return day.anchor if day and day.through == position else None

    def quarantined(self, after: int, through: int) -> list[Quarantined]:
        """Unreadable lines that follow positions in (after, through]; with 0, those before all."""
        lines = self.unread.lines
        first = bisect_right(lines, after, key=lambda line: line.after) if after else 0
        last = bisect_right(lines, through, key=lambda line: line.after)
        return list(lines[first:last])

    def before(self, position: int) -> Mark:
        """The last mark at or before a position."""
        return self.marks[bisect_right(self.marks, position, key=lambda m: m.position) - 1]


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a reading begins, and what is known there."""

    mark: Mark
    chain: Chain
    days: Days
    lines: Lines
    reading: SourceReading


def read_index(
    path: Path,
    *,
    misfit: FindMisfit | None = None,
    earlier: Marks | None = None,
    trust: Trust = Trust.PROOF,
    why_not: str = NO_MARKS,
) -> Index:
    """The file read from its marks on, where there are any and they hold; else all of it.
    `why_not` is the reason where there are none.

    Raises `InvalidRequest` where it has bytes and not one line of it can be read.
    """
    with opened(path) as file:
        start = _start(file, earlier, trust=trust, misfit=misfit, why_not=why_not)
        try:
            return _read(path, file, start, misfit=misfit)
        except TooFarBack:
            whole = _from_the_start("lines repeat earlier ones of very many places")
            return _read(path, file, whole, misfit=misfit)


def _start(
    file: BinaryIO,
    earlier: Marks | None,
    *,
    trust: Trust,
    misfit: FindMisfit | None,
    why_not: str,
) -> _Start:
    if earlier is None:
        return _from_the_start(why_not)
    chain, differs = earlier.chain(file, trust)
    if chain is None:
        return _from_the_start(differs)
    days = Days.parse(earlier.days)
    lines_before = Earlier(file, (*days.marks(), earlier.end), misfit)
    lines = Lines.parse(earlier.lines, earlier=lines_before.hash_of)
    reading = SourceReading(before=earlier.end.offset, assurance=ASSURANCE[trust])
    return _Start(earlier.end, chain, days, lines, reading)


def _from_the_start(why: str) -> _Start:
    reading = SourceReading(whole_because=why)
    return _Start(Mark.start(), Chain(), Days(), Lines(), reading)


def _read(path: Path, file: BinaryIO, start: _Start, *, misfit: FindMisfit | None) -> Index:
    days, lines, last = start.days, start.lines, None
    file.seek(start.mark.offset)
    for last in walk(file, start.mark, misfit=misfit, chain=start.chain):
        lines.add(last)
        days.add(last)
    end = _end(file, start.mark, last)
    unreadable = lines.unread()
    if not days.changes:
        file.seek(0)
        _require_readable(path, file.read(FIRST_BYTES), unreadable)
    if tail := bytes_without_end(file, end.offset):
        unreadable = replace(unreadable, tail_bytes=tail, tail_since=written_at(file))
    return Index(
        days.partitions(),
        days.marks(),
        unreadable,
        Marks.of(file, end, days=days, lines=lines),
        replace(start.reading, new=end.offset - start.mark.offset),
    )


def _end(file: BinaryIO, start: Mark, last: Step | None) -> Mark:
    """The mark after the last line, whatever that was."""
    if last is None or last.mark.offset == last.end:
        return last.mark if last else start
    before = max(start, last.mark, key=lambda mark: mark.offset)
    chain = before.chain(file) or Chain()  # else the file is another one now: no mark of it holds
    chain.read(file, last.end)
    return replace(
        last.mark,
        offset=last.end,
        line=last.line,
        before=chain.before,
        anchor=chain.hexdigest(),
    )


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
