"""Evidence: what was proven or decided of a recovery point, named in the log."""

from collections.abc import Sequence

from dr_pipelines.model.details import EvidenceDetail
from dr_pipelines.model.recovery_point import Head, ObjectRef
from dr_pipelines.repository.history import History, NextEntry


def record_evidence(
    history: History, detail: EvidenceDetail, *, objects: Sequence[ObjectRef] = ()
) -> Head:
    """Append an `evidence` entry that keeps `objects`. The state is unchanged. Raises `NotFound`
    for an empty log."""
    entry = NextEntry(detail=detail, objects=objects)
    return history.append("evidence", lambda _: entry).head
