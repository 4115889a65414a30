"""The report of a recovery, as evidence: what was asked for, what was done in what time, what was
checked, and how it ended."""

from typing import Annotated, Literal

from pydantic import Field as Constraint

from dr_pipelines.model.base import Count, Stored, Time
from dr_pipelines.model.details import LeftBehind
from dr_pipelines.model.recovery import Phase, Plan
from dr_pipelines.model.recovery_point import Digests, Writer
from dr_pipelines.model.verdict import Verdict

Seconds = Annotated[float, Constraint(ge=0, allow_inf_nan=False)]
Ending = Literal["passed", "refused", "overridden", "timed-out", "failed"]


class RecoveryTime(Stored):
    """The time that a recovery took against its objective. `began` is when the loss began, where
    somebody said so (`began_given`), else when the recovery was first started. `measured_seconds`
    run from there to the end, of which `allowance_seconds` are added for people; None where the
    collection is not served from it, or the loss is said to have begun after the end."""

    began: Time
    began_given: bool
    measured_seconds: Seconds | None = None
    allowance_seconds: Seconds = 0.0
    rto_seconds: Seconds | None = None

    @property
    def met(self) -> bool | None:
        """True if the objective was met; None where there is none, or nothing to hold it to."""
        if self.measured_seconds is None or self.rto_seconds is None:
            return None
        return self.measured_seconds + self.allowance_seconds <= self.rto_seconds


class RecoveryReport(Stored):
    """One run of a recovery. `phases` ended in it, `stopped` is the one that an error ended;
    `earlier` ended in runs before it, the last of which was `interrupted` in a phase. `error` is
    the message that ended it. What was not reached is None. `verdict` is on what was restored, its
    checks each `made_in` a phase. `entry` is the log entry since which it is served, `caught_up`
    the one whose state it is, where that is not the point's. `left_behind` is what the line that
    ended has beyond it; what was changed by hand in its store after the entry `unseen_since` nobody
    looked at (0: at any time; None where it is not served, or not known).
    """

    v: Literal[1] = 1
    collection: str
    outcome: Ending
    plan: Plan
    engine: str
    writer: Writer
    time: RecoveryTime
    started: Time
    ended: Time
    seconds: Seconds
    phases: tuple[Phase, ...] = ()
    stopped: Phase | None = None
    earlier: tuple[Phase, ...] = ()
    interrupted: str | None = None
    unrecorded: str | None = None
    error: str | None = None
    verdict: Verdict | None = None
    made_in: tuple[str, ...] = ()
    records: Count | None = None
    documents: Count | None = None
    digests: Digests | None = None
    left_out: Count | None = None
    entry: Count | None = None
    caught_up: Count | None = None
    left_behind: LeftBehind | None = None
    unseen_since: Count | None = None
