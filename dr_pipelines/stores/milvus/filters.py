"""Filters as Milvus' expressions, with our two values: a comparison with a null is false.

Milvus' own `not` leaves records with nulls out, so negation is pushed down to the comparisons,
whose complements name the null. What an expression cannot say raises `Inexpressible`; the caller
then searches exactly, by a scan.
"""

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
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
from dr_pipelines.stores.milvus.layout import RecordLayout, quoted
from dr_pipelines.stores.shared.filters import Inexpressible

Expression = bool | str
"""A condition, or that every record or none fulfils it."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COMPLEMENTS = {"==": "!=", ">=": "<", ">": "<=", "<=": ">", "<": ">="}
LARGEST = 1.7976931348623157e308
SMALLEST_INTEGER = -(2**63)


def expression(filter: Filter | None, layout: RecordLayout) -> Expression:
    """A checked filter as Milvus takes it."""
    return True if filter is None else _said(filter, layout, meant=True)


def both(one: Expression, other: Expression) -> Expression:
    """The condition of records that fulfil both."""
    return _joined([one, other], "and")


def _said(filter: Filter, layout: RecordLayout, *, meant: bool) -> Expression:
    match filter:
        case And(filters):
            said = [_said(f, layout, meant=meant) for f in filters]
            return _joined(said, "and" if meant else "or")
        case Or(filters):
            said = [_said(f, layout, meant=meant) for f in filters]
            return _joined(said, "or" if meant else "and")
        case Not(inner):
            return _said(inner, layout, meant=not meant)
        case Equals(field, value):
            return _comparisons(layout.column_of(field), [("==", value)], meant=meant)
        case In(field, values):
            return _in(layout.column_of(field), values, meant=meant)
        case Range(field, gte, gt, lte, lt):
            bounds = ((">=", gte), (">", gt), ("<=", lte), ("<", lt))
            said_bounds = [(op, value) for op, value in bounds if value is not None]
            return _comparisons(layout.column_of(field), said_bounds, meant=meant)
        case Contains(field, value):
            column, item = layout.column_of(field), quoted(value)
            if meant:
                return f"array_contains({column}, {item})"
            return f"({column} is null or not array_contains({column}, {item}))"
        case _:
            assert_never(filter)


def _comparisons(column: str, bounds: Iterable[tuple[str, Scalar]], *, meant: bool) -> Expression:
    if meant:
        said = " and ".join(f"{column} {op} {_literal(value)}" for op, value in bounds)
        return f"({said})"
    said = " or ".join(f"{column} {COMPLEMENTS[op]} {_literal(value)}" for op, value in bounds)
    return f"({column} is null or {said})"


def _in(column: str, values: Iterable[Scalar], *, meant: bool) -> Expression:
    listed = ", ".join(_literal(value) for value in values)
    if not listed:
        return not meant
    if meant:
        return f"{column} in [{listed}]"
    return f"({column} is null or {column} not in [{listed}])"


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
