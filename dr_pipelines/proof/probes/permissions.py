"""Does everybody see what they saw, and nothing else? Tenants and principals ask by filter."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from dr_pipelines.model.collection import Field, Vector
from dr_pipelines.model.query import And, Filter, FloatArray, In, Query, Scalar
from dr_pipelines.model.verdict import Check, Finding
from dr_pipelines.proof.probes.absence import returned
from dr_pipelines.proof.probes.coverage import by_vector
from dr_pipelines.proof.probes.filters import NO_COUNTS, Tally, has, shown, tally
from dr_pipelines.proof.probes.naming import few
from dr_pipelines.proof.probes.sample import Sample, Stored
from dr_pipelines.proof.probes.subject import Expected, Target
from dr_pipelines.repository.field_values import FieldValues

SCOPES = 8
"""Tenants, and principals, that ask: half of them the most frequent, half drawn."""
PAIRS = 8
"""Pairs of a tenant and a principal that search; all are counted."""
FOREIGN = 2
"""Vectors of records that it must not see by which each scope asks."""
HITS = 10
NOBODY = "nobody-has-this-name-7f3a"
BY_FILTER = "by filter only: nobody's own login to the engine was used"


@dataclass(frozen=True)
class Scope:
    """Values of the fields that decide who sees a record, all of which it must have."""

    parts: tuple[tuple[Field, Scalar], ...]

    @property
    def filter(self) -> Filter:
        """The condition by which an application asks for it."""
        filters = tuple(has(field, value) for field, value in self.parts)
        return filters[0] if len(filters) == 1 else And(filters)

    @property
    def shown(self) -> str:
        """In the words of a filter."""
        return " and ".join(shown(field, value) for field, value in self.parts)


@dataclass
class Sight:
    """The sight of scopes by searching: records that they must not see are `leaked`. The positive
    controls are questions by a record of the scope's own, some of which got an answer."""

    target: Target
    vector: Vector
    searches: int = 0
    controls: int = 0
    answered: int = 0
    leaked: dict[str, list[str]] = field(default_factory=dict)

    def look(self, scope: Scope, values: FieldValues, sample: Sample) -> None:
        """Ask by vectors of records that the scope must not see, and by one that it must."""
        matrix, places = sample.vectors(self.vector)
        ids = [sample.ids[place] for place in places.tolist()]
        own = values.having(ids, scope.parts)
        inside = [number for number, key in enumerate(ids) if key in own][:1]
        outside = [number for number, key in enumerate(ids) if key not in own][:FOREIGN]
        for number in outside:
            self._ask(scope, values, matrix[number])
        for number in inside:
            self.controls += 1
            self.answered += bool(self._ask(scope, values, matrix[number]))

    def _ask(self, scope: Scope, values: FieldValues, query: FloatArray) -> list[str]:
        asking = Query(vector=query, vector_name=self.vector.name, filter=scope.filter, exact=False)
        hits = self.target.store.search(self.target.name, asking, limit=HITS)
        ids = [hit.id for hit in hits]
        foreign = set(ids) - values.having(ids, scope.parts)
        if foreign:
            self.leaked.setdefault(scope.shown, []).extend(sorted(foreign))
        self.searches += 1
        return ids

    def findings(self) -> Iterator[Finding]:
        """Leaks, and an absence beside which nothing answers, which shows nothing."""
        for place, ids in self.leaked.items():
            message = f"it sees records that it must not see: {few(sorted(set(ids)))}"
            yield Finding(check="permissions", place=f"{place}/foreign", message=message)
        if self.controls and not self.answered:
            message = "no record answers within its own scope, so that no absence shows anything"
            yield Finding(check="permissions", place="control", message=message)


def check_permissions(
    expected: Expected,
    values: FieldValues,
    sample: Sample,
    stored: Stored,
    target: Target,
    *,
    seed: int,
) -> Check:
    """Count and search as tenants, as principals and as both; look for what must not be there.
    Beside each kind of absence something is asked for that must be there."""
    counter = tally(target, "permissions")
    if counter is None:
        return Check(name="permissions", skipped=NO_COUNTS)
    scopes = list(_scopes(values, seed=seed))
    for scope in scopes:
        counter.compare(scope.shown, scope.filter, values.number(scope.parts))
    _ask_for_nobody(counter, values)
    searching = _searching(scopes, sample, target, seed=seed)
    sights = [Sight(target, vector) for vector in target.searched[:1]]
    for sight in sights:
        for scope in searching:
            sight.look(scope, values, sample)
    gone, back = returned(expected, target, seed=seed)
    findings = [finding for sight in sights for finding in sight.findings()]
    if back:
        message = f"{len(back):,} records are back that were deleted: {few(back)}"
        findings.append(Finding(check="permissions", place="deleted", message=message))
    return Check(
        name="permissions",
        looked_at=counter.compared + gone + sum(sight.searches for sight in sights),
        least=0,
        findings=(*counter.findings, *findings),
        limits=(*_limits(scopes, searching, gone), *counter.limits()),
        control=_control(sights, sample, stored),
    )


def _scopes(values: FieldValues, *, seed: int) -> Iterator[Scope]:
    """Tenants, principals, and pairs of both, also those that no record has together."""
    lists = list[list[tuple[Field, Scalar]]]()
    for each in values.fields:
        if each.role is not None:
            counts = values.counts(each, most=SCOPES // 2, some=SCOPES // 2, seed=seed)
            lists.append([(each, value) for value, _ in counts.values])
    for some in lists:
        yield from (Scope((part,)) for part in some)
    if len(lists) == 2:
        yield from (Scope((one, other)) for one in lists[0] for other in lists[1])


def _ask_for_nobody(counter: Tally, values: FieldValues) -> None:
    """A name that nobody has, and a list of no names, keep nothing."""
    for each in values.fields:
        if each.role is not None:
            counter.compare(f"{each.name}/nobody", has(each, NOBODY), 0)
        if each.role == "tenant":
            counter.compare(f"{each.name}/empty-scope", In(each.name, ()), 0)


def _searching(
    scopes: Sequence[Scope], sample: Sample, target: Target, *, seed: int
) -> list[Scope]:
    """All scopes of one name and some pairs, or fewer where every record is read for each query."""
    alone = [scope for scope in scopes if len(scope.parts) == 1]
    pairs = [scope for scope in scopes if len(scope.parts) > 1]
    chosen = [*alone, *_drawn(pairs, PAIRS, seed=seed)]
    for vector in target.searched[:1]:
        matrix, _ = sample.vectors(vector)
        if len(matrix):
            queries = (FOREIGN + 1) * len(chosen)
            most = target.most_queries(by_vector(vector, matrix[0]), queries)
            chosen = _drawn(chosen, max(1, most // (FOREIGN + 1)), seed=seed)
    return chosen


def _drawn(scopes: Sequence[Scope], most: int, *, seed: int) -> list[Scope]:
    """At most so many, in their order."""
    if len(scopes) <= most:
        return list(scopes)
    places = np.random.default_rng(seed).choice(len(scopes), most, replace=False)
    return [scopes[place] for place in sorted(places.tolist())]


def _limits(scopes: Sequence[Scope], searching: Sequence[Scope], gone: int) -> Iterator[str]:
    if not scopes:
        yield "no record has a tenant or a principal: only what is gone was looked for"
    else:
        yield BY_FILTER
        yield (
            f"{len(scopes):,} scopes were counted; {len(searching):,} of them asked, by {FOREIGN} "
            "vectors of others each"
        )
    if not gone:
        yield "the log has no record that is gone"


def _control(sights: Sequence[Sight], sample: Sample, stored: Stored) -> str:
    answered = sum(sight.answered for sight in sights)
    controls = sum(sight.controls for sight in sights)
    return (
        f"{answered:,} of {controls:,} scopes see a record of their own; by document "
        f"{int(stored.there.sum()):,} of {len(sample):,} sampled records are there"
    )
