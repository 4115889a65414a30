"""A verdict in words and as JSON, the same wherever it is shown."""

from collections.abc import Iterator, Sequence
from typing import Any

from dr_pipelines.model.verdict import Check, Verdict

IN_WORDS = {
    "passed": "passed",
    "refused": "REFUSED",
    "overridden": "went on in spite of findings",
    "timed-out": "TIMED OUT",
}


def verdict_head(verdict: Verdict) -> str:
    """One sentence: the outcome, how many checks were made, and what they may have missed."""
    made = [check for check in verdict.checks if check.skipped is None]
    skipped = len(verdict.checks) - len(made)
    left = f", {skipped} not made" if skipped else ""
    return f"verdict: {IN_WORDS[verdict.outcome]}; {len(made)} checks{left}"


def check_rows(verdict: Verdict, made_in: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """For a table: the check, its phase, the things it looked at, what came of it."""
    for check, phase in zip(verdict.checks, made_in, strict=True):
        yield check.name, phase, looked_at(check), result(check)


def looked_at(check: Check) -> str:
    """The number of things that a check examined, and of how many."""
    if check.skipped is not None:
        return ""
    of = "" if check.total is None else f" of {check.total:,}"
    return f"{check.looked_at:,}{of}"


def result(check: Check) -> str:
    """The outcome of one check, in a few words."""
    if check.skipped is not None:
        return "not made"
    refusing = sum(finding.gate == "refuses" for finding in check.every_finding)
    warning = len(check.every_finding) - refusing
    counts = [(refusing, "findings that refuse"), (warning, "warnings")]
    return ", ".join(f"{count} {what}" for count, what in counts if count) or "nothing found"


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """Findings, what somebody went on in spite of, and what checks leave out; parts of the
    specification are said elsewhere."""
    overridden = {override.finding: override for override in verdict.overrides}
    for finding in verdict.findings:
        if finding.check == "parts" and finding.gate == "warns":
            continue
        word = "found" if finding.gate == "refuses" else "warning"
        yield f"{word}: {finding.id}: {finding.message}"
        if override := overridden.get(finding.id):
            yield f"went on in spite of {finding.id}: {override.by}: {override.reason}"
    for check in verdict.checks:
        if check.skipped is not None:
            yield f"{check.name}: not made: {check.skipped}"
        if check.name != "parts":
            yield from (f"{check.name}: {limit}" for limit in check.limits)


def verdict_value(verdict: Verdict, made_in: Sequence[str]) -> dict[str, Any]:
    """For --json."""
    value = verdict.model_dump(mode="json")
    for check, phase in zip(value["checks"], made_in, strict=True):
        check["phase"] = phase
    return value
