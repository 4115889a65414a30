"""Filters as Milvus' expressions.

Milvus' own `not` leaves records with nulls out, so the complement of a comparison names the null.
What an expression cannot say raises `Inexpressible`; the caller then searches exactly, by a scan.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dr_pipelines.model.query import Filter, Scalar
from dr_pipelines.stores.milvus.layout import RecordLayout, quoted
from dr_pipelines.stores.shared.filters import SIGNS, Bounds, Inexpressible, in_words

Expression = bool | str
"""A condition, or that every record or none fulfils it."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COMPLEMENTS = {"==": "!=", ">=": "<", ">": "<=", "<=": ">", "<": ">="}
LARGEST = 1.7976931348623157e308
SMALLEST_INTEGER = -(2**63)


def expression(filter: Filter | None, layout: RecordLayout) -> Expression:
    """A checked filter as Milvus takes it."""
    return in_words(filter, _Expressions(layout))


def both(one: Expression, other: Expression) -> Expression:
    """The condition of records that fulfil both."""
    return _joined([one, other], "and")


@dataclass(frozen=True, slots=True)
class _Expressions:
    layout: RecordLayout

    def all_of(self, conditions: list[Expression]) -> Expression:
        return _joined(conditions, "and")

    def any_of(self, conditions: list[Expression]) -> Expression:
        return _joined(conditions, "or")

    def among(self, field: str, values: Sequence[Scalar], *, meant: bool) -> Expression:
        column = self.layout.column_of(field)
        if len(values) == 1:
            return _compared(column, [("==", values[0])], meant=meant)
        listed = ", ".join(_literal(value) for value in values)
        if meant:
            return f"{column} in [{listed}]"
        return f"({column} is null or {column} not in [{listed}])"

    def containing(self, field: str, value: str, *, meant: bool) -> Expression:
        column, item = self.layout.column_of(field), quoted(value)
        if meant:
            return f"array_contains({column}, {item})"
        return f"({column} is null or not array_contains({column}, {item}))"

    def within(self, field: str, bounds: Bounds, *, meant: bool) -> Expression:
        signs = [(SIGNS[name], value) for name, value in bounds]
        return _compared(self.layout.column_of(field), signs, meant=meant)


def _compared(column: str, bounds: Sequence[tuple[str, Scalar]], *, meant: bool) -> Expression:
    if meant:
        return f"({' and '.join(f'{column} {op} {_literal(value)}' for op, value in bounds)})"
    outside = " or ".join(f"{column} {COMPLEMENTS[op]} {_literal(value)}" for op, value in bounds)
    return f"({column} is null or {outside})"


def _joined(parts: list[Expression], word: str) -> Expression:
    absorbing = word == "or"  # one true makes an `or` true, one false an `and` false
    if any(part is absorbing for part in parts):
        return absorbing
    texts = [part for part in parts if isinstance(part, str)]
    if not texts:
        return not absorbing
    return texts[0] if len(texts) == 1 else "(" + f" {word} ".join(texts) + ")"


def _literal(value: Scalar) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return str((value - EPOCH) // timedelta(microseconds=1))
    if isinstance(value, float):
        if not math.isfinite(value) or abs(value) >= LARGEST:
            raise Inexpressible  # infinities are kept as the largest number
        return repr(value)
    if value <= SMALLEST_INTEGER:
        raise Inexpressible  # servers read a sign and a number, which then is too large
    return str(value)
