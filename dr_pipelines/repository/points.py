"""Finding a recovery point: `latest`, `log:N`, `seq:N`, or a time, in the source's own clock or in
that of the log."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

from dr_pipelines.errors import InvalidRequest, NotFound
from dr_pipelines.model.recovery_point import Manifest, RecoveryPoint, SourcePosition
from dr_pipelines.repository.manifests import read_manifest, read_point
from dr_pipelines.repository.repository import Repository

EXPECTED = "latest, log:N, seq:N or a time such as 2026-05-31 or 2026-05-31T10:00:00Z"


PointClock = Literal["source", "log"]
"""By what a time names a point: by what the source said until then, or, where records are changed
in the store, by what was logged until then."""


def resolve(
    repository: Repository, collection: str, at: str, *, clock: PointClock = "source"
) -> RecoveryPoint:
    """The recovery point that `at` names.

    Raises `InvalidRequest` for a word that names none, `NotFound` where the log is empty, does not
    reach that far, or was not read without a gap up to that source position.
    """
    if at == "latest":
        return latest(repository, collection)
    if match := re.fullmatch(r"log:(\d{1,18})", at):
        return _at_number(repository, collection, int(match[1]))
    if match := re.fullmatch(r"seq:(\d{1,18})", at):
        return at_position(repository, collection, int(match[1]))
    find = _at_time if clock == "source" else _logged_by
    return find(repository, collection, _parse_time(at))


def latest(repository: Repository, collection: str) -> RecoveryPoint:
    """The newest recovery point."""
    head = repository.log(collection).head()
    if head.entry is None:
        raise NotFound(f"{collection}: nothing is backed up yet. Run: dr ingest {collection}")
    manifest = read_manifest(repository, head.entry.body.manifest, collection=collection)
    return RecoveryPoint(collection, head.number, head.sha256, head.entry, manifest)


def at_position(repository: Repository, collection: str, position: int) -> RecoveryPoint:
    """The state when the source had said everything up to a position, and nothing after it.

    Answered from the newest point whose contiguous frontier has reached the position and which
    still holds every version back to it; edits seen in the store are no part of it.
    """
    newest = latest(repository, collection)
    for point in _newest_first(repository, newest):
        if point.manifest.epoch != newest.manifest.epoch:
            break  # positions of an earlier epoch mean something else; log:N still finds them
        if point.manifest.since <= position <= point.manifest.frontier():
            cut = SourcePosition(epoch=point.manifest.epoch, position=position)
            return RecoveryPoint(
                collection, point.number, point.sha256, point.entry, point.manifest, cut
            )
    if position < newest.manifest.baseline:
        raise NotFound(
            f"{collection}: source position {position} lies before partitions_start: what the "
            f"source said up to position {newest.manifest.baseline} is kept as one state"
        )
    raise NotFound(
        f"{collection}: source position {position} is not covered: the source was read without a "
        f"gap up to position {newest.manifest.frontier()}"
    )


def points(repository: Repository, collection: str) -> Iterator[RecoveryPoint]:
    """Every recovery point, oldest first; the chain is proven on the way. Raises `Damaged`."""
    log = repository.log(collection)
    known: tuple[str, Manifest] | None = None
    for entry, sha256 in log.entries():
        ref = entry.body.manifest
        if known is None or known[0] != ref.sha256:
            known = (ref.sha256, read_manifest(repository, ref, collection=collection))
        yield RecoveryPoint(collection, entry.i, sha256, entry, known[1])


def _at_number(repository: Repository, collection: str, number: int) -> RecoveryPoint:
    newest = latest(repository, collection)
    if not 1 <= number <= newest.number:
        raise NotFound(f"{collection}: the log holds entries 1 to {newest.number}, not {number}")
    return newest if number == newest.number else read_point(repository, collection, number)


def _newest_first(repository: Repository, newest: RecoveryPoint) -> Iterator[RecoveryPoint]:
    yield newest
    seen = newest.entry.body.manifest
    for number in range(newest.number - 1, 0, -1):
        entry, sha256 = repository.log(newest.collection).read(number)
        if entry.body.manifest == seen:
            continue
        seen = entry.body.manifest
        manifest = read_manifest(repository, seen, collection=newest.collection)
        yield RecoveryPoint(newest.collection, number, sha256, entry, manifest)


def _parse_time(at: str) -> datetime:
    try:
        time = datetime.fromisoformat(at)
    except ValueError:
        raise InvalidRequest(f"{at!r} names no recovery point: expected {EXPECTED}") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _at_time(repository: Repository, collection: str, time: datetime) -> RecoveryPoint:
    """The last position of the source before its clock first passed a time."""
    from dr_pipelines.repository.source_clock import position_at

    newest = latest(repository, collection)
    versions = _every_version(repository, newest)
    position = position_at(repository, versions, time, end=newest.manifest.frontier())
    if position is None:
        raise NotFound(f"{collection}: the source says nothing at or before {time.isoformat()}")
    return at_position(repository, collection, position)


def _logged_by(repository: Repository, collection: str, time: datetime) -> RecoveryPoint:
    """The newest entry at or before a time, by the clocks of those who wrote."""
    newest = latest(repository, collection)
    log = repository.log(collection)
    for number in range(newest.number, 0, -1):
        entry = newest.entry if number == newest.number else log.read(number)[0]
        if entry.at <= time:
            return _at_number(repository, collection, number)
    raise NotFound(
        f"{collection}: nothing was logged at or before {time.isoformat()}; the first entry is of "
        f"{entry.at.isoformat()}"
    )


def _every_version(repository: Repository, newest: RecoveryPoint) -> Iterator[Manifest]:
    """The newest manifest, and as many older ones as hold the versions that it has not kept."""
    since = newest.manifest.since + 1
    for point in _newest_first(repository, newest):
        if since <= newest.manifest.baseline or point.manifest.epoch != newest.manifest.epoch:
            return
        if point.manifest.since < since:
            since = point.manifest.since
            yield point.manifest
