"""The keyword index of a collection's file: terms of texts, kept by the transaction that writes.

A record with at least one term is one row of `texts` and has rows in `terms` under its number.
"""

# ruff: noqa: S608  # what is formatted in are numbers and the SQL of a checked filter

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.stores.duckdb_files import Connection
from dr_pipelines.stores.duckdb_sql import Condition
from dr_pipelines.stores.keywords import bm25, postings

FIRST_ROWS, MOST_ROWS = 64, 8192
PIECE_BYTES = 4 * 2**20
"""Of texts that are cut into terms at once, which takes about ten times as much memory."""


def build(connection: Connection) -> None:
    """Index every record of the collection, so many at a time as their texts let."""
    ((end,),) = connection.execute("SELECT coalesce(max(rowid), -1) + 1 FROM records").fetchall()
    query = "SELECT id, text FROM records WHERE rowid >= ? AND rowid < ?"
    start, rows = 0, FIRST_ROWS
    while start < end:
        batch = connection.sql(query, params=[start, start + rows]).to_arrow_table()
        add(connection, batch)
        start += rows
        rows = max(1, min(MOST_ROWS, 2 * rows, rows * PIECE_BYTES // max(1, batch.nbytes)))


def add(connection: Connection, batch: pa.Table) -> None:
    """Index records (columns `id` and `text`) that are not in the index."""
    rows = max(1, len(batch) * PIECE_BYTES // max(1, batch.nbytes))
    for start in range(0, len(batch), rows):
        _add(connection, batch.slice(start, rows))


def _add(connection: Connection, batch: pa.Table) -> None:
    """Without a registered table: a transaction keeps each of them in memory to its end."""
    found = postings(batch.column("text").combine_chunks())
    ((first,),) = connection.execute("SELECT coalesce(max(number), -1) + 1 FROM texts").fetchall()
    lengths = found.group_by("row", use_threads=False).aggregate([("frequency", "sum")])
    texts = [lengths["row"], batch["id"].take(lengths["row"]), lengths["frequency_sum"]]
    terms = [found["row"], found["term"], found["frequency"]]
    for table, (rows, *others) in {"texts": texts, "terms": terms}.items():
        numbered = pa.table([pc.add(rows, first), *others], names=["number", "a", "b"])
        connection.from_arrow(numbered).insert_into(table)


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
