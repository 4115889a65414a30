"""Evidence: what was proven of a recovery point, kept beside it and named in the log."""

from functools import partial
from typing import Any

from dr_pipelines.errors import NotFound
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.recovery_point import Head
from dr_pipelines.repository.history import History
from dr_pipelines.repository.log import Draft


def record_evidence(history: History, kind: str, statement: dict[str, Any]) -> Head:
    """Store a statement and append an `evidence` entry that names it.

    `kind` is a short word (`verification`, `recovery-point`, `restore`). The state is unchanged.
    """
    repository, collection = history.repository, history.collection
    key = f"{collection}/evidence/{kind}/{repository.new_name('-')}.json"
    value = {"kind": kind, "at": repository.clock().isoformat(), **statement}
    ref = repository.put(key, canonical_json(value))
    build = partial(_draft, collection, kind, ref.model_dump(mode="json"))
    return history.log.append("evidence", build)


def _draft(collection: str, kind: str, evidence: dict[str, Any], head: Head) -> Draft:
    if head.entry is None:
        raise NotFound(f"{collection}: there is nothing to give evidence of")
    detail = {"kind": kind, "evidence": evidence}
    return Draft(head.entry.timeline, head.entry.body.model_copy(update={"detail": detail}))
