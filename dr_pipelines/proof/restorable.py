"""A check that a recovery point can be restored: the reading half of a restore, into nothing."""

import time
from collections.abc import Iterable, Iterator

from dr_pipelines.errors import Damaged, NotFound
from dr_pipelines.model.recovery_point import ObjectRef, RecoveryPoint
from dr_pipelines.proof.verify import (
    Finding,
    Verification,
    require_size,
    require_state,
)
from dr_pipelines.repository.history import History
from dr_pipelines.repository.reachability import reachable
from dr_pipelines.repository.repository import Repository


def check_restorable(history: History, point: RecoveryPoint, *, proven: int = 0) -> Verification:
    """Prove a point by what a restore does, into nothing: every object has its size, those that
    the point `proven` did not have are read and hashed, and the fold adds up to the manifest."""
    started, repository = time.monotonic(), history.repository
    refs = {ref.key: ref for ref in reachable(repository, point.entry, point.manifest)}
    already = frozenset[str]()
    if proven:
        before = history.point(proven)
        already = frozenset(ref.key for ref in reachable(repository, before.entry, before.manifest))
    findings = [
        *_findings(repository, refs.values(), already),
        *_state_findings(history, point),
    ]
    size = sum(ref.size_bytes for key, ref in refs.items() if key not in already)
    seconds = time.monotonic() - started
    return Verification(point.collection, 2, 1, len(refs), size, tuple(findings), seconds)


def _findings(
    repository: Repository, refs: Iterable[ObjectRef], already: frozenset[str]
) -> Iterator[Finding]:
    for ref in refs:
        try:
            if ref.key in already:
                require_size(repository, ref)
            else:
                repository.fetch(ref)
        except Damaged as error:
            yield Finding(ref.key, str(error))


def _state_findings(history: History, point: RecoveryPoint) -> Iterator[Finding]:
    try:
        require_state(history, point)
    except (Damaged, NotFound) as error:
        yield Finding(point.entry.body.manifest.key, str(error))
