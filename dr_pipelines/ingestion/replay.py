"""Partial replay: embed date partitions again and repair the served collection.

It goes through the log like ingestion: any set of days, in any order, repeated, gives the same
state, since a replayed version never beats a newer one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from dr_pipelines.errors import NotFound
from dr_pipelines.ingestion.binding import (
    bind,
)
from dr_pipelines.ingestion.commit import (
    append_days,
    prepare_day,
)
from dr_pipelines.ingestion.days import Day
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.live.live import Applied, Live
from dr_pipelines.protocols import Progress
from dr_pipelines.repository.history import History


@dataclass(frozen=True)
class Replayed:
    """The result of a replay. `applied` is what the live store was brought to, entries that an
    earlier run left unapplied included."""

    days: tuple[str, ...]
    records: int
    entries: tuple[int, ...]
    applied: Applied


def replay(
    lineage: Lineage,
    *,
    history: History,
    live: Live,
    first: date,
    last: date,
    progress: Progress | None = None,
    on_day: Callable[[str], None] | None = None,
) -> Replayed:
    """Embed the covered days in [first, last] again, from their chunks checkpoints.

    Needs neither the source nor the kept vectors. Resumable: pieces that a killed run finished are
    adopted. Raises `NotFound` when no covered day is in the range, `ProvenanceChanged` when the
    policy names another model or chunker than the collection was made with.
    """
    bound = bind(lineage, history=history, live=live)
    applied = live.follow(history)
    days = covered_days(lineage, history=history, first=first, last=last)
    records, entries = 0, list[int]()
    for day in days:
        if on_day:
            on_day(day.name)
        commit = prepare_day(lineage, day, history=history, again=True, progress=progress)
        head = append_days(lineage, [commit], history=history, bound=bound)
        applied = applied.then(live.follow(history))
        records += commit.rows
        entries.append(head.number)
    return Replayed(tuple(day.name for day in days), records, tuple(entries), applied)


def covered_days(lineage: Lineage, *, history: History, first: date, last: date) -> list[Day]:
    """The days in a range that the log covers, as nothing but replays."""
    manifest = history.manifest()
    if manifest is None:
        raise NotFound(
            f"{lineage.collection}: nothing is backed up yet, so nothing can be replayed"
        )
    covered = history.days(manifest)
    days = [
        Day(name, partition, None, partition.quarantined)
        for name, partition in covered.items()
        if first <= date.fromisoformat(name) <= last
    ]
    if not days:
        raise NotFound(
            f"{lineage.collection}: no day from {first} to {last} was ingested; the days that were "
            f"run from {min(covered)} to {max(covered)}"
            if covered
            else f"{lineage.collection}: it is backed up from its store alone: no day to replay"
        )
    return days
