"""`restore`: a job with typed configuration. It is no asset: somebody asks for a recovery."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.display import displayed, displayed_values
from dr_pipelines.model.recovery import Plan, Recovery, Request, Route, Terms
from dr_pipelines.model.verdict import Verdict
from dr_pipelines.planning.refusals import require_possible
from dr_pipelines.planning.terms import moment, terms_of
from dr_pipelines.project.project import Project
from dr_pipelines.project.recovery import clock_of, open_for, steps_after
from dr_pipelines.recovery.line_report import behind_lines, line_lines
from dr_pipelines.recovery.plan import plan_recovery
from dr_pipelines.recovery.report import (
    evidence_lines,
    finding_lines,
    interruption_lines,
    membership_lines,
    misfit_lines,
    note_lines,
    plan_head,
    recovery_head,
    recovery_lines,
    refusal_lines,
    total_seconds,
    unlisted,
    vectors_phrase,
)
from dr_pipelines.recovery.run import run_recovery
from dr_pipelines.recovery.stopped import Stopped
from dr_pipelines.recovery.verdict_report import check_rows, verdict_head, verdict_lines

from .failures import explained, failure_of
from .metadata import digest_metadata, head_metadata
from .progress import TextReport
from .resources import ProjectResource
from .run_process import noted


class RestoreConfig(dg.Config):
    """Configuration of a restore: the point, the target, and whether to serve it."""

    collection: str = Field(description="The collection, by the name that users query.")
    at: str = Field(
        default="latest",
        description="latest, log:N, seq:N, or a time: in the source's own clock, or, where records "
        "are changed in the store, in that of the log.",
    )
    route: Literal["load", "replay", "native", "auto"] = Field(
        default="load",
        description="load: the vectors that were kept. replay: the kept chunks, embedded again. "
        "native: the engine's own files, where they were kept. auto: native where they were kept "
        "for this point, else load.",
    )
    into: str | None = Field(
        default=None, description="A name of its own for what is built; by default one is made."
    )
    store: str | None = Field(
        default=None, description="Another store of the policies; by default the collection's."
    )
    embedder: str | None = Field(
        default=None,
        description="With replay, another embedder of the policies: a whole collection of its own.",
    )
    accept_loss: bool = Field(
        default=False,
        description="Restore although the store cannot keep parts of the collection.",
    )
    accept_code: str | None = Field(
        default=None,
        description="The digest of the code that definitions of the collection call, as the "
        "refusal, or `dr restore --plan`, says it.",
    )
    with_roles: bool = Field(
        default=False,
        description="Grant roles that are made again the memberships that they had.",
    )
    catch_up: bool = Field(
        default=False,
        description="With an older point and `switch`: bring what was logged since, before it is "
        "served. The newest point always does; without, it is left behind and listed.",
    )
    plan_only: bool = Field(
        default=False,
        description="Only log what would be done, statement by statement; touch nothing.",
    )
    go_on: list[str] = Field(
        default=[],
        description="Findings to go on in spite of, as the failure names them; needs `by` and "
        "`reason`.",
    )
    by: str = Field(default="", description="Who goes on in spite of findings.")
    reason: str = Field(default="", description="Why, for those who read it later.")
    began: str = Field(
        default="",
        description="When the loss began, such as 2026-01-31T12:00:00Z: the recovery's time runs "
        "from then; by default from the first start of the recovery.",
    )
    switch: bool = Field(
        default=False,
        description="Serve it once it is proven. Without, it stays beside what is being served.",
    )


@dg.op
@explained
@noted
def restore_collection(
    context: dg.OpExecutionContext, config: RestoreConfig, dr_project: ProjectResource
) -> None:
    """Build beside, prove by reading it back, then switch if that was asked for. What is restored
    and not as it was fails the run, with everything that a success says: alerts go by that."""
    opened = dr_project.open()
    request = _request(config, opened)
    resources = open_for(opened, request, run=context.run_id)
    plan = plan_recovery(request, resources)
    _log_plan(context, plan)
    require_possible(plan)
    if config.plan_only:
        context.add_output_metadata(_plan_metadata(plan))
        return
    progress = TextReport(context.log, dr_project.elapsed).texts
    try:
        done = run_recovery(plan, resources, progress=progress)
    except Stopped as error:
        failure = failure_of(error)
        metadata = {**failure.metadata, **verdict_metadata(error.verdict, error.made_in)}
        raise dg.Failure(failure.description, metadata, allow_retries=False) from None
    for line in interruption_lines(done):
        context.log.info(displayed(line))
    for line in evidence_lines(done.evidence):
        context.log.info(displayed(line))
    for line in [*line_lines(done), *recovery_lines(done)]:
        context.log.warning(displayed(line))
    steps = steps_after(opened, done, policies=Path(dr_project.policies).name)
    for step in steps:
        context.log.info(step)
    head = resources.repository.log(config.collection).head()
    metadata = (
        recovery_metadata(done)
        | {"to_do": " ".join(steps)}
        | head_metadata(head.number, head.sha256)
    )
    if not done.whole:
        raise dg.Failure(displayed(_not_as_it_was(done)), metadata=metadata, allow_retries=False)
    context.add_output_metadata(metadata)


def _not_as_it_was(done: Recovery) -> str:
    """The description of a restore that is done, and whose repetition would find the same."""
    served = "and served" if done.switched else "beside what is served"
    lines = "; ".join(recovery_lines(done))
    return f"{recovery_head(done)}, {served}. It is done; not all is as it was: {lines}"


def _request(config: RestoreConfig, project: Project) -> Request:
    policy = project.collection(config.collection).policy
    return Request(
        **config.model_dump(
            exclude={"plan_only", "store", "route", "go_on", "by", "reason", "began"}
        ),
        terms=terms_of_run(config.go_on, by=config.by, reason=config.reason, began=config.began),
        store=config.store or policy.store,
        route="auto" if config.route == "auto" else Route(config.route),
        clock=clock_of(policy),
    )


def terms_of_run(go_on: Sequence[str], *, by: str, reason: str, began: str) -> Terms:
    """The terms of a run's configuration; raises `InvalidRequest`."""
    try:
        start = moment(began) if began else None
    except ValueError:
        raise InvalidRequest(
            f"began: expected a time such as 2026-01-31T12:00:00Z, not {began!r}"
        ) from None
    return terms_of(go_on, by=by, reason=reason, began=start, now=datetime.now(UTC))


def build_restore_job(name_prefix: str = "") -> dg.JobDefinition:
    """The job for all collections of a policies file."""

    @dg.job(
        name=f"{name_prefix}restore",
        description="Bring a collection back from a recovery point, beside the one being served; "
        "with `switch` it is served once it was read back and found equal. Where that is done and "
        "something is not as it was, the run fails all the same, and says so.",
        executor_def=dg.in_process_executor,
    )
    def restore_job() -> None:
        restore_collection()

    return restore_job


def _log_plan(context: dg.OpExecutionContext, plan: Plan) -> None:
    """Everything that `dr restore --plan` shows."""
    context.log.info(plan_head(plan))
    for line in note_lines(plan.notes):
        context.log.info(displayed(line))
    definitions = plan.definitions
    for statement in definitions.statements if definitions else ():
        context.log.info(f"{statement.step}: {statement.sql}")
    if definitions and (not_listed := unlisted(definitions)):
        context.log.info(f"not listed: {not_listed}")
    for line in _plan_warnings(plan):
        context.log.warning(displayed(line))


def _plan_warnings(plan: Plan) -> Iterator[str]:
    """Warnings of a plan that need somebody's consent or action."""
    yield from misfit_lines(plan)
    yield from behind_lines(plan)
    yield from membership_lines(plan)
    for call in plan.definitions.code if plan.definitions else ():
        yield f"code: {call}"
    if plan.definitions and plan.definitions.unread:
        yield f"no statements: {plan.definitions.unread}"
    yield from refusal_lines(plan)


def _plan_metadata(plan: Plan) -> dict[str, Any]:
    definitions = plan.definitions
    return {
        "touched": False,
        "point": plan.point,
        "collection": plan.physical,
        "store": plan.store,
        "serves": plan.switch,
        "resumed": plan.resumed,
        "lost": [f"{note.part}: {note.consequence}" for note in plan.losses],
        "left_out": plan.misfits,
        "refusals": [refusal.message for refusal in plan.refusals],
        "expected_seconds": round(total_seconds(plan.estimate), 3),
        "statements": len(definitions.statements) if definitions else 0,
        "code": [str(call) for call in definitions.code] if definitions else [],
        "code_digest": (definitions.digest if definitions else None) or "",
    }


def recovery_metadata(done: Recovery) -> dict[str, Any]:
    """Metadata of a recovery, phase by phase."""
    phases = {f"seconds_{phase.name}": round(phase.seconds, 3) for phase in done.phases}
    return {
        "dagster/row_count": done.records,
        "documents": done.documents,
        "point": done.plan.point,
        "route": done.plan.route.value,
        "collection": done.plan.physical,
        "store": done.plan.store,
        "embedded": done.embedded,
        "bit_identical": done.bit_identical,
        "vectors": vectors_phrase(done),
        "findings": displayed_values(finding_lines(done.plan.collection, done.findings)),
        "left_out": done.left_out,
        "refused": displayed_values([str(misfit) for misfit in done.refused]),
        "switched": done.switched,
        "caught_up": done.caught_up or 0,
        "left_behind": displayed_values(line_lines(done)),
        "interrupted": done.interrupted or "",
        "earlier_seconds": round(total_seconds(done.earlier), 3),
        "dropped_seconds": round(total_seconds(done.dropped), 3),
        "unrecorded": displayed(done.unrecorded or ""),
        "chosen": displayed(", ".join(f"{name} {value}" for name, value in done.chosen)),
        "seconds": round(sum(phase.seconds for phase in done.phases), 3),
        "evidence": displayed_values(evidence_lines(done.evidence)),
        **verdict_metadata(done.verdict, done.made_in),
        **phases,
        **digest_metadata(done.digests),
    }


def verdict_metadata(verdict: Verdict, made_in: Sequence[str]) -> dict[str, Any]:
    """Metadata of a verdict: its outcome, its findings, and a table of its checks."""
    columns = ("check", "phase", "looked_at", "result")
    rows = [
        dg.TableRecord(dict(zip(columns, map(displayed, row), strict=True)))
        for row in check_rows(verdict, made_in)
    ]
    return {
        "verdict": displayed(verdict_head(verdict)),
        "outcome": verdict.outcome,
        "checks": dg.MetadataValue.table(rows),
        "found": displayed_values(list(verdict_lines(verdict))),
    }
