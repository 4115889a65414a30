"""Our filters in Qdrant's own, as JSON of its REST interface.

Both are two-valued: a condition on a key that is not there is false, and `must_not` is the plain
complement. A number that the engine would change has the next settled one below in the payload and
its own bits beside (see `records`), so a bound between two settled numbers asks for both. What
the engine compares in another way than we do is not expressed: such a search is
answered exactly, by reading records.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dr_pipelines.model.collection import CollectionSpec, FieldType
from dr_pipelines.model.query import Filter, Scalar
from dr_pipelines.stores.qdrant.records import BESIDE_NUMBERS, LARGEST
from dr_pipelines.stores.qdrant.schema import (
    is_foreign,
    may_filter,
    native_name,
    section_of,
)
from dr_pipelines.stores.qdrant.sections import unpacked
from dr_pipelines.stores.qdrant.values import time_written
from dr_pipelines.stores.qdrant.variant import Json
from dr_pipelines.stores.shared.filters import Bounds, Inexpressible, in_words
from dr_pipelines.stores.shared.floats import settled, settling

NOTHING: Json = {"has_id": []}
EXACT_INTEGERS = 2**53
"""Ranges compare in double precision; below this every whole number is one."""


def native_filter(filter: Filter, spec: CollectionSpec) -> Json:
    """A checked filter, as a condition with `must`, `should` or `must_not`."""
    return in_words(filter, _Conditions(spec))


@dataclass(frozen=True, slots=True)
class _Conditions:
    spec: CollectionSpec

    def all_of(self, conditions: list[Json]) -> Json:
        return {"must": conditions} if conditions else {"must_not": [NOTHING]}

    def any_of(self, conditions: list[Json]) -> Json:
        return {"should": conditions or [NOTHING]}

    def among(self, field: str, values: Sequence[Scalar], *, meant: bool) -> Json:
        parts = [self._equal(field, value) for value in values]
        return {"should": parts} if meant else {"must_not": parts}

    def containing(self, field: str, value: str, *, meant: bool) -> Json:
        return {"must" if meant else "must_not": [self._matching(field, value)]}

    def within(self, field: str, bounds: Bounds, *, meant: bool) -> Json:
        inside = {"must": self._ranged(field, bounds)}
        return inside if meant else {"must_not": [inside]}

    def _matching(self, field: str, value: Scalar) -> Json:
        return {"key": native_name(self.spec, field), "match": {"value": value}}

    def _equal(self, field: str, value: Scalar) -> Json:
        """Numbers and times have ranges only."""
        if _type(field, self.spec) in (FieldType.NUMBER, FieldType.TIMESTAMP):
            return {"must": self._ranged(field, [("gte", value), ("lte", value)])}
        return self._matching(field, value)

    def _ranged(self, field: str, bounds: Bounds) -> list[Json]:
        spec, kind = self.spec, _type(field, self.spec)
        limits = {side: _bound(value, kind) for side, value in bounds}
        key = native_name(spec, field)
        if kind is not FieldType.NUMBER or is_foreign(spec):
            return [{"key": key, "range": limits}]
        return [_one_sided(key, side, float(bound), spec) for side, bound in limits.items()]


def _one_sided(key: str, side: str, bound: float, spec: CollectionSpec) -> Json:
    """One bound of numbers in our own layout."""
    low = settled(bound)
    if low == bound and side in ("gte", "lt"):
        return {"key": key, "range": {side: bound}}
    above = [n.hex() for n in settling(low) if n > bound or (n == bound and side in ("gte", "lt"))]
    beside = {"key": f"{BESIDE_NUMBERS}.{key}", "match": {"any": above}}
    upper = side in ("lte", "lt")
    among = {"key": key, "range": {"lte" if upper else "gt": low}}
    if not above:
        return among
    if not may_filter(unpacked(section_of(spec)), BESIDE_NUMBERS):
        raise Inexpressible("strict mode forbids to filter by the bits beside a number")
    return {"must": [among], "must_not": [beside]} if upper else {"should": [among, beside]}


def _bound(value: Scalar, type: FieldType) -> float | str:
    if type is FieldType.TIMESTAMP and isinstance(value, datetime):
        return time_written(value)
    if isinstance(value, str | datetime):
        raise Inexpressible("texts have no order in Qdrant")
    if type is FieldType.INTEGER and abs(value) >= EXACT_INTEGERS:
        raise Inexpressible("ranges compare in double precision")
    if abs(value) >= LARGEST:
        raise Inexpressible("an infinity is kept as the largest number")
    return float(value)


def _type(name: str, spec: CollectionSpec) -> FieldType:
    field = spec.field(name)
    if field is None:
        raise Inexpressible(f"{name} is not declared")
    return field.type
