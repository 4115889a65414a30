"""How a collection stands: what its source and its log say, without opening the live store."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from hashlib import sha256

from pydantic import TypeAdapter, ValidationError

from dr_pipelines import __version__
from dr_pipelines.errors import NotFound, Refused, Unavailable
from dr_pipelines.ingest.lineage import Feed
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.recovery_point import Manifest
from dr_pipelines.planning.freshness import Standing, exposure
from dr_pipelines.proof import newest_proof
from dr_pipelines.protocols import SourcePartition
from dr_pipelines.repository.manifests import read_manifest
from dr_pipelines.repository.repository import Repository
from dr_pipelines.stages.days import Day, Reading, plan_days, require_same_source, source_days


def standing(
    collection: str, *, repository: Repository, feed: Feed | None, edited: bool
) -> Standing:
    """Where a collection stands now; `feed` is None for one that has no source.

    Raises `SourceRewritten` when the source is not the one that was read: nothing can be said then.
    """
    head = repository.log(collection).head()
    manifest = None
    if head.entry is not None:
        manifest = read_manifest(repository, head.entry.body.manifest, collection=collection)
    unread = _unread(feed, Reading.of(manifest)) if feed else []
    first = unread[0] if unread else None
    since, said = _times_of(feed, first) if feed and first else (None, None)
    proof = newest_proof(repository, collection)
    return Standing(
        head=head.number,
        head_sha256=head.sha256,
        behind=tuple(day.name for day in unread),
        complete=_complete(manifest, unread),
        unread_since=since,
        unread_said=said,
        unread_after=first.fresh.after if first and first.fresh else 0,
        epoch=manifest.epoch if manifest else 1,
        unproven_since=proof.unproven_since,
        proven=proof.number,
        proven_at=proof.at,
        edited=edited,
    )


@dataclass(frozen=True, slots=True)
class Sighting:
    """A standing, and what it was seen in: `of` identifies the source's and the log's states."""

    of: str
    standing: Standing

    def text(self) -> str:
        return TypeAdapter(Sighting).dump_json(self).decode()

    @classmethod
    def parse(cls, text: str) -> "Sighting | None":
        """None for what another version has written."""
        try:
            return TypeAdapter(cls).validate_json(text)
        except ValidationError:
            return None


def sighting(
    collection: str,
    *,
    repository: Repository,
    feed: Feed | None,
    edited: bool,
    last: Sighting | None,
) -> Sighting:
    """Where a collection stands now: what was seen last, while a glance finds nothing changed.

    The source is read only if it or the log did. Raises as `standing` does.
    """
    source = [feed.source.glance(), str(feed.start)] if feed else []  # first: see `of`
    head = repository.log(collection).head()
    of = sha256(canonical_json([__version__, source, head.sha256, edited])).hexdigest()
    if last is not None and last.of == of:
        return last
    return Sighting(of, standing(collection, repository=repository, feed=feed, edited=edited))


def exposed_now(
    collection: str,
    *,
    repository: Repository,
    feed: Feed | None,
    edited: bool,
    now: datetime,
) -> timedelta | None:
    """Age of the oldest change that no recovery point covers. None where that cannot be known: the
    source is out of reach, or no snapshot ever saw the edits."""
    try:
        known = standing(collection, repository=repository, feed=feed, edited=edited)
    except (NotFound, Refused, Unavailable):
        return None
    exposed = exposure(known, now=now)
    return None if exposed == timedelta.max else exposed


def _unread(feed: Feed, reading: Reading) -> list[Day]:
    """Days with changes that the log does not hold, in the order of the source."""
    source = source_days(feed)
    require_same_source(feed, reading)
    behind = [p for p in source if _through(reading, p) < p.through]
    names = [partition.day.isoformat() for partition in behind]
    return plan_days(feed, reading, names, source=behind)


def _through(reading: Reading, partition: SourcePartition) -> int:
    covered = reading.partitions.get(partition.day.isoformat())
    return covered.through if covered else partition.after


def _complete(manifest: Manifest | None, unread: list[Day]) -> tuple[str, ...]:
    names = {day.name for day in unread}
    return tuple(sorted(set(manifest.partitions) - names)) if manifest else ()


def _times_of(feed: Feed, day: Day) -> tuple[datetime | None, datetime | None]:
    """Since when the first unread change of a day waits, and the earliest time that the first
    batch of them say themselves.

    It waits from the beginning of its day at the earliest, since a change that came late was not
    there to be read before.
    """
    if day.fresh is None:
        return None, None
    began = datetime.combine(datetime.fromisoformat(day.name), time(), UTC)
    for batch in feed.source.changes(day.fresh.after, day.fresh.through):
        said: list[datetime] = batch["updated_at"].to_pylist()
        return max(said[0], began), min(said)
    return began, None
