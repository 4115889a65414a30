"""A plan of recovery carried out, collection by collection, in its order. The log says how far that
has come, so that the same command goes on after a kill."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from dr_pipelines.errors import (
    DrError,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    Refused,
    in_words,
)
from dr_pipelines.model.recovery import AS_USUAL, Recovery, Request, Terms
from dr_pipelines.model.recovery_plan import CollectionPlan, Obstacle, RecoveryPlan
from dr_pipelines.planning.refusals import require_runnable
from dr_pipelines.planning.standing import Standing, by_hand, elsewhere, obstacles_to, standing
from dr_pipelines.project.project import Project
from dr_pipelines.project.recovery import open_for
from dr_pipelines.protocols import Progress
from dr_pipelines.recovery.plan import plan_recovery
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.recovery.run import run_recovery


@dataclass(frozen=True, slots=True)
class Step:
    """A collection of the plan, how it stands, and what stood in the way when it was planned."""

    planned: CollectionPlan
    standing: Standing
    obstacles: tuple[Obstacle, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for one collection. `partial`: it is restored, and not all is as it was; `done`:
    an earlier run did it, by its evidence; `unconfirmed`: an earlier run switched, and nothing
    shows that it answers; `by hand`: no restore does it, the plan's commands do. `error` ended one
    that failed."""

    collection: str
    status: Literal["recovered", "partial", "done", "unconfirmed", "by hand", "failed", "unknown"]
    message: str
    recovery: Recovery | None = None
    error: Exception | None = None


def read_plan(file: Path, *, name: str) -> RecoveryPlan:
    """A plan that was saved; raises `InvalidRequest`, which calls the file by `name`."""
    try:
        return RecoveryPlan.model_validate_json(file.read_bytes())
    except OSError as error:
        raise InvalidRequest(f"{name} {file} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise InvalidRequest(
            f"{name} {file} holds no plan of this version: make one with dr plan"
        ) from error


def require_one(plan: RecoveryPlan, terms: Terms, *, only: Sequence[str]) -> None:
    """Refuse findings to go on in spite of, unless they are of one collection."""
    if terms.overrides and len(only or plan.collections) != 1:
        raise InvalidRequest("--go-on is about one collection: name it")


def steps_of(project: Project, plan: RecoveryPlan, *, only: Sequence[str] = ()) -> list[Step]:
    """The collections of a plan in its order, or `only` some. Nothing is touched.

    Raises:
        InvalidRequest: a name that is not in the plan.
        Refused: the facts of one have changed since they were gathered; says how.
    """
    names = [planned.collection for planned in plan.collections]
    for name in only:
        if name not in names:
            raise InvalidRequest(f"{name!r} is not in the plan; it has: {', '.join(names)}")
    steps = [
        Step(
            planned,
            _standing(project, plan, planned),
            tuple(obstacles_to(planned, plan.obstacles)),
        )
        for planned in plan.collections
        if not only or planned.collection in only
    ]
    changed = [step for step in steps if step.standing.state == "changed"]
    if changed:
        named = "; ".join(f"{s.planned.collection}: {s.standing.reason}" for s in changed)
        raise Refused(
            f"the plan is of facts that have changed: {named}. Nothing was done. Make a new plan "
            "(dr plan), or name the collections that are to be recovered by this one"
        )
    return steps


def _standing(project: Project, plan: RecoveryPlan, planned: CollectionPlan) -> Standing:
    if planned.request is None:
        return by_hand(planned)
    repositories = (plan.repository, project.policies.repository)
    url = project.store_policy(planned.request.store).url
    if (changed := elsewhere(planned, repositories, url)) is not None:
        return changed
    history = project.collection(planned.collection).history()
    head = history.head()
    if head.number < planned.head:
        return standing(planned, head, planned_sha256=None, since=())
    sha256 = head.sha256
    if head.number > planned.head:
        _, sha256 = history.log.read(planned.head)
    newest_first = list(history.entries_back(head, limit=head.number - planned.head))
    return standing(planned, head, planned_sha256=sha256, since=newest_first[::-1])


def take(
    project: Project,
    step: Step,
    *,
    terms: Terms = AS_USUAL,
    progress: Progress | None = None,
    run: str = "",
    evidence: Path | None = None,
) -> Outcome:
    """Recover one collection, or finish what an earlier run did of it. An error is an outcome: the
    others are recovered all the same. `evidence` is a directory for its report."""
    planned = step.planned
    try:
        if step.standing.state == "done":
            _finished(project, planned)
            return Outcome(planned.collection, "done", step.standing.reason)
        if step.standing.state == "unconfirmed":
            _finished(project, planned)
            return Outcome(planned.collection, "unconfirmed", _to_confirm(step))
        if planned.request is None:
            return Outcome(planned.collection, "by hand", _by_hand(planned))
        _require_clear(step)
        request = planned.request.model_copy(update={"terms": terms})
        resources = open_for(project, request, run=run, evidence=evidence)
        return _recovered(planned, request, resources, progress=progress)
    except OutcomeUnknown as error:
        return Outcome(planned.collection, "unknown", in_words(error), error=error)
    except DrError as error:
        return Outcome(planned.collection, "failed", in_words(error), error=error)
    except Exception as error:  # noqa: BLE001 - said as what it is, and the others are recovered
        message = f"{type(error).__name__}: {in_words(error)}"
        return Outcome(planned.collection, "failed", message, error=error)


def _require_clear(step: Step) -> None:
    """Raise `Refused` where something stood in the way when the plan was made."""
    if step.obstacles:
        named = "; ".join(f"{o.kind}: {o.message}. Way out: {o.way_out}" for o in step.obstacles)
        raise Refused(
            f"{step.planned.collection}: the plan says what stands in the way: {named}. Then make "
            "a new plan (dr plan)"
        )


def _finished(project: Project, planned: CollectionPlan) -> None:
    """Bring the store to the log where a run was killed between the two."""
    protected = project.collection(planned.collection)
    history = protected.writable_history()
    if history.head().pending and planned.request is not None:
        live = replace(protected.live(), store=project.store(planned.request.store))
        live.follow(history)


def _to_confirm(step: Step) -> str:
    """The command that proves what is served: the same state again, asked before and after the
    switch. It counts as this plan's."""
    name, number = step.planned.collection, step.standing.entry
    return (
        f"{step.standing.reason}: nobody has shown that what is served answers. Next: "
        f"dr restore {name} --at log:{number} --switch, then the same command again"
    )


def _recovered(
    planned: CollectionPlan,
    request: Request,
    resources: Resources,
    *,
    progress: Progress | None,
) -> Outcome:
    if planned.point is None:
        raise NotFound(f"{planned.collection}: the plan has no point to restore")
    plan = plan_recovery(request, resources)
    if plan.sha256 != planned.point.sha256:
        raise Refused(
            f"{planned.collection}: {request.at} is {plan.point} now, and the plan was made for "
            f"{planned.point.id}. Make a new plan (dr plan)"
        )
    require_runnable(plan)
    done = run_recovery(plan, resources, progress=progress)
    status: Literal["recovered", "partial"] = "recovered" if done.whole else "partial"
    switched = "served" if done.switched else "beside what is served"
    message = f"{plan.point} is back as {plan.physical} in store {plan.store}, {switched}"
    return Outcome(planned.collection, status, message, done)


def _by_hand(planned: CollectionPlan) -> str:
    commands = "; then ".join(planned.commands)
    return f"{planned.reason or planned.no_point}: no restore does it. By hand: {commands}"


def worst(outcomes: Iterable[Outcome]) -> Literal["all", "some", "none", "unknown"]:
    """How a plan was carried out: all of it, some, none, or nobody knows."""
    states = [outcome.status for outcome in outcomes]
    if "unknown" in states:
        return "unknown"
    good = [state in ("recovered", "done") for state in states]
    if all(good):
        return "all"
    return "some" if any(good) or "partial" in states or "by hand" in states else "none"
