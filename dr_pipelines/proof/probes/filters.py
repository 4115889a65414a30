"""Do filters keep the records that they must? Every field is counted, value by value."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite

from dr_pipelines.model.collection import Field, FieldType
from dr_pipelines.model.query import Contains, Equals, Filter, In, Not, Or, Range, Scalar
from dr_pipelines.model.verdict import Check, CheckName, Finding
from dr_pipelines.proof.probes.subject import Target
from dr_pipelines.protocols import Counts
from dr_pipelines.repository.field_values import SAME_NUMBER, FieldValues, ValueCounts

MOST_FREQUENT, DRAWN = 20, 10
"""Values of a field that are counted: the most frequent, and some drawn from the others."""
AT_ONCE = 1_000
"""Values that one filter lists, to count the records that have none of them."""
PIVOTS: dict[FieldType, Scalar] = {
    FieldType.STRING: "m",
    FieldType.INTEGER: 0,
    FieldType.NUMBER: 0.0,
    FieldType.TIMESTAMP: datetime(2020, 1, 1, tzinfo=UTC),
}
"""A value of each type that has an order."""
NO_COUNTS = "this engine counts nothing by its own filters"


@dataclass
class Tally:
    """Counts by the engine beside the expected ones."""

    target: Target
    name: CheckName
    counting: Counts
    compared: int = 0
    unsaid: int = 0
    findings: list[Finding] = field(default_factory=list)

    def compare(self, place: str, condition: Filter, expected: int) -> int | None:
        """Count the records that a filter keeps; a count that differs is a finding."""
        count = self.counting.count(self.target.name, condition)
        if count is None:
            self.unsaid += 1
            return None
        self.compared += 1
        if count != expected:
            message = f"{count:,} records, {expected:,} at the recovery point"
            self.findings.append(Finding(check=self.name, place=place, message=message))
        return count

    def limits(self) -> Iterator[str]:
        """Sentences on what was not counted."""
        if self.unsaid:
            yield f"this engine has no words for {self.unsaid:,} filters: they were not counted"


def tally(target: Target, name: CheckName) -> Tally | None:
    """Of a store that counts by its own filters; None of another."""
    store = target.store
    return Tally(target, name, store) if isinstance(store, Counts) else None


def check_filters(values: FieldValues, target: Target, *, seed: int) -> Check:
    """Count the records of values, and of none, of every filterable field but that of tenants."""
    fields = [f for f in values.fields if f.role != "tenant"]
    return _counted("filters", fields, values, target, seed=seed)


def check_tenants(values: FieldValues, target: Target, *, seed: int) -> Check:
    """Count the records of every tenant, and of none."""
    fields = [f for f in values.fields if f.role == "tenant"]
    return _counted("tenants", fields, values, target, seed=seed)


def _counted(
    name: CheckName, fields: Sequence[Field], values: FieldValues, target: Target, *, seed: int
) -> Check:
    counter = tally(target, name)
    if counter is None or not fields:
        return Check(name=name, skipped=NO_COUNTS if fields else f"the collection has no {name}")
    limits = list[str]()
    for each in fields:
        counts = values.counts(each, most=MOST_FREQUENT, some=DRAWN, seed=seed)
        for value, records in counts.values:
            counter.compare(shown(each, value), has(each, value), records)
        complements = _complements(each, values, counts)
        for word, condition in complements.items():
            counter.compare(f"{each.name}={word}", condition, counts.none)
        limits += _left_out(each, counts, complements)
    return Check(
        name=name,
        looked_at=counter.compared,
        findings=tuple(counter.findings),
        skipped=None if counter.compared else NO_COUNTS,
        limits=(*limits, *counter.limits()),
    )


def _complements(field: Field, values: FieldValues, counts: ValueCounts) -> dict[str, Filter]:
    """Two ways to have no value of a field that the point has: to have none at all, which an order
    or a list of all possible values can say, and to have none of those of the point."""
    filters = dict[str, Filter]()
    pivot = PIVOTS.get(field.type)
    if pivot is not None:
        filters["null"] = Not(Or((Range(field.name, gte=pivot), Range(field.name, lt=pivot))))
    if field.type is FieldType.BOOLEAN:
        filters["null"] = Not(In(field.name, (True, False)))
    if counts.distinct <= AT_ONCE:
        every = values.counts(field, most=AT_ONCE, some=0, seed=0).values
        if len(every) == counts.distinct:  # else some are too near to others to be named
            filters["other"] = Not(has_any(field, [value for value, _ in every]))
    return filters


def _left_out(field: Field, counts: ValueCounts, counted: Collection[str]) -> Iterator[str]:
    if counts.distinct > len(counts.values):
        yield (
            f"{field.name}: {len(counts.values)} of {counts.distinct:,} values, the "
            f"{MOST_FREQUENT} most frequent and {DRAWN} drawn"
        )
    if "null" not in counted:
        yield f"{field.name}: no filter tells records without a value from those with others"
    if "other" not in counted:
        yield f"{field.name}: values that the point does not have were not looked for"


def has(field: Field, value: Scalar) -> Filter:
    """The records that have a value in a field; of numbers, one that is the same but for its last
    digits."""
    if field.type is FieldType.STRINGS:
        return Contains(field.name, str(value))
    if field.type is FieldType.NUMBER and isinstance(value, float) and isfinite(value):
        margin = SAME_NUMBER * abs(value)
        return Range(field.name, gte=value - margin, lte=value + margin)
    return Equals(field.name, value)


def has_any(field: Field, values: Sequence[Scalar]) -> Filter:
    """The records that have one of some values."""
    if field.type in (FieldType.STRINGS, FieldType.NUMBER):
        return Or(tuple(has(field, value) for value in values))
    return In(field.name, tuple(values))


def shown(field: Field, value: Scalar) -> str:
    """A value of a field in the words of a filter."""
    if field.type is FieldType.STRINGS:
        return f"{field.name} contains {value!r}"
    return f"{field.name}={value!r}" if isinstance(value, str) else f"{field.name}={value}"
