"""One change of a document, and the batches in which changes travel."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Arrow is imported when there are changes
    import pyarrow as pa

BATCH_ROWS = 1_000
BATCH_BYTES = 8 * 1024 * 1024
MAX_ID_BYTES = 512
MAX_NESTING = 16

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MICROSECONDS_A_DAY = 86_400_000_000
BEFORE_ALL_TIMES = -(2**62)
"""A running maximum before the first change."""


class Unreadable(ValueError):
    """Why a change cannot be read; its source quarantines it under this reason. `document` and
    `updated_at` are what could be read of it all the same."""

    document: str | None = None
    updated_at: int | None = None


class Repeated(Unreadable):
    """A position that does not follow the one before it."""

    position: int = 0


class Misfit(Unreadable):
    """A change whose values are not of the types that the collection's fields declare: it has its
    place in the order, and is not read."""

    position: int = 0
    newest: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One row of `CHANGE_SCHEMA`, times in microseconds since 1970; `text` is None if deleted."""

    document_id: str
    position: int
    ordinal: int
    updated_at: int
    newest: int
    title: str | None = None
    text: str | None = None
    uri: str | None = None
    metadata: str | None = None
    size_bytes: int = 0

    @property
    def day(self) -> date:
        return day_of(self.newest)


def day_of(microseconds: int) -> date:
    """The UTC day of a time."""
    return (EPOCH + timedelta(microseconds=microseconds)).date()


def microseconds_of(time: datetime) -> int:
    """An aware time as microseconds since 1970; exact."""
    return (time - EPOCH) // MICROSECOND


def time_of(microseconds: int) -> datetime:
    """Microseconds since 1970 as an aware time."""
    return EPOCH + timedelta(microseconds=microseconds)


def waiting_since(updated_at: int | None, newest: int) -> datetime | None:
    """The time since which an unreadable change may have waited: its own time, but not before
    the day on which it came; the time of the change before it, if its own cannot be read; None
    at the beginning."""
    if newest < 0 and updated_at is None:
        return None
    began = max(newest, 0) // MICROSECONDS_A_DAY * MICROSECONDS_A_DAY
    return time_of(max(updated_at, began) if updated_at is not None else newest)


def readable_id(text: str) -> str:
    """The id itself; raises `Unreadable` where it could not be an id everywhere."""
    if not text:
        raise Unreadable("id is empty")
    if len(encoded(text, "id")) > MAX_ID_BYTES:
        raise Unreadable(f"id is longer than {MAX_ID_BYTES} bytes")
    if not text.isprintable() and any(c < " " or "\x7f" <= c <= "\x9f" for c in text):
        raise Unreadable("id has a control character")
    return text


def encoded(text: str, what: str) -> bytes:
    """UTF-8; raises `Unreadable` for a lone surrogate."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise Unreadable(f"{what} has a lone surrogate") from error


def in_batches(changes: Iterable[Change]) -> "Iterator[pa.RecordBatch]":
    """Batches of at most `BATCH_ROWS` rows that end when they reach `BATCH_BYTES`."""
    return map(_batch, _together(changes))


def first_times(changes: Iterable[Change]) -> tuple[datetime, datetime] | None:
    """The time of the first change, and the earliest of those that would be the first batch."""
    for rows in _together(changes):
        return time_of(rows[0].updated_at), time_of(min(row.updated_at for row in rows))
    return None


def first_times_of(batches: "Iterable[pa.RecordBatch]") -> tuple[datetime, datetime] | None:
    """The same of batches, which have a row each."""
    for batch in batches:
        times: list[datetime] = batch["updated_at"].to_pylist()
        return times[0], min(times)
    return None


def _together(changes: Iterable[Change]) -> Iterator[list[Change]]:
    rows: list[Change] = []
    size = 0
    for change in changes:
        rows.append(change)
        size += change.size_bytes
        if len(rows) >= BATCH_ROWS or size >= BATCH_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _batch(rows: list[Change]) -> "pa.RecordBatch":
    import pyarrow as pa

    from dr_pipelines.model.record import CHANGE_SCHEMA

    columns = {
        "document_id": [r.document_id for r in rows],
        "position": [r.position for r in rows],
        "ordinal": [r.ordinal for r in rows],
        "updated_at": [r.updated_at for r in rows],
        "day": [r.newest // MICROSECONDS_A_DAY for r in rows],
        "deleted": [r.text is None for r in rows],
        "title": [r.title for r in rows],
        "text": [r.text for r in rows],
        "uri": [r.uri for r in rows],
        "metadata": [r.metadata for r in rows],
    }
    arrays = [pa.array(columns[f.name], f.type) for f in CHANGE_SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=CHANGE_SCHEMA)
