"""The recovery point for an incident: the newest that the damage has not reached, and why."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby

from dr_pipelines.model.incident import CollectionFact, Incident, PointFact
from dr_pipelines.model.recovery_plan import ExcludedPoints
from dr_pipelines.planning.plan_routes import model_problem

Reason = Callable[[PointFact], str]
"""Why a point is passed over; empty for one that is not."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A point with the reasons for it, and those that were passed over; without a point, `reasons`
    say why there is none. `contradicted`: the log says otherwise than the incident, so that nothing
    should be done by it."""

    point: PointFact | None
    reasons: tuple[str, ...]
    excluded: tuple[ExcludedPoints, ...] = ()
    contradicted: bool = False


def choose_point(incident: Incident, fact: CollectionFact, *, store: str) -> Choice:
    """The point to return to. Damaged ones are passed over, and those that the incident spoiled."""
    if incident.kind == "repository-site":
        return Choice(None, ("the recovery points were in the repository that is lost",))
    if not fact.points:
        return Choice(None, ("there is no recovery point that can be read",))
    if problem := _contradiction(incident, fact):
        return Choice(None, (problem,), contradicted=True)
    if incident.at != "latest":
        return _named(incident, fact)
    spoiled, why = _spoiled(incident, fact)
    damages = {c.number: c.damage for c in fact.candidates if c.store == store and c.damage}

    def passed_over(point: PointFact) -> str:
        damage = damages.get(point.number)
        return spoiled(point) or (f"damaged: {damage}" if damage else "")

    reasons = [(point, passed_over(point)) for point in fact.points]
    chosen = next((point for point, reason in reversed(reasons) if not reason), None)
    excluded = tuple(_ranges((p, r) for p, r in reasons if r))
    if chosen is None:
        return Choice(None, (f"no recovery point is left: {why}",), excluded)
    whole = (f"{why}, but for those that are damaged",)
    newer = any(n > chosen.number and not spoiled(p) for p in fact.points if (n := p.number))
    return Choice(chosen, (*(whole if newer else (why,)), *_proofs(chosen, fact)), excluded)


def _contradiction(incident: Incident, fact: CollectionFact) -> str:
    """An incident that cannot have been, by the log; empty for all others."""
    if incident.kind == "documents" and all(d.number is None for d in fact.documents):
        ids = ", ".join(incident.documents)
        return f"no recovery point has any of the documents: check the ids ({ids})"
    if incident.kind != "bad-batch":
        return ""
    states = {point.number: point.state for point in fact.points}
    for number in incident.entries:
        if not 1 <= number <= fact.head:
            return f"log:{number} is not in the log, which ends at log:{fact.head}"
        if number in states and states[number] == states.get(number - 1):
            return f"log:{number} changed nothing: it brought no batch. Name the entry that did"
    return ""


def _named(incident: Incident, fact: CollectionFact) -> Choice:
    target = fact.targets.get(incident.at)
    if target is None:
        return Choice(None, (f"the facts do not say which point {incident.at} is",))
    by_number = {point.number: point for point in fact.points}
    point = by_number.get(target.number)
    if point is None:
        return Choice(None, (f"log:{target.number} is older than the points that were looked at",))
    if reason := _spoiled(incident, fact)[0](point):
        return Choice(None, (f"{incident.at} is log:{point.number}: {reason}",), contradicted=True)
    cut = f", cut at source position {target.until.position}" if target.until else ""
    why = f"{incident.at} was asked for: log:{point.number}{cut}"
    return Choice(point, (why, *_proofs(point, fact)))


def _spoiled(incident: Incident, fact: CollectionFact) -> tuple[Reason, str]:
    """Which points the incident has reached, and the rule in words."""
    since, newest = incident.since, fact.state_of(fact.points[-1])
    if incident.kind == "bad-batch" and incident.entries:
        first = min(incident.entries)
        reason = f"it holds the bad batch, which log:{first} brought"
        return _from(lambda p: p.number >= first, reason), f"the newest before log:{first}"
    if incident.kind == "documents":
        return _without_documents(fact)
    if incident.kind == "wrong-schema" and since is None:
        reason = "it has the schema of the newest point, which is wrong"
        wrong = _from(lambda p: fact.state_of(p).spec == newest.spec, reason)
        return wrong, "the newest with another schema than now"
    if since is not None and incident.kind in ("corruption-since", "wrong-schema"):
        reason = f"it was committed at {since.isoformat()} or later"
        return _from(lambda p: p.at >= since, reason), f"the newest before {since.isoformat()}"
    if since is not None and incident.kind == "wrong-embeddings" and model_problem(fact):
        reason = f"it was committed at {since.isoformat()} or later, and {model_problem(fact)}"
        return _from(lambda p: p.at >= since, reason), f"the newest before {since.isoformat()}"
    return _never, "the newest point"


def _without_documents(fact: CollectionFact) -> tuple[Reason, str]:
    """The point at which the last of the documents were still there. Those that were gone before
    are certainly not in it, and are named."""
    last = max(d.number for d in fact.documents if d.number is not None)
    there = [d.id for d in fact.documents if d.number == last]
    gone = [
        f"{d.id} is not in it: it was last in log:{d.number}, which is a plan of its own"
        if d.number
        else f"{d.id} is in no point: check the id"
        for d in fact.documents
        if d.number != last
    ]
    reason = f"it is later than log:{last}, after which documents are missing"
    why = "; ".join([f"log:{last} is the newest that has {', '.join(there)}", *gone])
    return _from(lambda p: p.number > last, reason), why


def _never(point: PointFact) -> str:  # noqa: ARG001 - of no point
    return ""


def _from(spoiled: Callable[[PointFact], bool], reason: str) -> Reason:
    return lambda point: reason if spoiled(point) else ""


def _proofs(point: PointFact, fact: CollectionFact) -> Iterable[str]:
    """The proofs of a point, by evidence in the log."""
    proven = [p for p in fact.points if p.proof is not None]
    same = [p for p in proven if p.state == point.state]
    if same:
        yield f"its state was proven as log:{same[-1].number}, by the evidence of log:{_of(same)}"
    elif earlier := [p for p in proven if p.number < point.number]:
        yield (
            f"not proven itself: the newest proven before it is log:{earlier[-1].number}. What "
            "came after that is proven by its digests while it is restored"
        )
    else:
        yield "neither it nor any earlier point was proven: its digests are proven by the restore"
    if fact.earlier:
        yield f"{fact.earlier} earlier points were not looked at"


def _of(points: list[PointFact]) -> int:
    return points[-1].proof or 0


def proof_of(point: PointFact, fact: CollectionFact) -> int | None:
    """The entry with the evidence that the state of a point was proven; None without any."""
    proofs = [p.proof for p in fact.points if p.state == point.state and p.proof is not None]
    return proofs[-1] if proofs else None


def _ranges(pairs: Iterable[tuple[PointFact, str]]) -> Iterable[ExcludedPoints]:
    for reason, group in groupby(pairs, key=lambda pair: pair[1]):
        numbers = [point.number for point, _ in group]
        yield ExcludedPoints(first=numbers[0], last=numbers[-1], reason=reason)
