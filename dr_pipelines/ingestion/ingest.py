"""Ingest: append to the log what the source said, then bring the live store to it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date

from dr_pipelines.errors import (
    NotFound,
    Unavailable,
)
from dr_pipelines.ingestion.binding import bind
from dr_pipelines.ingestion.commit import append_days, prepare_day
from dr_pipelines.ingestion.days import (
    Reading,
    plan_days,
    require_same_source,
    source_days,
)
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.ingestion.quarantine import open_lines
from dr_pipelines.live.live import Applied, Live
from dr_pipelines.model.recovery_point import SegmentRef
from dr_pipelines.model.source_reading import NOTHING_READ, SourceReading
from dr_pipelines.model.unread import NOTHING_UNREAD, Unread
from dr_pipelines.protocols import Progress
from dr_pipelines.repository.history import History
from dr_pipelines.repository.vector_storage import VectorsStored


@dataclass(frozen=True)
class Ingested:
    """The result of an ingestion. `empty` versions gave no chunk, so no search finds them.
    `unread` lines of the source wait for somebody; `reading` says how much of it was read.
    `unapplied` is the reason if the live store could not be updated: what was ingested is safe in
    the log. `vectors` says how those are encoded that were logged, if any were."""

    days: tuple[str, ...] = ()
    records: int = 0
    empty: int = 0
    unread: Unread = NOTHING_UNREAD
    reading: SourceReading = NOTHING_READ
    entries: tuple[int, ...] = ()
    applied: Applied = field(default_factory=Applied)
    unapplied: str | None = None
    vectors: VectorsStored | None = None


def ingest(
    lineage: Lineage,
    *,
    history: History,
    live: Live,
    first: date | None = None,
    last: date | None = None,
    progress: Progress | None = None,
    on_day: Callable[[str], None] | None = None,
    on_changes: Progress | None = None,
) -> Ingested:
    """Ingest every day of the source that is not covered yet, oldest first, a log entry each.

    Idempotent: what is covered is not read again. Entries that an earlier run left unapplied are
    finished first. `on_changes` is told after each day how many of the source's changes are done.
    Raises `SourceRewritten`, `ProvenanceChanged` before anything is written.
    """
    bound = bind(lineage, history=history, live=live)
    report = _followed(Ingested(), history, live)
    reading = Reading.of(history, history.manifest())
    source = source_days(lineage, first=first, last=last)
    require_same_source(lineage, reading)
    waiting = [partition for partition in source if not reading.covers(partition)]
    done, total = 0, sum(partition.changes for partition in waiting)
    segments = list[SegmentRef]()
    for partition in waiting:
        if on_changes:
            on_changes(done, total)
        done += partition.changes
        reading = Reading.of(
            history, history.manifest()
        )  # another run may have covered the day meanwhile
        (day,) = plan_days(lineage, reading, [partition.day.isoformat()], source=[partition])
        if day.fresh is None:
            continue
        if on_day:
            on_day(day.name)
        commit = prepare_day(lineage, day, history=history, progress=progress)
        head = append_days(lineage, [commit], history=history, bound=bound)
        segments += commit.segments
        report = replace(
            report,
            days=(*report.days, day.name),
            records=report.records + commit.rows,
            empty=report.empty + commit.empty,
            entries=(*report.entries, head.number),
        )
        report = _followed(report, history, live)
    if on_changes:
        on_changes(done, total)
    unread = open_lines(history.repository, history.manifest(), lineage.source.unread())
    return replace(
        report,
        unread=unread,
        reading=lineage.source.reading(),
        vectors=history.repository.vectors.of(segments),
    )


def _followed(report: Ingested, history: History, live: Live) -> Ingested:
    """Apply; a store that cannot follow is reported, since the log already has the changes."""
    try:
        applied = live.follow(history)
    except (NotFound, Unavailable) as error:
        return replace(report, unapplied=str(error))
    return replace(report, applied=report.applied.then(applied), unapplied=None)
