"""The protection of a collection against its objective, and the work that is due now."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from dr_pipelines.model.assurance import Assurance
from dr_pipelines.model.source_reading import SourceReading
from dr_pipelines.model.unread import NOTHING_UNREAD, Unread

LATENCY = timedelta(seconds=75)
"""From the moment a decision is due to the start of its run: a sensor's interval of 30 s, its loop
of 5 s, the queue's 5 s, a start of up to 30 s."""
FIRST_PAUSE = timedelta(seconds=60)
LONGEST_PAUSE = timedelta(minutes=30)
RUN_DAYS = 2_000
"""Days of one run, with those between them on which the source is quiet: a scheduler plans each of
them, and does nothing else meanwhile."""
RUN_CHANGES = 20_000
"""Changes of one run, unless its first day has more: nothing of a run is safe before the last of
them is embedded."""


class Action(StrEnum):
    """Work that brings a collection back within its objective."""

    INGEST = "ingest"
    SNAPSHOT = "snapshot"


class Protection(StrEnum):
    """How a collection stands against its recovery point objective."""

    QUIET = "quiet"  # nothing changed since the newest proven recovery point
    WITHIN = "within"  # something did, and is younger than the objective
    BREACHED = "breached"  # the oldest unprotected change is older, or the point cannot be restored


@dataclass(frozen=True, slots=True)
class DayRange:
    """First and last day of a range."""

    first: str
    last: str

    def until(self, today: str) -> "DayRange | None":
        """The part of it that is not to come; None where all of it is."""
        return DayRange(self.first, min(self.last, today)) if self.first <= today else None


@dataclass(frozen=True, slots=True)
class ProtectionStatus:
    """The protection of a collection, according to its log and its source.

    `unread_since` is the time of the oldest change of the source that the log does not hold, or of
    the beginning of its day; `unread_said` is the earliest time that such changes themselves say,
    which counts where the former lies ahead. `unread_after` is the position that it follows;
    `behind` counts the days of such changes, `stretch` is the range of them for one run.
    `unproven_since` is when the oldest entry was committed that no proven recovery point covers.
    `unfit` are parts of the newest proven point that cannot be restored, and nobody accepted that.
    `assurance` is what the proven point rests on; `uncounted` a newer one that rests on less than
    the objective accepts, and does not count.
    With `edited`, the store is changed directly too, at times that only a snapshot reveals.
    `unread` is what the source holds beyond its changes: no run can read it.
    `reading` says how much of the source was read for this, and what was gone by for the rest.
    `refused` says why what is behind was not embedded when that was last tried.
    """

    head: int
    head_sha256: str
    behind: int = 0
    stretch: DayRange | None = None
    unread_since: datetime | None = None
    unread_said: datetime | None = None
    unread_after: int = 0
    epoch: int = 1
    unproven_since: datetime | None = None
    proven: int = 0
    proven_at: datetime | None = None
    assurance: Assurance | None = None
    uncounted: int | None = None
    edited: bool = False
    unread: Unread = NOTHING_UNREAD
    unfit: tuple[str, ...] = ()
    reading: SourceReading | None = None
    refused: str = ""
    refused_since: datetime | None = None

    @property
    def never_protected(self) -> bool:
        """True if the store is edited directly and no snapshot has ever seen those edits."""
        return self.edited and self.proven_at is None

    def exposed_since(self, now: datetime) -> datetime | None:
        """Since when a change of the source waits to be read; now, where its time lies ahead."""
        if self.unread_since is None or self.unread_since <= now:
            return self.unread_since
        return min(self.unread_said or now, now)


@dataclass(frozen=True, slots=True)
class Need:
    """Something to be done; `key` names what it is about and stays the same until it is done."""

    action: Action
    since: datetime | None
    key: str


@dataclass(frozen=True, slots=True)
class Attempts:
    """How often something was tried, and when the newest try ended. `stale` of them were taken out
    of a queue without their turn: no tries in vain."""

    count: int = 0
    ended: datetime | None = None
    stale: int = 0


def exposure(protection_status: ProtectionStatus, *, now: datetime) -> timedelta:
    """Age of the oldest change that no recovery point covers; `timedelta.max` when unknowable."""
    if protection_status.never_protected:
        return timedelta.max
    since = [
        protection_status.exposed_since(now),
        protection_status.proven_at if protection_status.edited else None,
        protection_status.unread.oldest,
    ]
    times = [time for time in since if time is not None]
    return max(now - min(times), timedelta(0)) if times else timedelta(0)


def protection(protection_status: ProtectionStatus, *, rpo: timedelta, now: datetime) -> Protection:
    """How a collection stands against its objective. A point that cannot be restored in full
    protects nothing of what is missing from it, and what that is, is not known to be dispensable.
    """
    if protection_status.unfit:
        return Protection.BREACHED
    exposed = exposure(protection_status, now=now)
    if exposed >= rpo:
        return Protection.BREACHED
    waiting = (
        protection_status.unread.count
        or protection_status.unread.tail_bytes
        or protection_status.unproven_since
    )
    if exposed or waiting or protection_status.edited or not protection_status.proven:
        return Protection.WITHIN
    return Protection.QUIET


def backup_due(rpo: timedelta, *, exposed: timedelta, takes: timedelta) -> bool:
    """True if work must start now, given its measured duration, to end within the objective."""
    return exposed >= rpo - takes - LATENCY


def needs(
    protection_status: ProtectionStatus,
    *,
    rpo: timedelta,
    now: datetime,
    takes: Mapping[Action, timedelta],
) -> tuple[Need, ...]:
    """Work that is due now, most urgent first: reading comes before proving what was read.

    A quiet collection needs nothing, whatever the age of its newest recovery point.
    """
    candidates = []
    if protection_status.behind:
        key = f"{protection_status.epoch}-{protection_status.unread_after}"
        candidates.append(Need(Action.INGEST, protection_status.exposed_since(now), key))
    unproven = protection_status.unproven_since
    if protection_status.edited:
        unproven = min(filter(None, (unproven, protection_status.proven_at)), default=None)
    if unproven or protection_status.never_protected:
        candidates.append(Need(Action.SNAPSHOT, unproven, f"after-{protection_status.proven}"))
    return tuple(need for need in candidates if _due(need, rpo=rpo, now=now, takes=takes))


def _due(need: Need, *, rpo: timedelta, now: datetime, takes: Mapping[Action, timedelta]) -> bool:
    if need.since is None:
        return True
    return backup_due(rpo, exposed=now - need.since, takes=takes[need.action])


def expected_duration(measured: Sequence[timedelta], *, rpo: timedelta) -> timedelta:
    """How long the next run may take: as long as the slowest of the last ones; a quarter of the
    objective where none was measured."""
    return max(measured, default=rpo / 4)


def pause_after(attempts: int, *, rpo: timedelta) -> timedelta:
    """How long to wait after so many tries in vain: doubling from a minute, up to a quarter of the
    objective or half an hour, whichever is shorter, but never less than a minute."""
    longest = max(min(rpo / 4, LONGEST_PAUSE), FIRST_PAUSE)
    doublings = min(max(attempts - 1, 0), 16)  # 2^16 minutes: more than any longest pause
    return min(FIRST_PAUSE * (1 << doublings), longest)


def next_attempt(attempts: Attempts, *, rpo: timedelta, now: datetime) -> int | None:
    """The number of the try that may start now; None while the pause after the last one lasts."""
    ended = attempts.ended
    waiting = ended is not None and now < ended + pause_after(
        attempts.count - attempts.stale, rpo=rpo
    )
    return None if waiting else attempts.count + 1


def next_range(behind: Sequence[tuple[str, int]], complete: Iterable[str]) -> DayRange | None:
    """The days for one run, given those to ingest and how many changes each has, ascending: as many
    of the oldest as a run may take, and at least one. No day within it is complete, since that
    would be embedded again."""
    if not behind:
        return None
    first = behind[0][0]
    end = (date.fromisoformat(first) + timedelta(days=RUN_DAYS)).isoformat()
    end = min((day for day in complete if first < day < end), default=end)
    last, changes = first, behind[0][1]
    for day, more in behind[1:]:
        changes += more
        if day >= end or changes > RUN_CHANGES:
            break
        last = day
    return DayRange(first, last)


def freshness_windows(rpo: timedelta) -> tuple[timedelta, timedelta]:
    """Ages of the newest proven recovery point at which to fail, and to warn.

    Two objectives may pass between proofs: a change may reach the age of one before it is read, and
    what was read that of another before it is proven. A quiet collection is confirmed after each.
    """
    return 3 * rpo, 2 * rpo


def confirmation_due(confirmed_at: datetime | None, *, rpo: timedelta, now: datetime) -> bool:
    """True if the newest proof of a quiet collection is to be confirmed again."""
    return confirmed_at is None or now >= confirmed_at + rpo
