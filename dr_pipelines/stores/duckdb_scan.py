"""Records of a collection's file in ascending bytewise order of id, a piece at a time.

Only ids are sorted by DuckDB: it would spill whole rows. A piece is fetched by its bounds, which is
cheap where records were written in about that order, and put into order in Arrow. The caller holds
a transaction, so that all pieces are of one state.
"""

# ruff: noqa: S608  # names come from a CollectionSpec, whose patterns allow identifiers only;
# values are parameters.

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import Unavailable
from dr_pipelines.stores.duckdb_files import Connection
from dr_pipelines.stores.duckdb_sql import name


def all_records(connection: Connection, columns: Sequence[str], *, step: int) -> Iterator[pa.Table]:
    """Every record, `step` at a time; keeps one id for each piece in memory."""
    numbered = "SELECT id, row_number() OVER (ORDER BY id) - 1 AS n FROM records"
    starts = connection.execute(f"SELECT id FROM ({numbered}) WHERE n % {step} = 0 ORDER BY id")
    firsts = [row[0] for row in starts.fetchall()]
    for first, after in zip_longest(firsts, firsts[1:]):
        if after is None:
            yield _fetched(connection, columns, "id >= ?", [first])
        else:
            yield _fetched(connection, columns, "id >= ? AND id < ?", [first, after])


def records_of(
    connection: Connection, columns: Sequence[str], documents: Sequence[str], *, step: int
) -> Iterator[pa.Table]:
    """The records of some documents, `step` at a time; keeps their ids in memory.

    Fetched by row number, which makes DuckDB skip every block that holds none of them.

    Raises:
        Unavailable: row numbers changed within the transaction, so that the answer would have gaps.
    """
    connection.register("wanted", pa.table({"document_id": pa.array(documents, pa.string())}))
    chosen = connection.sql(
        "SELECT rowid AS number FROM records "
        "WHERE document_id IN (SELECT document_id FROM wanted) ORDER BY id"
    ).to_arrow_table()
    for start in range(0, len(chosen), step):
        piece = chosen.slice(start, step)
        connection.register("chosen", piece)
        found = _fetched(connection, columns, "rowid IN (SELECT number FROM chosen)", [])
        if len(found) != len(piece):
            raise Unavailable(f"{len(piece) - len(found)} records moved during a scan; scan again")
        yield found


def _fetched(
    connection: Connection, columns: Sequence[str], where: str, values: list[Any]
) -> pa.Table:
    listed = ", ".join(name(column) for column in columns)
    query = f'SELECT {listed}, id AS "order" FROM records WHERE {where}'
    found = connection.sql(query, params=values).to_arrow_reader().read_all()
    order, found = found.column("order"), found.drop_columns(["order"])
    ascending = len(order) < 2 or pc.all(pc.less(order[:-1], order[1:])).as_py()
    return found if ascending else found.take(pc.sort_indices(order))
