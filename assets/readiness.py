"""The daily look at what would stand in the way of a recovery: an asset check of each collection,
the job that makes it, and the schedule of that."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from dr_pipelines.model.display import displayed, displayed_values
from dr_pipelines.model.incident import Incident
from dr_pipelines.model.recovery_plan import CollectionPlan, RecoveryPlan
from dr_pipelines.planning.plan_page import obstacle_lines
from dr_pipelines.planning.recovery_plan import plan_incident
from dr_pipelines.project.facts import gather_facts

from .failures import explained
from .resources import ProjectResource
from .run_process import noted
from .tracked import COLLECTION_TAG, Tracked

if TYPE_CHECKING:  # what `define_asset_job` returns has no public name
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

ASSET, NAME = "recovery_point", "recoverable"
HOUR = 5
"""UTC; the minute is the collection's own, so that not all begin at once."""
MINUTES = 60


def readiness_key(tracked: Tracked) -> dg.AssetCheckKey:
    """The key of a collection's check."""
    return dg.AssetCheckKey(tracked.key(ASSET), NAME)


def build_readiness(tracked: Tracked) -> dg.AssetChecksDefinition:
    """The check of one collection. Its metadata are a metric of each day: obstacles, expected
    seconds and their upper bound."""

    @dg.asset_check(
        asset=tracked.key(ASSET),
        name=NAME,
        description="Nothing would stand in the way of a recovery today, by the facts that a plan "
        "of one is made of. Each obstacle is named with the way out. Reads only.",
        pool=tracked.name,
    )
    @explained
    @noted
    def recoverable(
        context: dg.AssetCheckExecutionContext,  # noqa: ARG001 - as every step here
        dr_project: ProjectResource,
    ) -> dg.AssetCheckResult:
        incident = Incident(kind="collection", collections=(tracked.name,))
        project = dr_project.open()
        made = plan_incident(gather_facts(project, incident, now=dr_project.now()))
        lines = [" ".join(obstacle_lines(obstacle)) for obstacle in made.obstacles]
        return dg.AssetCheckResult(
            passed=not lines,
            severity=dg.AssetCheckSeverity.ERROR,
            description=displayed("; ".join(lines)) or None,
            metadata=displayed_values(_metadata(made)),
        )

    return recoverable


def readiness_job(tracked: Tracked) -> "UnresolvedAssetJobDefinition":
    """The check alone."""
    return dg.define_asset_job(
        tracked.named("readiness"),
        selection=dg.AssetSelection.checks(readiness_key(tracked)),
        description=f"Look at what would stand in the way of a recovery of {tracked.name}.",
        tags={COLLECTION_TAG: tracked.name},
        executor_def=dg.in_process_executor,
    )


def readiness_schedule(
    tracked: Tracked, job: "UnresolvedAssetJobDefinition"
) -> dg.ScheduleDefinition:
    """Once a day."""
    minute = sum(tracked.name.encode()) % MINUTES
    return dg.ScheduleDefinition(
        name=tracked.named("daily_readiness"),
        job=job,
        cron_schedule=f"{minute} {HOUR} * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def _metadata(made: RecoveryPlan) -> dict[str, Any]:
    (plan,) = made.collections
    return {
        "obstacles": len(made.obstacles),
        "kinds": sorted({obstacle.kind for obstacle in made.obstacles}),
        "ways_out": [obstacle.way_out for obstacle in made.obstacles],
        "point": plan.point.id if plan.point else "",
        "route": plan.route or "",
        "facts": made.facts,
        **_expectations(plan),
    }


def _expectations(plan: CollectionPlan) -> dict[str, Any]:
    facts: dict[str, Any] = {"measurements": plan.measurements}
    for objective in plan.objectives:
        facts[objective.name] = objective.outlook
    if plan.ready is not None:
        facts["expected_seconds"] = plan.ready.expected
        facts["expected_seconds_at_most"] = plan.ready.high
    return facts
