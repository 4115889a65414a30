"""Our filters in Chroma's words, with our two-valued meaning.

Chroma's `$ne`, `$nin` and `$not_contains` hold where the key is absent, which is what the
complement of a comparison with a null is. Comparisons by order do not, so the complement of a range
asks for the mark of a null as well. What Chroma cannot say is `None` here: an order of strings, and
filters that are too large or too deep for its SQL.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never

from dr_pipelines.model.collection import CollectionSpec, Field, FieldType
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
from dr_pipelines.stores.chroma.fields import BITS, in_order
from dr_pipelines.stores.chroma.records import NULLS_MATTER, ODD, null

Where = dict[str, Any] | bool
"""A condition, or what it always is: Chroma has no word for that."""

MAX_VALUES = 10_000
MAX_DEPTH = 30
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OPPOSITE = {"$gte": "$lt", "$gt": "$lte", "$lte": "$gt", "$lt": "$gte"}


class _Inexpressible(Exception):
    """Chroma has no words for this filter."""


def to_where(filter: Filter | None, spec: CollectionSpec) -> Where | None:
    """A checked filter in Chroma's words; None where it has none."""
    if filter is None:
        return True
    try:
        where = _where(filter, spec, kept=True, depth=0)
    except _Inexpressible:
        return None
    return where if sum(1 for _ in _values(where)) <= MAX_VALUES else None


def all_of(conditions: Sequence[Where]) -> Where:
    """Where all of them hold."""
    if any(c is False for c in conditions):
        return False
    return _joined("$and", [c for c in conditions if not isinstance(c, bool)], empty=True)


def any_of(conditions: Sequence[Where]) -> Where:
    """Where one of them holds."""
    if any(c is True for c in conditions):
        return True
    return _joined("$or", [c for c in conditions if not isinstance(c, bool)], empty=False)


def marked(mark: str) -> dict[str, Any]:
    """Where a record is marked as odd."""
    return {ODD: {"$contains": mark}}


def unmarked(mark: str) -> dict[str, Any]:
    """Where it is not."""
    return {ODD: {"$not_contains": mark}}


def _where(filter: Filter, spec: CollectionSpec, *, kept: bool, depth: int) -> Where:
    """The filter (`kept`) or its complement."""
    if depth > MAX_DEPTH:
        raise _Inexpressible
    match filter:
        case Not(inner):
            return _where(inner, spec, kept=not kept, depth=depth + 1)
        case And(filters) | Or(filters):
            parts = [_where(f, spec, kept=kept, depth=depth + 1) for f in filters]
            return (all_of if isinstance(filter, And) == kept else any_of)(parts)
        case Contains(name, value):
            return {name: {"$contains" if kept else "$not_contains": value}}
        case Equals(name, value):
            return _among(_field(spec, name), [value], kept=kept)
        case In(name, values):
            return _among(_field(spec, name), values, kept=kept)
        case Range():
            return _between(filter, _field(spec, filter.field), kept=kept)
        case _:
            assert_never(filter)


def _among(field: Field, values: Sequence[Scalar], *, kept: bool) -> Where:
    stored = [form for value in values for form in _stored(field, value)]
    if not stored:
        return not kept
    return {_key(field): {"$in" if kept else "$nin": stored}}


def _between(range: Range, field: Field, *, kept: bool) -> Where:
    if field.type is FieldType.STRING:
        raise _Inexpressible  # Chroma orders numbers only
    bounds = {"$gte": range.gte, "$gt": range.gt, "$lte": range.lte, "$lt": range.lt}
    key = _key(field)
    inside = [(word, _bound(field, word, v)) for word, v in bounds.items() if v is not None]
    if field.type is FieldType.NUMBER:  # beyond the infinities are the NaN
        ends = (("$gte", -math.inf), ("$lte", math.inf))
        inside += [(word, _bound(field, word, value)) for word, value in ends]
    if kept:
        return all_of([{key: {word: value}} for word, value in inside])
    outside: list[Where] = [{key: {OPPOSITE[word]: value}} for word, value in inside]
    return any_of([*outside, marked(null(field.name))])


def _stored(field: Field, value: Scalar) -> list[Any]:
    """The forms in which a value that is equal may be stored."""
    if field.type is FieldType.NUMBER:
        numbers = (0.0, -0.0) if value == 0 else (float(value),)  # type: ignore[arg-type]  # checked
        return [_integer(field, number) for number in numbers]
    return [_integer(field, value) if field.type in NULLS_MATTER else value]


def _bound(field: Field, word: str, value: Scalar) -> int:
    if field.type is FieldType.NUMBER and value == 0:  # both zeros are on the same side of a bound
        value = -0.0 if word in ("$gte", "$lt") else 0.0
    return _integer(field, value)


def _integer(field: Field, value: Scalar) -> int:
    if isinstance(value, datetime):
        return (value - EPOCH) // timedelta(microseconds=1)
    if field.type is FieldType.NUMBER:
        (bits,) = in_order([float(value)]).tolist()
        return int(bits)
    return int(value)


def _key(field: Field) -> str:
    return field.name + BITS if field.type is FieldType.NUMBER else field.name


def _field(spec: CollectionSpec, name: str) -> Field:
    return next(field for field in spec.fields if field.name == name)


def _joined(word: str, conditions: list[dict[str, Any]], *, empty: bool) -> Where:
    if not conditions:
        return empty
    return conditions[0] if len(conditions) == 1 else {word: list(conditions)}


def _values(where: Any) -> Iterator[Any]:
    if isinstance(where, dict):
        where = list(where.values())
    if not isinstance(where, list):
        yield where
        return
    for item in where:
        yield from _values(item)
