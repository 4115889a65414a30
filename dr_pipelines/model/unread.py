"""Changes that a source holds and nobody could read."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

SHOWN_DIGITS = 16
"""Digits of a hash that name it to a person; decisions are kept with all of them."""
LISTED = 20
SENTENCE_CHARACTERS = 200
NO_NAMES = (
    "; {} of them are only counted, not listed, so their loss cannot be accepted; they count "
    "until the source is written without them and read again (dr ingest COLLECTION --accept-epoch "
    "NAME)"
)


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
class LeftOut:
    """Something in the source that is no document by its nature, such as a symbolic link."""

    place: str
    kind: str

    @property
    def sentence(self) -> str:
        """Where it is and what it is."""
        return f"{self.place} ({self.kind})"


@dataclass(frozen=True, slots=True)
class Unread:
    """Content of a source that is not among its changes, as of the last reading.

    `count` lines wait for somebody, the oldest since `since`; the first of them are `lines`, and
    `unnamed` of them are more than a source knows one by one. `accepted` were let go by a decision;
    `superseded` are about documents that the source said again later; `duplicates` are lines that
    came twice. `tail_bytes` at the end have no line end yet, since `tail_since`. `left_out` things
    are no documents, the first of them `others`: nobody has to see to them.
    """

    count: int = 0
    lines: tuple[Quarantined, ...] = ()
    unnamed: int = 0
    since: datetime | None = None
    accepted: int = 0
    superseded: int = 0
    duplicates: int = 0
    tail_bytes: int = 0
    tail_since: datetime | None = None
    left_out: int = 0
    others: tuple[LeftOut, ...] = ()

    @property
    def oldest(self) -> datetime | None:
        """Since when the oldest of it waits."""
        times = [time for time in (self.since, self.tail_since) if time is not None]
        return min(times, default=None)

    def tail_late(self, now: datetime, *, rpo: timedelta) -> bool:
        """True if bytes at the end wait for their line end longer than the objective allows."""
        return self.tail_since is not None and now - self.tail_since >= rpo

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
        """The same with at most so many lines and others: what is passed around is small."""
        if len(self.lines) <= limit and len(self.others) <= limit:
            return self
        return replace(self, lines=self.lines[:limit], others=self.others[:limit])

    def facts(self) -> dict[str, Any]:
        """Plain values, for a log entry and for metadata."""
        return {
            "unread": self.count,
            "unread_since": self.since.isoformat() if self.since else None,
            "unread_such_as": self.lines[0].sentence[:SENTENCE_CHARACTERS] if self.lines else None,
            "unread_unnamed": self.unnamed,
            "unread_accepted": self.accepted,
            "unread_superseded": self.superseded,
            "unread_duplicates": self.duplicates,
            "left_out": self.left_out,
            "left_out_such_as": self._others(LISTED)[:SENTENCE_CHARACTERS] or None,
            "bytes_without_line_end": self.tail_bytes,
            "bytes_since": self.tail_since.isoformat() if self.tail_since else None,
        }

    def sentences(self) -> list[str]:
        """A line about each kind of it that waits for somebody."""
        sentences = []
        if self.count:
            lines = "line or file" if self.count == 1 else "lines or files"
            unnamed = NO_NAMES.format(self.unnamed) if self.unnamed else ""
            read = f"of the source cannot be read{_when(self.since)}"
            sentences.append(f"{self.count} {lines} {read}{unnamed}")
        if self.tail_bytes:
            sentences.append(f"{self.tail_bytes} bytes without a line end{_when(self.tail_since)}")
        return sentences

    def remarks(self, limit: int = 3) -> list[str]:
        """A line about each kind of it that waits for nobody."""
        counts = (
            (self.accepted, "accepted as lost"),
            (self.superseded, "not read, of documents that were sent again later"),
            (self.duplicates, "delivered twice"),
        )
        remarks = [f"{number} {what}" for number, what in counts if number]
        if self.left_out:
            remarks.append(f"{self.left_out} left out, no documents: {self._others(limit)}")
        return remarks

    def _others(self, limit: int) -> str:
        named = ", ".join(other.sentence for other in self.others[:limit])
        more = self.left_out - min(limit, len(self.others))
        return f"{named} and {more} more" if more > 0 else named


NOTHING_UNREAD = Unread()


def unread(
    lines: Collection[Quarantined],
    *,
    count: int,
    superseded: int = 0,
    duplicates: int = 0,
    others: Sequence[LeftOut] = (),
) -> Unread:
    """Of lines that wait for somebody, of which only some may be known one by one, and of what is
    left out."""
    return Unread(
        count=count,
        lines=tuple(lines),
        unnamed=count - len(lines),
        since=_oldest(lines),
        superseded=superseded,
        duplicates=duplicates,
        left_out=len(others),
        others=tuple(others),
    )


def _oldest(lines: Collection[Quarantined]) -> datetime | None:
    return min((q.since for q in lines if q.since is not None), default=None)


def _when(since: datetime | None) -> str:
    return f" since {since.isoformat(timespec='seconds')}" if since else ""
