"""What a restore will do, decided and said before anything is touched."""

from dr_pipelines.backup.native import kept_for
from dr_pipelines.errors import UNREADABLE, InvalidRequest, Refused
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.model.collection import NAME
from dr_pipelines.model.compatibility import (
    AS_IT_WAS,
    CompatibilityReport,
    Note,
    Outcome,
)
from dr_pipelines.model.fitness import Fitness
from dr_pipelines.model.recovery import Plan, Route
from dr_pipelines.model.recovery_point import RecoveryPoint
from dr_pipelines.planning.estimate import estimated
from dr_pipelines.planning.parts import contract_parts, namespace
from dr_pipelines.planning.recovery import (
    choose_physical,
    configured_like,
    freeing,
    name_notes,
    origin_of,
    require_allowed,
    target_of,
)
from dr_pipelines.planning.way_back import kept_for_return, taken_up
from dr_pipelines.protocols import Definer, VectorStore
from dr_pipelines.repository.history import History
from dr_pipelines.repository.repository import Repository
from dr_pipelines.stores.shared.native_types import type_notes

UNKNOWN = "unreadable"
"""The origin of what cannot be read: of none of our points."""


def plan_restore(
    point: RecoveryPoint,
    *,
    repository: Repository,
    store: VectorStore,
    store_name: str,
    route: Route = Route.LOAD,
    lineage: Lineage | None = None,
    into: str | None = None,
    switch: bool = False,
    accept_loss: bool = False,
    accept_code: str | None = None,
    with_roles: bool = False,
) -> Plan:
    """What a restore will do; nothing is touched.

    To build under the name that is served is to serve it: such a plan switches, asked to or not.

    Raises `Refused` for a target being served, where a part would be lost without `accept_loss`,
    where code would be run whose digest is not `accept_code`, and where no files of the engine were
    kept for route `native`.
    """
    plan = outline_restore(
        point,
        repository=repository,
        store=store,
        store_name=store_name,
        route=route,
        lineage=lineage,
        into=into,
        switch=switch,
        with_roles=with_roles,
    )
    require_allowed(plan, accept_loss=accept_loss, accept_code=accept_code)
    return plan


def outline_restore(
    point: RecoveryPoint,
    *,
    repository: Repository,
    store: VectorStore,
    store_name: str,
    route: Route = Route.LOAD,
    lineage: Lineage | None = None,
    into: str | None = None,
    switch: bool = False,
    with_roles: bool = False,
) -> Plan:
    """`plan_restore` for who wants to read it first: neither losses nor code are refused."""
    if route is Route.REPLAY and lineage is None:
        raise InvalidRequest(f"{point.collection}: --route replay needs an embedder in the policy")
    engine = namespace(store.engine)
    if route is Route.NATIVE and kept_for(repository, point, engine=engine) is None:
        raise Refused(
            f"{point.collection}: no files of {engine} were kept for {point.id}. Use --route load"
        )
    latest = History(repository, point.collection).manifest() or point.manifest
    made_by = lineage.provenance if route is Route.REPLAY and lineage else point.manifest.provenance
    timelines, current = latest.timelines, latest.current
    target = target_of(
        into, point.collection, store=store_name, timelines=timelines, current=current
    )
    switch = switch or target.served
    fingerprint = made_by.fingerprint if made_by else None
    origin = origin_of(point.id, route, fingerprint, begins=target.begins)
    origins = {name: _origin(store, name) for name in store.collections()}
    if switch and point.collection in origins and not target.own:
        raise Refused(
            f"{point.collection!r} is a collection itself in store {store_name!r}, not an alias "
            "that could be moved. A copy beside it: the same command without --switch. If what is "
            f"there may go: {freeing(engine, point.collection)[1]}, then the same command with "
            f"--into {point.collection} instead of --switch, which also goes on with a restore "
            "that was interrupted"
        )
    spec = point.manifest.spec
    if route is Route.REPLAY and lineage is not None:
        spec = configured_like(lineage.spec.physical(point.collection), spec)
    known_names = frozenset(t.physical for t in timelines if t.store == store_name)
    fitted = store.fit(taken_up(spec, engine=engine))
    fit = _carried_over(
        kept_for_return(fitted, spec, origin=namespace(point.manifest.engine), engine=engine),
        point,
        store,
        own=set(known_names),
    )
    about_name = name_notes(
        target,
        point.collection,
        route=route,
        switch=switch,
        store=store_name,
        engine=engine,
        current=current,
    )
    fit = CompatibilityReport(fit.spec, (*fit.notes, *about_name))
    physical = choose_physical(
        point.collection,
        point=point.id if route is Route.LOAD else f"{point.id}-{route}",
        origin=origin,
        into=into,
        origins=origins,
        aliases=store.aliases(),
        taken=known_names,
    )
    definitions = None
    if isinstance(store, Definer):
        whole = fit.spec.physical(physical, origin=origin)
        definitions = store.definitions(whole, with_roles=with_roles)
        as_it_was = {"name": fit.spec.name, "origin": fit.spec.origin}
        spec = definitions.spec.model_copy(update=as_it_was)
        fit = CompatibilityReport(spec, (*fit.notes, *definitions.notes))
    known = _fitness_there(point, route, engine)
    return Plan(
        collection=point.collection,
        point=point.id,
        route=route,
        physical=physical,
        store=store_name,
        switch=switch,
        records=point.manifest.counts.records,
        resumed=physical in origins,
        spec=fit.spec,
        notes=fit.notes,
        estimate=estimated(
            timelines,
            engine=engine,
            route=str(route),
            records=point.manifest.counts.records,
        ),
        begins=target.begins,
        definitions=definitions,
        misfits=known.misfits if known else 0,
        refused=known.named if known else (),
    )


def _fitness_there(point: RecoveryPoint, route: Route, engine: str) -> Fitness | None:
    """What the backup knows of putting it back; None for another engine or route, of which it
    knows nothing."""
    fitness = point.manifest.fitness
    same = fitness is not None and namespace(fitness.engine) == engine
    return fitness if same and route is Route.LOAD else None


def _origin(store: VectorStore, name: str) -> str | None:
    """What a collection was built from. One that cannot be read must not keep another one from
    coming back: it is something else, and its name is taken."""
    try:
        return store.describe(name).origin
    except UNREADABLE:
        return UNKNOWN


def _carried_over(
    fit: CompatibilityReport, point: RecoveryPoint, store: VectorStore, *, own: set[str]
) -> CompatibilityReport:
    """The fit with what is known here: which engine it was, which aliases may be moved.

    In the same engine a vector that it never searched is not lost. An alias comes along where it
    is free, or stands for what this collection was served from before; any other is somebody
    else's by now and stays.
    """
    notes, aliases = list(fit.notes), list[str]()
    if namespace(point.manifest.engine) == namespace(store.engine):
        notes = [
            n for n in notes if n.outcome is not Outcome.LOST or not n.part.startswith("vectors.")
        ]
    else:
        notes += type_notes(fit.spec, engine=namespace(store.engine))
        said = {note.part for note in notes}
        notes += [
            Note(p, Outcome.CARRIED, AS_IT_WAS) for p in contract_parts(fit.spec) if p not in said
        ]
    pointing, taken = store.aliases(), set(store.collections())
    for alias in fit.spec.aliases:
        if NAME.fullmatch(alias) and alias not in taken and pointing.get(alias) in {None, *own}:
            aliases.append(alias)
        else:
            stays = f"stays as it is: {pointing.get(alias, 'not a name that can be moved here')}"
            notes.append(Note(f"aliases.{alias}", Outcome.APPROXIMATED, stays))
    return CompatibilityReport(
        fit.spec.model_copy(update={"aliases": tuple(aliases)}), tuple(notes)
    )
