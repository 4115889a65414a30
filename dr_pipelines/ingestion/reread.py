"""Everything of a source read again, as a new epoch.

The common part of accepting a rewritten history and of changing a collection's schema.
"""

from collections.abc import Callable
from dataclasses import dataclass

from dr_pipelines.errors import Conflict, InvalidRequest, Refused
from dr_pipelines.ingestion.commit import (
    DayCommit,
    partition_of,
    prepare_day,
)
from dr_pipelines.ingestion.days import Reading, plan_days, source_days
from dr_pipelines.ingestion.ingest import (
    Ingested,
)
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.ingestion.quarantine import open_lines
from dr_pipelines.live.live import Applied
from dr_pipelines.model.details import EpochBegun
from dr_pipelines.model.recovery_point import (
    Head,
    Manifest,
    Partition,
    SegmentRef,
    Timeline,
)
from dr_pipelines.protocols import Progress
from dr_pipelines.repository.history import History, Tip

NAME_LIMIT = 64


@dataclass(frozen=True, slots=True)
class Reread:
    """All days of a source, read, cut and embedded under the epoch after that of `planned`, the
    newest manifest when it began; nothing of it is committed."""

    lineage: Lineage
    history: History
    planned: Manifest
    name: str
    commits: tuple[DayCommit, ...]

    @property
    def begun(self) -> EpochBegun:
        return EpochBegun(number=self.planned.epoch + 1, name=self.name)

    @property
    def records(self) -> int:
        return sum(commit.rows for commit in self.commits)

    def segments(self) -> list[SegmentRef]:
        return [ref for commit in self.commits for ref in commit.segments]

    def partitions(self, *, entry: int) -> dict[str, Partition]:
        """Every day, as a log entry brings it."""
        return {c.day.name: partition_of(c, entry=entry) for c in self.commits}

    def newest(self, tip: Tip, *, bound: Timeline) -> Manifest:
        """The manifest that the epoch will follow.

        Raises `Conflict` where another run was there meanwhile, `TimelineClosed` where a restore
        switched.
        """
        manifest = tip.of_timeline(bound)
        if manifest.epoch != self.planned.epoch:
            raise Conflict(f"{self.lineage.collection}: another run accepted an epoch meanwhile")
        return manifest

    def ingested(self, head: Head, applied: Applied) -> Ingested:
        """The answer, once an entry has committed it and the live store follows."""
        unread = self.lineage.source.unread()
        return Ingested(
            days=tuple(commit.day.name for commit in self.commits),
            records=self.records,
            empty=sum(commit.empty for commit in self.commits),
            unread=open_lines(self.history.repository, self.planned, unread),
            reading=self.lineage.source.reading(),
            entries=(head.number,),
            applied=applied,
            vectors=self.history.repository.vectors.of(self.segments()),
        )


def read_again(
    lineage: Lineage,
    name: str,
    *,
    history: History,
    planned: Manifest,
    progress: Progress | None = None,
    on_day: Callable[[str], None] | None = None,
) -> Reread:
    """Read, cut and embed the whole source. Resumable: what an interrupted run made is adopted.

    Raises `Refused` where the source holds no change at all.
    """
    reading, commits = Reading(planned.epoch + 1), list[DayCommit]()
    source = source_days(lineage)
    names = [partition.day.isoformat() for partition in source]
    for day in plan_days(lineage, reading, names, source=source):
        if on_day:
            on_day(day.name)
        commits.append(prepare_day(lineage, day, history=history, progress=progress))
    if not commits:
        raise Refused(
            f"{lineage.collection}: the source is empty: an epoch of it would delete every document"
        )
    return Reread(lineage, history, planned, name, tuple(commits))


def require_new_name(manifest: Manifest, name: str) -> None:
    """Refuse a name that is none, or that of the epoch in force."""
    if not name.strip() or len(name) > NAME_LIMIT:
        raise InvalidRequest(f"epoch {name!r}: expected a name of 1 to {NAME_LIMIT} characters")
    if name == manifest.epoch_name:
        raise InvalidRequest(
            f"{manifest.collection}: epoch {name!r} is in force already; a new one needs a new name"
        )
