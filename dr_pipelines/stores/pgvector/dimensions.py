"""Vector columns that declare no dimension: each holds vectors of any, and every dimension that is
there is a vector of the collection."""

from contextlib import suppress

import numpy as np
import numpy.typing as npt
from psycopg import sql

from dr_pipelines.stores.pgvector.catalog import Attribute, Table, rows_of
from dr_pipelines.stores.pgvector.change_tokens import change_token
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.decoding import Fields
from dr_pipelines.stores.pgvector.planner import may_plan
from dr_pipelines.stores.pgvector.statements import qualified
from dr_pipelines.stores.pgvector.streams import copied
from dr_pipelines.stores.pgvector.vector_indexes import CAST

MOST = 64
"""Dimensions of one column that become vectors; a column of more is no vector, but travels as
text."""
MEASURES = {
    "vector": qualified("{extension}.vector_dims({0})"),
    "halfvec": qualified("{extension}.vector_dims({0})"),
    "sparsevec": qualified("split_part(format('%s', {0}), '/', 2)::int4"),
}


def dimensions(session: Session, table: Table, attribute: Attribute, *, whole: bool) -> list[int]:
    """The dimensions that a column holds, ascending; with `whole` of all rows, else of one. Rows
    are read for that once for each state of the table: the engine keeps no count of them."""
    if not whole:
        return _measured(session, table, attribute, limit=1)
    sign = change_token(session, table)
    remembered = session.dimensions.get((table.id, attribute.name))
    if remembered is not None and sign is not None and remembered[0] == sign:
        return list(remembered[1])
    measured = _measured(session, table, attribute, limit=MOST + 1)
    if sign is not None:
        session.dimensions[table.id, attribute.name] = sign, tuple(measured)
    return measured


def sizes(kind: str, fields: Fields) -> npt.NDArray[np.int64]:
    """The dimension of each vector of a column, of the bytes that its type sends; of nulls any."""
    return fields.numbers(">i4" if kind == "sparsevec" else ">i2").astype(np.int64)


class _Enough(Exception):
    """All that was asked for is known; the rest is not read."""


def _copied(session: Session, table: Table, attribute: Attribute, *, limit: int) -> list[int]:
    measured = set[int]()
    with suppress(_Enough), session.connection.transaction():  # which the end before the end undoes
        for (fields,) in copied(session, table, [attribute.name]):
            measured.update(sizes(attribute.kind, fields)[fields.present].tolist())
            if len(measured) >= limit:
                raise _Enough
    return sorted(measured)[:limit]


def _measured(session: Session, table: Table, attribute: Attribute, *, limit: int) -> list[int]:
    if not may_plan(session, table):
        return _copied(session, table, attribute, limit=limit)
    column = sql.Identifier(attribute.name)
    measure = MEASURES[attribute.kind].format(column, extension=session.vectors)
    query = "SELECT {} FROM {} WHERE {} IS NOT NULL LIMIT 1"
    if limit > 1:
        query = "SELECT DISTINCT {} FROM {} WHERE {} IS NOT NULL ORDER BY 1 LIMIT {}"
    source = rows_of(session, table)
    rows = session.rows(sql.SQL(query).format(measure, source, column, sql.Literal(limit)))
    return [int(row[0]) for row in rows]


def of_one(kind: str, size: int) -> sql.SQL:
    """The expression that reads a column's vectors of one dimension."""
    measure = MEASURES[kind].as_string()
    return sql.SQL(f"CASE WHEN {measure} OPERATOR(pg_catalog.=) {size} THEN {{0}} END")


def indexed(table: Table, attribute: Attribute) -> int | None:
    """The dimension of all vectors of a column, where an index of all of them says it."""
    for index in table.indexes:
        match = CAST.fullmatch(index.expression)
        of_it = match is not None and match["column"] == attribute.quoted
        if match is not None and of_it and index.valid and not index.partial:
            return int(match["size"])
    return None
