"""The judge: whether a restored collection may serve, by the checks that were made of it."""

from collections.abc import Sequence
from datetime import datetime

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.verdict import Check, Outcome, Override, Verdict

MISSED = 0.05
"""The probability with which a sample misses damage of `least_share`."""


def judge(
    checks: Sequence[Check],
    overrides: Sequence[Override] = (),
    *,
    timed_out: str | None = None,
    restored_at: datetime | None = None,
) -> Verdict:
    """The verdict on checks: any finding that refuses, and that nobody overrode, refuses.

    `timed_out` names a phase that took longer than it may; that is an outcome of its own, whatever
    was found meanwhile.

    Raises:
        InvalidRequest: no check was made, or an override names no finding that refuses.
    """
    if all(check.skipped is not None for check in checks):
        raise InvalidRequest("there is no verdict without a check that was made")
    verdict = Verdict(
        outcome="passed",
        checks=tuple(checks),
        overrides=tuple(overrides),
        least_share=least_share(_sampled(checks)),
        timed_out=timed_out,
        restored_at=restored_at,
    )
    _require_findings(verdict)
    return verdict.model_copy(update={"outcome": _outcome(verdict)})


def least_share(records: int) -> float:
    """The smallest share of damaged records of which a random sample of so many has at least one
    with a probability of 95 %: 1 - 0.05^(1/n), all of them where nothing was sampled.

    It is the exact bound behind the rule of three: n records drawn independently all miss a share p
    with probability (1 - p)^n. Hanley, Lippman-Hand: If nothing goes wrong, is everything all
    right?, JAMA 249 (1983), p. 1743-1745. Drawn without repetition, as here, a sample misses less.
    """
    return 1.0 - MISSED ** (1.0 / records) if records > 0 else 1.0


def _sampled(checks: Sequence[Check]) -> int:
    """Records that were read back one by one, or else asked for; of a check that was made twice,
    the fewer."""
    for name in ("records", "coverage"):
        made = [c.looked_at for c in checks if c.name == name and c.skipped is None]
        if made:
            return min(made)
    return 0


def _require_findings(verdict: Verdict) -> None:
    refusing = sorted({f.id for f in verdict.findings if f.gate == "refuses"})
    for override in verdict.overrides:
        if override.finding not in refusing:
            there = ", ".join(refusing) or "none"
            raise InvalidRequest(
                f"there is no finding {override.finding!r} to go on from; findings: {there}"
            )


def _outcome(verdict: Verdict) -> Outcome:
    if verdict.timed_out is not None:
        return "timed-out"
    if verdict.in_the_way:
        return "refused"
    return "overridden" if verdict.overrides else "passed"
