"""A recovery decided: from what is asked for and what is known, without touching anything."""

from dr_pipelines.errors import AlreadyExists, DrError, InvalidRequest, Refused
from dr_pipelines.model.collection import NAME, CollectionSpec
from dr_pipelines.model.compatibility import AS_IT_WAS, CompatibilityReport, Note, Outcome
from dr_pipelines.model.definitions import Definitions
from dr_pipelines.model.fitness import Fitness
from dr_pipelines.model.lineage import Provenance
from dr_pipelines.model.recovery import (
    Facts,
    MakerFacts,
    Plan,
    PointFacts,
    Refusal,
    Request,
    Route,
)
from dr_pipelines.planning.candidate import catches_up, others_candidates, require_not_open
from dr_pipelines.planning.estimate import estimated
from dr_pipelines.planning.parts import contract_parts, namespace
from dr_pipelines.planning.recovery import (
    Target,
    choose_physical,
    configured_like,
    name_notes,
    origin_of,
    target_of,
)
from dr_pipelines.planning.refusals import (
    catch_up_refusal,
    code_refusal,
    loss_refusal,
    refusal_of,
    route_refusal,
)
from dr_pipelines.planning.way_back import kept_for_return


def decide(request: Request, facts: Facts) -> Plan:
    """The plan for a request, given what is known: equal facts, equal plans.

    To build under the name that is served is to serve it: such a plan switches, asked to or not.
    Whatever stands in the way is in the plan's refusals, all of it.
    """
    point, route = facts.point, chosen_route(request, facts)
    target = target_of(
        request.into,
        request.collection,
        store=facts.store.name,
        timelines=facts.timelines,
        current=facts.current,
    )
    switch = request.switch or target.served
    catching = switch and catches_up(request, facts, route)
    made_by = _made_by(point, facts.maker, route)
    provenance = made_by.fingerprint if made_by else None
    origin = origin_of(point.id, route, provenance, begins=target.begins)
    physical, taken = _name(request, facts, route=route, origin=origin, catching=catching)
    report = _report(request, facts, route=route, target=target, switch=switch)
    fitness = _fitness_there(facts, route)
    refusals = [
        route_refusal(request, facts, route),
        catch_up_refusal(request, facts, route),
        _switch_refusal(facts, request, target=target, switch=switch),
        taken,
        loss_refusal(report, store=facts.store.name, accept_loss=request.accept_loss),
        code_refusal(
            facts.definitions,
            physical=physical,
            store=facts.store.name,
            accept_code=request.accept_code,
        ),
    ]
    return Plan(
        collection=request.collection,
        point=point.id,
        number=point.number,
        sha256=point.sha256,
        until=point.until,
        route=route,
        physical=physical,
        store=facts.store.name,
        switch=switch,
        records=point.records,
        resumed=physical in facts.store.origins and taken is None,
        spec=report.spec,
        origin=origin,
        provenance=provenance,
        notes=report.notes,
        losses=report.lost,
        estimate=estimated(
            facts.timelines,
            engine=namespace(facts.store.engine),
            route=str(route),
            records=point.records,
        ),
        begins=target.begins,
        definitions=facts.definitions,
        misfits=fitness.misfits if fitness else 0,
        refused=fitness.named if fitness else (),
        timeline=facts.timeline,
        catch_up=catching,
        behind=facts.behind if switch and not catching else None,
        refusals=tuple(refusal for refusal in refusals if refusal is not None),
        terms=request.terms,
    )


def chosen_route(request: Request, facts: Facts) -> Route:
    """The route that is asked for; with `auto` the one that need not build an index, if it can be
    taken."""
    if request.route != "auto":
        return Route(request.route)
    return Route.NATIVE if facts.files else Route.LOAD


def spec_for(point: PointFacts, maker: MakerFacts | None, *, replayed: bool) -> CollectionSpec:
    """The columns and configuration to ask a store for: with vectors made again, the columns of
    who makes them."""
    if not replayed or maker is None:
        return point.spec
    return configured_like(maker.spec, point.spec)


def _made_by(point: PointFacts, maker: MakerFacts | None, route: Route) -> Provenance | None:
    return maker.provenance if route is Route.REPLAY and maker else point.provenance


def _name(
    request: Request, facts: Facts, *, route: Route, origin: str, catching: bool
) -> tuple[str, Refusal | None]:
    """The name to build under, or the one that cannot be had, and why."""
    store, point = facts.store, facts.point
    others = others_candidates(facts.candidates, line=facts.timeline, catching=catching)
    try:
        require_not_open(request.into, others)
        name = choose_physical(
            request.collection,
            point=point.id if route is Route.LOAD else f"{point.id}-{route}",
            origin=origin,
            into=request.into,
            origins=store.origins,
            aliases=store.aliases,
            taken=_known_names(facts) | others,
        )
    except (AlreadyExists, InvalidRequest, Refused) as error:
        return request.into or "", refusal_of("name", error)
    return name, None


def _known_names(facts: Facts) -> frozenset[str]:
    """Names in this store that any timeline was ever bound to."""
    return frozenset(t.physical for t in facts.timelines if t.store == facts.store.name)


def _switch_refusal(
    facts: Facts, request: Request, *, target: Target, switch: bool
) -> Refusal | None:
    """An alias cannot be moved where a collection itself has its name."""
    collection, store = request.collection, facts.store
    if not switch or target.own or collection not in store.origins:
        return None
    error: DrError = Refused(
        f"{collection!r} is a collection itself in store {store.name!r}, not an alias "
        "that could be moved. A copy beside it: the same command without --switch. If what is "
        f"there may go: {store.rules.free_collection}, then the same command "
        f"with --into {collection} instead of --switch, which also goes on with a restore "
        "that was interrupted"
    )
    return refusal_of("name", error)


def _report(
    request: Request, facts: Facts, *, route: Route, target: Target, switch: bool
) -> CompatibilityReport:
    """The forecast for each part: by the engine, by what is served here, by the name, by the
    code that the store will execute."""
    engine = namespace(facts.store.engine)
    spec = spec_for(facts.point, facts.maker, replayed=route is Route.REPLAY)
    origin = namespace(facts.point.engine)
    report = _carried_over(kept_for_return(facts.fitted, spec, origin=origin, engine=engine), facts)
    about_name = name_notes(
        target,
        request.collection,
        route=route,
        switch=switch,
        store=facts.store.name,
        rules=facts.store.rules,
        current=facts.current,
    )
    return _defined(
        CompatibilityReport(report.spec, (*report.notes, *about_name)), facts.definitions
    )


def _defined(report: CompatibilityReport, definitions: Definitions | None) -> CompatibilityReport:
    """With what the store makes of its definitions, where it executes any."""
    if definitions is None:
        return report
    as_it_was = {"name": report.spec.name, "origin": report.spec.origin}
    spec = definitions.spec.model_copy(update=as_it_was)
    return CompatibilityReport(spec, (*report.notes, *definitions.notes))


def _fitness_there(facts: Facts, route: Route) -> Fitness | None:
    """The backup's forecast for this restore; None for another engine or route, of which it has
    none."""
    fitness = facts.point.fitness
    same = fitness is not None and namespace(fitness.engine) == namespace(facts.store.engine)
    return fitness if same and route is Route.LOAD else None


def _carried_over(fit: CompatibilityReport, facts: Facts) -> CompatibilityReport:
    """The report with what is known here: which engine it was, which aliases may be moved.

    In the same engine a vector that it never searched is not lost. An alias comes along where it
    is free, or stands for what this collection was served from before; any other is somebody
    else's by now and stays.
    """
    notes, aliases = list(fit.notes), list[str]()
    if namespace(facts.point.engine) == namespace(facts.store.engine):
        notes = [
            n for n in notes if n.outcome is not Outcome.LOST or not n.part.startswith("vectors.")
        ]
    else:
        notes += facts.values
        noted = {note.part for note in notes}
        notes += [
            Note(p, Outcome.CARRIED, AS_IT_WAS) for p in contract_parts(fit.spec) if p not in noted
        ]
    own, pointing = _known_names(facts), facts.store.aliases
    for alias in fit.spec.aliases:
        free = alias not in facts.store.origins and pointing.get(alias) in {None, *own}
        if NAME.fullmatch(alias) and free:
            aliases.append(alias)
        else:
            stays = f"stays as it is: {pointing.get(alias, 'not a name that can be moved here')}"
            notes.append(Note(f"aliases.{alias}", Outcome.APPROXIMATED, stays))
    return CompatibilityReport(
        fit.spec.model_copy(update={"aliases": tuple(aliases)}), tuple(notes)
    )
