"""Refusals to embed: the log says them until something is ingested again, so that whoever asks how
a collection stands is told why nothing comes."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from dr_pipelines.errors import (
    Conflict,
    Damaged,
    DrError,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    Refused,
    Unavailable,
)
from dr_pipelines.model.details import BESIDE, CanariesEvidence, RefusalEvidence, short_reason
from dr_pipelines.model.recovery_point import Head, LogEntry
from dr_pipelines.repository.evidence import record_evidence
from dr_pipelines.repository.history import History

PASSED = frozenset({"applied", "snapshot"}) | BESIDE
"""Entries that leave a refusal as it is; any other one was made after something was embedded."""
LOOK_BACK = 64
"""Entries that are looked at, each read from the repository. The next try says it again."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the newest try to embed was refused, and when that was first said."""

    at: datetime
    reason: str


@contextmanager
def refusals_recorded(history: History) -> Iterator[None]:
    """Keep in the log why something that is raised inside refuses to embed; it is raised all the
    same, also where nothing can be written. What a later try may pass is not kept."""
    try:
        yield
    except (Damaged, InvalidRequest, Refused) as error:
        with suppress(Conflict, Damaged, NotFound, OutcomeUnknown, Refused, Unavailable):
            _record(history, error)
        raise


def newest_refusal(history: History, head: Head) -> Refusal | None:
    """The refusal that nothing has been ingested since."""
    for entry in history.entries_back(head, limit=LOOK_BACK):
        refusal = _refusal(entry)
        if refusal is not None or entry.kind not in PASSED:
            return refusal
    return None


def _record(history: History, error: DrError) -> None:
    reason = short_reason(str(error))
    newest = newest_refusal(history, history.head())
    if newest is None or newest.reason != reason:
        record_evidence(history, RefusalEvidence(reason=reason))


def _refusal(entry: LogEntry) -> Refusal | None:
    detail = entry.body.detail
    if isinstance(detail, RefusalEvidence | CanariesEvidence):
        return Refusal(entry.at, detail.reason)
    return None
