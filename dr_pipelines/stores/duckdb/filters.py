"""Filters as SQL conditions that are never null."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from dr_pipelines.model.query import Filter, Scalar
from dr_pipelines.stores.duckdb.schema import name
from dr_pipelines.stores.shared.filters import SIGNS, Bounds, in_words

Condition = tuple[str, list[Any]]
"""SQL and the values of its parameters, in order."""


def condition(filter: Filter | None) -> Condition:
    """A checked filter; every comparison is true or false, never null."""
    return in_words(filter, _Conditions())


class _Conditions:
    def all_of(self, conditions: list[Condition]) -> Condition:
        return _joined(conditions, "AND", empty="TRUE")

    def any_of(self, conditions: list[Condition]) -> Condition:
        return _joined(conditions, "OR", empty="FALSE")

    def among(self, field: str, values: Sequence[Scalar], *, meant: bool) -> Condition:
        marks = ", ".join("?" * len(values))
        return _compared(f"{name(field)} IN ({marks})", values, meant=meant)

    def containing(self, field: str, value: str, *, meant: bool) -> Condition:
        return _compared(f"list_contains({name(field)}, ?)", [value], meant=meant)

    def within(self, field: str, bounds: Bounds, *, meant: bool) -> Condition:
        column, values = name(field), [value for _, value in bounds]
        parts = [f"{column} {SIGNS[bound]} ?" for bound, _ in bounds]
        if any(isinstance(value, float) for value in values):
            parts.append(f"NOT isnan({column})")  # which DuckDB orders above everything
        return _compared(" AND ".join(parts), values, meant=meant)


def _joined(conditions: list[Condition], word: str, *, empty: str) -> Condition:
    sql = f" {word} ".join(part for part, _ in conditions) or empty
    return f"({sql})", [value for _, values in conditions for value in values]


def _compared(sql: str, values: Sequence[Scalar], *, meant: bool) -> Condition:
    certain = f"coalesce({sql}, FALSE)"
    return certain if meant else f"(NOT {certain})", [_parameter(value) for value in values]


def _parameter(value: Scalar) -> Any:
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value
