"""The tables of a collection's file, and its columns in DuckDB's types."""

from collections.abc import Sequence

import pyarrow as pa

from dr_pipelines.model.collection import CollectionSpec, FieldType
from dr_pipelines.model.record import ARROW_TYPES, SPARSE, store_schema

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


def strings(column: str, values: Sequence[str]) -> pa.Table:
    """A table of one column, to be registered."""
    return pa.table({column: pa.array(list(values), pa.string())})


def to_stored(batch: pa.Table) -> pa.Table:
    """Zoned times as plain UTC times."""
    return _cast(batch, ARROW_TYPES[FieldType.TIMESTAMP], pa.timestamp("us"))


def from_stored(table: pa.Table, spec: CollectionSpec) -> pa.Table:
    """The table in the types of `store_schema(spec)`."""
    schema = store_schema(spec)
    return table.cast(pa.schema([schema.field(column) for column in table.column_names]))


def _sql_type(type: pa.DataType) -> str:
    if pa.types.is_fixed_size_list(type):
        return f"FLOAT[{type.list_size}]"
    if pa.types.is_list(type) and pa.types.is_fixed_size_list(type.value_type):
        return f"{_sql_type(type.value_type)}[]"
    return SQL_TYPES[type]


def _cast(table: pa.Table, old: pa.DataType, new: pa.DataType) -> pa.Table:
    fields = [pa.field(f.name, new) if f.type == old else f for f in table.schema]
    return table.cast(pa.schema(fields))
