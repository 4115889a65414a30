"""Changes that a source holds and nobody could read."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

SHOWN_DIGITS = 16
"""Digits of a hash that name it to a person; decisions are kept with all of them."""
LISTED = 20
SENTENCE_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Something in the source that could not be read; it follows position `after`.

    `sha256` is of its bytes. `since` is the time from which it may have been there; `document` the
    one that it is about, where that can be read: its version before stays as it was.
    """

    place: str
    reason: str
    after: int
    sha256: str = ""
    since: datetime | None = None
    document: str | None = None

    @property
    def name(self) -> str:
        """`PLACE:HASH`, by which a decision names it."""
        return f"{self.place}:{self.sha256[:SHOWN_DIGITS]}"

    @property
    def sentence(self) -> str:
        """Where it is, why it could not be read and what that means for its document."""
        stays = f"; document {self.document!r} stays as it was" if self.document else ""
        return f"{self.place}: {self.reason}{stays}"


@dataclass(frozen=True, slots=True)
class Unread:
    """What a source holds beyond its changes, as it was last read.

    `count` lines wait for somebody, the oldest since `since`; the first of them are `lines`.
    `accepted` were let go by a decision; `superseded` are about documents that the source said
    again later; `duplicates` are lines that came twice. `tail_bytes` at the end have no line end
    yet, since `tail_since`.
    """

    count: int = 0
    lines: tuple[Quarantined, ...] = ()
    since: datetime | None = None
    accepted: int = 0
    superseded: int = 0
    duplicates: int = 0
    tail_bytes: int = 0
    tail_since: datetime | None = None

    @property
    def oldest(self) -> datetime | None:
        """Since when the oldest of it waits."""
        known = [time for time in (self.since, self.tail_since) if time is not None]
        return min(known, default=None)

    def without(self, accepted: Collection[tuple[str, str]]) -> "Unread":
        """The same, with lines let go whose place and hash were accepted."""
        left = tuple(q for q in self.lines if (q.place, q.sha256) not in accepted)
        gone = len(self.lines) - len(left)
        if not gone:
            return self
        return replace(
            self,
            count=self.count - gone,
            lines=left,
            since=_oldest(left) if self.count == len(self.lines) else self.since,
            accepted=self.accepted + gone,
        )

    def joined(self, more: Sequence[Quarantined]) -> "Unread":
        """The same with more that waits."""
        if not more:
            return self
        times = [q.since for q in more if q.since is not None]
        since = min([*times, *([self.since] if self.since else [])], default=None)
        return replace(self, count=self.count + len(more), lines=(*more, *self.lines), since=since)

    def listed(self, limit: int = LISTED) -> "Unread":
        """The same with at most so many lines: what is passed around is small."""
        return self if len(self.lines) <= limit else replace(self, lines=self.lines[:limit])

    def facts(self) -> dict[str, Any]:
        """Plain values, for a log entry and for metadata."""
        return {
            "unread": self.count,
            "unread_since": self.since.isoformat() if self.since else None,
            "unread_such_as": self.lines[0].sentence[:SENTENCE_CHARACTERS] if self.lines else None,
            "unread_accepted": self.accepted,
            "unread_duplicates": self.duplicates,
            "bytes_without_line_end": self.tail_bytes,
            "bytes_since": self.tail_since.isoformat() if self.tail_since else None,
        }

    def sentences(self) -> list[str]:
        """A line about each kind of it that waits for somebody."""
        said = []
        if self.count:
            lines = "line or file" if self.count == 1 else "lines or files"
            said.append(f"{self.count} {lines} of the source cannot be read{_when(self.since)}")
        if self.tail_bytes:
            said.append(f"{self.tail_bytes} bytes without a line end{_when(self.tail_since)}")
        return said


NOTHING_UNREAD = Unread()


def unread(
    lines: Collection[Quarantined], *, count: int, superseded: int = 0, duplicates: int = 0
) -> Unread:
    """Of lines that wait for somebody, of which only some may be known one by one."""
    return Unread(
        count=count,
        lines=tuple(lines),
        since=_oldest(lines),
        superseded=superseded,
        duplicates=duplicates,
    )


def _oldest(lines: Collection[Quarantined]) -> datetime | None:
    return min((q.since for q in lines if q.since is not None), default=None)


def _when(since: datetime | None) -> str:
    return f" since {since.isoformat(timespec='seconds')}" if since else ""
