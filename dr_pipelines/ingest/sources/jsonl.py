"""A change feed in a JSONL file that only ever grows at its end."""

import hashlib
import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dr_pipelines.errors import InvalidRequest, NotFound, SourceRewritten, Unavailable
from dr_pipelines.ingest.sources.changes import (
    BEFORE_ALL_TIMES,
    Change,
    Unreadable,
    day_of,
    in_batches,
)
from dr_pipelines.ingest.sources.jsonl_line import parse_line
from dr_pipelines.model.lineage import SourceProvenance
from dr_pipelines.protocols import Quarantined, SourcePartition

if TYPE_CHECKING:
    from _hashlib import HASH  # the type of hashlib.sha256(), which has no public name

    import pyarrow as pa

MAX_LINE_BYTES = 64 * 1024 * 1024
MARK_BYTES = 1024 * 1024
READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Mark:
    """Where reading can start again: the end of the line that holds `position`."""

    position: int
    newest: int
    offset: int
    line: int
    sha256: "HASH"


@dataclass(frozen=True, slots=True)
class _Step:
    """What one line was, and the mark of the last good line at or before it."""

    found: Change | Quarantined
    mark: _Mark


@dataclass(frozen=True, slots=True)
class _Index:
    """One reading of the feed: its partitions, and marks to seek to, by ascending position."""

    partitions: tuple[SourcePartition, ...]
    marks: tuple[_Mark, ...]

    def before(self, position: int) -> _Mark:
        """The last mark at or before a position."""
        return self.marks[bisect_right(self.marks, position, key=lambda m: m.position) - 1]


class JsonlSource:
    """A file of one JSON object a line: `seq, ts, op, id`, and for upserts `text`, `title`,
    `metadata`. A position is a `seq`; an anchor is the SHA-256 of the file through its line.

    The feed is read once by the first call, and again by each call of `partitions`; other calls
    seek in what that reading found and raise `SourceRewritten` when the bytes are not the same. A
    last line without a newline is still being written and is not there yet.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._known: _Index | None = None

    @property
    def provenance(self) -> SourceProvenance:
        return SourceProvenance(connector="jsonl")

    def glance(self) -> str:
        """Which file it is, its size and when it was last written."""
        with _opened(self._path) as file:
            found = os.fstat(file.fileno())
        return f"{self._path}:{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}"

    def partitions(self) -> list[SourcePartition]:
        """All days with changes, as the file is now."""
        self._known = _read_index(self._path)
        return list(self._known.partitions)

    def anchor(self, position: int) -> str | None:
        """SHA-256 of the file through the line with this `seq`; None where no line has it."""
        if position < 1:
            return None
        for step in self._from(position - 1):
            if step.mark.position >= position:
                return step.mark.sha256.hexdigest() if step.mark.position == position else None
        return None

    def changes(self, after: int, through: int) -> "Iterator[pa.RecordBatch]":
        return in_batches(
            step.found
            for step in self._between(after, through)
            if isinstance(step.found, Change) and step.found.position > after
        )

    def quarantined(self, after: int, through: int) -> list[Quarantined]:
        found = (step.found for step in self._between(after, through))
        return [
            q
            for q in found
            if isinstance(q, Quarantined) and (after < q.after <= through or q.after == after == 0)
        ]

    def _between(self, after: int, through: int) -> Iterator[_Step]:
        for step in self._from(after):
            if step.mark.position > through:
                return
            yield step

    def _from(self, position: int) -> Iterator[_Step]:
        """Every line after the last mark at or before a position, up to the known head."""
        if self._known is None:
            self._known = _read_index(self._path)
        index = self._known
        start = index.before(position)
        coming = bisect_left(index.marks, start.position + 1, key=lambda m: m.position)
        with _opened(self._path) as file:
            for step in _walk(file, start):
                if coming < len(index.marks) and step.mark.position >= index.marks[coming].position:
                    self._check(step.mark, index.marks[coming])
                    coming += 1
                yield step
        if coming < len(index.marks):
            raise SourceRewritten(
                f"{self._path} ended before position {index.marks[coming].position}, which it had "
                "when it was read before. Read it again; if it was cut off on purpose, accept a "
                "new epoch of it."
            )

    def _check(self, found: _Mark, known: _Mark) -> None:
        if found.position != known.position or found.sha256.hexdigest() != known.sha256.hexdigest():
            raise SourceRewritten(
                f"{self._path} changed while it was read: what is at or before position "
                f"{known.position} is not what it was. Read the feed again; if it was rewritten "
                "on purpose, accept a new epoch of it."
            )


def _read_index(path: Path) -> _Index:
    """One pass over the file."""
    start = _Mark(0, BEFORE_ALL_TIMES, 0, 0, hashlib.sha256())
    marks, partitions = [start], list[SourcePartition]()
    with _opened(path) as file:
        last, opened, rows = start, start, 0
        for step in _walk(file, start):
            if not isinstance(step.found, Change):
                continue
            if rows and day_of(step.mark.newest) != day_of(last.newest):
                partitions.append(_partition(opened, last, rows))
                opened, rows = last, 0
                marks += [last] if marks[-1] is not last else []
            last, rows = step.mark, rows + 1
            if last.offset - marks[-1].offset >= MARK_BYTES:
                marks.append(last)
        if rows:
            partitions.append(_partition(opened, last, rows))
        marks += [last] if marks[-1] is not last else []
    return _Index(tuple(partitions), tuple(marks))


def _partition(first: _Mark, last: _Mark, rows: int) -> SourcePartition:
    return SourcePartition(
        day=day_of(last.newest),
        after=first.position,
        through=last.position,
        anchor=last.sha256.hexdigest(),
        changes=rows,
    )


def _walk(file: BinaryIO, start: _Mark) -> Iterator[_Step]:
    """Every complete line after a mark."""
    file.seek(start.offset)
    mark, offset, number, sha256 = start, start.offset, start.line, start.sha256.copy()
    while True:
        raw, size = _next_line(file, sha256)
        if raw is None:
            return
        offset, number = offset + size, number + 1
        try:
            change = _parsed(raw, size, mark)
        except Unreadable as error:
            yield _Step(Quarantined(f"line {number}", str(error), mark.position), mark)
            continue
        mark = _Mark(change.position, change.newest, offset, number, sha256.copy())
        yield _Step(change, mark)


def _parsed(raw: bytes, size: int, mark: _Mark) -> Change:
    if size > MAX_LINE_BYTES:
        raise Unreadable(f"line of {size} bytes; at most {MAX_LINE_BYTES} are read")
    return parse_line(raw, after=mark.position, newest=mark.newest)


def _next_line(file: BinaryIO, sha256: "HASH") -> tuple[bytes | None, int]:
    """A line and its size, hashed; no line where none is complete. Of a line that is too long only
    the size is right."""
    raw = file.readline(MAX_LINE_BYTES + 1)
    sha256.update(raw)
    size, end = len(raw), raw[-1:]
    while end != b"\n":
        more = file.readline(READ_BYTES)
        if not more:
            return None, 0
        sha256.update(more)
        size, end = size + len(more), more[-1:]
    return raw, size


def _opened(path: Path) -> BinaryIO:
    try:
        if path.exists() and not path.is_file():
            raise NotFound(f"{path} is not a file: expected a JSONL change feed")
        return path.open("rb")
    except FileNotFoundError as error:
        raise NotFound(f"no change feed at {path}: expected a JSONL file") from error
    except PermissionError as error:
        raise InvalidRequest(f"no permission to read the change feed {path}") from error
    except OSError as error:
        raise Unavailable(f"the change feed {path} cannot be read: {error.strerror}") from error
