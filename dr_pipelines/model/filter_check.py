"""Is a filter meaningful for a collection? One answer for every store and for the parser."""

import math
import re
from datetime import UTC, datetime
from typing import assert_never

from dr_pipelines.errors import InvalidRequest
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

MAX_DEPTH = 100
"""Deeper nesting than any person writes; keeps recursion away from the interpreter's limit."""

EXPECTED = {
    FieldType.STRING: "a string",
    FieldType.INTEGER: "a whole number within 64 bits",
    FieldType.NUMBER: "a number",
    FieldType.BOOLEAN: "true or false",
    FieldType.TIMESTAMP: "a time with its UTC offset",
    FieldType.STRINGS: "a string",
}
SURROGATE = re.compile("[\ud800-\udfff]")
"""Half a character: not text in any encoding."""
UNORDERED = (FieldType.BOOLEAN, FieldType.STRINGS)


def checked_filter(filter: Filter, spec: CollectionSpec, *, depth: int = 0) -> Filter:
    """The same filter with every value in its field's own type (whole numbers as float for number
    fields, times in UTC).

    Raises:
        InvalidRequest: an unknown or not filterable field, a value of another type, a comparison
            the type does not have, or nesting deeper than `MAX_DEPTH`.
    """
    if depth > MAX_DEPTH:
        raise InvalidRequest(f"the filter is nested deeper than {MAX_DEPTH}; write it flatter")
    match filter:
        case And(filters):
            return And(tuple(checked_filter(f, spec, depth=depth + 1) for f in filters))
        case Or(filters):
            return Or(tuple(checked_filter(f, spec, depth=depth + 1) for f in filters))
        case Not(inner):
            return Not(checked_filter(inner, spec, depth=depth + 1))
        case Equals() | In() | Range() | Contains():
            return _checked_comparison(filter, filterable_field(filter.field, spec))
        case _:
            assert_never(filter)


def filterable_field(name: str, spec: CollectionSpec) -> Field:
    """The declared field of that name.

    Raises:
        InvalidRequest: there is none, or it is not filterable; the message lists those that are.
    """
    field = spec.field(name)
    usable = ", ".join(f.name for f in spec.fields if f.filterable) or "none"
    if field is None:
        raise InvalidRequest(
            f"collection {spec.name!r} has no field {name!r}; filterable: {usable}"
        )
    if not field.filterable:
        raise InvalidRequest(
            f"field {name!r} of {spec.name!r} is not filterable; those are: {usable}"
        )
    return field


def checked_value(field: Field, value: Scalar) -> Scalar:
    """The value in the field's own type (for a list field, in that of its items)."""
    if _fits(field.type, value):
        return _converted(field.type, value)
    raise InvalidRequest(
        f"field {field.name!r} is {field.type.value}: expected {EXPECTED[field.type]}, "
        f"got {value!r}"
    )


def _checked_comparison(comparison: Equals | In | Range | Contains, field: Field) -> Filter:
    is_list = field.type is FieldType.STRINGS
    match comparison:
        case Contains(name, value):
            if not is_list:
                raise _has_no(field, "contains", "compare it with = or in")
            return Contains(name, str(checked_value(field, value)))
        case Equals(name, value):
            if is_list:
                raise _has_no(field, "=", "use contains")
            return Equals(name, checked_value(field, value))
        case In(name, values):
            if is_list:
                raise _has_no(field, "in", "use contains")
            return In(name, tuple(checked_value(field, v) for v in values))
        case Range(name):
            return Range(name, **_checked_bounds(comparison, field))
        case _:
            assert_never(comparison)


def _checked_bounds(range: Range, field: Field) -> dict[str, Scalar]:
    if field.type in UNORDERED:
        raise _has_no(field, "order", "use = or contains")
    bounds = {"gte": range.gte, "gt": range.gt, "lte": range.lte, "lt": range.lt}
    checked = {key: checked_value(field, v) for key, v in bounds.items() if v is not None}
    if not checked:
        raise InvalidRequest(f"the range over {field.name!r} has no bound; set gte, gt, lte or lt")
    return checked


def _has_no(field: Field, comparison: str, way_out: str) -> InvalidRequest:
    return InvalidRequest(f"field {field.name!r} is {field.type.value}: no {comparison}; {way_out}")


def _fits(type: FieldType, value: Scalar) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    match type:
        case FieldType.STRING | FieldType.STRINGS:
            return isinstance(value, str) and not SURROGATE.search(value)
        case FieldType.INTEGER:
            return whole and -(2**63) <= int(value) < 2**63  # type: ignore[arg-type]  # whole: an int
        case FieldType.NUMBER:
            return (whole and abs(int(value)) < 2**1023) or (  # type: ignore[arg-type]  # whole: an int
                isinstance(value, float) and not math.isnan(value)
            )
        case FieldType.BOOLEAN:
            return isinstance(value, bool)
        case FieldType.TIMESTAMP:
            return isinstance(value, datetime) and value.utcoffset() is not None
        case _:
            assert_never(type)


def _converted(type: FieldType, value: Scalar) -> Scalar:
    if type is FieldType.NUMBER and isinstance(value, int | float):
        return float(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return value
