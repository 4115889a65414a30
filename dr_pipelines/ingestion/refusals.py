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
from dr_pipelines.model.recovery_point import Head, LogEntry
from dr_pipelines.repository.evidence import record_evidence
from dr_pipelines.repository.history import History
from dr_pipelines.repository.json_codec import decode_json
from dr_pipelines.repository.reachability import evidence_ref
from dr_pipelines.repository.repository import Repository

REFUSAL = "refusal"
CANARIES = "canaries"
"""Evidence that a model is not the one that it says it is."""
KINDS = (REFUSAL, CANARIES)
PASSED = frozenset({"applied", "snapshot", "evidence"})
"""Entries that leave a refusal as it is; any other one was made after something was embedded."""
LOOK_BACK = 64
"""Entries that are looked at, each read from the repository. The next try says it again."""
LIMIT_BYTES = 1 << 20
REASON_CHARACTERS = 4_000


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
        with suppress(Conflict, Damaged, NotFound, OutcomeUnknown, Unavailable):
            _record(history, error)
        raise


def newest_refusal(history: History, head: Head) -> Refusal | None:
    """The refusal that nothing has been ingested since."""
    for entry in history.entries_back(head, limit=LOOK_BACK):
        found = _refusal(history.repository, entry)
        if found is not None or entry.kind not in PASSED:
            return found
    return None


def _record(history: History, error: DrError) -> None:
    reason = str(error)[:REASON_CHARACTERS]
    said = newest_refusal(history, history.head())
    if said is None or said.reason != reason:
        record_evidence(history, REFUSAL, {"reason": reason})


def _refusal(repository: Repository, entry: LogEntry) -> Refusal | None:
    if entry.kind != "evidence" or entry.body.detail.get("kind") not in KINDS:
        return None
    ref = evidence_ref(entry)
    value = decode_json(repository.fetch(ref), what=ref.key, limit_bytes=LIMIT_BYTES)
    reason = value.get("reason") if isinstance(value, dict) else None
    return Refusal(entry.at, reason) if isinstance(reason, str) else None
