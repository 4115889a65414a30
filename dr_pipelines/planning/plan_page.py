"""A plan of recovery as a page to read, in Markdown: equal plans, equal pages."""

from collections.abc import Iterator

from dr_pipelines.model.display import displayed_line
from dr_pipelines.model.recovery_plan import (
    CollectionPlan,
    ExpectedLoss,
    ObjectiveOutlook,
    Obstacle,
    RecoveryPlan,
    Span,
)


def page(plan: RecoveryPlan) -> str:
    """The whole plan; text of others is on one line each, and acts on no terminal."""
    lines = [*_head(plan), *_obstacles(plan.obstacles)]
    for number, collection in enumerate(plan.collections, start=1):
        lines += ["", *_collection(number, collection)]
    return "\n".join(lines) + "\n"


def obstacle_lines(obstacle: Obstacle) -> Iterator[str]:
    """An obstacle, and the way out."""
    whose = f"{obstacle.collection}: " if obstacle.collection else ""
    yield displayed_line(f"{whose}{obstacle.kind}: {obstacle.place}: {obstacle.message}")
    yield displayed_line(f"Way out: {obstacle.way_out}")


def _head(plan: RecoveryPlan) -> Iterator[str]:
    incident = plan.incident
    yield f"# Recovery from: {incident.kind}"
    yield ""
    yield f"Facts of {plan.at:%Y-%m-%d %H:%M:%S} UTC ({plan.facts[:12]}); repository " + (
        displayed_line(plan.repository)
    )
    if incident.since is not None:
        yield f"Damage since {incident.since.isoformat()}"
    if incident.entries:
        yield f"Brought by {', '.join(f'log:{number}' for number in incident.entries)}"
    if not plan.collections:
        yield ""
        yield "No collection is concerned."


def _obstacles(obstacles: tuple[Obstacle, ...]) -> Iterator[str]:
    if not obstacles:
        return
    yield ""
    yield f"## In the way: {len(obstacles)}"
    yield ""
    for obstacle in obstacles:
        first, second = obstacle_lines(obstacle)
        yield f"- {first}"
        yield f"  {second}"


def _collection(number: int, plan: CollectionPlan) -> Iterator[str]:
    yield f"## {number}. {plan.collection}"
    yield ""
    yield displayed_line(f"Owner {plan.owner}, when an objective is missed {plan.escalation}")
    yield ""
    yield from _point(plan)
    yield from _route(plan)
    yield from _phases(plan)
    loss = plan.loss
    yield displayed_line(f"- Loss: {_loss(loss)}: {loss.reason}")
    for objective in plan.objectives:
        yield from _objective(objective)
    for remark in plan.remarks:
        yield displayed_line(f"- Mind: {remark}")
    if plan.commands:
        after = "Afterwards" if plan.request else "To be done by hand"
        yield displayed_line(f"- {after}: {'; then '.join(f'`{c}`' for c in plan.commands)}")


def _loss(loss: ExpectedLoss) -> str:
    if loss.seconds is None:
        return "not known"
    if loss.seconds == 0:
        return "none"
    documents = "" if loss.documents is None else f", {loss.documents} documents"
    return f"up to {loss.seconds:,.0f} s of changes{documents}"


def _point(plan: CollectionPlan) -> Iterator[str]:
    point = plan.point
    if point is None:
        yield displayed_line(f"- No recovery point: {plan.no_point}")
    else:
        size = f"{point.documents:,} documents, {point.records:,} records"
        yield f"- Point {point.id} of {point.at:%Y-%m-%d %H:%M:%S} UTC, {size}"
        for reason in point.reasons:
            yield displayed_line(f"  - {reason}")
    for excluded in plan.excluded:
        last = f" to log:{excluded.last}" if excluded.last != excluded.first else ""
        yield displayed_line(f"  - not log:{excluded.first}{last}: {excluded.reason}")


def _route(plan: CollectionPlan) -> Iterator[str]:
    yield displayed_line(f"- Route: {plan.route or 'none'}: {plan.reason}")
    for route in plan.routes:
        word = "can be taken" if route.feasible else "cannot be taken"
        yield displayed_line(f"  - {route.route} {word}: {route.reason}")
    for days in plan.partitions:
        last = f" to {days.last}" if days.last != days.first else ""
        count = "1 day" if days.days == 1 else f"{days.days} days"
        yield displayed_line(f"  - {days.first}{last} ({count}) by {days.route}: {days.reason}")


def _phases(plan: CollectionPlan) -> Iterator[str]:
    if plan.span is None:
        yield f"- Time: not measured ({plan.measurements} earlier recoveries are alike)"
        return
    yield f"- Time: {_span(plan.span)}, by {plan.measurements} recoveries: {plan.measured_by}"
    for phase in plan.phases:
        yield f"  - {phase.name}: {_span(phase.span) if phase.span else 'not measured'}"
    if plan.ready is not None:
        yield f"  - served, from the beginning of the whole: {_span(plan.ready)}"


def _span(span: Span) -> str:
    return f"{span.expected:,.2f} s (90 %: {span.low:,.2f} to {span.high:,.2f} s)"


def _objective(objective: ObjectiveOutlook) -> Iterator[str]:
    name, limit = objective.name.upper(), objective.limit_seconds
    yield displayed_line(f"- {name} of {limit:,.0f} s {objective.outlook}: {objective.reason}")
    if objective.would_meet:
        yield displayed_line(f"  - It would be met by {objective.would_meet}")
