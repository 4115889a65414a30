"""The keyword index of a collection's file: terms of texts, kept by the transaction that writes.

A record with at least one term is one row of `texts` and has rows in `terms` under its number.
"""

# ruff: noqa: S608  # what is formatted in are numbers and the SQL of a checked filter

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.stores.duckdb.filters import Condition
from dr_pipelines.stores.duckdb.memory import Connection
from dr_pipelines.stores.shared.keywords import bm25, postings

WINDOW_ROWS, MOST_ROWS = 64, 8192
PIECE_BYTES = 4 * 2**20
"""Of texts that are read, or cut into terms, at once: that takes about ten times as much memory."""


def build(connection: Connection) -> None:
    """Index every record of the collection. The caller's transaction has written none: its own rows
    would have numbers of another kind."""
    query = "SELECT id, text FROM records WHERE rowid >= ? AND rowid < ?"
    for start, end in _windows(connection):
        add(connection, connection.sql(query, params=[start, end]).to_arrow_table())


def _windows(connection: Connection) -> Iterator[tuple[int, int]]:
    """Ranges of row numbers, each with about as many bytes of texts as may be read at once; the
    numbers of deleted rows have none."""
    sizes = connection.execute(
        f"SELECT rowid // {WINDOW_ROWS} AS place, coalesce(sum(strlen(text)), 0)::BIGINT "
        "FROM records GROUP BY place ORDER BY place"
    ).fetchall()
    start = end = total = 0
    for place, size in sizes:
        next_end = (place + 1) * WINDOW_ROWS
        if end > start and (total + size > PIECE_BYTES or next_end - start > MOST_ROWS):
            yield start, end
            start, total = end, 0
        end, total = next_end, total + size
    if end > start:
        yield start, end


def add(connection: Connection, batch: pa.Table) -> None:
    """Index records (columns `id` and `text`) that are not in the index, some at a time."""
    texts = batch.column("text").combine_chunks()
    lengths = pc.fill_null(pc.binary_length(texts), 0).to_numpy().astype(np.int64)
    pieces = lengths.cumsum() // PIECE_BYTES
    ends = [*(np.flatnonzero(np.diff(pieces)) + 1).tolist(), len(batch)]
    for start, end in itertools.pairwise([0, *ends]):
        _add(connection, batch.slice(start, end - start))


def _add(connection: Connection, batch: pa.Table) -> None:
    """Tables are inserted without being registered first: the engine would keep each of them in
    memory to the end of the transaction."""
    rows = postings(batch.column("text").combine_chunks())
    ((first,),) = connection.execute("SELECT coalesce(max(number), -1) + 1 FROM texts").fetchall()
    lengths = rows.group_by("row", use_threads=False).aggregate([("frequency", "sum")])
    texts = {
        "number": pc.add(lengths["row"], first),
        "id": batch["id"].take(lengths["row"]),
        "length": lengths["frequency_sum"],
    }
    terms = {
        "number": pc.add(rows["row"], first),
        "term": rows["term"],
        "frequency": rows["frequency"],
    }
    connection.from_arrow(pa.table(texts)).insert_into("texts")
    connection.from_arrow(pa.table(terms)).insert_into("terms")


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
    matches = connection.sql(
        "SELECT number AS row, term, frequency, length FROM terms JOIN texts USING (number) "
        "WHERE term IN (SELECT term FROM wanted)"
    ).to_arrow_table()
    if not len(matches):
        return []
    ((documents, total),) = connection.execute(
        "SELECT count(*), sum(length)::BIGINT FROM texts"
    ).fetchall()
    rows, scores = bm25(matches, documents=documents, average_length=total / documents)
    connection.register("scored", pa.table({"number": rows, "score": scores}))
    condition, values = where
    best = connection.execute(
        "SELECT id, score FROM scored JOIN texts USING (number) "
        f"WHERE id IN (SELECT id FROM records WHERE {condition}) "
        f"ORDER BY score DESC, id LIMIT {limit}",
        values,
    )
    return [(key, score) for key, score in best.fetchall()]
