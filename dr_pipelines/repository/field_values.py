"""Values of the fields of records, counted in a database of their own, in bounded memory."""

# ruff: noqa: S608  # names of columns are made here, values are parameters

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from dr_pipelines.model.collection import CollectionSpec, Field, FieldType
from dr_pipelines.model.query import Scalar
from dr_pipelines.repository.scratch import insert, scratch_database

TYPES = {
    FieldType.STRING: "VARCHAR",
    FieldType.INTEGER: "BIGINT",
    FieldType.NUMBER: "DOUBLE",
    FieldType.BOOLEAN: "BOOLEAN",
    FieldType.TIMESTAMP: "TIMESTAMPTZ",
    FieldType.STRINGS: "VARCHAR[]",
}
EACH_ONCE = "unnest(list_distinct({}))"
EXPRESSIBLE = {
    FieldType.NUMBER: "NOT isnan(value)",
    FieldType.TIMESTAMP: "value BETWEEN '0002-01-01' AND '9998-12-31'",
}
"""Values that a filter can name, where not every one is."""
SAME_NUMBER = 1e-12
"""Relative difference up to which numbers are one to a filter: some engines read the last digits of
a double otherwise than they were written."""
CROWDED = {
    FieldType.NUMBER: f"""coalesce(
        value - lag(value) OVER ascending <= {2 * SAME_NUMBER} * abs(value)
        OR lead(value) OVER ascending - value <= {2 * SAME_NUMBER} * abs(value), false)"""
}
"""Values beside which there are others that are one with them to a filter."""


@dataclass(frozen=True)
class ValueCounts:
    """Some values of a field, each with its records, the most frequent first; there are `distinct`
    ones that filters can name. `none` counts records of which no value can be named."""

    values: tuple[tuple[Scalar, int], ...]
    distinct: int
    none: int


class FieldValues:
    """The filterable fields of some records."""

    def __init__(self, sql: duckdb.DuckDBPyConnection, fields: Sequence[Field]) -> None:
        self._sql = sql
        self.fields = tuple(fields)
        self._columns = {field.name: f"f{number}" for number, field in enumerate(fields)}

    def counts(self, field: Field, *, most: int, some: int, seed: int) -> ValueCounts:
        """The `most` frequent values of a field, and `some` drawn from the others; no numbers that
        lie within `SAME_NUMBER` of others."""
        query = f"""
            WITH counted AS (
                SELECT value, count(*) AS records FROM {self._values(field)} GROUP BY value),
            apart AS (
                SELECT value, records, count(*) OVER () AS total,
                       {CROWDED.get(field.type, "false")} AS crowded
                FROM counted WINDOW ascending AS (ORDER BY value)),
            placed AS (
                SELECT value, records, total,
                       row_number() OVER (ORDER BY records DESC, value) AS place
                FROM apart WHERE NOT crowded)
            SELECT value, records, total FROM placed WHERE place <= $most
            UNION ALL (
                SELECT value, records, total FROM placed WHERE place > $most
                ORDER BY md5(value::VARCHAR || $seed), value LIMIT $some)
        """
        parameters = {"most": most, "some": some, "seed": f":{seed}"}
        rows = self._sql.sql(query, params=parameters).to_arrow_table().to_pylist()
        values = sorted(((row["value"], row["records"]) for row in rows), key=lambda v: -v[1])
        return ValueCounts(tuple(values), rows[0]["total"] if rows else 0, self._none(field))

    def examples(self, field: Field, values: Sequence[Scalar], *, each: int, seed: int) -> pa.Array:
        """The ids of records that have one of some values, of each value `each` as many."""
        query = f"""
            SELECT DISTINCT unnest(ids) AS id FROM (
                SELECT arg_min(id, md5(id || $seed), {each:d}) AS ids
                FROM {self._values(field)} WHERE value IN (SELECT unnest($chosen)) GROUP BY value)
        """
        parameters = {"seed": f":{seed}", "chosen": list(values)}
        return self._sql.sql(query, params=parameters).to_arrow_table()["id"].combine_chunks()

    def having(self, ids: Sequence[str], parts: Sequence[tuple[Field, Scalar]]) -> set[str]:
        """Those of some ids whose records have each of some values in its field."""
        joins, parameters = self._joins(parts)
        query = f"SELECT id FROM (SELECT unnest($ids) AS id) {joins}"
        rows = self._sql.sql(query, params=parameters | {"ids": list(ids)}).fetchall()
        return {row[0] for row in rows}

    def number(self, parts: Sequence[tuple[Field, Scalar]]) -> int:
        """How many records have each of some values in its field."""
        joins, parameters = self._joins(parts)
        query = f"SELECT count(*) FROM fields {joins}"
        return int(self._sql.sql(query, params=parameters).fetchall()[0][0])

    def _joins(self, parts: Sequence[tuple[Field, Scalar]]) -> tuple[str, dict[str, object]]:
        joins = (
            f"SEMI JOIN (SELECT id FROM {self._values(field)} WHERE value = $v{number}) USING (id)"
            for number, (field, _) in enumerate(parts)
        )
        return " ".join(joins), {f"v{number}": value for number, (_, value) in enumerate(parts)}

    def _values(self, field: Field) -> str:
        """SQL: every value of the field that a filter can name, once a record, with the id."""
        column = self._columns[field.name]
        value = EACH_ONCE.format(column) if field.type is FieldType.STRINGS else column
        usable = EXPRESSIBLE.get(field.type, "true")
        return (
            f"(SELECT id, value FROM (SELECT id, {value} AS value FROM fields) "
            f"WHERE value IS NOT NULL AND {usable})"
        )

    def _none(self, field: Field) -> int:
        query = f"SELECT count(*) FROM fields ANTI JOIN {self._values(field)} v USING (id)"
        return int(self._sql.sql(query).fetchall()[0][0])


def filterable(spec: CollectionSpec) -> tuple[Field, ...]:
    """The fields by which queries may filter."""
    return tuple(field for field in spec.fields if field.filterable)


@contextmanager
def field_values(rows: Iterable[pa.Table], spec: CollectionSpec) -> Iterator[FieldValues]:
    """The values of some records (`id` and the filterable fields), until the context ends."""
    fields = filterable(spec)
    with scratch_database() as sql:
        columns = [f"f{number} {TYPES[field.type]}" for number, field in enumerate(fields)]
        sql.execute(f"CREATE TABLE fields ({', '.join(['id VARCHAR', *columns])})")
        for table in rows:
            insert(sql, "fields", table.select(["id", *(field.name for field in fields)]))
        yield FieldValues(sql, fields)
