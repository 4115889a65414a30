"""Obstacles to a recovery, each with the way out: the same for a plan and for
`dr plan --check`."""

from collections.abc import Iterator

from dr_pipelines.model.incident import (
    CollectionFact,
    Incident,
    PointFact,
    SavedFacts,
    Trouble,
    TroubleKind,
)
from dr_pipelines.model.recovery import Facts, Plan, Route
from dr_pipelines.model.recovery_plan import Obstacle
from dr_pipelines.planning.plan_routes import planned, under_own_name

ROOM = 2
"""Times its size in the repository: what is built, and what its index and its proof need beside."""
WAYS_OUT: dict[TroubleKind, str] = {
    "secret": "put the right value into the environment variable that the policy names, where dr "
    "runs",
    "store": "bring the store back, or recover into another one of the policies with --into STORE",
    "disk": "free space there, or recover into another store with --into STORE",
    "model": "install the model where dr runs, or name another one and recover by load",
    "weights": "install the model that was recorded, or recover by load, which needs none",
    "golden": "mend the file of golden queries (docs/golden.md): dr golden check says which",
    "alias": "free the name in the store, or recover under another with dr restore --into NAME",
    "engine": "install the engine's packages in a version that takes this store, or recover into "
    "another store with --into STORE",
    "code": "read it with dr restore --plan, then give its digest with --accept-code",
    "clock": "set the clock of this machine, or of the one that wrote, by a time server",
    "repository": "use another copy of the repository, or restore what is missing from one; dr "
    "verify says what that is",
    "source": "bring the source back as it was; without it, changes after the newest point are "
    "lost",
    "server": "let an administrator make it in the database (docs/adapters/README.md)",
    "fit": "change what does not fit, accept each loss with dr backup --accept-loss, or recover "
    "with --accept-loss",
    "unknown": "read the message; if it is a defect of dr_pipelines, please report it",
}
LOST = ("collection", "store")
"""Incidents after which a collection's own name is free in its store."""
ABOUT: dict[str, TroubleKind] = {"name": "alias", "loss": "fit", "code": "code", "route": "engine"}
"""Obstacles by what a refusal is about."""


def obstacle(trouble: Trouble, collection: str | None) -> Obstacle:
    """A trouble with its way out."""
    return Obstacle(
        kind=trouble.kind,
        collection=collection,
        place=trouble.place,
        message=trouble.message,
        way_out=trouble.way_out or WAYS_OUT[trouble.kind],
    )


def obstacles_of(
    incident: Incident,
    fact: CollectionFact,
    point: PointFact | None,
    saved: SavedFacts,
    *,
    route: Route | None,
) -> tuple[Obstacle, ...]:
    """Everything in the way of one collection, in the order of their kinds."""
    troubles = [*fact.troubles, *_about_point(incident, fact, point, saved, route=route)]
    place = saved.place(incident.into or fact.store)
    if place.trouble is not None and all(t.place != place.trouble.place for t in troubles):
        troubles.append(place.trouble)
    unique = dict.fromkeys(obstacle(trouble, fact.name) for trouble in troubles)
    order = list(WAYS_OUT)
    return tuple(sorted(unique, key=lambda each: (order.index(each.kind), each.place)))


def _about_point(
    incident: Incident,
    fact: CollectionFact,
    point: PointFact | None,
    saved: SavedFacts,
    *,
    route: Route | None,
) -> Iterator[Trouble]:
    if point is None:
        return
    store = incident.into or fact.store
    yield from _disk(fact, point, saved, store=store)
    facts = fact.restore_facts(point.number, store, remade=route is Route.REPLAY)
    if facts is None:
        return
    yield from _owner(facts)
    plan = planned(incident, fact, facts, route=route or Route.LOAD)
    lost = incident.kind in LOST and under_own_name(incident, fact)
    yield from _refusals(plan, name_is_free=lost)
    if not incident.accept_loss:
        yield from _misfits(fact, point)


def _disk(
    fact: CollectionFact, point: PointFact, saved: SavedFacts, *, store: str
) -> Iterator[Trouble]:
    needed = ROOM * fact.state_of(point).stored_bytes
    free = (("store " + store, saved.place(store).free_bytes), ("state", saved.scratch_bytes))
    for place, available in free:
        if available is not None and available < needed:
            message = (
                f"{available:,} bytes are free and {needed:,} are needed, {ROOM} times its size"
            )
            yield Trouble(kind="disk", place=place, message=message)


def _owner(facts: Facts) -> Iterator[Trouble]:
    """An alias that stands for what no timeline of ours was ever bound to."""
    store, name = facts.store, facts.point.collection
    target = store.aliases.get(name)
    own = {timeline.physical for timeline in facts.timelines if timeline.store == store.name}
    if target is not None and target not in own:
        message = f"alias {name!r} stands for {target!r}, which no backup of it was ever bound to"
        yield Trouble(kind="alias", place=name, message=message)


def _refusals(plan: Plan, *, name_is_free: bool) -> Iterator[Trouble]:
    for refusal in plan.refusals:
        if refusal.about == "name" and name_is_free:
            continue  # it is there, and the incident is that it will not be
        place = plan.physical or plan.collection
        yield Trouble(kind=ABOUT[refusal.about], place=place, message=refusal.message)


def _misfits(fact: CollectionFact, point: PointFact) -> Iterator[Trouble]:
    unfit = fact.state_of(point).unfit
    if unfit:
        message = f"losses that nobody accepted: {'; '.join(unfit)}"
        yield Trouble(kind="fit", place=f"log:{point.number}", message=message)
