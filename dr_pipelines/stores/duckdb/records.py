"""Records of a collection's file, a piece at a time: in ascending bytewise order of id, or as they
lie.

Only ids are sorted by DuckDB: it would spill whole rows. A piece is fetched by its bounds, which is
cheap where records were written in about that order, and put into order in Arrow. As they lie,
pieces are ranges of row numbers, of which DuckDB reads no block twice. The caller holds a
transaction, so that all pieces are of one state.
"""

# ruff: noqa: S608  # names come from a CollectionSpec, whose patterns allow identifiers only;
# values are parameters.

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import Unavailable
from dr_pipelines.stores.duckdb.memory import Connection, OutOfMemory
from dr_pipelines.stores.duckdb.schema import name

RANGE_ROWS = 8192
RANGE_BYTES = 24 * 2**20
"""What is fetched at once: so many rows, or about so many bytes of long ones. DuckDB takes memory
for texts in powers of two, several times over: for 64 MiB of them 256 MiB are too few."""
MARK_ROWS = 256
"""Of so many records one id is kept in memory."""


class _Pace:
    """How many rows to fetch, going by the last ones. DuckDB could tell how long texts are only by
    unpacking 2,048 of them at once, for which there may be no memory."""

    def __init__(self, row_bytes: float) -> None:
        self._row_bytes = max(1.0, 4 * row_bytes)  # packed: texts take several times as much

    def rows(self) -> int:
        return max(1, min(RANGE_ROWS, int(RANGE_BYTES / self._row_bytes)))

    def learn(self, rows: pa.Table) -> pa.Table:
        if len(rows):
            self._row_bytes = max(1.0, rows.nbytes / len(rows))
        return rows


Again = Callable[[OutOfMemory], None]
"""Starts the transaction again, of the very same state, where memory did not suffice."""


def all_records(
    connection: Connection, columns: Sequence[str], *, size_bytes: int, again: Again
) -> Iterator[pa.Table]:
    """Every record, in pieces; `size_bytes` is that of the file."""
    numbered = "SELECT id, row_number() OVER (ORDER BY id) - 1 AS n FROM records"
    query = f"SELECT id FROM ({numbered}) WHERE n % {MARK_ROWS} = 0 ORDER BY id"
    marks = [row[0] for row in connection.execute(query).fetchall()]
    pace, place = _Pace(size_bytes / max(1, len(marks) * MARK_ROWS)), 0
    while place < len(marks):
        many = pace.rows() // MARK_ROWS
        after = marks[place + max(1, many)] if place + max(1, many) < len(marks) else None
        where, bounds = _between(marks[place], after)
        if many:
            yield pace.learn(_fetched(connection, columns, where, bounds, again=again))
        else:
            query = f"SELECT id FROM records WHERE {where} ORDER BY id"
            ids = [row[0] for row in connection.execute(query, bounds).fetchall()]
            fetch = partial(_fetched, connection, columns, again=again)
            yield from _few_at_once(fetch, ids, [*ids[1:], after], pace)
        place += max(1, many)


def _few_at_once(
    fetch: Callable[[str, list[Any]], pa.Table],
    ids: list[str],
    nexts: list[str | None],
    pace: _Pace,
) -> Iterator[pa.Table]:
    """Records by their ids; `nexts` are the ids that come after each."""
    start = 0
    while start < len(ids):
        end = min(len(ids), start + pace.rows())
        yield pace.learn(fetch(*_between(ids[start], nexts[end - 1])))
        start = end


def _between(first: str, after: str | None) -> tuple[str, list[Any]]:
    return ("id >= ?", [first]) if after is None else ("id >= ? AND id < ?", [first, after])


def as_they_lie(
    connection: Connection, columns: Sequence[str], *, row_bytes: float, again: Again
) -> Iterator[pa.Table]:
    """Every record, in pieces, in no order; `row_bytes` is what a record takes in the file.

    Raises:
        Unavailable: row numbers changed within the transaction, so that the answer would have gaps.
    """
    query = "SELECT count(*), coalesce(max(rowid), -1) FROM records"
    ((count, last),) = connection.execute(query).fetchall()
    pace, start, total = _Pace(row_bytes), 0, 0
    while start <= last:
        end = min(start + pace.rows(), start - start % RANGE_ROWS + RANGE_ROWS)  # within a block
        where = "rowid >= ? AND rowid < ?"
        rows = _rows(connection, columns, where, [start, end], again=again)
        if rows.num_rows:
            yield pace.learn(rows)
        start, total = end, total + rows.num_rows
    _require_all(count, total)


def _require_all(expected: int, number: int) -> None:
    if number != expected:
        moved = abs(expected - number)
        raise Unavailable(f"{moved} records moved during a scan; scan again")


def records_of(
    connection: Connection,
    columns: Sequence[str],
    documents: Sequence[str],
    *,
    row_bytes: float,
    again: Again,
) -> Iterator[pa.Table]:
    """The records of some documents, in pieces; keeps their row numbers in memory. `row_bytes` is
    what a record takes in the file.

    Fetched by row number, which makes DuckDB skip every block that holds none of them.

    Raises:
        Unavailable: row numbers changed within the transaction, so that the answer would have gaps.
    """
    connection.register("wanted", pa.table({"document_id": pa.array(documents, pa.string())}))
    chosen = connection.sql(
        "SELECT rowid AS number FROM records "
        "WHERE document_id IN (SELECT document_id FROM wanted) ORDER BY id"
    ).to_arrow_table()
    pace, start = _Pace(row_bytes), 0
    while start < len(chosen):
        piece = chosen.slice(start, pace.rows())
        where = "rowid IN (SELECT number FROM chosen)"
        rows = _fetched(connection, columns, where, [], again=again, chosen=piece)
        _require_all(len(piece), len(rows))
        yield pace.learn(rows)
        start += len(piece)


def _fetched(
    connection: Connection,
    columns: Sequence[str],
    where: str,
    values: list[Any],
    *,
    again: Again,
    chosen: pa.Table | None = None,
) -> pa.Table:
    """Records in order of id, whatever they lie in."""
    read = list(dict.fromkeys([*columns, "id"]))
    rows = _rows(connection, read, where, values, again=again, chosen=chosen)
    order = rows.column("id")
    ascending = len(order) < 2 or pc.all(pc.less(order[:-1], order[1:])).as_py()
    rows = rows.select(columns)
    return rows if ascending else rows.take(pc.sort_indices(order))


def _rows(
    connection: Connection,
    columns: Sequence[str],
    where: str,
    values: list[Any],
    *,
    again: Again,
    chosen: pa.Table | None = None,
) -> pa.Table:
    listed = ", ".join(name(column) for column in columns)
    query = f"SELECT {listed} FROM records WHERE {where}"
    rows: pa.Table | None = None
    while rows is None:
        try:
            if chosen is not None:
                connection.register("chosen", chosen)
            rows = connection.sql(query, params=values).to_arrow_reader().read_all()
        except OutOfMemory as error:
            again(error)
    return rows
