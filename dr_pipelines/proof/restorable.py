"""A check that a recovery point can be restored: the reading half of a restore, into nothing."""

import time
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from dr_pipelines import __version__
from dr_pipelines.model.recovery_point import ObjectRef, RecoveryPoint
from dr_pipelines.proof.verify import (
    Finding,
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

    Where `proven` has the very manifest of the point, its fold was proven: that its input has the
    hashes that it had is enough, and nothing is folded.

    Older objects that a restore of this point does not read, such as checkpoints and superseded
    segments, are not looked at: `verify` does that.
    """
    started, repository = time.monotonic(), history.repository
    before = history.point(proven) if proven else None
    walked, already = _proven(history, before) if before else (set(), frozenset())
    reached = reachable(repository, point.entry, point.manifest, walked=walked)
    refs = {ref.key: ref for ref in reached}
    stands = _standing(history, point, before) if before else None
    inputs, folded = stands if stands else _folded(history, point)
    again = [ref for key, ref in inputs.of_state.items() if key not in refs]
    sized = already - inputs.read
    checks = [
        *_checks(repository, refs.values(), sized),
        *_checks(repository, again, inputs.of_state.keys() - inputs.read),
    ]
    findings = [finding for check in checks if (finding := attempt(*check))]
    size = sum(ref.size_bytes for key, ref in refs.items() if key not in sized)
    seconds = time.monotonic() - started
    problems = (*findings, *([folded] if folded else []))
    count = len(refs) + len(again)
    return Verification(point.collection, 2, 1, count, size, problems, seconds)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Objects that a restore of a state reads, by key, and the keys of those that are to be read
    and hashed: the input of the fold, where nothing is folded."""

    of_state: dict[str, ObjectRef]
    read: frozenset[str] = frozenset()


def _folded(history: History, point: RecoveryPoint) -> tuple[_Inputs, Finding | None]:
    """The objects that the fold names, which has read its input, and its finding."""
    of_state = dict[str, ObjectRef]()

    def note(state: State) -> None:
        for places in record_places(state):
            of_state.update({ref.key: ref for ref in places.objects})

    key = point.entry.body.manifest.key
    return _Inputs(of_state), attempt(key, partial(require_state, history, point, look=note))


def _standing(
    history: History, point: RecoveryPoint, before: RecoveryPoint
) -> tuple[_Inputs, None] | None:
    """The objects of a state that was proven before; None for another state, for one that another
    version has proven, and where only a fold tells which of many segments it needs."""
    same = point.entry.body.manifest == before.entry.body.manifest
    if not same or point.until is not None or point.manifest.tool_version != __version__:
        return None
    of_state, read = dict[str, ObjectRef](), set[str]()
    for group in history.segments(point.manifest).groups():
        page = group.page
        if page is None:
            segment = group.only
            objects, input_of_fold = (segment, *segment.companions), segment.index or segment
        elif page.packed is not None:
            objects, input_of_fold = (page.packed, *page.packed.vectors), page.packed
        else:
            return None
        of_state.update({ref.key: ref for ref in objects})
        read.add(input_of_fold.key)
    return _Inputs(of_state, frozenset(read)), None


def _proven(history: History, before: RecoveryPoint) -> tuple[set[ObjectRef], frozenset[str]]:
    """Pages of a point that was proven, whose contents are not looked at again, and the keys of
    its other objects."""
    walked: set[ObjectRef] = {*before.manifest.segments.pages, *before.manifest.coverage.pages}
    rest = reachable(history.repository, before.entry, before.manifest, walked=set(walked))
    return walked, frozenset(ref.key for ref in rest)


def _checks(
    repository: Repository, refs: Iterable[ObjectRef], already: Container[str]
) -> Iterator[Check]:
    for ref in refs:
        require = require_size if ref.key in already else require_whole
        yield ref.key, partial(require, repository, ref)
