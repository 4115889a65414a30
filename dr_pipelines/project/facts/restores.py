"""Facts of restores that are possible now: the objects of a point, and what a store makes of it."""

from collections.abc import Container

from dr_pipelines.errors import DrError
from dr_pipelines.model.incident import (
    Candidate,
    CollectionFact,
    Incident,
    PointFact,
    Trouble,
)
from dr_pipelines.model.recovery import Facts, Request, Route
from dr_pipelines.model.recovery_point import CanariesRef, CheckpointRef
from dr_pipelines.planning.plan_points import choose_point
from dr_pipelines.planning.plan_routes import request_for
from dr_pipelines.project.facts.troubles import noted
from dr_pipelines.project.project import Project
from dr_pipelines.project.recovery import open_for
from dr_pipelines.recovery.plan import gather
from dr_pipelines.repository.history import History
from dr_pipelines.repository.points import resolve
from dr_pipelines.repository.reachability import reachable

AGAIN = (CheckpointRef, CanariesRef)
NAMED = 3


def target_of(project: Project, incident: Incident, fact: CollectionFact) -> Candidate | None:
    """The point that the incident names, found by what the log and the source's clock say; None
    for the newest. Raises `NotFound` or `InvalidRequest`."""
    if incident.at == "latest":
        return None
    history = project.collection(fact.name).history()
    clock = request_for(incident, fact, number=0, route=Route.LOAD).clock
    point = resolve(history, incident.at, clock=clock)
    return Candidate(number=point.number, until=point.until, store=incident.into or fact.store)


def with_candidates(
    project: Project, incident: Incident, fact: CollectionFact, troubles: list[Trouble]
) -> CollectionFact:
    """The facts with those of the point that the plan will choose: damaged ones are noted as such,
    so that the next one is chosen, here and by the plan alike. Objects are looked for by their
    names, in one listing; contents are read while a point is restored."""
    store = incident.into or fact.store
    history = project.collection(fact.name).history()
    there = frozenset(history.repository.blobs.keys(f"{fact.name}/"))
    damaged = list[Candidate]()
    while True:
        point = choose_point(incident, fact, store=store).point
        if point is None or fact.candidate(point.number, store) is not None:
            return fact
        candidate = _looked_at(history, point, store=store, there=there)
        if not candidate.damage:
            gathered = _gathered(project, incident, fact, candidate, troubles)
            return fact.model_copy(update={"candidates": (*damaged, gathered)})
        place = f"{fact.name} log:{point.number}"
        trouble = Trouble(kind="repository", place=place, message=candidate.damage)
        troubles += [] if damaged else [trouble]  # the newest; the plan lists all
        damaged.append(candidate)
        fact = fact.model_copy(update={"candidates": tuple(damaged)})


def _looked_at(
    history: History, point: PointFact, *, store: str, there: Container[str]
) -> Candidate:
    """A point with the objects that are not there: those of checkpoints and canaries are read by a
    replay alone."""
    try:
        entry = history.point(point.number)
        refs = list(reachable(history.repository, entry.entry, entry.manifest))
    except DrError as error:
        return Candidate(number=point.number, store=store, damage=str(error))
    absent = {ref.key: isinstance(ref, AGAIN) for ref in refs if ref.key not in there}
    return Candidate(
        number=point.number,
        store=store,
        damage=_absence([key for key, again in absent.items() if not again]),
        chunks_damage=_absence([key for key, again in absent.items() if again]),
    )


def _absence(absent: list[str]) -> str:
    if not absent:
        return ""
    more = f" and {len(absent) - NAMED} more" if len(absent) > NAMED else ""
    objects = "1 object is" if len(absent) == 1 else f"{len(absent)} objects are"
    return f"{objects} not there: {', '.join(sorted(absent)[:NAMED])}{more}"


def _gathered(
    project: Project,
    incident: Incident,
    fact: CollectionFact,
    candidate: Candidate,
    troubles: list[Trouble],
) -> Candidate:
    store = incident.into or fact.store
    update = dict[str, Facts]()
    with noted(troubles, default="store", place=f"store {store}"):
        direct = request_for(incident, fact, number=candidate.number, route=Route.LOAD)
        update["direct"] = _facts(project, direct.model_copy(update={"route": "auto"}))
    model = fact.model
    if model is not None and not model.problem and "direct" in update:
        with noted(troubles, default="model", place=f"embedder {model.name}"):
            remade = request_for(incident, fact, number=candidate.number, route=Route.REPLAY)
            update["remade"] = _facts(project, remade)
    return candidate.model_copy(update=update)


def _facts(project: Project, request: Request) -> Facts:
    return gather(request, open_for(project, request, with_golden=False))
