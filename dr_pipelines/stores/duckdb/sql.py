"""The tables of a collection's file, and requests as SQL."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from dr_pipelines.model.collection import CollectionSpec, FieldType, Metric
from dr_pipelines.model.query import Filter, Scalar
from dr_pipelines.model.record import ARROW_TYPES, SPARSE, store_schema
from dr_pipelines.stores.shared.filters import SIGNS, Bounds, in_words
from dr_pipelines.stores.shared.requests import VectorRequest

SQL_TYPES = {
    pa.string(): "VARCHAR",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    ARROW_TYPES[FieldType.TIMESTAMP]: "TIMESTAMP",  # in UTC: DuckDB's zoned type needs an extension
    pa.list_(pa.string()): "VARCHAR[]",
    SPARSE: 'STRUCT("indices" BIGINT[], "values" FLOAT[])',
}
SHARED = "list_sum([(p[1] != 0 AND p[2] != 0)::DOUBLE FOR p IN list_zip({row}, {query})])"
EITHER = "list_sum([(p[1] != 0 OR p[2] != 0)::DOUBLE FOR p IN list_zip({row}, {query})])"
SCORES = {
    Metric.COSINE: "array_cosine_similarity({row}, {query})",
    Metric.DOT: "array_inner_product({row}, {query})",
    Metric.L2: "0 - array_distance({row}, {query})",
    Metric.L1: "0 - list_sum([abs(p[1] - p[2]) FOR p IN list_zip({row}, {query})])",
    Metric.HAMMING: "0 - list_sum([(p[1] != p[2])::DOUBLE FOR p IN list_zip({row}, {query})])",
    Metric.JACCARD: f"coalesce({SHARED} / nullif({EITHER}, 0), 1) - 1",
}

Condition = tuple[str, list[Any]]
"""SQL and the values of its parameters, in order."""


def create_tables(spec: CollectionSpec) -> list[str]:
    """`collection_label` has one row; `terms` and `texts` are empty until the index is built."""
    columns = [f"{name(f.name)} {_sql_type(f.type)}" for f in store_schema(spec)]
    return [
        "CREATE TABLE collection_label (label VARCHAR)",
        f"CREATE TABLE records ({', '.join(columns)})",
        "CREATE TABLE texts (number BIGINT, id VARCHAR, length BIGINT)",
        "CREATE TABLE terms (number BIGINT, term VARCHAR, frequency BIGINT)",
    ]


def name(column: str) -> str:
    """A column name as SQL; names are identifiers, so that quoting them is enough."""
    return f'"{column}"'


def to_stored(batch: pa.Table) -> pa.Table:
    """Zoned times as plain UTC times."""
    return _cast(batch, ARROW_TYPES[FieldType.TIMESTAMP], pa.timestamp("us"))


def from_stored(table: pa.Table, spec: CollectionSpec) -> pa.Table:
    """The table in the types of `store_schema(spec)`."""
    schema = store_schema(spec)
    return table.cast(pa.schema([schema.field(column) for column in table.column_names]))


def score(request: VectorRequest) -> Condition:
    """In double precision, row by row: the same row always scores the same. Not finite, or null,
    for a vector that is not finite: it is no hit."""
    doubles = f"DOUBLE[{request.column.dimension}]"
    row = f"{name(request.column.name)}::{doubles}"
    sql = SCORES[request.column.metric].format(row=row, query=f"?::{doubles}")
    vector = [float(component) for component in request.vector]
    values = [vector] * sql.count("?")
    usable = f"CASE WHEN isfinite(list_sum({row})) THEN {{}} END"
    match request.column.metric:
        case Metric.COSINE:  # of a zero vector: NaN
            return f"coalesce(nullif({sql}, 'nan'::DOUBLE), {usable.format(0)})", values
        case Metric.HAMMING | Metric.JACCARD:  # which NaN does not reach
            return usable.format(sql), values
        case _:
            return sql, values


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


def _sql_type(type: pa.DataType) -> str:
    if pa.types.is_fixed_size_list(type):
        return f"FLOAT[{type.list_size}]"
    if pa.types.is_list(type) and pa.types.is_fixed_size_list(type.value_type):
        return f"{_sql_type(type.value_type)}[]"
    return SQL_TYPES[type]


def _cast(table: pa.Table, old: pa.DataType, new: pa.DataType) -> pa.Table:
    fields = [pa.field(f.name, new) if f.type == old else f for f in table.schema]
    return table.cast(pa.schema(fields))
