"""How a recovery ended, as a report."""

from datetime import datetime
from typing import Any

from dr_pipelines.errors import TimedOut
from dr_pipelines.model.recovery import Plan
from dr_pipelines.model.recovery_report import Ending, RecoveryReport, RecoveryTime
from dr_pipelines.recovery.phases import Stopwatch
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.recovery.steps import Run
from dr_pipelines.recovery.stopped import Stopped


def report_of(
    plan: Plan,
    resources: Resources,
    watch: Stopwatch,
    run: Run | None,
    *,
    error: Exception | None,
) -> RecoveryReport:
    """The report of a recovery that ended now, by an error or not; without a `run` it did not get
    as far as the state at its point."""
    repository, served = resources.repository, run is not None and run.entry is not None
    ended = repository.clock()
    report = RecoveryReport(
        collection=plan.collection,
        outcome=_outcome(run, error),
        plan=plan,
        engine=resources.store.engine,
        writer=repository.writer,
        time=_time(plan, resources, watch, until=ended if served else None),
        started=watch.started,
        ended=ended,
        seconds=watch.elapsed(),
        phases=tuple(watch.phases),
        stopped=watch.stopped,
        earlier=watch.earlier.phases,
        interrupted=watch.earlier.running,
        unrecorded=watch.unrecorded,
        error=None if error is None else str(error),
    )
    return report if run is None or not run.checks else report.model_copy(update=_built(run))


def _built(run: Run) -> dict[str, Any]:
    """The result of phases and checks, as fields of a report."""
    return {
        "verdict": run.verdict(),
        "made_in": run.made_in(),
        "records": run.observed.rows,
        "documents": run.expected.manifest.counts.documents,
        "digests": run.read_back(),
        "left_out": run.building.left.total,
        "entry": run.entry,
        "caught_up": run.caught_up,
        "left_behind": run.served.left_behind if run.served else None,
        "unseen_since": run.served.unseen_since if run.served else None,
    }


def _outcome(run: Run | None, error: Exception | None) -> Ending:
    if isinstance(error, TimedOut):
        return "timed-out"
    if error is not None and not isinstance(error, Stopped):
        return "failed"
    return run.verdict().outcome if run is not None and run.checks else "failed"


def _time(
    plan: Plan, resources: Resources, watch: Stopwatch, *, until: datetime | None
) -> RecoveryTime:
    began, objective = plan.terms.began or watch.first_started, resources.objective
    allowance = objective.allowance if objective else None
    measured = None if until is None or until < began else (until - began).total_seconds()
    return RecoveryTime(
        began=began,
        began_given=plan.terms.began is not None,
        measured_seconds=measured,
        allowance_seconds=allowance.total_seconds() if allowance else 0.0,
        rto_seconds=objective.rto.total_seconds() if objective else None,
    )
