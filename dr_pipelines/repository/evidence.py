"""Evidence: what was proven or decided of a recovery point, named in the log."""

from collections.abc import Sequence
from functools import partial

from dr_pipelines.errors import NotFound
from dr_pipelines.model.details import EvidenceDetail
from dr_pipelines.model.recovery_point import Head, ObjectRef
from dr_pipelines.repository.history import History
from dr_pipelines.repository.log import Draft


def record_evidence(
    history: History, detail: EvidenceDetail, *, objects: Sequence[ObjectRef] = ()
) -> Head:
    """Append an `evidence` entry that keeps `objects`. The state is unchanged."""
    build = partial(_draft, history.collection, detail, objects)
    return history.log.append("evidence", build)


def _draft(
    collection: str, detail: EvidenceDetail, objects: Sequence[ObjectRef], head: Head
) -> Draft:
    if head.entry is None:
        raise NotFound(f"{collection}: there is nothing to give evidence of")
    return Draft(head.entry.timeline, head.entry.body.following(detail, objects=objects))
