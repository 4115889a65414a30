"""The keyword index of a collection's file: terms of texts, kept by the transaction that writes.

A record with at least one term is one row of `texts` and has rows in `terms` under its number.
"""

# ruff: noqa: S608  # what is formatted in are numbers and the SQL of a checked filter

from collections.abc import Sequence

import pyarrow as pa

from dr_pipelines.stores.duckdb_files import Connection
from dr_pipelines.stores.duckdb_sql import Condition
from dr_pipelines.stores.keywords import bm25, postings

BUILD_ROWS = 8192


def build(connection: Connection) -> None:
    """Index every record of the collection."""
    last: str | None = None
    query = (
        f"SELECT id, text FROM records WHERE coalesce(id > ?, TRUE) ORDER BY id LIMIT {BUILD_ROWS}"
    )
    while len(batch := connection.sql(query, params=[last]).to_arrow_table()):
        add(connection, batch)
        last = batch.column("id")[-1].as_py()


def add(connection: Connection, batch: pa.Table) -> None:
    """Index records (columns `id` and `text`) that are not in the index."""
    found = postings(batch.column("text").combine_chunks())
    ids = pa.table({"row": pa.array(range(len(batch)), pa.int64()), "id": batch.column("id")})
    ((first,),) = connection.execute("SELECT coalesce(max(number), -1) + 1 FROM texts").fetchall()
    connection.register("found", found)
    connection.register("ids", ids)
    connection.execute(
        f"INSERT INTO texts SELECT row + {first}, any_value(id), sum(frequency) "
        "FROM found JOIN ids USING (row) GROUP BY row ORDER BY row"
    )
    connection.execute(f"INSERT INTO terms SELECT row + {first}, term, frequency FROM found")


def remove(connection: Connection, ids: pa.Table) -> None:
    """Forget the records of column `id`."""
    connection.register("forgotten", ids)
    numbers = "SELECT number FROM texts WHERE id IN (SELECT id FROM forgotten)"
    connection.execute(f"DELETE FROM terms WHERE number IN ({numbers})")
    connection.execute("DELETE FROM texts WHERE id IN (SELECT id FROM forgotten)")


def ranking(
    connection: Connection, terms: Sequence[str], where: Condition, *, limit: int
) -> list[tuple[str, float]]:
    """The best matches among the records that the condition keeps."""
    connection.register("wanted", pa.table({"term": pa.array(terms, pa.string())}))
    found = connection.sql(
        "SELECT number AS row, term, frequency, length FROM terms JOIN texts USING (number) "
        "WHERE term IN (SELECT term FROM wanted)"
    ).to_arrow_table()
    if not len(found):
        return []
    ((documents, total),) = connection.execute(
        "SELECT count(*), sum(length)::BIGINT FROM texts"
    ).fetchall()
    rows, scores = bm25(found, documents=documents, average_length=total / documents)
    connection.register("scored", pa.table({"number": rows, "score": scores}))
    condition, values = where
    best = connection.execute(
        "SELECT id, score FROM scored JOIN texts USING (number) "
        f"WHERE id IN (SELECT id FROM records WHERE {condition}) "
        f"ORDER BY score DESC, id LIMIT {limit}",
        values,
    )
    return [(found_id, score) for found_id, score in best.fetchall()]
