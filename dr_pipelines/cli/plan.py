"""A recovery's plan on a terminal, and as JSON."""

from typing import TYPE_CHECKING

from dr_pipelines.cli.output import Answer, ExitCode

if TYPE_CHECKING:  # imported by the commands that need them
    from rich.console import Console

    from dr_pipelines.model.definitions import Definitions
    from dr_pipelines.model.recovery import Plan


def plan_answer(plan: "Plan", *, accepted: str | None) -> Answer:
    """A plan that nobody carries out; `accepted` is the digest that was given for its code."""
    from dr_pipelines.recovery.report import (
        outlook_lines,
        plan_head,
        plan_value,
        refusal_lines,
    )

    def show(console: "Console") -> None:
        from dr_pipelines.cli.console import wrapped

        console.print(f"{plan_head(plan)}. Nothing was touched")
        for line in outlook_lines(plan):
            console.print(wrapped(line, console=console), soft_wrap=True)
        if plan.definitions is not None:
            _show_definitions(console, plan.definitions, accepted=accepted)
        for line in refusal_lines(plan):
            console.print(wrapped(line, console=console, indent=0), soft_wrap=True)

    return Answer(plan_value(plan), show, _code(plan))


def _code(plan: "Plan") -> ExitCode:
    """A plan that only somebody's consent is missing to has answered what was asked."""
    from dr_pipelines.planning.refusals import impossible

    errors = [refusal.error for refusal in impossible(plan)]
    if not errors:
        return ExitCode.SUCCEEDED
    return ExitCode.FAILED if errors[0] == "Refused" else ExitCode.USAGE


def tell(plan: "Plan") -> None:
    """Show forecasts for the collection in the store, unless all is plainly the same; on
    standard error, which is read before the answer and stays out of it."""
    from dr_pipelines.cli.console import output, wrapped
    from dr_pipelines.recovery.report import outlook_lines

    if not (lines := outlook_lines(plan)):
        return
    console = output(errors=True)
    console.print(f"{plan.collection} in store {plan.store}:")
    for line in lines:
        console.print(wrapped(line, console=console), soft_wrap=True)


def tell_estimate(plan: "Plan") -> None:
    """How long it will take, on a terminal, where an earlier recovery lets one say so."""
    from dr_pipelines.cli.console import output, seconds
    from dr_pipelines.recovery.report import total_seconds

    console = output(errors=True)
    if plan.estimate and console.is_terminal:
        longest = max(plan.estimate, key=lambda phase: phase.seconds)
        console.print(
            f"expected: {seconds(total_seconds(plan.estimate))}, of it {longest.name} "
            f"{seconds(longest.seconds)}, as measured by the last recovery into such a store"
        )


def _show_definitions(
    console: "Console", definitions: "Definitions", *, accepted: str | None
) -> None:
    from dr_pipelines.cli.console import wrapped
    from dr_pipelines.recovery.report import unlisted

    step = ""
    for statement in definitions.statements:
        if statement.step != step:
            step = statement.step
            console.print(f"-- {step}")
        console.print(f"{statement.sql};", soft_wrap=True)
    if not_listed := unlisted(definitions):
        console.print(f"-- not listed: {not_listed}", soft_wrap=True)
    if definitions.unread:
        console.print(f"no statements: {definitions.unread}", soft_wrap=True)
    for call in definitions.code:
        console.print(wrapped(f"code: {call}", console=console), soft_wrap=True)
    if definitions.digest == accepted and accepted:
        console.print(f"accepted: {accepted}")
    elif definitions.digest:
        console.print(f"to go on: --accept-code {definitions.digest}", soft_wrap=True)
