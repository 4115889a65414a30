"""Filters in the SQL of Lance.

Its comparisons with a null are null, so that a complement asks whether something IS NOT TRUE; it
orders NaN above every number, which a comparison of ours is false for.
"""

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import assert_never

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

LEAST = -(2**63)
MOST = 2**63 - 1


def condition(filter: Filter) -> str:
    """A checked filter over columns that are named and typed as its fields are."""
    match filter:
        case And(filters):
            return f"({' AND '.join(map(condition, filters))})" if filters else "true"
        case Or(filters):
            return f"({' OR '.join(map(condition, filters))})" if filters else "false"
        case Not(inner):
            return f"(({condition(inner)}) IS NOT TRUE)"
        case Equals(field, value):
            return f"({name(field)} = {literal(value)})"
        case In(field, values):
            return one_of(field, values)
        case Contains(field, value):
            return f"array_has({name(field)}, {literal(value)})"
        case Range():
            return _within(filter)
        case _:
            assert_never(filter)


def one_of(column: str, values: Iterable[Scalar]) -> str:
    """The condition that a column holds one of some values; false for none."""
    listed = ", ".join(literal(value) for value in values)
    return f"({name(column)} IN ({listed}))" if listed else "false"


def name(column: str) -> str:
    """A column's name as SQL; one with a backtick in it cannot be said."""
    return f"`{column}`"


def literal(value: Scalar) -> str:
    """A value as SQL."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return "'" + value.replace("'", "''") + "'"
        case datetime():
            plain = value.astimezone(UTC).replace(tzinfo=None)
            return f"timestamp '{plain.isoformat(sep=' ')}'"
        case int():
            # the least integer is read as a negated number that is too large
            kind = "BIGINT UNSIGNED" if value > MOST else "BIGINT"
            return str(value) if LEAST < value <= MOST else f"CAST('{value}' AS {kind})"
        case float():
            return repr(value) if math.isfinite(value) else f"CAST('{value}' AS DOUBLE)"
        case _:
            assert_never(value)


def _within(range: Range) -> str:
    column = name(range.field)
    bounds = ((">=", range.gte), (">", range.gt), ("<=", range.lte), ("<", range.lt))
    said = [f"{column} {mark} {literal(value)}" for mark, value in bounds if value is not None]
    if any(isinstance(value, float) for _, value in bounds):
        said.append(f"NOT isnan({column})")
    return f"({' AND '.join(said)})"
