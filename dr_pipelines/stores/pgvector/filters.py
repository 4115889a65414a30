"""Filters as SQL conditions that are never null."""

from datetime import datetime
from typing import assert_never

from psycopg import sql

from dr_pipelines.model.collection import FieldType
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
from dr_pipelines.stores.pgvector.columns import Mapping
from dr_pipelines.stores.pgvector.statements import qualified
from dr_pipelines.stores.pgvector.texts import escaped

NEVER = sql.SQL("false")
SIGNS = {
    "=": qualified(" = "),
    ">=": qualified(" >= "),
    ">": qualified(" > "),
    "<=": qualified(" <= "),
    "<": qualified(" < "),
}


def condition(filter: Filter | None, mapping: Mapping) -> sql.Composable:
    """A checked filter: texts compare bytewise, and NaN, which the engine takes for the largest
    number, compares with nothing."""
    match filter:
        case None:
            return sql.SQL("true")
        case And(filters):
            return _joined(filters, " AND ", "true", mapping)
        case Or(filters):
            return _joined(filters, " OR ", "false", mapping)
        case Not(inner):
            return sql.SQL("(NOT {})").format(condition(inner, mapping))
        case Equals(field, value):
            return _true(_compared(field, "=", value, mapping))
        case In(field, values):
            return _true(_any([_compared(field, "=", value, mapping) for value in values]))
        case Contains(field, value):
            text = _text(value, field, mapping)
            if "\0" in text:
                return NEVER
            contains = qualified("{}::text = ANY ({}::text[])")
            return _true(contains.format(sql.Literal(text), _column(field, mapping)))
        case Range(field, gte, gt, lte, lt):
            bounds = ((">=", gte), (">", gt), ("<=", lte), ("<", lt))
            parts = [_compared(field, mark, v, mapping) for mark, v in bounds if v is not None]
            return _true(sql.SQL(" AND ").join(parts))
        case _:
            assert_never(filter)


def _joined(filters: tuple[Filter, ...], word: str, empty: str, mapping: Mapping) -> sql.Composable:
    if not filters:
        return sql.SQL("true" if empty == "true" else "false")
    joint = sql.SQL(" AND ") if word == " AND " else sql.SQL(" OR ")
    return sql.SQL("({})").format(joint.join(condition(f, mapping) for f in filters))


def _any(parts: list[sql.Composable]) -> sql.Composable:
    return sql.SQL(" OR ").join(parts) if parts else NEVER


def _compared(field: str, mark: str, value: Scalar, mapping: Mapping) -> sql.Composable:
    column, sign = _column(field, mapping), SIGNS[mark]
    declared = next(f.type for f in mapping.fields if f.name == field)
    if isinstance(value, str):
        value = _text(value, field, mapping)
        if "\0" in value:
            return NEVER if mark == "=" else _compared_bytes(_text_of(field, mapping), sign, value)
    match declared:
        case FieldType.STRING:
            text = _text_of(field, mapping)
            return qualified('{} COLLATE "C" {} {}').format(text, sign, sql.Literal(value))
        case FieldType.NUMBER:
            compared = qualified("({0}::float8 {1} {2}::float8 AND {0}::float8 <> 'NaN')")
            return compared.format(column, sign, sql.Literal(str(value)))
        case FieldType.INTEGER if isinstance(value, int | float):
            return _compared_number(column, sign, value)
        case FieldType.TIMESTAMP if isinstance(value, datetime):
            moment = sql.Literal(value.isoformat())
            return qualified("{} {} {}::timestamptz").format(column, sign, moment)
        case _:
            return sql.SQL("{} {} {}").format(column, sign, sql.Literal(value))


def _compared_number(column: sql.Composable, sign: sql.SQL, value: float) -> sql.Composable:
    """Between types that the engine has a comparison for: it looks for none of somebody else's."""
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return qualified("{} {} {}::int8").format(column, sign, sql.Literal(str(int(value))))
    return qualified("{}::numeric {} {}::numeric").format(column, sign, sql.Literal(repr(value)))


def _compared_bytes(text: sql.Composable, sign: sql.SQL, value: str) -> sql.Composable:
    """Against a text that no text of the engine equals."""
    compared = qualified("convert_to({}, 'UTF8') {} {}::bytea")
    return compared.format(text, sign, sql.Literal(f"\\x{value.encode().hex()}"))


def _text(value: str, field: str, mapping: Mapping) -> str:
    """A text as the column has it."""
    column = mapping.column(field)
    return escaped(value) if column is not None and column.any_text else value


def _column(field: str, mapping: Mapping) -> sql.Composable:
    column = mapping.column(field)
    return sql.Identifier(column.native if column else field)


def _text_of(field: str, mapping: Mapping) -> sql.Composable:
    """A field of texts as text, whatever its column is."""
    column = mapping.column(field)
    return column.read.format(column.identifier) if column else sql.Identifier(field)


def _true(compared: sql.Composable) -> sql.Composable:
    return sql.SQL("coalesce({}, false)").format(compared)
