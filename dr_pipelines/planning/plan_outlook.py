"""Expectations of a recovery: its phases, what is lost, and which objectives will be met."""

from collections.abc import Sequence
from datetime import datetime

from dr_pipelines.model.incident import (
    CollectionFact,
    Incident,
    Measurement,
    PlannedRoute,
    SavedFacts,
)
from dr_pipelines.model.recovery_plan import (
    ExpectedLoss,
    ExpectedPhase,
    ObjectiveOutlook,
    Span,
)
from dr_pipelines.planning.durations import LEAST, Sample, expected
from dr_pipelines.planning.estimate import IN_PROPORTION
from dr_pipelines.planning.parts import namespace
from dr_pipelines.planning.plan_points import Choice
from dr_pipelines.planning.plan_routes import reingest_problem

PHASES = (
    "provision",
    "access",
    "embed",
    "compare",
    "schema",
    "files",
    "records",
    "index",
    "prove",
    "catch-up",
    "prove-again",
    "rights",
    "probe",
    "warm",
    "probe-again",
    "switch",
    "confirm",
)
"""In the order in which they are gone through; others follow, by name."""


def measured_alike(
    fact: CollectionFact, saved: SavedFacts, *, route: PlannedRoute, engine: str
) -> tuple[tuple[Measurement, ...], str]:
    """Earlier recoveries that say how long this one takes, and which those are: the collection's
    own, or, where they are fewer than `LEAST`, all of the same engine, route and dimension."""
    alike = [
        m
        for other in saved.collections
        for m in other.measurements
        if (m.engine, m.route) == (namespace(engine), route) and m.records
    ]
    own = tuple(m for m in alike if m.collection == fact.name)
    same = tuple(m for m in alike if m.dimension == fact.dimension)
    if len(own) >= LEAST or len(same) <= len(own):
        return own, f"{len(own)} of this collection"
    return same, f"{len(same)} of this engine, route and dimension, {len(own)} of them its own"


def expected_phases(
    measurements: Sequence[Measurement], records: int
) -> tuple[tuple[ExpectedPhase, ...], Span | None]:
    """Each phase and their sum. The sum's interval is that of the sums that were measured, since
    the phases of one recovery are slow together."""
    names = {name for m in measurements for name in m.phases}
    phases = [
        ExpectedPhase(name=name, span=_phase(measurements, name, records))
        for name in sorted(names, key=_place)
    ]
    whole = expected((Sample(m.records, _whole(m, measurements)) for m in measurements), records)
    spans = [phase.span.expected for phase in phases if phase.span is not None]
    if whole is None or not spans:
        return tuple(ExpectedPhase(name=phase.name) for phase in phases), None
    return tuple(phases), whole


def _whole(measurement: Measurement, alike: Sequence[Measurement]) -> float:
    """The seconds of a recovery, with what it did not have, such as a switch in a drill, as long as
    it took at most in others."""
    absent = {name for m in alike for name in m.phases} - measurement.phases.keys()
    added = sum(max(m.phases.get(name, 0.0) for m in alike) for name in absent)
    return sum(measurement.phases.values()) + added


def _phase(measurements: Sequence[Measurement], name: str, records: int) -> Span | None:
    grows = name in IN_PROPORTION
    samples = [
        Sample(m.records if grows else 1, m.phases[name]) for m in measurements if name in m.phases
    ]
    return expected(samples, records if grows else 1)


def _place(name: str) -> tuple[int, str]:
    return (PHASES.index(name) if name in PHASES else len(PHASES)), name


def expected_loss(
    incident: Incident, fact: CollectionFact, choice: Choice, *, at: datetime
) -> ExpectedLoss:
    """The data that does not come back. `at` is when the facts were gathered."""
    problem, point = reingest_problem(fact), choice.point
    if choice.contradicted:
        return _not_known("nothing is planned")
    if incident.kind == "repository-site":
        return _not_known("every recovery point was in the repository that is lost")
    if not problem and fact.authority == "source":
        return ExpectedLoss(
            seconds=0.0,
            documents=0,
            reason="the source has everything that came after the point: dr ingest reads it again",
        )
    if point is None:
        return _not_known("there is no point to return to")
    seconds = max(((incident.since or at) - point.at).total_seconds(), 0.0)
    newest = fact.points[-1]
    if newest.state == point.state:
        reason = "changes after the newest point are in no recovery point"
    else:
        reason = f"changes after log:{point.number} are in no point that may be used"
    if not problem:
        reason += ", but for those of the source, which dr ingest reads again"
    elif fact.authority != "store":
        reason += f", and dr ingest cannot read the source again now: {problem}"
    return ExpectedLoss(
        seconds=round(seconds, 3),
        documents=None,
        reason=f"{reason}; how many documents those are is not known",
    )


def _not_known(reason: str) -> ExpectedLoss:
    return ExpectedLoss(seconds=None, documents=None, reason=reason)


def rpo_outlook(fact: CollectionFact, loss: ExpectedLoss) -> ObjectiveOutlook:
    """The loss against the objective, as far as it is known."""
    limit = fact.rpo_seconds
    if loss.seconds is None:
        return ObjectiveOutlook(
            name="rpo",
            limit_seconds=limit,
            outlook="not met",
            reason=loss.reason,
            would_meet="a recovery point that the incident has not reached, in a repository that "
            "survives it",
        )
    if loss.seconds <= limit:
        reason = f"at most {loss.seconds:,.0f} s of changes are lost"
        return ObjectiveOutlook(
            name="rpo", limit_seconds=limit, outlook="will be met", reason=reason
        )
    return ObjectiveOutlook(
        name="rpo",
        limit_seconds=limit,
        outlook="not met",
        reason=f"up to {loss.seconds:,.0f} s of changes are lost",
        would_meet=f"a backup at least every {limit:,.0f} s",
    )


def rto_outlook(
    fact: CollectionFact,
    *,
    route: PlannedRoute | None,
    span: Span | None,
    ready: Span | None,
    measurements: int,
) -> ObjectiveOutlook:
    """The time against the objective, which is promised only where the upper bound is within it."""
    limit = fact.rto_seconds
    if route is None:
        return ObjectiveOutlook(
            name="rto",
            limit_seconds=limit,
            outlook="not met",
            reason="no route can be taken now",
            would_meet="the ways out of what stands in the way",
        )
    if ready is None or span is None:
        return _unmeasured(limit, own=span is not None, measurements=measurements)
    allowance = fact.allowance_seconds
    bounds = f"served after {ready.expected:,.0f} s, with 90 % at most {ready.high:,.0f} s"
    if allowance:
        bounds += f", and people need {allowance:,.0f} s"
    if ready.high + allowance <= limit:
        return ObjectiveOutlook(
            name="rto", limit_seconds=limit, outlook="will be met", reason=bounds
        )
    return ObjectiveOutlook(
        name="rto",
        limit_seconds=limit,
        outlook="not met",
        reason=bounds,
        would_meet=_faster(limit - allowance, route=route, span=span, allowance=allowance),
    )


def _unmeasured(limit: float, *, own: bool, measurements: int) -> ObjectiveOutlook:
    if own:
        reason = "a collection before it was not measured, so its turn is not known"
        would = f"{LEAST} measured recoveries of those before it"
    elif measurements >= LEAST:
        reason = f"nothing follows from the times of the {measurements} recoveries that are alike"
        would = f"{LEAST} more restores with --switch on this route, as a drill"
    else:
        reason = f"{measurements} recoveries were measured, and {LEAST} are needed"
        would = f"{LEAST - measurements} more restores with --switch on this route, as a drill"
    return ObjectiveOutlook(
        name="rto", limit_seconds=limit, outlook="not measured", reason=reason, would_meet=would
    )


def _faster(limit: float, *, route: PlannedRoute, span: Span, allowance: float) -> str:
    least = span.high + allowance
    if span.high <= limit:
        return "an earlier turn: a smaller `priority` in its policy"
    if route == "native":
        return f"an RTO of at least {least:,.0f} s, or a faster store"
    return (
        f"an RTO of at least {least:,.0f} s, a faster store, or files of the engine to lay out "
        "(dr backup --native, where the engine has them)"
    )
