"""Values of a table as they lie, by COPY of bare columns, which nothing plans: the server opens the
table and sends what it holds, by the types' output functions. So no expression of an index, of
statistics or of a policy is looked at, whoever wrote it and whenever.

Rows come in the order in which they lie. Within one transaction of `Connections.reading` that is
the same each time, so that two COPYs of one table are row by row of the same records.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from dr_pipelines.errors import Damaged, Refused
from dr_pipelines.stores.pgvector.catalog import Table
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.decoding import Fields, Rows, fields_of, strings
from dr_pipelines.stores.pgvector.encoding import HEADER, TRAILER
from dr_pipelines.stores.pgvector.statements import oid, oids, qualified, text_array

PIECE_BYTES = 8 * 2**20
"""Rows are decoded when this much of them has come, and encoded about so many bytes at a time."""
MOST_HELD = 4 * PIECE_BYTES
PIECE_ROWS = 8192
PARTS = qualified("""
    SELECT c.oid::int8, n.nspname, c.relname, c.relkind::text,
        pg_catalog.row_security_active(c.oid),
        pg_catalog.has_table_privilege(c.oid, 'SELECT') OR NOT EXISTS (
            SELECT FROM pg_catalog.unnest({columns}) AS u (name)
            WHERE NOT pg_catalog.has_column_privilege(c.oid, u.name, 'SELECT')),
        c.relam = 2::oid, current_user::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = ANY ({tables})
    ORDER BY c.oid
""")
LEAVES = qualified("SELECT relid::oid::int8 FROM pg_partition_tree({}) WHERE isleaf")
Message = bytes | bytearray | memoryview
BY_QUERY = (
    "and reading it by a query would run what its owner may add at any time: name the owner as the "
    "user in the store's URL"
)
ESCAPES = {"\\b": "\b", "\\f": "\f", "\\n": "\n", "\\r": "\r", "\\t": "\t", "\\v": "\v"}
NUL = "\0"  # which no text of the engine has


def pieces(
    session: Session, statement: sql.Composed, *, rows: int = PIECE_ROWS, binary: bool = True
) -> Iterator[Rows]:
    """Rows as the server sends them, bounded in number and in size. The next ones overwrite them:
    whoever asks for these is done with those before."""
    buffer = _Held()
    skipped, least = (len(HEADER), len(TRAILER)) if binary else (0, 0)
    with session.connection.cursor() as cursor, cursor.copy(statement) as copy:
        for message in copy:  # the only step for each row, about 0.4 µs
            row = message[skipped:] if skipped else message
            skipped = 0
            if len(row) <= least:
                continue
            if buffer.add(row) >= PIECE_BYTES or len(buffer.ends) >= rows:
                yield buffer.taken()
    if buffer.ends:
        yield buffer.taken()


class _Held:
    """Rows that came, one behind the other in memory that is used again and again: to keep each
    where it came costs three times as much, nearly all of it for pages of memory that are new each
    time."""

    def __init__(self) -> None:
        self.ends: list[int] = []
        self._bytes = bytearray(PIECE_BYTES)
        self._size = 0

    def add(self, row: Message) -> int:
        """Keep a row behind the others; how many bytes there are now."""
        end = self._size + len(row)
        if end > len(self._bytes):
            larger = bytearray(2 * end)
            larger[: self._size] = self._bytes[: self._size]
            self._bytes = larger
        self._bytes[self._size : end] = row
        self.ends.append(end)
        self._size = end
        return end

    def taken(self) -> Rows:
        """All rows so far; the next ones begin anew, in the same memory but where a row was very
        long."""
        data = np.frombuffer(self._bytes, np.uint8, self._size)
        rows = Rows(data, np.array(self.ends, np.int64))
        if len(self._bytes) > MOST_HELD:
            self._bytes = bytearray(PIECE_BYTES)
        self.ends, self._size = [], 0
        return rows


def copied(session: Session, table: Table, columns: Sequence[str]) -> Iterator[list[Fields]]:
    """Some columns of a table and its partitions, as their types send them.

    Raises:
        Refused: COPY does not read all of it as it lies.
    """
    for statement in _statements(session, table, columns, form="BINARY"):
        for rows in pieces(session, statement):
            yield fields_of(rows, len(columns))


def copied_texts(
    session: Session, table: Table, columns: Sequence[str]
) -> Iterator[list[pa.Array]]:
    """The same, as their types' output functions write them.

    Raises:
        Refused: COPY does not read all of it as it lies.
    """
    for statement in _statements(session, table, columns, form="TEXT"):
        for rows in pieces(session, statement, binary=False):
            yield _texts(rows, len(columns))


def _statements(
    session: Session, table: Table, columns: Sequence[str], *, form: str
) -> list[sql.Composed]:
    statement = sql.SQL("COPY {} ({}) TO STDOUT (FORMAT {})")
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    parts = _parts(session, table, columns, again=form == "TEXT")
    return [statement.format(part, names, sql.SQL(form)) for part in parts]


def _parts(
    session: Session, table: Table, columns: Sequence[str], *, again: bool
) -> list[sql.Identifier]:
    """Where the rows are: the table, or its partitions that have none themselves. What is read
    `again` must lie as it lay."""
    _require_stored(table, columns)
    leaves = {table.id}
    if table.partitioned:
        leaves = {row[0] for row in session.rows(LEAVES.format(oid(table.id)))}
    places = {"columns": text_array(list(columns)), "tables": oids([table.id, *leaves])}
    rows = session.rows(PARTS.format(**places))
    for number, _, name, kind, hidden, permitted, is_heap, user in rows:
        if hidden:
            raise Refused(f"table {name!r}: policies for row-level security hide rows of {user!r}")
        if number in leaves and kind == "f":
            raise Refused(f"table {table.name!r}: its partition {name!r} is a foreign table")
        if number in leaves and not permitted:
            raise Refused(f"permission denied for table {name!r}: {user!r} needs SELECT on it")
        if number in leaves and again and not is_heap:
            raise Refused(
                f"table {name!r}: its access method promises no order of rows, {BY_QUERY}"
            )
    return [sql.Identifier(schema, name) for number, schema, name, *_ in rows if number in leaves]


def _require_stored(table: Table, columns: Sequence[str]) -> None:
    generated = [a.name for a in table.attributes if a.generated and a.name in columns]
    if generated:
        raise Refused(
            f"table {table.name!r}: COPY does not read column {generated[0]!r}, which the table "
            f"generates, {BY_QUERY}"
        )


def _texts(rows: Rows, count: int) -> list[pa.Array]:
    """The columns of rows in text format: fields behind one another with tabs between."""
    begin = np.append(0, rows.ends[:-1])
    lines = strings(Fields(rows.data, begin, rows.ends - begin - 1))
    split = pc.split_pattern(lines, "\t")
    if not pc.all(pc.equal(pc.list_value_length(split), count)).as_py():
        raise Damaged("the server sent rows that are not in PostgreSQL's text format")
    flat = pc.list_flatten(split)
    return [_unescaped(flat.take(np.arange(i, len(flat), count))) for i in range(count)]


def _unescaped(column: pa.Array) -> pa.Array:
    present = pc.not_equal(column, "\\N")
    if pc.any(pc.match_substring(column, "\\")).as_py():
        column = pc.replace_substring(column, "\\\\", NUL)
        for written, meant in ESCAPES.items():
            column = pc.replace_substring(column, written, meant)
        column = pc.replace_substring(column, NUL, "\\")
    return pc.if_else(present, column, pa.scalar(None, pa.string()))
