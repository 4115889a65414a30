"""How a collection stands: what its source and its log say, without opening the live store."""

from datetime import UTC, datetime, time, timedelta

from dr_pipelines.errors import NotFound, Refused, Unavailable
from dr_pipelines.ingest.lineage import Lineage
from dr_pipelines.model.recovery_point import Manifest
from dr_pipelines.planning.freshness import Standing, exposure
from dr_pipelines.proof import newest_proof
from dr_pipelines.protocols import SourcePartition
from dr_pipelines.repository.manifests import read_manifest
from dr_pipelines.repository.repository import Repository
from dr_pipelines.stages import Day, Reading, plan_days, require_same_source, source_days


def standing(
    collection: str, *, repository: Repository, lineage: Lineage | None, edited: bool
) -> Standing:
    """Where a collection stands now; `lineage` is None for one that has no source.

    Raises `SourceRewritten` when the source is not the one that was read: nothing can be said then.
    """
    head = repository.log(collection).head()
    manifest = None
    if head.entry is not None:
        manifest = read_manifest(repository, head.entry.body.manifest, collection=collection)
    unread = _unread(lineage, Reading.of(manifest)) if lineage else []
    first = unread[0] if unread else None
    proof = newest_proof(repository, collection)
    return Standing(
        head=head.number,
        head_sha256=head.sha256,
        behind=tuple(day.name for day in unread),
        complete=_complete(manifest, unread),
        unread_since=_time_of(lineage, first) if lineage and first else None,
        unread_after=first.fresh.after if first and first.fresh else 0,
        epoch=manifest.epoch if manifest else 1,
        unproven_since=proof.unproven_since,
        proven=proof.number,
        proven_at=proof.at,
        edited=edited,
    )


def exposed_now(
    collection: str,
    *,
    repository: Repository,
    lineage: Lineage | None,
    edited: bool,
    now: datetime,
) -> timedelta | None:
    """Age of the oldest change that no recovery point covers. None where that cannot be known: the
    source is out of reach, or no snapshot ever saw the edits."""
    try:
        known = standing(collection, repository=repository, lineage=lineage, edited=edited)
    except (NotFound, Refused, Unavailable):
        return None
    exposed = exposure(known, now=now)
    return None if exposed == timedelta.max else exposed


def _unread(lineage: Lineage, reading: Reading) -> list[Day]:
    """Days with changes that the log does not hold, in the order of the source."""
    source = source_days(lineage)
    require_same_source(lineage, reading)
    behind = [p for p in source if _through(reading, p) < p.through]
    names = [partition.day.isoformat() for partition in behind]
    return plan_days(lineage, reading, names, source=behind)


def _through(reading: Reading, partition: SourcePartition) -> int:
    covered = reading.partitions.get(partition.day.isoformat())
    return covered.through if covered else partition.after


def _complete(manifest: Manifest | None, unread: list[Day]) -> tuple[str, ...]:
    names = {day.name for day in unread}
    return tuple(sorted(set(manifest.partitions) - names)) if manifest else ()


def _time_of(lineage: Lineage, day: Day) -> datetime | None:
    """When the first unread change of a day was made: not before the day began, since a change
    that came late was not there to be read before."""
    if day.fresh is None:
        return None
    began = datetime.combine(datetime.fromisoformat(day.name), time(), UTC)
    for batch in lineage.source.changes(day.fresh.after, day.fresh.through):
        said: datetime = batch["updated_at"][0].as_py()
        return max(said, began)
    return began
