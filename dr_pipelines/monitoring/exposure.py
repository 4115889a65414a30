"""How a collection stands: what its source and its log say, without opening the live store."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from dr_pipelines import __version__
from dr_pipelines.errors import InvalidRequest, Refused, Unavailable
from dr_pipelines.host.permissions import Access, make_directory
from dr_pipelines.ingestion.days import (
    Day,
    Reading,
    plan_days,
    require_same_source,
    source_days,
)
from dr_pipelines.ingestion.lineage import Feed
from dr_pipelines.ingestion.quarantine import open_lines
from dr_pipelines.ingestion.refusals import newest_refusal
from dr_pipelines.model.assurance import USUAL_REQUIREMENT, Required
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.recovery_point import (
    Manifest,
    read_mark,
    read_marks,
    sum_of_marks,
)
from dr_pipelines.model.unread import Quarantined, Unread
from dr_pipelines.planning.freshness import DayRange, ProtectionStatus, exposure, next_range
from dr_pipelines.proof.points import newest_proof
from dr_pipelines.protocols import Source, SourcePartition, TimedChanges
from dr_pipelines.repository.history import History
from dr_pipelines.repository.repository import Repository


def protection_status(
    history: History,
    *,
    feed: Feed | None,
    edited: bool,
    required: Required = USUAL_REQUIREMENT,
) -> ProtectionStatus:
    """Where a collection stands now; `feed` is None for one that has no source. Points that rest on
    less than is `required` count for nothing.

    Raises `SourceRewritten` when the source is not the one that was read: nothing can be said then.
    """
    head = history.head()
    manifest = history.manifest_at(head)
    source = source_days(feed) if feed else []
    reading = Reading.of(history, manifest)
    behind = _behind(feed, reading, source) if feed else []
    first = behind[0] if behind else None
    since, dated = _times_of(feed, first) if feed and first else (None, None)
    proof = newest_proof(history, required=required)
    refusal = newest_refusal(history, head) if behind else None
    return ProtectionStatus(
        head=head.number,
        head_sha256=head.sha256,
        behind=len(behind),
        stretch=_stretch(behind, source),
        unread_since=since,
        unread_said=dated,
        unread_after=first.fresh.after if first and first.fresh else 0,
        epoch=manifest.epoch if manifest else 1,
        unproven_since=proof.unproven_since,
        proven=proof.number,
        proven_at=proof.at,
        assurance=proof.assurance,
        uncounted=proof.uncounted,
        edited=edited,
        unread=_unread(feed, manifest, reading, source, repository=history.repository)
        if feed
        else Unread(),
        unfit=proof.unfit,
        reading=feed.source.reading() if feed else None,
        refused=refusal.reason if refusal else "",
        refused_since=refusal.at if refusal else None,
    )


@dataclass(frozen=True, slots=True)
class CachedStatus:
    """A standing, and what it was seen in: `of` identifies the source's and the log's states."""

    of: str
    protection_status: ProtectionStatus

    def text(self) -> str:
        return _adapter().dump_json(self).decode()

    @classmethod
    def parse(cls, text: str) -> "CachedStatus | None":
        """None for what another version has written."""
        try:
            return _adapter().validate_json(text)
        except ValidationError:
            return None


@cache
def _adapter() -> "TypeAdapter[CachedStatus]":
    """Built once: it takes longer than everything else that a quiet look does."""
    return TypeAdapter(CachedStatus)


def cached_status(
    history: History,
    *,
    feed: Feed | None,
    edited: bool,
    last: CachedStatus | None,
    required: Required = USUAL_REQUIREMENT,
) -> CachedStatus:
    """Where a collection stands now: what was seen last, while a glance finds nothing changed.

    The source is read only if it or the log did. Raises as `protection_status` does.
    """
    source = feed.source.change_token() if feed else ""  # first: see `of`
    head = history.head()
    terms = [edited, required.least, required.read_every.total_seconds()]
    of = sha256(canonical_json([__version__, source, head.sha256, *terms])).hexdigest()
    if last is not None and last.of == of:
        return last
    status = protection_status(history, feed=feed, edited=edited, required=required)
    return CachedStatus(of, status)


@dataclass(frozen=True, slots=True)
class Look:
    """Where a collection stands, or why that cannot be known."""

    protection_status: ProtectionStatus | None = None
    problem: str | None = None

    def exposed(self, now: datetime) -> timedelta | None:
        """Age of the oldest change that no recovery point covers; None where it is unknown."""
        span = (
            exposure(self.protection_status, now=now) if self.protection_status else timedelta.max
        )
        return None if span == timedelta.max else span


def look(
    history: History,
    *,
    feed: Feed | None,
    edited: bool,
    required: Required = USUAL_REQUIREMENT,
) -> Look:
    """Where a collection stands, for those who go on without it where it cannot be known: its
    source is out of reach, or not the one that was read."""
    try:
        return Look(protection_status(history, feed=feed, edited=edited, required=required))
    except (InvalidRequest, Refused, Unavailable) as error:
        return Look(problem=str(error))


class CachedStatusFile:
    """The last observation of a collection on this machine. It saves reading the source again;
    losing it costs one reading."""

    def __init__(
        self, directory: Path, collection: str, *, access: Access = Access.PRIVATE
    ) -> None:
        self._access = access
        self._path = directory / f"{sha256(collection.encode()).hexdigest()[:16]}.json"

    def last(self) -> CachedStatus | None:
        """None where there is none that this version has written."""
        with suppress(OSError, UnicodeDecodeError):
            return CachedStatus.parse(self._path.read_text())
        return None

    def keep(self, seen: CachedStatus) -> None:
        """Replace it; a machine that cannot write there reads the source again each time."""
        with suppress(OSError):
            make_directory(self._path.parent, self._access)
            new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            new.write_text(seen.text())
            new.chmod(self._access.file_mode)
            new.replace(self._path)


def _behind(feed: Feed, reading: Reading, source: Sequence[SourcePartition]) -> list[Day]:
    """Days with changes that the log does not hold, in the order of the source."""
    require_same_source(feed, reading)
    behind = [p for p in source if not reading.covers(p)]
    names = [partition.day.isoformat() for partition in behind]
    return plan_days(feed, reading, names, source=behind)


def _unread(
    feed: Feed,
    manifest: Manifest | None,
    reading: Reading,
    source: Sequence[SourcePartition],
    *,
    repository: Repository,
) -> Unread:
    """Lines of the source that cannot be read, or could not when their day was ingested and can
    be now."""
    open_now = open_lines(repository, manifest, feed.source.unread())
    missed = [q for p in _read_otherwise(reading, source) for q in _passed_over(feed, reading, p)]
    return open_now.joined(missed).listed()


def _read_otherwise(
    reading: Reading, source: Sequence[SourcePartition]
) -> Sequence[SourcePartition]:
    """The days to look at where the source has other changes now than were read of it; no day
    where it has the same."""
    marks, summary = list[int](), reading.summary
    for partition in source:
        day = partition.day.isoformat()
        if partition.through > summary.frontier:
            covered = reading.partitions.get(day)
            marks += read_marks({day: covered} if covered else {})
        elif day not in summary.cut:
            marks.append(read_mark(day, partition.after, partition.through, partition.changes))
    return () if sum_of_marks(marks) == summary.read else source


def _passed_over(feed: Feed, reading: Reading, partition: SourcePartition) -> Iterator[Quarantined]:
    """Changes of a day that was ingested without them: they could not be read then."""
    covered = reading.partitions.get(partition.day.isoformat())
    if covered is None or (covered.after, covered.through) != (partition.after, partition.through):
        return
    if covered.changes is None or covered.changes >= partition.changes:
        return
    yield Quarantined(
        place=partition.day.isoformat(),
        reason=f"{partition.changes - covered.changes} changes can be read now and could not when "
        "the day was ingested: read everything again with "
        f"dr ingest {feed.collection} --accept-epoch NAME",
        after=partition.through,
        since=datetime.combine(partition.day, time(), UTC),
    )


def _stretch(behind: list[Day], source: Sequence[SourcePartition]) -> DayRange | None:
    changes = {partition.day.isoformat(): partition.changes for partition in source}
    waiting = {day.name: changes.pop(day.name) for day in behind}
    return next_range(list(waiting.items()), changes)  # what does not wait was read


def _times_of(feed: Feed, day: Day) -> tuple[datetime | None, datetime | None]:
    """Since when the first unread change of a day waits, and the earliest time that the first
    batch of them say themselves.

    It waits from the beginning of its day at the earliest, since a change that came late was not
    there to be read before.
    """
    if day.fresh is None:
        return None, None
    began = datetime.combine(datetime.fromisoformat(day.name), time(), UTC)
    times = _first_times(feed.source, day.fresh.after, day.fresh.through)
    return (began, None) if times is None else (max(times[0], began), times[1])


def _first_times(source: Source, after: int, through: int) -> tuple[datetime, datetime] | None:
    if isinstance(source, TimedChanges):
        return source.first_times(after, through)
    for batch in source.changes(after, through):
        times: list[datetime] = batch["updated_at"].to_pylist()
        return times[0], min(times)
    return None
