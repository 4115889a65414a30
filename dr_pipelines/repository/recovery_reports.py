"""Reports of recoveries, kept as evidence in the log."""

from pydantic import ValidationError

from dr_pipelines.errors import Damaged
from dr_pipelines.model.details import Mentioned, RecoveryEvidence
from dr_pipelines.model.recovery_point import Head, ObjectRef
from dr_pipelines.model.recovery_report import RecoveryReport
from dr_pipelines.model.verdict import Override
from dr_pipelines.repository.evidence import record_evidence
from dr_pipelines.repository.history import History
from dr_pipelines.repository.repository import Repository


def record_report(history: History, report: RecoveryReport) -> Head:
    """Put a report into the repository, and append the evidence that names it; the state is
    unchanged. Raises as an append does."""
    repository, plan = history.repository, report.plan
    key = f"{history.collection}/evidence/recovery/{repository.new_name('-')}.json"
    reference = repository.put(key, report.canonical())
    detail = RecoveryEvidence(
        outcome=report.outcome,
        point=plan.point,
        physical=plan.physical,
        store=plan.store,
        report=reference.key,
        seconds=report.seconds,
        overridden=Mentioned.of([override.finding for override in _overrides(report)]),
        entry=report.entry,
    )
    return record_evidence(history, detail, objects=[reference])


def _overrides(report: RecoveryReport) -> tuple[Override, ...]:
    return report.verdict.overrides if report.verdict else ()


def read_report(repository: Repository, reference: ObjectRef) -> RecoveryReport:
    """A report that evidence names; raises `Damaged`."""
    value = repository.fetch_json(reference)
    try:
        return RecoveryReport.model_validate(value)
    except ValidationError as error:
        raise Damaged(f"{reference.key}: is no report of a recovery") from error
