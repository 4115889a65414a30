"""Reading a JSONL change feed line by line, from any line where reading once stopped."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dr_pipelines.errors import InvalidRequest, NotFound, Unavailable
from dr_pipelines.model.unread import Quarantined
from dr_pipelines.sources.changes import (
    BEFORE_ALL_TIMES,
    Change,
    Misfit,
    Repeated,
    Unreadable,
    waiting_since,
)
from dr_pipelines.sources.jsonl_line import parse_line
from dr_pipelines.sources.values import FindMisfit

if TYPE_CHECKING:
    from _hashlib import HASH  # the type of hashlib.sha256(), which has no public name

MAX_LINE_BYTES = 64 * 1024 * 1024
READ_BYTES = 1024 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Mark:
    """Where reading can start again: the end of the line that holds `position`."""

    position: int
    newest: int
    offset: int
    line: int
    sha256: "HASH"

    @classmethod
    def start(cls) -> "Mark":
        """Before the first line."""
        return cls(0, BEFORE_ALL_TIMES, 0, 0, hashlib.sha256())


@dataclass(frozen=True, slots=True)
class Step:
    """The result for one line, and the mark of the last line with a position at or before it. `own`
    is the position that the line states; `repeats` is true if it does not follow the one before.
    `end` is where the next line begins.
    """

    result: Change | Quarantined
    mark: Mark
    raw: bytes
    end: int
    own: int | None = None
    repeats: bool = False


def walk(file: BinaryIO, start: Mark, *, misfit: FindMisfit | None = None) -> Iterator[Step]:
    """Every complete line after a mark."""
    written = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
    file.seek(start.offset)
    mark, readable = start, start.position
    offset, number, sha256 = start.offset, start.line, start.sha256.copy()
    while True:
        raw, size = _next_line(file, sha256)
        if raw is None:
            return
        offset, number = offset + size, number + 1
        try:
            change = _parsed(raw, size, mark, first=number == 1, misfit=misfit)
        except Unreadable as error:
            if isinstance(error, Misfit):
                mark = Mark(error.position, error.newest, offset, number, sha256.copy())
            result = _quarantined(error, raw, mark, line=number, after=readable, written=written)
            own = error.position if isinstance(error, Misfit | Repeated) else None
            yield Step(result, mark, raw, offset, own, isinstance(error, Repeated))
            continue
        mark = Mark(change.position, change.newest, offset, number, sha256.copy())
        readable = change.position
        yield Step(change, mark, raw, offset, change.position)


def opened(path: Path) -> BinaryIO:
    """The feed's file, for reading."""
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


def _parsed(raw: bytes, size: int, mark: Mark, *, first: bool, misfit: FindMisfit | None) -> Change:
    if size > MAX_LINE_BYTES:
        raise Unreadable(f"line of {size} bytes; at most {MAX_LINE_BYTES} are read")
    whole = raw.removeprefix(BYTE_ORDER_MARK) if first else raw
    return parse_line(whole, after=mark.position, newest=mark.newest, misfit=misfit)


def _quarantined(
    error: Unreadable, raw: bytes, mark: Mark, *, line: int, after: int, written: datetime
) -> Quarantined:
    since = waiting_since(error.updated_at, mark.newest) or written
    return Quarantined(
        place=f"line {line}",
        reason=str(error),
        after=after,
        sha256=hashlib.sha256(raw).hexdigest(),
        since=min(since, written),
        document=error.document,
    )


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


def bytes_without_end(file: BinaryIO, offset: int) -> int:
    """How many bytes follow the last line end at or after an offset that is one."""
    file.seek(offset)
    count = 0
    while block := file.read(READ_BYTES):
        end = block.rfind(b"\n")
        count = len(block) - end - 1 if end >= 0 else count + len(block)
    return count
