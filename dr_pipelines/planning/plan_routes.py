"""The routes of a recovery: which can be taken now, and which is cheapest."""

from collections.abc import Iterable
from itertools import groupby

from dr_pipelines.model.incident import (
    Candidate,
    CollectionFact,
    DayFact,
    Incident,
    PlannedRoute,
    PointFact,
    StorePlace,
)
from dr_pipelines.model.recovery import Facts, Plan, Request, Route
from dr_pipelines.model.recovery_plan import PartitionRoute, RouteOutlook, Span
from dr_pipelines.planning.plan import decide
from dr_pipelines.planning.refusals import impossible

ORDER: tuple[PlannedRoute, ...] = ("native", "load", "replay", "reingest")
"""From the cheapest, as long as nothing was measured."""
CARRIED_OUT: dict[PlannedRoute, Route] = {
    "native": Route.NATIVE,
    "load": Route.LOAD,
    "replay": Route.REPLAY,
}
OF_STORES = ("store", "secret", "engine", "server", "unknown")
SOUND = ("collection", "store")
"""Incidents that leave the log sound: what it is told meanwhile is caught up before the switch."""
NO_FACTS = "nothing of the point could be gathered for this store"


def request_for(incident: Incident, fact: CollectionFact, *, number: int, route: Route) -> Request:
    """The restore that takes a route from a point. Documents are restored beside what is served:
    the rest of it is sound. A collection that its clients ask for by the engine's own name comes
    back under that name."""
    chosen, own = incident.at != "latest", under_own_name(incident, fact)
    return Request(
        collection=fact.name,
        store=incident.into or fact.store,
        at=incident.at if chosen else f"log:{number}",
        clock="source" if fact.authority == "source" else "log",
        route=route,
        into=fact.name if own else None,
        switch=incident.kind != "documents" and not own,
        accept_loss=incident.accept_loss,
        catch_up=incident.kind in SOUND and not chosen and route is not Route.REPLAY,
    )


def under_own_name(incident: Incident, fact: CollectionFact) -> bool:
    """True if it is restored under the name by which its clients open it in the engine."""
    return fact.physical == fact.name and incident.kind != "documents"


def planned(incident: Incident, fact: CollectionFact, facts: Facts, *, route: Route) -> Plan:
    """The plan of one restore from saved facts, with the consent that was given to code."""
    request = request_for(incident, fact, number=facts.point.number, route=route)
    return decide(with_consent(request, facts, incident), facts)


def with_consent(request: Request, facts: Facts, incident: Incident) -> Request:
    """The request, accepting the code of the facts where somebody accepted its digest."""
    digest = facts.definitions.digest if facts.definitions else None
    accepted = digest if digest in incident.accept_code else None
    return request.model_copy(update={"accept_code": accepted})


def outlooks(
    incident: Incident, fact: CollectionFact, point: PointFact | None, *, store: StorePlace
) -> tuple[RouteOutlook, ...]:
    """Every route, cheapest first, and why it can or cannot be taken now."""
    candidate = None
    if point is not None:
        candidate = fact.candidate(point.number, incident.into or fact.store)
    wrong = _wrong_vectors(incident, point)
    routes = (
        _native(incident, fact, candidate, wrong=wrong),
        _load(incident, fact, candidate, wrong=wrong),
        _replay(incident, fact, candidate),
        _reingest(fact),
    )
    if not (problem := _store_problem(fact, candidate, store)):
        return routes
    return tuple(_outlook(outlook.route, problem, "") for outlook in routes)


def _store_problem(fact: CollectionFact, candidate: Candidate | None, store: StorePlace) -> str:
    """Why nothing can be built in the store now, on any route; empty where it can."""
    if store.trouble is not None:
        return store.trouble.message
    if candidate is None or candidate.direct is not None or candidate.damage:
        return ""
    messages = (t.message for t in fact.troubles if t.kind in OF_STORES)
    return next(messages, NO_FACTS)


def _outlook(route: PlannedRoute, problem: str, reason: str) -> RouteOutlook:
    return RouteOutlook(route=route, feasible=not problem, reason=problem or reason)


def _wrong_vectors(incident: Incident, point: PointFact | None) -> str:
    """Why the vectors that a point holds may not be served; empty where they may."""
    if incident.kind != "wrong-embeddings" or point is None:
        return ""
    if incident.since is not None and point.at < incident.since:
        return ""
    way = "--at AT names a point before that" if incident.since else "--since TIME says since when"
    return f"its vectors are the wrong ones; {way}"


def _native(
    incident: Incident, fact: CollectionFact, candidate: Candidate | None, *, wrong: str
) -> RouteOutlook:
    direct = candidate.direct if candidate else None
    if wrong:
        problem = wrong
    elif direct is None:
        problem = NO_FACTS
    elif not direct.files:
        problem = "the engine's own files were not kept for this point"
    else:
        problem = _in_the_way(planned(incident, fact, direct, route=Route.NATIVE))
    return _outlook("native", problem, "the engine's own files were kept, indexes included")


def _load(
    incident: Incident, fact: CollectionFact, candidate: Candidate | None, *, wrong: str
) -> RouteOutlook:
    direct = candidate.direct if candidate else None
    problem = wrong or NO_FACTS
    if direct is not None and not wrong:
        problem = _in_the_way(planned(incident, fact, direct, route=Route.LOAD))
    return _outlook("load", problem, "every object of the point is there, vectors among them")


def _replay(incident: Incident, fact: CollectionFact, candidate: Candidate | None) -> RouteOutlook:
    problem = model_problem(fact)
    remade = candidate.remade if candidate else None
    if not problem and candidate is not None:
        problem = candidate.chunks_damage
    if not problem:
        problem = NO_FACTS
        if remade is not None:
            problem = _in_the_way(planned(incident, fact, remade, route=Route.REPLAY))
    model = fact.model
    hosted = model is not None and model.hosted
    reason = "its chunks were kept, and the model is "
    reason += "behind HTTP, where it was not asked," if hosted else "here"
    if model is not None and not model.differences:
        reason += " with the digests that were recorded"
    return _outlook("replay", problem, reason)


def model_problem(fact: CollectionFact) -> str:
    """Why vectors cannot be made again here; empty where they can."""
    if fact.authority == "store":
        return "it is backed up from its store alone: no chunks were kept"
    if fact.model is None:
        return "the model was not looked at"
    return fact.model.problem


def _reingest(fact: CollectionFact) -> RouteOutlook:
    head = fact.source.head if fact.source else 0
    reason = f"the source still has every position up to {head}"
    return _outlook("reingest", reingest_problem(fact), reason)


def reingest_problem(fact: CollectionFact) -> str:
    """Why the source cannot be read anew now; empty where it can."""
    source = fact.source
    if fact.authority == "store" or source is None:
        return "it has no source to be read again"
    if source.problem or not source.same:
        return source.problem or "the source is not the one that was read"
    return model_problem(fact)


def _in_the_way(plan: Plan) -> str:
    return "; ".join(refusal.message for refusal in impossible(plan) if refusal.about == "route")


def cheapest(
    incident: Incident,
    routes: Iterable[RouteOutlook],
    spans: dict[PlannedRoute, Span | None],
) -> tuple[PlannedRoute | None, str]:
    """The route to take, and why. Reading the source anew begins another history, so it comes
    last; a wrong model's vectors must be made again, whatever that costs."""
    feasible = [outlook.route for outlook in routes if outlook.feasible]
    kinds = [route for route in ORDER if route in feasible and route != "reingest"]
    if incident.kind == "wrong-embeddings" and kinds == ["replay"]:
        return "replay", "the vectors are wrong: they are made again from the chunks"
    if not kinds:
        again = "reingest" in feasible
        reason = "nothing else can be done" if again else "no route can be taken now"
        return ("reingest" if again else None), reason
    measured = {route: span.expected for route in kinds if (span := spans.get(route))}
    if len(measured) == len(kinds) > 1:
        best = min(kinds, key=lambda route: measured[route])
        return best, "the fastest of those that can be taken, as measured"
    if len(kinds) == 1:
        return kinds[0], "the only one that can be taken"
    return kinds[0], "the cheapest that can be taken, by its kind: not all of them were measured"


def partition_routes(
    fact: CollectionFact, point: PointFact | None, *, route: PlannedRoute
) -> tuple[PartitionRoute, ...]:
    """Days by route, in runs: what the point has comes back from it, and what came later from the
    source, where that is the one that was read."""
    source = fact.source
    if source is None or not source.days:
        return ()
    frontier = fact.state_of(point).frontier if point else 0
    again = source.same and not source.problem
    steps = [step for day in source.days for step in _steps(day, frontier, route, again=again)]
    runs = groupby(steps, key=lambda step: (step[1], step[2]))
    return tuple(
        PartitionRoute(first=days[0], last=days[-1], days=len(days), route=taken, reason=reason)
        for (taken, reason), run in runs
        for days in [[day for day, _, _ in run]]
    )


def _steps(
    day: DayFact, frontier: int, route: PlannedRoute, *, again: bool
) -> Iterable[tuple[str, PlannedRoute, str]]:
    if route != "reingest" and min(day.covered, frontier) > day.after:
        yield day.day, route, "in the recovery point"
    if again and day.through > (frontier if route != "reingest" else 0):
        later = "later than the point" if route != "reingest" else "read anew"
        yield day.day, "reingest", f"{later}: the source has it"
