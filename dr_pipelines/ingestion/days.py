"""Work to do for the days of a source, beyond what a log entry covers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from dr_pipelines.errors import SourceRewritten
from dr_pipelines.ingestion.lineage import Feed, Lineage
from dr_pipelines.model.recovery_point import Coverage, Manifest, Partition, PositionRange
from dr_pipelines.protocols import SourcePartition
from dr_pipelines.repository.history import History

FIRST_EPOCH = 1
NOTHING_READ = Coverage()


@dataclass(frozen=True)
class Reading:
    """Progress of reading: the epoch, the coverage of each day, which is read as far as it is
    asked for, and what it sums up to."""

    epoch: int
    partitions: Mapping[str, Partition] = field(default_factory=dict)
    summary: Coverage = NOTHING_READ

    @classmethod
    def of(cls, history: History, manifest: Manifest | None) -> "Reading":
        """The progress at a manifest; none where there is none."""
        if manifest is None:
            return cls(FIRST_EPOCH)
        return cls(manifest.epoch, history.days(manifest), manifest.coverage)

    def through(self, partition: SourcePartition) -> int:
        """The last position of a day of the source that was read. What lies before the frontier was
        read whole, and no day is looked up for it."""
        if partition.through <= self.summary.frontier:
            return partition.through
        covered = self.partitions.get(partition.day.isoformat())
        return covered.through if covered else partition.after

    def covers(self, partition: SourcePartition) -> bool:
        """True if all changes that the source has for a day were read."""
        return self.through(partition) >= partition.through


@dataclass(frozen=True)
class Day:
    """A day's work: what a log entry covers already, and what the source has beyond it."""

    name: str
    covered: Partition | None
    fresh: PositionRange | None
    quarantined: int = 0

    @property
    def quiet(self) -> bool:
        """True if the source never had a change on this day."""
        return self.covered is None and self.fresh is None


def require_same_source(feed: Feed | Lineage, reading: Reading) -> None:
    """Stop when the source's head moved back or its history changed since it was read."""
    newest = reading.summary
    if not newest.days:
        return
    anchor = feed.source.anchor(newest.anchored)
    if anchor == newest.anchor:
        return
    what = "ends before" if anchor is None else "has other contents up to"
    raise SourceRewritten(
        f"{feed.collection}: the source {what} position {newest.anchored}, which was read "
        "before: it was truncated or rewritten. Restore the source, or accept its new history by "
        f"name: dr ingest {feed.collection} --accept-epoch NAME"
    )


def source_days(
    feed: Feed | Lineage, *, first: date | None = None, last: date | None = None
) -> list[SourcePartition]:
    """Days with changes, oldest first."""
    return [
        day
        for day in feed.source.partitions()
        if (first is None or day.day >= first) and (last is None or day.day <= last)
    ]


def plan_days(
    feed: Feed | Lineage,
    reading: Reading,
    names: Sequence[str],
    *,
    source: Sequence[SourcePartition],
) -> list[Day]:
    """The work for some days, given all the days of the source; quiet ones included."""
    by_day = {partition.day.isoformat(): partition for partition in source}
    return [_plan(feed, reading, name, by_day.get(name)) for name in names]


def _plan(
    feed: Feed | Lineage, reading: Reading, name: str, partition: SourcePartition | None
) -> Day:
    covered = reading.partitions.get(name)
    if partition is None:
        return Day(name, covered, None, covered.quarantined if covered else 0)
    after = covered.through if covered else partition.after
    fresh = (
        PositionRange(name, reading.epoch, after, partition.through)
        if partition.through > after
        else None
    )
    start = covered.after if covered else partition.after
    quarantined = len(feed.source.quarantined(start, partition.through))
    return Day(name, covered, fresh, quarantined)
