"""Decisions of a recovery: what it builds, under which name and where."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from dr_pipelines.errors import AlreadyExists, InvalidRequest, Refused
from dr_pipelines.model.collection import PHYSICAL_NAME, CollectionSpec
from dr_pipelines.model.compatibility import Note, Outcome
from dr_pipelines.model.recovery import NameRules, Plan, Route
from dr_pipelines.model.recovery_point import Timeline

ATTEMPTS = 1_000


@dataclass(frozen=True, slots=True)
class Target:
    """A name that was asked for: `own`, the collection's itself; `served`, what readers of the
    current timeline ask for, so that to build it is to serve it; `begins`, the timeline that it
    begins, where one had the name before."""

    own: bool = False
    served: bool = False
    begins: int | None = None


ORDER = (Outcome.REFUSED, Outcome.LOST, Outcome.CODE, Outcome.APPROXIMATED, Outcome.CARRIED)
ORIGIN = re.compile(r"restore:(?P<point>[^:]+):[^:]*:[^:]*(?::(?P<begins>[0-9]+))?")


def origin_of(point: str, route: str, provenance: str | None, *, begins: int | None = None) -> str:
    """The origin that a restored collection records; a restore that finds the same origin resumes
    that collection.

    One that is built under a name which a timeline had says which timeline it begins: until that
    is the one of the log, it is not finished.
    """
    made = f"restore:{point}:{route}:{(provenance or '')[:12]}"
    return made if begins is None else f"{made}:{begins}"


def unfinished(origin: str | None, *, timeline: int) -> str | None:
    """The recovery point that a collection is being built from under a name that is served; None
    where it is what the timeline was bound to."""
    match = ORIGIN.fullmatch(origin or "")
    if match is None or match["begins"] is None or int(match["begins"]) == timeline:
        return None
    return match["point"]


def target_of(
    into: str | None,
    collection: str,
    *,
    store: str,
    timelines: Sequence[Timeline],
    current: Timeline,
) -> Target:
    """The meaning of the requested name to the timelines and to the collection served now."""
    here = current.store == store
    used = {timeline.physical for timeline in timelines if timeline.store == store}
    again = into in used or (here and into == collection)
    return Target(
        own=into == collection,
        served=here and into in (collection, current.physical),
        begins=next_timeline(timelines) if again else None,
    )


def left_as_it_is(plan: Plan) -> str:
    """Where a collection stays that could not be proven."""
    if plan.begins is None and plan.physical != plan.collection:
        return "It is left aside and is not served"
    return "It is left where whoever asks for this name sees it: drop it before anything else"


def next_timeline(timelines: Sequence[Timeline]) -> int:
    """The number of the timeline that a switch begins."""
    return max(timeline.id for timeline in timelines) + 1


def least_first(notes: Sequence[Note]) -> list[Note]:
    """Notes in order: refused and lost, code to be run, approximations, carried."""
    return sorted(notes, key=lambda note: ORDER.index(note.outcome))


def name_notes(
    target: Target,
    collection: str,
    *,
    route: Route,
    switch: bool,
    store: str,
    rules: NameRules,
    current: Timeline,
) -> list[Note]:
    """Warnings about the target's name: programs that open it directly may not find it."""
    if target.own or target.served:
        native = route is Route.NATIVE
        when = "before it is proven" if native else "while it is built, before it is proven"
        effect = f"whoever asks for it by this name sees it {when}"
        return [Note("name", Outcome.APPROXIMATED, effect)]
    if not switch:
        return []
    itself = f"--into {collection} builds it under the name itself"
    notes = []
    if (current.physical, current.store) == (collection, store):
        effect = (
            "it was a collection of this name and becomes an alias. Programs that follow no "
            f"aliases of this store do not find it: {itself}"
        )
        notes.append(Note("name", Outcome.APPROXIMATED, effect))
    if rules.alias_limits:
        effect = (
            f"{rules.alias_limits}. Where the name is free, {itself}. To free it from an alias: "
            f"{rules.free_alias}; from a collection: {rules.free_collection}. {rules.aftermath}"
        )
        notes.append(Note("alias", Outcome.APPROXIMATED, effect))
    return notes


def choose_physical(
    collection: str,
    *,
    point: str,
    origin: str,
    into: str | None,
    origins: Mapping[str, str | None],
    aliases: Mapping[str, str],
    taken: Collection[str],
) -> str:
    """The name to build under: one that nothing else has, or an unfinished one of ours.

    `origins` are the store's collections and what they were built from, `aliases` what stands for
    which of them. `taken` names that any timeline was ever bound to: they are not chosen. With
    `into` only `origins` and `aliases` decide. Raises `Refused` for a served name,
    `AlreadyExists` for one built from something else.
    """
    served = frozenset(aliases.values())
    if into is not None:
        return _asked_for(into, origin=origin, origins=origins, aliases=aliases)
    base = f"{collection}@{point}"
    for attempt in range(1, ATTEMPTS):
        name = base if attempt == 1 else f"{base}-{attempt}"
        if name in served or name in taken:
            continue
        if name not in origins or origins[name] == origin:
            return name
    raise AlreadyExists(f"{base} and {ATTEMPTS} names like it are taken: drop some, or use --into")


def _asked_for(
    into: str,
    *,
    origin: str,
    origins: Mapping[str, str | None],
    aliases: Mapping[str, str],
) -> str:
    if not PHYSICAL_NAME.fullmatch(into):
        raise InvalidRequest(
            f"--into {into!r}: expected letters, digits, _ and -, and at most one @ and a suffix"
        )
    if into in aliases.values():
        raise Refused(f"{into!r} is being served: nothing is ever restored over it")
    if into in aliases:
        raise AlreadyExists(
            f"{into!r} is an alias in the store and stands for {aliases[into]!r}: choose another "
            "name, or leave --into out and move the alias with --switch"
        )
    if into in origins and origins[into] != origin:
        raise AlreadyExists(
            f"{into!r} exists and was built from something else: choose another name, or drop it "
            "first"
        )
    return into


def configured_like(spec: CollectionSpec, other: CollectionSpec) -> CollectionSpec:
    """The columns of one specification with the configuration of another: its indexes, for vectors
    of the same name, its shards, replicas, other aliases and engines' sections."""
    indexes = {vector.name: vector.index for vector in other.vectors}
    vectors = tuple(
        vector.model_copy(update={"index": vector.index or indexes.get(vector.name)})
        for vector in spec.vectors
    )
    update = {
        "vectors": vectors,
        "shards": other.shards,
        "replicas": other.replicas,
        "aliases": other.aliases,
        "engine": other.engine,
    }
    return spec.model_copy(update=update)
