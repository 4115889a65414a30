"""`restore`: a job with typed configuration. It is no asset: somebody asks for a recovery."""

from typing import Any, Literal

import dagster as dg
from pydantic import Field

from dr_pipelines.model.display import displayed, displayed_values
from dr_pipelines.model.recovery import Plan, Recovery, Route
from dr_pipelines.planning.recovery import require_allowed
from dr_pipelines.planning.serving import elsewhere
from dr_pipelines.recovery.plan import outline_restore
from dr_pipelines.recovery.run import restore
from dr_pipelines.repository.history import History
from dr_pipelines.repository.points import resolve

from .failures import explained
from .reporting import TextReport, digest_metadata, head_metadata
from .resources import ProjectResource
from .workers import noted


class RestoreConfig(dg.Config):
    """Configuration of a restore: the point, the target, and whether to serve it."""

    collection: str = Field(description="The collection, by the name that users query.")
    at: str = Field(
        default="latest",
        description="latest, log:N, seq:N, or a time: in the source's own clock, or, where records "
        "are changed in the store, in that of the log.",
    )
    route: Literal["load", "replay", "native"] = Field(
        default="load",
        description="load: the vectors that were kept. replay: the kept chunks, embedded again. "
        "native: the engine's own files, where they were kept.",
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
        description="Go on although parts of the collection cannot be kept in the store.",
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
    plan_only: bool = Field(
        default=False,
        description="Only log what would be done, statement by statement; touch nothing.",
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
    """Build beside, prove by reading it back, then switch if that was asked for."""
    opened = dr_project.open()
    repository = opened.repository(run=context.run_id)
    route = Route(config.route)
    lineage = None
    if route is Route.REPLAY:
        lineage = opened.lineage(config.collection, embedder=config.embedder)
    usual = opened.collection(config.collection).store
    store_name = config.store or usual
    store = opened.store(store_name)
    point = resolve(
        History(repository, config.collection),
        config.at,
        clock="source" if opened.collection(config.collection).authority == "source" else "log",
    )
    plan = outline_restore(
        point,
        repository=repository,
        store=store,
        store_name=store_name,
        route=route,
        lineage=lineage,
        into=config.into,
        switch=config.switch,
        with_roles=config.with_roles,
    )
    _log_plan(context, plan)
    if config.plan_only:
        context.add_output_metadata(_plan_metadata(plan))
        return
    require_allowed(plan, accept_loss=config.accept_loss, accept_code=config.accept_code)
    done = restore(
        point,
        plan,
        repository=repository,
        store=store,
        lease=opened.lease,
        lineage=lineage,
        native=opened.native(store_name) if route is Route.NATIVE else None,
        progress=TextReport(context.log, dr_project.elapsed).texts,
    )
    for finding in done.findings:
        context.log.warning(f"{finding.part}: {finding.consequence}")
    for misfit in done.refused:
        context.log.warning(f"left out, the engine refused it: {displayed(str(misfit))}")
    metadata = recovery_metadata(done)
    if done.switched and (wrong := elsewhere(store_name, usual)):
        metadata["to_do"] = f"{wrong}; until then nothing is ingested or backed up"
        context.log.warning(f"{config.collection} is {metadata['to_do']}")
    head = repository.log(config.collection).head()
    context.add_output_metadata(metadata | head_metadata(head.number, head.sha256))


def build_restore_job(name_prefix: str = "") -> dg.JobDefinition:
    """The job for all collections of a policies file."""

    @dg.job(
        name=f"{name_prefix}restore",
        description="Bring a collection back from a recovery point, beside the one being served; "
        "with `switch` it is served once it was read back and found equal.",
        executor_def=dg.in_process_executor,
    )
    def restore_job() -> None:
        restore_collection()

    return restore_job


def _log_plan(context: dg.OpExecutionContext, plan: Plan) -> None:
    """Everything that `dr restore --plan` shows."""
    for note in plan.notes:
        context.log.info(f"{note.part}: {note.outcome}: {note.consequence}")
    context.log.info(f"{plan.point} by {plan.route} into {plan.physical}: {plan.records} records")
    definitions = plan.definitions
    if definitions is None:
        return
    for statement in definitions.statements:
        context.log.info(f"{statement.step}: {statement.sql}")
    for role, member in definitions.memberships:
        context.log.warning(f"{member} becomes a member of role {role}")
    for call in definitions.code:
        context.log.warning(f"code: {call}")
    if definitions.unread:
        context.log.warning(f"no statements: {definitions.unread}")


def _plan_metadata(plan: Plan) -> dict[str, Any]:
    definitions = plan.definitions
    return {
        "touched": False,
        "point": plan.point,
        "collection": plan.physical,
        "store": plan.store,
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
        "left_out": done.left_out,
        "refused": displayed_values([str(misfit) for misfit in done.refused]),
        "switched": done.switched,
        "seconds": round(sum(phase.seconds for phase in done.phases), 3),
        **phases,
        **digest_metadata(done.digests),
    }
