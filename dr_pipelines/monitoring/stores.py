"""The contents of stores, seen against the logs: served, left over, unfinished, foreign."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from dr_pipelines.errors import UNREADABLE, DrError
from dr_pipelines.planning.stored import (
    Found,
    Known,
    Part,
    part_of,
    point_named,
)
from dr_pipelines.protocols import VectorReader
from dr_pipelines.repository.history import History
from dr_pipelines.repository.repository import Repository


@dataclass(frozen=True, slots=True)
class Stored:
    """A physical collection of a store. None stands for what the store does not say."""

    name: str
    part: Part
    collection: str | None
    aliases: tuple[str, ...]
    records: int | None
    size_bytes: int | None
    problem: str | None = None


def known_collection(history: History, *, store: str) -> Known:
    """A collection of the policies, by its log, which may be empty; `store` is the policy's."""
    head = history.head()
    manifest = history.manifest_at(head)
    if manifest is None:
        return Known(history.collection, store, None)
    followers = tuple(head.followers.values())
    return Known(
        history.collection, store, manifest.current, manifest.timelines, followers=followers
    )


def stored(
    opened: VectorReader, *, store: str, collections: Sequence[Known], repository: Repository
) -> Iterator[Stored]:
    """Everything that a store has, ascending by name. One request for each collection, and one for
    each recovery point that any of them says it was built from."""
    pointing = opened.aliases()
    for name in opened.collections():
        aliases = tuple(sorted(alias for alias, to in pointing.items() if to == name))
        yield _stored(opened, name, aliases, store, collections, repository)


def _stored(
    opened: VectorReader,
    name: str,
    aliases: tuple[str, ...],
    store: str,
    collections: Sequence[Known],
    repository: Repository,
) -> Stored:
    origin, records, size, problem = None, None, None, None
    try:
        origin = opened.describe(name).origin
        status = opened.status(name)
        records, size = status.records, status.size_bytes
    except UNREADABLE as error:
        problem = str(error)
    physical = Found(name, origin, aliases, records)
    point = point_named(origin)
    informed = tuple(_with_point(each, point, repository) for each in collections)
    part, collection = part_of(physical, store=store, collections=informed)
    return Stored(name, part, collection, aliases, records, size, problem)


def _with_point(collection: Known, point: str | None, repository: Repository) -> Known:
    """With the records of a recovery point, where it is one of this collection's; those of a point
    that was cut are not counted anywhere."""
    number, _, sha256 = (point or "").partition("-")
    if point is None or not number.isdigit() or collection.current is None:
        return collection
    with suppress(DrError):
        history = History(repository, collection.name)
        entry, digest = history.log.read(int(number))
        if digest.startswith(sha256.partition(".")[0]):
            records = None if "." in sha256 else history.manifest_of(entry).counts.records
            return replace(collection, points={point: records})
    return collection
