"""Finding a recovery point: `latest`, `log:N`, `seq:N`, or a time, in the source's own clock or in
that of the log."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from dr_pipelines.errors import InvalidRequest, NotFound
from dr_pipelines.model.details import BeginDetail, FollowDetail, RecoveryEvidence
from dr_pipelines.model.recovery_point import Head, Manifest, RecoveryPoint, SourcePosition
from dr_pipelines.repository.history import History

EXPECTED = "latest, log:N, seq:N or a time such as 2026-05-31 or 2026-05-31T10:00:00Z"


PointClock = Literal["source", "log"]
"""By what a time names a point: by what the source said until then, or, where records are changed
in the store, by what was logged until then."""


def resolve(history: History, at: str, *, clock: PointClock = "source") -> RecoveryPoint:
    """The recovery point that `at` names.

    Raises `InvalidRequest` for a word that names none, `NotFound` where the log is empty, does not
    reach that far, or was not read without a gap up to that source position.
    """
    if at == "latest":
        return newest_point(history)
    if match := re.fullmatch(r"log:(\d{1,18})", at):
        return _at_number(history, int(match[1]))
    if match := re.fullmatch(r"seq:(\d{1,18})", at):
        return at_position(history, int(match[1]))
    find = _at_time if clock == "source" else _logged_by
    return find(history, _parse_time(at))


def newest_point(history: History) -> RecoveryPoint:
    """The newest entry but for what recoveries say of themselves: what one has left is for the same
    command to find, which asks for the same point. Raises `NotFound` for an empty log."""
    for entry in history.entries_back(history.head()):
        if not isinstance(entry.body.detail, RecoveryEvidence | BeginDetail | FollowDetail):
            return history.point(entry.i)
    return history.latest()


def at_position(history: History, position: int) -> RecoveryPoint:
    """The state when the source had said everything up to a position, and nothing after it.

    Answered from the newest point whose contiguous frontier has reached the position and which
    still holds every version back to it; edits seen in the store are no part of it.
    """
    return _at_position(history, history.latest(), position)


def _at_position(history: History, newest: RecoveryPoint, position: int) -> RecoveryPoint:
    for point in _newest_first(history, newest):
        if point.manifest.epoch != newest.manifest.epoch:
            break  # positions of an earlier epoch mean something else; log:N still finds them
        if point.manifest.since <= position <= point.manifest.coverage.frontier:
            cut = SourcePosition(epoch=point.manifest.epoch, position=position)
            return replace(point, until=cut)
    collection = history.collection
    if position < newest.manifest.baseline:
        raise NotFound(
            f"{collection}: source position {position} lies before partitions_start: what the "
            f"source said up to position {newest.manifest.baseline} is kept as one state"
        )
    raise NotFound(
        f"{collection}: source position {position} is not covered: the source was read without a "
        f"gap up to position {newest.manifest.coverage.frontier}"
    )


def points(history: History, *, newest: int | None = None) -> Iterator[RecoveryPoint]:
    """Every recovery point, or so many of the `newest`, oldest first; the chain of their entries is
    proven on the way. Raises `Damaged`."""
    cached: tuple[str, Manifest] | None = None
    first = 1 if newest is None else max(1, history.head().number - newest + 1)
    for entry, sha256 in history.log.entries(first):
        ref = entry.body.manifest
        if cached is None or cached[0] != ref.sha256:
            cached = (ref.sha256, history.manifest_of(entry))
        yield RecoveryPoint(history.collection, entry.i, sha256, entry, cached[1])


def _at_number(history: History, number: int) -> RecoveryPoint:
    head = _head(history)
    if not 1 <= number <= head.number:
        raise NotFound(
            f"{history.collection}: the log holds entries 1 to {head.number}, not {number}"
        )
    return history.point(number)


def _head(history: History) -> Head:
    """The newest entry, without its manifest; raises `NotFound` for an empty log, as `latest`."""
    head = history.head()
    return head if head.number else history.latest().head


def _newest_first(history: History, newest: RecoveryPoint) -> Iterator[RecoveryPoint]:
    yield newest
    seen = newest.entry.body.manifest
    for number in range(newest.number - 1, 0, -1):
        entry, sha256 = history.log.read(number)
        if entry.body.manifest == seen:
            continue
        seen = entry.body.manifest
        yield RecoveryPoint(history.collection, number, sha256, entry, history.manifest_of(entry))


def _parse_time(at: str) -> datetime:
    try:
        time = datetime.fromisoformat(at)
    except ValueError:
        raise InvalidRequest(f"{at!r} names no recovery point: expected {EXPECTED}") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _at_time(history: History, time: datetime) -> RecoveryPoint:
    """The last position of the source before its clock first passed a time."""
    from dr_pipelines.repository.source_clock import position_at

    newest = history.latest()
    versions = _every_version(history, newest)
    position = position_at(
        history.repository, versions, time, end=newest.manifest.coverage.frontier
    )
    if position is None:
        raise NotFound(
            f"{history.collection}: the source says nothing at or before {time.isoformat()}"
        )
    return _at_position(history, newest, position)


def _logged_by(history: History, time: datetime) -> RecoveryPoint:
    """The newest entry at or before a time, by the clocks of those who wrote."""
    for entry in history.entries_back(_head(history)):
        if entry.at <= time:
            return history.point(entry.i)
    raise NotFound(
        f"{history.collection}: nothing was logged at or before {time.isoformat()}; the first "
        f"entry is of {entry.at.isoformat()}"
    )


def _every_version(history: History, newest: RecoveryPoint) -> Iterator[Manifest]:
    """The newest manifest, and as many older ones as hold the versions that it has not kept."""
    since = newest.manifest.since + 1
    for point in _newest_first(history, newest):
        if since <= newest.manifest.baseline or point.manifest.epoch != newest.manifest.epoch:
            return
        if point.manifest.since < since:
            since = point.manifest.since
            yield point.manifest
