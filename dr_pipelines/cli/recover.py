"""The command that carries a plan of recovery out: recover."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dr_pipelines.cli.options import POLICIES, Json, Policies
from dr_pipelines.cli.output import Answer, ExitCode, asking, give
from dr_pipelines.cli.session import open_project
from dr_pipelines.cli.terms import Began, By, EvidenceDirectory, GoOn, Reason, given_terms
from dr_pipelines.model.display import displayed

if TYPE_CHECKING:  # imported by the commands that need them
    from rich.console import Console

    from dr_pipelines.model.recovery_plan import RecoveryPlan
    from dr_pipelines.project.carrying_out import Outcome


def recover(
    plan: Annotated[
        Path, typer.Option("--plan", metavar="FILE", help="The plan, as dr plan --out saved it.")
    ],
    collections: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[COLLECTION]...",
            help="Collections of the plan; by default all, in its order.",
            show_default=False,
        ),
    ] = None,
    go_on: GoOn = None,
    by: By = None,
    reason: Reason = None,
    began: Began = None,
    evidence: EvidenceDirectory = None,
    policies: Policies = POLICIES,
    as_json: Json = False,
) -> int:
    """Carry out a plan of recovery, collection by collection, in its order.

    Each is built beside what is served, proven by reading it back, and switched to, as the plan
    says. After a kill the same command goes on where it stopped. Where the facts of the plan have
    changed, nothing is done: make a new one. One that fails keeps no other from being recovered.

    Examples:
      dr recover --plan plan.json
      dr recover --plan plan.json --began 2026-05-31T10:00:00Z
      dr recover handbook --plan plan.json

    Exit code 3: some collections are not recovered, or not all of one is as it was. 1: none is.
    """
    from dr_pipelines.cli.meter import metering
    from dr_pipelines.project.carrying_out import read_plan, require_one, steps_of, take

    only = collections or []
    terms = given_terms(go_on, by=by, reason=reason, began=began)
    project = open_project(policies, *only)
    with asking():
        made = read_plan(plan, name="--plan")
        require_one(made, terms, only=only)
        steps = steps_of(project, made, only=only)
    outcomes = list["Outcome"]()
    for step in steps:
        with metering(f"recovering {step.planned.collection}") as meter:
            outcomes.append(
                take(project, step, terms=terms, progress=meter.rows, evidence=evidence)
            )
        if outcomes[-1].status in ("failed", "unconfirmed", "unknown"):
            sys.stderr.write(f"{displayed(outcomes[-1].message)}\n")
    return give(_answer(made, outcomes), as_json=as_json)


CODES = {
    "all": ExitCode.SUCCEEDED,
    "some": ExitCode.PARTIAL,
    "none": ExitCode.FAILED,
    "unknown": ExitCode.UNKNOWN,
}


def _answer(made: "RecoveryPlan", outcomes: "list[Outcome]") -> Answer:
    from dr_pipelines.project.carrying_out import worst

    def show(console: "Console") -> None:
        from dr_pipelines.cli.console import wrapped

        for outcome in outcomes:
            line = f"{outcome.collection}: {outcome.status}: {outcome.message}"
            console.print(wrapped(line, console=console, indent=0), soft_wrap=True)
        _show_time(console, made, outcomes)

    value = {
        "facts": made.facts,
        "incident": made.incident.model_dump(mode="json"),
        "collections": [_value(outcome) for outcome in outcomes],
    }
    return Answer(value, show, CODES[worst(outcomes)])


def _value(outcome: "Outcome") -> dict[str, Any]:
    from dr_pipelines.recovery.report import recovery_value
    from dr_pipelines.recovery.stopped import Stopped
    from dr_pipelines.recovery.verdict_report import verdict_value

    done, error = outcome.recovery, outcome.error
    verdict = verdict_value(error.verdict, error.made_in) if isinstance(error, Stopped) else None
    return {
        "collection": outcome.collection,
        "status": outcome.status,
        "message": outcome.message,
        "kind": type(error).__name__ if error else None,
        "verdict": verdict,
        "recovery": recovery_value(done) if done else None,
    }


def _show_time(console: "Console", made: "RecoveryPlan", outcomes: "list[Outcome]") -> None:
    """Measured against expected, where both are there, and what follows."""
    from dr_pipelines.cli.console import seconds
    from dr_pipelines.recovery.report import evidence_lines, total_seconds

    by_name = {outcome.collection: outcome for outcome in outcomes}
    for planned in made.collections:
        outcome = by_name.get(planned.collection)
        if outcome is None or outcome.recovery is None:
            continue
        took = seconds(total_seconds(outcome.recovery.phases))
        expected = "not measured before"
        if planned.span is not None:
            expected = f"expected {seconds(planned.span.expected)}, with 90 % at most "
            expected += seconds(planned.span.high)
        console.print(f"{planned.collection}: {took} ({expected})", soft_wrap=True)
        for line in evidence_lines(outcome.recovery.evidence):
            console.print(f"  {line}", soft_wrap=True)
        if planned.commands:
            console.print(f"  then: {'; '.join(planned.commands)}", soft_wrap=True)
