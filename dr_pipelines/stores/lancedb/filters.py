"""Filters in the SQL of Lance.

Its comparisons with a null are null, so that a complement asks whether something IS NOT TRUE; it
orders NaN above every number, which a comparison of ours is false for.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import assert_never

from dr_pipelines.model.query import Filter, Scalar
from dr_pipelines.stores.shared.filters import SIGNS, Bounds, in_words

LEAST = -(2**63)
MOST = 2**63 - 1


def condition(filter: Filter) -> str:
    """A checked filter over columns that are named and typed as its fields are."""
    return in_words(filter, _Lance())


class _Lance:
    def all_of(self, conditions: list[str]) -> str:
        return f"({' AND '.join(conditions)})" if conditions else "true"

    def any_of(self, conditions: list[str]) -> str:
        return f"({' OR '.join(conditions)})" if conditions else "false"

    def among(self, field: str, values: Sequence[Scalar], *, meant: bool) -> str:
        return _meant(one_of(field, values), meant=meant)

    def containing(self, field: str, value: str, *, meant: bool) -> str:
        return _meant(f"array_has({name(field)}, {literal(value)})", meant=meant)

    def within(self, field: str, bounds: Bounds, *, meant: bool) -> str:
        column = name(field)
        parts = [f"{column} {SIGNS[bound]} {literal(value)}" for bound, value in bounds]
        if any(isinstance(value, float) for _, value in bounds):
            parts.append(f"NOT isnan({column})")
        return _meant(self.all_of(parts), meant=meant)


def _meant(condition: str, *, meant: bool) -> str:
    return condition if meant else f"(({condition}) IS NOT TRUE)"


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
