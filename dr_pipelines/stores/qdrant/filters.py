"""Our filters in Qdrant's own, as JSON of its REST interface.

Both are two-valued: a condition on a key that is not there is false, and `must_not` is the plain
complement. A number that the engine would change has the next settled one below in the payload and
its own bits beside (see `records`), so a bound between two settled numbers asks for both. What
the engine compares in another way than we do is not expressed: such a search is
answered exactly, by reading records.
"""

from datetime import datetime
from typing import assert_never

from dr_pipelines.model.collection import CollectionSpec, FieldType
from dr_pipelines.model.query import (
    And,
    Contains,
    Equals,
    Filter,
    In,
    Not,
    Or,
    Range,
    Scalar,
)
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
from dr_pipelines.stores.shared.filters import Inexpressible
from dr_pipelines.stores.shared.floats import settled, settling

NOTHING: Json = {"has_id": []}
EXACT_INTEGERS = 2**53
"""Ranges compare in double precision; below this every whole number is one."""


def native_filter(filter: Filter, spec: CollectionSpec) -> Json:
    """A checked filter, as a condition with `must`, `should` or `must_not`."""
    match filter:
        case And(filters):
            inner = [native_filter(f, spec) for f in filters]
            return {"must": inner} if inner else {"must_not": [NOTHING]}
        case Or(filters):
            inner = [native_filter(f, spec) for f in filters]
            return {"should": inner or [NOTHING]}
        case Not(inside):
            return {"must_not": [native_filter(inside, spec)]}
        case Equals(name, value):
            return {"must": [_equal(name, value, spec)]}
        case Contains(name, value):
            return {"must": [_matching(name, value, spec)]}
        case In(name, values):
            return {"should": [_equal(name, v, spec) for v in values] or [NOTHING]}
        case Range(name):
            return _ranged(filter, spec)
        case _:
            assert_never(filter)


def _matching(name: str, value: Scalar, spec: CollectionSpec) -> Json:
    return {"key": native_name(spec, name), "match": {"value": value}}


def _equal(name: str, value: Scalar, spec: CollectionSpec) -> Json:
    """Numbers and times have ranges only."""
    if _type(name, spec) in (FieldType.NUMBER, FieldType.TIMESTAMP):
        return _ranged(Range(name, gte=value, lte=value), spec)
    return _matching(name, value, spec)


def _ranged(range: Range, spec: CollectionSpec) -> Json:
    kind = _type(range.field, spec)
    bounds = {"gte": range.gte, "gt": range.gt, "lte": range.lte, "lt": range.lt}
    given = {key: _bound(value, kind) for key, value in bounds.items() if value is not None}
    key = native_name(spec, range.field)
    if kind is not FieldType.NUMBER or is_foreign(spec):
        return {"must": [{"key": key, "range": given}]}
    return {"must": [_kept(key, side, float(bound), spec) for side, bound in given.items()]}


def _kept(key: str, side: str, bound: float, spec: CollectionSpec) -> Json:
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
