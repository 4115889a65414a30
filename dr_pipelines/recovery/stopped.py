"""Recoveries that end before they are done: the verdict is against it."""

from collections.abc import Sequence
from shlex import quote

from dr_pipelines.errors import Damaged, DrError, Refused
from dr_pipelines.model.recovery import Plan
from dr_pipelines.model.verdict import Finding, Verdict
from dr_pipelines.planning.recovery import left_as_it_is

NAMED = 10
"""Findings in a message; the report has all."""


class Stopped(DrError):
    """Look at the findings: the recovery stopped at the end of a phase that had some. Each check of
    the `verdict` was `made_in` a phase."""

    verdict: Verdict
    made_in: tuple[str, ...]


class Unequal(Stopped, Damaged):
    """Use another recovery point or copy, or go on by name: what was restored is not equal."""


class VerdictRefused(Stopped, Refused):
    """Stop: what was restored does not answer as it did, and nobody went on in spite of that."""


def stopped(
    plan: Plan, verdict: Verdict, made_in: tuple[str, ...], *, entry: int | None
) -> Stopped:
    """The error of a recovery that its verdict ends; `entry` serves it already."""
    findings = verdict.in_the_way
    names = {finding.check for finding in findings}
    if entry is not None:
        error: Stopped = VerdictRefused(_served(plan, findings, entry))
    elif names <= {"digests", "parts"}:
        error = Unequal(_unequal(plan, findings))
    else:
        error = VerdictRefused(_refused(plan, findings))
    error.verdict, error.made_in = verdict, made_in
    return error


def _served(plan: Plan, findings: Sequence[Finding], entry: int) -> str:
    return (
        f"{plan.collection} is served from {plan.physical} since log:{entry}, and does not answer "
        f"as it did.{_listed(findings)}\nTo serve what was there before: "
        f"dr restore {plan.collection} --at log:{entry - 1} --switch"
    )


def _unequal(plan: Plan, findings: Sequence[Finding]) -> str:
    columns = [finding.message for finding in findings if finding.check == "parts"]
    if columns:
        return f"{plan.physical!r}: {columns[0]}. {left_as_it_is(plan)}.{_way_on(findings)}"
    return (
        f"{plan.physical!r} does not read back as it was written. {left_as_it_is(plan)}."
        f"{_listed(findings)}{_way_on(findings)}"
    )


def _refused(plan: Plan, findings: Sequence[Finding]) -> str:
    return (
        f"{plan.physical!r} does not answer as the collection did. "
        f"{left_as_it_is(plan)}.{_listed(findings)}{_way_on(findings)}"
    )


def _listed(findings: Sequence[Finding]) -> str:
    lines = [f"\n  {finding.id}: {finding.message}" for finding in findings[:NAMED]]
    more = len(findings) - NAMED
    return "".join([*lines, f"\n  and {more} more, in the report" if more > 0 else ""])


def _way_on(findings: Sequence[Finding]) -> str:
    options = " ".join(f"--go-on {quote(finding.id)}" for finding in findings)
    return f"\nTo go on all the same, the same command with: {options} --by NAME --reason TEXT"
