"""The plan for an incident, from facts that were gathered before: equal facts, equal bytes."""

from dr_pipelines.model.incident import (
    CollectionFact,
    Incident,
    PlannedRoute,
    PointFact,
    SavedFacts,
)
from dr_pipelines.model.recovery import Request
from dr_pipelines.model.recovery_order import Place, recovery_order
from dr_pipelines.model.recovery_plan import (
    CollectionPlan,
    Obstacle,
    PlannedPoint,
    RecoveryPlan,
    Span,
)
from dr_pipelines.planning.durations import LEAST
from dr_pipelines.planning.obstacles import obstacle, obstacles_of
from dr_pipelines.planning.plan_outlook import (
    expected_loss,
    expected_phases,
    measured_alike,
    rpo_outlook,
    rto_outlook,
)
from dr_pipelines.planning.plan_points import Choice, choose_point, proof_of
from dr_pipelines.planning.plan_routes import (
    CARRIED_OUT,
    ORDER,
    cheapest,
    outlooks,
    partition_routes,
    request_for,
    under_own_name,
    with_consent,
)

AT_ONCE = Span(expected=0.0, low=0.0, high=0.0)


def plan_incident(saved: SavedFacts) -> RecoveryPlan:
    """The plan for the incident that the facts were gathered for. Collections come after those
    they depend on, by priority, then by name; each is ready after those before it."""
    plans, obstacles = list[CollectionPlan](), list[Obstacle]()
    before: Span | None = AT_ONCE
    facts = {fact.name: fact for fact in saved.collections}
    places = {name: Place(fact.priority, fact.depends_on) for name, fact in facts.items()}
    for name in recovery_order(places):
        fact = facts[name]
        plan, in_the_way = _collection(saved.incident, fact, saved, before=before)
        plans.append(plan)
        obstacles += in_the_way
        before = plan.ready
    general = (obstacle(trouble, None) for trouble in saved.troubles)
    return RecoveryPlan(
        incident=saved.incident,
        facts=saved.fingerprint,
        at=saved.at,
        repository=saved.repository,
        collections=tuple(plans),
        obstacles=(*general, *obstacles),
    )


def _collection(
    incident: Incident, fact: CollectionFact, saved: SavedFacts, *, before: Span | None
) -> tuple[CollectionPlan, tuple[Obstacle, ...]]:
    store = incident.into or fact.store
    choice = choose_point(incident, fact, store=store)
    point, engine = choice.point, saved.place(store).engine
    records = fact.state_of(point).records if point else 0
    measured = {route: measured_alike(fact, saved, route=route, engine=engine) for route in ORDER}
    expectations = {route: expected_phases(ms, records) for route, (ms, _) in measured.items()}
    routes = (
        () if choice.contradicted else outlooks(incident, fact, point, store=saved.place(store))
    )
    spans: dict[PlannedRoute, Span | None] = {r: span for r, (_, span) in expectations.items()}
    route, reason = cheapest(incident, routes, spans)
    if choice.contradicted:
        reason = "nothing is planned for what cannot have been"
    phases, span = expectations[route] if route else ((), None)
    measurements, measured_by = measured[route] if route else ((), "")
    ready = before.plus(span) if before and span else None
    loss = expected_loss(incident, fact, choice, at=saved.at)
    carried_out = CARRIED_OUT.get(route) if route else None
    request = None if point is None else _request(incident, fact, point, route, store=store)
    plan = CollectionPlan(
        collection=fact.name,
        owner=fact.owner,
        escalation=fact.escalation,
        head=fact.head,
        head_sha256=fact.head_sha256,
        store_sha256=saved.place(store).url_sha256,
        point=_point(choice, fact),
        no_point="" if point else "; ".join(choice.reasons),
        excluded=choice.excluded,
        route=route,
        reason=reason,
        routes=routes,
        partitions=partition_routes(fact, point, route=route) if route else (),
        request=request,
        phases=phases,
        span=span,
        ready=ready,
        measurements=len(measurements),
        measured_by=measured_by if len(measurements) >= LEAST else "",
        loss=loss,
        objectives=(
            rpo_outlook(fact, loss),
            rto_outlook(fact, route=route, span=span, ready=ready, measurements=len(measurements)),
        ),
        commands=() if choice.contradicted else tuple(_commands(incident, fact, point, route)),
        remarks=tuple(_remarks(incident, fact, saved)),
    )
    return plan, obstacles_of(incident, fact, point, saved, route=carried_out)


def _point(choice: Choice, fact: CollectionFact) -> PlannedPoint | None:
    point = choice.point
    if point is None:
        return None
    state = fact.state_of(point)
    return PlannedPoint(
        id=f"log:{point.number}",
        number=point.number,
        sha256=point.sha256,
        at=point.at,
        records=state.records,
        documents=state.documents,
        proof=proof_of(point, fact),
        reasons=choice.reasons,
    )


def _request(
    incident: Incident,
    fact: CollectionFact,
    point: PointFact,
    route: PlannedRoute | None,
    *,
    store: str,
) -> Request | None:
    """The restore that carries it out; None for a route that a person takes."""
    carried_out = CARRIED_OUT.get(route) if route else None
    if carried_out is None:
        return None
    request = request_for(incident, fact, number=point.number, route=carried_out)
    facts = fact.restore_facts(point.number, store, remade=route == "replay")
    return with_consent(request, facts, incident) if facts else request


def _commands(
    incident: Incident, fact: CollectionFact, point: PointFact | None, route: PlannedRoute | None
) -> list[str]:
    """The commands that follow, or that do it where no restore does."""
    if incident.kind == "repository-site":
        first = "dr backup" if fact.authority == "store" else "dr ingest"
        return [f"{first} {fact.name}"]
    if route == "reingest":
        return [f"dr ingest {fact.name} --accept-epoch NAME"]
    if incident.kind == "documents":
        number = f"log:{point.number}" if point else "AT"
        return [f"dr diff {fact.name} {number} latest"]
    if fact.authority == "store" or fact.source is None:
        return [f"dr backup {fact.name}"]
    return [f"dr ingest {fact.name}", f"dr backup {fact.name}"]


def _remarks(incident: Incident, fact: CollectionFact, saved: SavedFacts) -> list[str]:
    remarks = list[str]()
    planned = {other.name for other in saved.collections}
    for name in fact.depends_on:
        if name not in planned:
            remarks.append(f"it depends on {name}, which is not part of this plan")
    there = fact.name in saved.place(incident.into or fact.store).serves
    if there and under_own_name(incident, fact):
        remarks.append(
            f"{fact.name} is still in the store under this very name: the restore is refused until "
            "it is gone, or renamed"
        )
    if fact.unread_reports:
        remarks.append(
            f"{fact.unread_reports} reports of earlier recoveries could not be read: what they "
            "measured is left out"
        )
    if incident.kind == "bad-batch" and fact.source is not None:
        remarks.append(
            "the source may still say what the bad batch said: dr ingest would bring it again. "
            "Mend the source before that"
        )
    if incident.kind == "repository-site":
        remarks.append(
            "no copy of this repository is known: what it held is gone. What is served now, and "
            "what the source says, are all there is; give `repository` a new place in the "
            "policies, then back up anew"
        )
    if incident.kind == "documents":
        remarks.append(
            "it is restored beside what is served and not switched to; what is missing is then "
            "copied by its ids"
        )
    if fact.source is None and fact.authority != "store":
        remarks.append("the source was not looked at")
    return remarks
