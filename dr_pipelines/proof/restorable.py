"""A check that a recovery point can be restored: the reading half of a restore, into nothing."""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from dr_pipelines.model.recovery_point import ObjectRef, RecoveryPoint
from dr_pipelines.proof.verify import (
    Verification,
    attempt,
    require_size,
    require_state,
    require_whole,
)
from dr_pipelines.repository.history import History
from dr_pipelines.repository.reachability import reachable
from dr_pipelines.repository.repository import Repository

Check = tuple[str, Callable[[], object]]
"""The key of an object, and the call that raises where it is not as it was."""


def check_restorable(history: History, point: RecoveryPoint, *, proven: int = 0) -> Verification:
    """Prove a point by what a restore does, into nothing: every object has its size, those that
    the point `proven` did not have are read and hashed, and the fold adds up to the manifest."""
    started, repository = time.monotonic(), history.repository
    refs = {ref.key: ref for ref in reachable(repository, point.entry, point.manifest)}
    already = frozenset[str]()
    if proven:
        before = history.point(proven)
        already = frozenset(ref.key for ref in reachable(repository, before.entry, before.manifest))
    state: Check = (point.entry.body.manifest.key, partial(require_state, history, point))
    checks = [*_checks(repository, refs.values(), already), state]
    findings = tuple(finding for check in checks if (finding := attempt(*check)))
    size = sum(ref.size_bytes for key, ref in refs.items() if key not in already)
    seconds = time.monotonic() - started
    return Verification(point.collection, 2, 1, len(refs), size, findings, seconds)


def _checks(
    repository: Repository, refs: Iterable[ObjectRef], already: frozenset[str]
) -> Iterator[Check]:
    for ref in refs:
        require = require_size if ref.key in already else require_whole
        yield ref.key, partial(require, repository, ref)
