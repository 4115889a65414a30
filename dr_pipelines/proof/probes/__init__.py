"""Probes: does a restored collection answer as it must?

    expected = Expected(state, left_out=ids)           # the fold of the point, open meanwhile
    target = Target.of(store, "handbook@42-1a2b3c4d")  # the collection, or an alias
    checks = probe(expected, target, seed=point.number)
    verdict = judge(checks)                            # planning.verdict

They only read, and need nothing but the point and the collection. Whoever restores calls them after
every record was read back and before the switch, and again on the final state; `only` makes some of
them, such as `("coverage",)` through the served alias. Each is described in docs/verdict.md.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from dr_pipelines.live.keeping import kept_open
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.golden import GoldenSet
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.verdict import CHECKS, Check, CheckName
from dr_pipelines.planning.parts import namespace
from dr_pipelines.planning.recall import Null
from dr_pipelines.planning.way_back import taken_up
from dr_pipelines.proof.probes.configuration import check_aliases, check_index
from dr_pipelines.proof.probes.coverage import check_coverage
from dr_pipelines.proof.probes.filters import check_filters, check_tenants
from dr_pipelines.proof.probes.golden import check_golden_set
from dr_pipelines.proof.probes.latency import check_latency
from dr_pipelines.proof.probes.model import Model, check_canaries
from dr_pipelines.proof.probes.permissions import check_permissions
from dr_pipelines.proof.probes.ranked import Answers, answers_of
from dr_pipelines.proof.probes.recall import check_overlap, check_recall
from dr_pipelines.proof.probes.records import check_records
from dr_pipelines.proof.probes.sample import Sample, Stored, read_sample, read_stored
from dr_pipelines.proof.probes.subject import Expected, Target
from dr_pipelines.proof.probes.vectors import check_vectors
from dr_pipelines.proof.probes.words import Word, check_hybrid, check_keyword, rare_words
from dr_pipelines.protocols import Fits, Progress
from dr_pipelines.repository.field_values import FieldValues, field_values, filterable

__all__ = ["Beside", "Expected", "Model", "Null", "Target", "probe"]


@dataclass(frozen=True)
class Beside:
    """All that probes use beside point and collection. Each may be missing: the check that needs it
    says so. `spec` is the specification that the collection was made of, where that is not the
    point's (another engine); `vectors` are those of the texts of golden queries, `without_model`
    the reason why there are none; `live` is a served collection to be as fast as, `latency_ratio`
    how much slower is refused; `aliases` are names that must stand for the collection; `null` is
    the recall of sound rebuilds."""

    spec: CollectionSpec | None = None
    golden: GoldenSet | None = None
    vectors: Mapping[str, FloatArray] = field(default_factory=dict)
    without_model: str = ""
    model: Model | None = None
    live: Target | None = None
    latency_ratio: float | None = None
    aliases: tuple[str, ...] = ()
    null: Null = field(default_factory=Null)


NOTHING = Beside()


def probe(
    expected: Expected,
    target: Target,
    *,
    seed: int,
    only: Collection[CheckName] = CHECKS,
    beside: Beside = NOTHING,
    progress: Progress | None = None,
) -> tuple[Check, ...]:
    """Every check that probes can make, or `only` some, each with the time that it took. The same
    state, collection and seed give the same checks, but for times.

    Raises:
        NotFound: the collection is gone.
        Unavailable: the store cannot be reached.
        Damaged: an object of the repository is not what was written.
    """
    columns = ["id", *(each.name for each in filterable(expected.spec))]
    rows = expected.rows(columns)
    with kept_open(target.store, target.name), field_values(rows, expected.spec) as values:
        probes = _Probes(expected, target, values, seed, beside, progress)
        return tuple(_made(probes.checks(), only))


def _made(
    checks: Mapping[CheckName, Callable[[], Check]], only: Collection[str]
) -> Iterator[Check]:
    for name, check in checks.items():
        if name in only:
            began = time.perf_counter()
            made = check()
            yield made.model_copy(update={"seconds": round(time.perf_counter() - began, 3)})


@dataclass
class _Probes:
    """Probes with what several of them need, each read when it is needed first."""

    expected: Expected
    target: Target
    values: FieldValues
    seed: int
    beside: Beside
    progress: Progress | None

    @cached_property
    def sample(self) -> Sample:
        return read_sample(self.expected, self.values, seed=self.seed)

    @cached_property
    def stored(self) -> Stored:
        return read_stored(self.sample, self.target)

    @cached_property
    def answers(self) -> list[Answers]:
        return answers_of(self.expected, self.target, seed=self.seed)

    @property
    def spec(self) -> CollectionSpec:
        """The specification that the collection was made of: what its store makes of the point's,
        where nobody says more."""
        spec, store = self.expected.spec, self.target.store
        if self.beside.spec is not None:
            return self.beside.spec
        if not isinstance(store, Fits):
            return spec
        return store.fit(taken_up(spec, engine=namespace(store.engine))).spec

    @cached_property
    def words(self) -> list[Word]:
        indexed = self.target.spec.keyword_index
        return rare_words(self.expected, self.sample) if indexed else []

    def checks(self) -> dict[CheckName, Callable[[], Check]]:
        """In the order in which they are made: those that explain others come first."""
        return {
            "coverage": lambda: check_coverage(
                self.sample, self.stored, self.target, progress=self.progress
            ),
            "vectors": lambda: check_vectors(self.expected, self.sample, self.stored, self.target),
            "records": lambda: check_records(self.sample, self.stored),
            "recall": lambda: check_recall(
                self.answers, self.beside.null, records=self.expected.records
            ),
            "overlap": lambda: check_overlap(self.answers, records=self.expected.records),
            "filters": lambda: check_filters(self.values, self.target, seed=self.seed),
            "tenants": lambda: check_tenants(self.values, self.target, seed=self.seed),
            "permissions": lambda: check_permissions(
                self.expected, self.values, self.sample, self.stored, self.target, seed=self.seed
            ),
            "keyword": lambda: check_keyword(
                self.words, self.target, records=self.expected.records
            ),
            "hybrid": lambda: check_hybrid(
                self.words, self.sample, self.target, records=self.expected.records
            ),
            "golden": lambda: check_golden_set(
                self.beside.golden,
                self.target,
                vectors=self.beside.vectors,
                without_model=self.beside.without_model,
            ),
            "canaries": lambda: check_canaries(self.beside.model, self.sample, self.target),
            "index": lambda: check_index(self.spec, self.target),
            "aliases": lambda: check_aliases(self.beside.aliases, self.target),
            "latency": lambda: check_latency(
                self.sample, self.target, self.beside.live, most=self.beside.latency_ratio
            ),
        }
