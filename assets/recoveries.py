"""`recover`: a job that carries out a plan of recovery, as `dr recover` does."""

from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from dr_pipelines.model.display import displayed, displayed_values
from dr_pipelines.model.recovery_plan import RecoveryPlan
from dr_pipelines.project.carrying_out import (
    Outcome,
    read_plan,
    require_one,
    steps_of,
    take,
    worst,
)

from .failures import explained
from .progress import TextReport
from .resources import ProjectResource
from .restores import terms_of_run
from .run_process import noted


class RecoveryConfig(dg.Config):
    """Configuration of a recovery by plan."""

    plan: str = Field(description="The file of the plan, as `dr plan --out` saved it.")
    collections: list[str] = Field(
        default=[], description="Collections of the plan; by default all, in its order."
    )
    began: str = Field(
        default="", description="When the loss began; by default the first start of the recovery."
    )
    go_on: list[str] = Field(
        default=[],
        description="Findings of one collection to go on in spite of, as the failure names them; "
        "needs `by` and `reason`.",
    )
    by: str = Field(default="", description="Who goes on in spite of findings.")
    reason: str = Field(default="", description="Why, for those who read it later.")
    evidence: str | None = Field(
        default=None,
        description="Write the reports there; by default under the state directory of the machine.",
    )


@dg.op
@explained
@noted
def carry_out_plan(
    context: dg.OpExecutionContext, config: RecoveryConfig, dr_project: ProjectResource
) -> None:
    """Collection by collection, in the order of the plan. What is not recovered, or not as it was,
    fails the run at its end, with everything that was done: running it again goes on."""
    terms = terms_of_run(config.go_on, by=config.by, reason=config.reason, began=config.began)
    plan = read_plan(Path(config.plan), name="plan")
    require_one(plan, terms, only=config.collections)
    opened, evidence = dr_project.open(), Path(config.evidence) if config.evidence else None
    progress = TextReport(context.log, dr_project.elapsed).texts
    outcomes = list[Outcome]()
    for step in steps_of(opened, plan, only=config.collections):
        outcomes.append(
            take(
                opened,
                step,
                terms=terms,
                progress=progress,
                run=context.run_id,
                evidence=evidence,
            )
        )
        context.log.info(displayed(_line(outcomes[-1])))
    metadata = outcome_metadata(plan, outcomes)
    if worst(outcomes) != "all":
        lines = "; ".join(_line(o) for o in outcomes if o.status not in ("recovered", "done"))
        raise dg.Failure(displayed(lines), metadata=metadata, allow_retries=False)
    context.add_output_metadata(metadata)


def build_recovery_job(name_prefix: str = "") -> dg.JobDefinition:
    """The job for all collections of a policies file."""

    @dg.job(
        name=f"{name_prefix}recover",
        description="Carry out a plan of recovery that `dr plan --out` saved. Running it again "
        "goes on where it stopped; where its facts have changed, nothing is done.",
        executor_def=dg.in_process_executor,
    )
    def recovery_job() -> None:
        carry_out_plan()

    return recovery_job


def _line(outcome: Outcome) -> str:
    return f"{outcome.collection}: {outcome.status}: {outcome.message}"


def _cell(text: str) -> str:
    """A text in one cell of a table, whatever it holds."""
    return displayed(text).replace("|", "\\|").replace("\n", "<br>")


def outcome_metadata(plan: RecoveryPlan, outcomes: list[Outcome]) -> dict[str, Any]:
    """As values, and as a table to read."""
    rows = [f"| {o.collection} | {o.status} | {_cell(o.message)} |" for o in outcomes]
    table = "\n".join(["| collection | status | result |", "|---|---|---|", *rows])
    values = {f"status_{o.collection}": o.status for o in outcomes}
    return {
        "facts": plan.facts,
        **displayed_values(values),
        "table": dg.MarkdownMetadataValue(table),
    }
