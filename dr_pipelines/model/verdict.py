"""A verdict on a restored collection: checks, their findings, and who went on in spite of one."""

import hashlib
from collections.abc import Iterator
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, StringConstraints
from pydantic import Field as Constraint

from dr_pipelines.model.base import Count, Stored, Time
from dr_pipelines.model.display import displayed_line

CheckName = Literal[
    "digests",
    "parts",
    "coverage",
    "vectors",
    "records",
    "recall",
    "overlap",
    "filters",
    "tenants",
    "permissions",
    "keyword",
    "hybrid",
    "golden",
    "canaries",
    "index",
    "aliases",
    "latency",
]
Outcome = Literal["passed", "refused", "overridden", "timed-out"]
CHECKS: tuple[CheckName, ...] = get_args(CheckName)
"""In the order in which a report has them; each is described in docs/verdict.md."""
PLACE_CHARACTERS = 120
NOTHING_LOOKED_AT = "nothing-looked-at"
"""The place of the finding that a check looked at less than it must to count."""


def _typable(place: str) -> str:
    """On one line and short, so that somebody can name it on a command line; a long one ends with a
    hash, since others may begin with the same."""
    if len(displayed_line(place)) <= PLACE_CHARACTERS:
        return displayed_line(place)
    mark = f"~{hashlib.sha256(place.encode()).hexdigest()[:8]}"
    return displayed_line(place)[: PLACE_CHARACTERS - len(mark)] + mark


Place = Annotated[str, Constraint(min_length=1), AfterValidator(_typable)]
MOST_CHARACTERS = 2_000
"""Of a message or a reason."""
Words = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MOST_CHARACTERS)
]
Figure = Annotated[float, Constraint(allow_inf_nan=False)]
Share = Annotated[float, Constraint(ge=0, le=1)]


class Finding(Stored):
    """Something about a restored collection that is not as it must be. `place` names the part: a
    value of a field, a tenant, a vector, a query, an alias. One whose gate `refuses` keeps traffic
    away until somebody goes on by its `id`."""

    check: CheckName
    place: Place
    gate: Literal["refuses", "warns"] = "refuses"
    message: Words

    @property
    def id(self) -> str:
        """The name by which somebody goes on in spite of it: `filters:team='cloud'`."""
        return f"{self.check}:{self.place}"


class Check(Stored):
    """One check of a restored collection. `looked_at` counts the things that it examined, of
    `total` where they are a sample; with fewer than `least` it shows nothing, which is a finding.
    `skipped` is the reason where it was not made at all, `limits` what it leaves out. `control` is,
    for a check that something does not come, the query beside it that must get an answer, and the
    answer."""

    name: CheckName
    looked_at: Count = 0
    least: Annotated[int, Constraint(ge=0)] = 1
    total: Count | None = None
    seconds: Annotated[float, Constraint(ge=0, allow_inf_nan=False)] = 0.0
    findings: tuple[Finding, ...] = ()
    skipped: Words | None = None
    limits: tuple[Words, ...] = ()
    figures: dict[str, Figure] = {}
    control: Words | None = None

    @property
    def every_finding(self) -> tuple[Finding, ...]:
        """The findings, and the one that it looked at too little."""
        return (*self._too_little(), *self.findings)

    def _too_little(self) -> Iterator[Finding]:
        if self.skipped is None and self.looked_at < self.least:
            problem = f"it looked at {self.looked_at:,} and shows nothing below {self.least:,}"
            yield Finding(check=self.name, place=NOTHING_LOOKED_AT, message=problem)


class Override(Stored):
    """Somebody's decision to go on in spite of a finding, by the finding's id."""

    finding: str
    by: Words
    reason: Words
    at: Time


class Verdict(Stored):
    """The judgement of a restored collection by its checks. `least_share` is the smallest share of
    damaged records that the sampled ones would have hit with 95 % certainty: a smaller one is for
    digests to find, which look at every record. `timed_out` is the phase that took longer than it
    may. `restored_at` is the time from which the collection answers again."""

    outcome: Outcome
    checks: tuple[Check, ...]
    overrides: tuple[Override, ...] = ()
    least_share: Share
    timed_out: Words | None = None
    restored_at: Time | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those of all checks, in their order."""
        return tuple(finding for check in self.checks for finding in check.every_finding)

    @property
    def in_the_way(self) -> tuple[Finding, ...]:
        """Findings that keep traffic away, and that nobody has overridden."""
        accepted = {override.finding for override in self.overrides}
        return tuple(f for f in self.findings if f.gate == "refuses" and f.id not in accepted)

    @property
    def serves(self) -> bool:
        """True if traffic may come back."""
        return self.outcome in ("passed", "overridden")
