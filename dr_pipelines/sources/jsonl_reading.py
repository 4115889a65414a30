"""Reading a JSONL change feed line by line, from any line where reading once stopped."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

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
from dr_pipelines.sources.jsonl_chain import READ_BYTES, Chain, chain_at
from dr_pipelines.sources.jsonl_line import parse_line
from dr_pipelines.sources.values import FindMisfit

MAX_LINE_BYTES = 64 * 1024 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Mark:
    """Where reading can start again: the end of a line, at or after the one that holds `position`.

    `readable` is the last position that could be read. `before` is the chain's digest of the whole
    pieces before `offset`, and `anchor` that of everything.
    """

    position: int
    newest: int
    readable: int
    offset: int
    line: int
    before: bytes
    anchor: str

    @classmethod
    def start(cls) -> "Mark":
        """Before the first line."""
        return cls(0, BEFORE_ALL_TIMES, 0, 0, 0, b"", Chain().hexdigest())

    def value(self) -> list[int | str]:
        """All of it as plain values."""
        place = [self.position, self.newest, self.readable, self.offset, self.line]
        return [*place, self.before.hex(), self.anchor]

    @classmethod
    def parse(cls, value: list[Any]) -> "Mark":
        """As `value` wrote it."""
        position, newest, readable, offset, line, before, anchor = value
        return cls(position, newest, readable, offset, line, bytes.fromhex(before), anchor)

    def chain(self, file: BinaryIO) -> Chain | None:
        """The chain at its place, from the file; None where its bytes are others now."""
        chain = chain_at(file, self.before, self.offset)
        return chain if chain.hexdigest() == self.anchor else None


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
    line: int
    own: int | None = None
    repeats: bool = False


def written_at(file: BinaryIO) -> datetime:
    """When a file was last written to."""
    return datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)


def walk(
    file: BinaryIO,
    start: Mark,
    *,
    misfit: FindMisfit | None = None,
    chain: Chain | None = None,
    written: datetime | None = None,
) -> Iterator[Step]:
    """Every complete line after a mark, from a file that is there. `chain` is the one there,
    where `start` is not the start; `written` is when the file was, where it does not say itself."""
    written = written or written_at(file)
    mark, readable, chain = start, start.readable, chain or Chain()
    offset, number = start.offset, start.line
    while True:
        raw, size = _next_line(file, chain)
        if raw is None:
            return
        offset, number = offset + size, number + 1
        try:
            change = _parsed(raw, size, mark, first=number == 1, misfit=misfit)
        except Unreadable as error:
            if isinstance(error, Misfit):
                place = (readable, offset, number, chain.before, chain.hexdigest())
                mark = Mark(error.position, error.newest, *place)
            result = _quarantined(error, raw, mark, line=number, after=readable, written=written)
            own = error.position if isinstance(error, Misfit | Repeated) else None
            yield Step(result, mark, raw, offset, number, own, isinstance(error, Repeated))
            continue
        readable = change.position
        place = (readable, offset, number, chain.before, chain.hexdigest())
        mark = Mark(change.position, change.newest, *place)
        yield Step(change, mark, raw, offset, number, change.position)


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


def _next_line(file: BinaryIO, chain: Chain) -> tuple[bytes | None, int]:
    """A line and its size, hashed; no line where none is complete. Of a line that is too long only
    the size is right."""
    raw = file.readline(MAX_LINE_BYTES + 1)
    chain.update(raw)
    size, end = len(raw), raw[-1:]
    while end != b"\n":
        more = file.readline(READ_BYTES)
        if not more:
            return None, 0
        chain.update(more)
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
