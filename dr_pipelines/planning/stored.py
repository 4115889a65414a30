"""The part that a physical collection of a store plays: served, left over, unfinished, foreign."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from dr_pipelines.errors import Refused
from dr_pipelines.model.recovery_point import Follower, Timeline
from dr_pipelines.planning.recovery import ORIGIN

NEW = "new"
"""The origin of a collection that ingestion made, empty."""


class Part(StrEnum):
    """`served`: readers ask for it, or may. `replaced`: it was served before a restore was switched
    to. `candidate`: a recovery builds it, and brings what is logged meanwhile. `restored`: a
    restore built it beside, whole, and nothing was switched. `unfinished`: a restore or a first
    ingestion was interrupted. `foreign`: something else made it."""

    SERVED = "served"
    REPLACED = "replaced"
    CANDIDATE = "candidate"
    RESTORED = "restored"
    UNFINISHED = "unfinished"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Known:
    """A collection of the policies, by its log: `store` and `timelines` are where it is and was
    served, `followers` its open candidates; `points` are records of its recovery points by their
    short ids, as far as they were looked up, None where nobody counted them."""

    name: str
    store: str
    current: Timeline | None
    timelines: tuple[Timeline, ...] = ()
    points: Mapping[str, int | None] = field(default_factory=dict)
    followers: tuple[Follower, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A physical collection as its store says it is; `origin` None where nothing is said of it."""

    name: str
    origin: str | None
    aliases: tuple[str, ...]
    records: int | None


def part_of(
    physical: Found, *, store: str, collections: Sequence[Known]
) -> tuple[Part, str | None]:
    """The part of a physical collection of a store, and the collection of the policies whose it is.

    An alias that no policy names is somebody's all the same: what it stands for is served.
    """
    for each in collections:
        if _is_current(each, physical, store):
            return Part.SERVED, each.name
    if physical.aliases:
        return Part.SERVED, None
    for each in collections:
        if any((f.physical, f.store) == (physical.name, store) for f in each.followers):
            return Part.CANDIDATE, each.name
    for each in collections:
        if any((t.physical, t.store) == (physical.name, store) for t in each.timelines):
            # what was only adopted may have users that no restore has moved
            return (Part.FOREIGN if physical.origin is None else Part.REPLACED), each.name
    return _made_by_us(physical, collections)


def _is_current(collection: Known, physical: Found, store: str) -> bool:
    here = collection.current is not None and collection.current.store == store
    if collection.current is not None and here and collection.current.physical == physical.name:
        return True
    return collection.store == store and collection.name in (physical.name, *physical.aliases)


def _made_by_us(physical: Found, collections: Sequence[Known]) -> tuple[Part, str | None]:
    if physical.origin == NEW:
        owner = physical.name.partition("@")[0]
        return Part.UNFINISHED, owner if owner in {each.name for each in collections} else None
    made = ORIGIN.fullmatch(physical.origin or "")
    for each in collections:
        if made is not None and made["point"] in each.points:
            whole = each.points[made["point"]] in (None, physical.records)
            return (Part.RESTORED if whole else Part.UNFINISHED), each.name
    return Part.FOREIGN, None


def point_named(origin: str | None) -> str | None:
    """The short id of the recovery point that a collection says it was built from."""
    made = ORIGIN.fullmatch(origin or "")
    return made["point"] if made else None


def require_droppable(
    name: str, part: Part, collection: str | None, *, store: str, aliases: Iterable[str]
) -> None:
    """Raise `Refused`, with the reason, for what is served, or belongs to no `collection` of these
    policies."""
    if part is Part.SERVED:
        named = ", ".join(aliases)
        through = f" as {named}" if named else ""
        raise Refused(
            f"{name!r} in store {store!r} is served{through}: it is never dropped. Switch to "
            f"another collection first: dr restore {collection or 'COLLECTION'} --switch"
        )
    if part is Part.FOREIGN or collection is None:
        raise Refused(
            f"{name!r} in store {store!r} was made by neither a restore nor an ingestion of these "
            "policies, and may be in use: remove it with the engine's own tools"
        )
