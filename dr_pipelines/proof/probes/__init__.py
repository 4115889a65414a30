"""Probes: does a restored collection answer as it must?

    expected = Expected(state, left_out=ids)           # the fold of the point, open meanwhile
    target = Target.of(store, "handbook@42-1a2b3c4d")  # the collection, or an alias
    checks = probe(expected, target, seed=point.number)
    verdict = judge(checks)                            # planning.verdict

They only read, and need nothing but the point and the collection. Whoever restores calls them after
every record was read back and before the switch, and again on the final state. Each is described
in docs/verdict.md.
"""

import time
from collections.abc import Callable, Iterator

from dr_pipelines.live.keeping import kept_open
from dr_pipelines.model.verdict import Check
from dr_pipelines.proof.probes.coverage import check_coverage
from dr_pipelines.proof.probes.filters import check_filters, check_tenants
from dr_pipelines.proof.probes.permissions import check_permissions
from dr_pipelines.proof.probes.sample import read_sample, read_stored
from dr_pipelines.proof.probes.subject import Expected, Target
from dr_pipelines.proof.probes.vectors import check_vectors
from dr_pipelines.protocols import Progress
from dr_pipelines.repository.field_values import field_values, filterable

__all__ = ["Expected", "Target", "probe"]


def probe(
    expected: Expected, target: Target, *, seed: int, progress: Progress | None = None
) -> tuple[Check, ...]:
    """Every check that applies, each with the time that it took. The same state, collection and
    seed give the same checks, but for times.

    Raises:
        NotFound: the collection is gone.
        Unavailable: the store cannot be reached.
        Damaged: an object of the repository is not what was written.
    """
    with kept_open(target.store, target.name):
        return tuple(_timed(expected, target, seed=seed, progress=progress))


def _timed(
    expected: Expected, target: Target, *, seed: int, progress: Progress | None
) -> Iterator[Check]:
    columns = ["id", *(field.name for field in filterable(expected.spec))]
    with field_values(expected.rows(columns), expected.spec) as values:
        sample = read_sample(expected, values, seed=seed)
        stored = read_stored(sample, target)
        yield timed(lambda: check_coverage(sample, stored, target, progress=progress))
        yield timed(lambda: check_vectors(expected, sample, stored, target))
        yield timed(lambda: check_filters(values, target, seed=seed))
        yield timed(lambda: check_tenants(values, target, seed=seed))
        yield timed(lambda: check_permissions(expected, values, sample, stored, target, seed=seed))


def timed(check: Callable[[], Check]) -> Check:
    """A check, and how long it took."""
    began = time.perf_counter()
    return check().model_copy(update={"seconds": round(time.perf_counter() - began, 3)})
