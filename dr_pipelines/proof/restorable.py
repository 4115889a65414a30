"""A check that a recovery point can be restored: the reading half of a restore, into nothing."""

import time
from collections.abc import Callable, Container, Iterable, Iterator
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
from dr_pipelines.repository.record_places import record_places
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.state import State

Check = tuple[str, Callable[[], object]]
"""The key of an object, and the call that raises where it is not as it was."""


def check_restorable(history: History, point: RecoveryPoint, *, proven: int = 0) -> Verification:
    """Prove a point by what a restore does, into nothing: objects that the point `proven` did not
    have are read and hashed, the fold adds up to the manifest, and every segment that has a record
    of the state has its size. Its cost follows what changed and what the state holds.

    Older objects that a restore of this point does not read, such as checkpoints and superseded
    segments, are not looked at: `verify` does that.
    """
    started, repository = time.monotonic(), history.repository
    walked, already = _proven(history, proven) if proven else (set(), frozenset())
    reached = reachable(repository, point.entry, point.manifest, walked=walked)
    refs = {ref.key: ref for ref in reached}
    of_state = dict[str, ObjectRef]()

    def note(state: State) -> None:
        for places in record_places(state):
            of_state.update({ref.key: ref for ref in places.objects})

    key = point.entry.body.manifest.key
    folded = attempt(key, partial(require_state, history, point, look=note))
    again = [ref for key, ref in of_state.items() if key not in refs]
    checks = [*_checks(repository, refs.values(), already), *_checks(repository, again, of_state)]
    findings = [finding for check in checks if (finding := attempt(*check))]
    size = sum(ref.size_bytes for key, ref in refs.items() if key not in already)
    seconds = time.monotonic() - started
    problems = (*findings, *([folded] if folded else []))
    count = len(refs) + len(again)
    return Verification(point.collection, 2, 1, count, size, problems, seconds)


def _proven(history: History, number: int) -> tuple[set[ObjectRef], frozenset[str]]:
    """Pages of a point that was proven, whose contents are not looked at again, and the keys of
    its other objects."""
    before = history.point(number)
    walked: set[ObjectRef] = {*before.manifest.segments.pages, *before.manifest.coverage.pages}
    rest = reachable(history.repository, before.entry, before.manifest, walked=set(walked))
    return walked, frozenset(ref.key for ref in rest)


def _checks(
    repository: Repository, refs: Iterable[ObjectRef], already: Container[str]
) -> Iterator[Check]:
    for ref in refs:
        require = require_size if ref.key in already else require_whole
        yield ref.key, partial(require, repository, ref)
