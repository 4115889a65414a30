"""Candidates among a log's followers: which is open, and who may go on with it.

Each clause was modelled before (rule 12 of docs/format.md, tests/repository): without it, something
that is closed, not read back, or of a former line would be served.
"""

from collections.abc import Mapping

from dr_pipelines.errors import AlreadyExists, Conflict, NotFound, TimelineClosed
from dr_pipelines.model.details import BeginDetail
from dr_pipelines.model.recovery import Facts, Request, Route
from dr_pipelines.model.recovery_point import Follower


def catches_up(request: Request, facts: Facts, route: Route) -> bool:
    """True if a recovery that switches brings what is logged meanwhile: where the newest point was
    asked for, or it was told to. From a position within what was read, or with vectors made again,
    it cannot."""
    if request.at != "latest" and not request.catch_up:
        return False
    return facts.point.until is None and route is not Route.REPLAY


def is_of(begun: BeginDetail, request: Request, physical: str) -> bool:
    """True if the candidate `physical` is what a request for the newest point has begun before."""
    if begun.point is None or not (request.switch or request.into):
        return False
    own_name = physical.startswith(f"{request.collection}@{begun.point}")
    named = own_name if request.into is None else physical == request.into
    return named and request.route in ("auto", begun.route)


def others_candidates(
    candidates: Mapping[str, int], *, line: int, catching: bool
) -> frozenset[str]:
    """Names of candidates that a plan may not go on with: all, unless it catches up with the line
    that they follow."""
    return frozenset(
        name for name, follows in candidates.items() if not catching or follows != line
    )


def require_not_open(into: str | None, others: frozenset[str]) -> None:
    """Refuse the name of somebody's candidate."""
    if into in others:
        raise AlreadyExists(
            f"{into!r} is a candidate that another recovery began: choose another name, or close "
            f"it: dr drop {into}"
        )


def candidate_name(store: str, physical: str) -> str:
    """Its name among the followers: a physical collection, in the store that has it."""
    return f"{store}/{physical}"


def with_follower(
    followers: Mapping[str, Follower], name: str, follower: Follower
) -> dict[str, Follower]:
    """The followers with this one; it takes the place of one of its name."""
    return {**followers, name: follower}


def without_follower(followers: Mapping[str, Follower], name: str) -> dict[str, Follower]:
    """The followers that remain; raises `NotFound` where none has the name."""
    if name not in followers:
        raise NotFound(f"no candidate {name!r} is open")
    return {other: follower for other, follower in followers.items() if other != name}


def require_same_line(collection: str, *, served: int, follows: int, physical: str) -> None:
    """Refuse to go on for a line that is not served any more; raises `TimelineClosed`."""
    if served != follows:
        raise TimelineClosed(
            f"{collection}: another restore switched meanwhile, from timeline {follows} to "
            f"{served}: what it left out could come back with {physical!r}. If that is still "
            f"needed: dr drop {physical}, and the command again"
        )


def require_open(
    followers: Mapping[str, Follower], name: str, *, began: int, physical: str
) -> Follower:
    """The follower as it was begun. Raises `Conflict` where it was closed, or another run has begun
    it anew and goes on."""
    follower = followers.get(name)
    if follower is None:
        raise Conflict(f"{physical!r} was closed as a candidate meanwhile: it is not served")
    if follower.began != began:
        raise Conflict(
            f"{physical!r} was begun anew by another run, in log:{follower.began}, which goes on "
            "with it. This one ends"
        )
    return follower
