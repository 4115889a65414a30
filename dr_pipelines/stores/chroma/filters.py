"""Our filters in Chroma's words, with our two-valued meaning.

Chroma's `$ne`, `$nin` and `$not_contains` hold where the key is absent, which is what the
complement of a comparison with a null is. Comparisons by order do not, so the complement of a range
asks for the mark of a null as well. What Chroma cannot say is `None` here: an order of strings, and
filters that are too large or too deep for its SQL.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dr_pipelines.model.collection import CollectionSpec, Field, FieldType
from dr_pipelines.model.query import Filter, Scalar
from dr_pipelines.stores.chroma.fields import BITS, in_order
from dr_pipelines.stores.chroma.records import NULLS_MATTER, ODD, null
from dr_pipelines.stores.shared.filters import Bounds, Inexpressible, in_words

Where = dict[str, Any] | bool
"""A condition, or what it always is: Chroma has no word for that."""

MAX_VALUES = 10_000
MAX_DEPTH = 30
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OPPOSITE = {"$gte": "$lt", "$gt": "$lte", "$lte": "$gt", "$lt": "$gte"}


def to_where(filter: Filter | None, spec: CollectionSpec) -> Where | None:
    """A checked filter in Chroma's words; None where it has none."""
    try:
        where = in_words(filter, _Wheres(spec), deepest=MAX_DEPTH)
    except Inexpressible:
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


@dataclass(frozen=True, slots=True)
class _Wheres:
    spec: CollectionSpec

    def all_of(self, conditions: list[Where]) -> Where:
        return all_of(conditions)

    def any_of(self, conditions: list[Where]) -> Where:
        return any_of(conditions)

    def among(self, field: str, values: Sequence[Scalar], *, meant: bool) -> Where:
        column = self._field(field)
        stored = [form for value in values for form in _stored(column, value)]
        return {_key(column): {"$in" if meant else "$nin": stored}}

    def containing(self, field: str, value: str, *, meant: bool) -> Where:
        return {field: {"$contains" if meant else "$not_contains": value}}

    def within(self, field: str, bounds: Bounds, *, meant: bool) -> Where:
        column = self._field(field)
        if column.type is FieldType.STRING:
            raise Inexpressible  # Chroma orders numbers only
        key, sides = _key(column), [(f"${name}", value) for name, value in bounds]
        if column.type is FieldType.NUMBER:  # beyond the infinities are the NaN
            sides += [("$gte", -math.inf), ("$lte", math.inf)]
        inside = [(word, _bound(column, word, value)) for word, value in sides]
        if meant:
            return all_of([{key: {word: value}} for word, value in inside])
        outside: list[Where] = [{key: {OPPOSITE[word]: value}} for word, value in inside]
        return any_of([*outside, marked(null(field))])

    def _field(self, name: str) -> Field:
        return next(field for field in self.spec.fields if field.name == name)


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
