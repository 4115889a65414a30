"""Rows of a table without a key. The id of one is the digest of what it holds, as the types' output
functions write it; of equal rows, which nothing tells apart, the second and each later one have a
number behind it: `DIGEST`, `DIGEST-0000000002`.

So ids ascend by digest and number, a copy of the table has the same ones, and a row that changes is
one that went and one that came. A scan reads every row whole: the server computes and sorts ids,
or `rows_as_text` does where no query may be planned.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.query import Hit
from dr_pipelines.stores.pgvector.catalog import Table
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.statements import qualified, text_array

WIDTH, DIGITS = 64, 10
FORM = rf"^[0-9a-f]{{{WIDTH}}}(-[0-9]{{{DIGITS}}})?$"
OF_ROW = qualified("encode(sha256(convert_to(format('%s', ROW({})), 'UTF8')), 'hex')")
ROWS = qualified("""
    (SELECT r.*, row_number() OVER (PARTITION BY r.{digest}) AS {number} FROM (
        SELECT o.*, o.ctid AS {place}, o.tableoid AS {part}, {of_row} COLLATE "C" AS {digest}
        FROM {rows} AS o
    ) AS r) AS numbered
""")
ID = qualified(
    "concat({digest}, CASE WHEN {number} > 1 THEN concat('-', lpad({number}::text, 10, '0')) END)"
)
LAST = qualified('SELECT max({} COLLATE "C") FROM {}')
REMOVE = qualified("""
    DELETE FROM {rows} AS o USING {numbered}
    WHERE o.ctid = numbered.{place} AND o.tableoid = numbered.{part} AND {which}
""")
OTHER = qualified("""
    SELECT b.{id} FROM {beside} AS b JOIN {texts} AS t ON b.{row} = t.{row}
    WHERE left(b.{id}, 64) <> {of_row} ORDER BY b.{row} LIMIT 1
""")


def _names(table: Table) -> dict[str, sql.Identifier]:
    """Names for what is computed beside a table's own columns, which none of these has."""
    taken = {attribute.name for attribute in table.attributes}
    mark = "dr"
    while any(name.startswith(f"{mark} ") for name in taken):
        mark += "_"
    parts = ("digest", "number", "place", "part")
    return {part: sql.Identifier(f"{mark} {part}") for part in parts}


def digest(table: Table, columns: dict[str, sql.Composable] | None = None) -> sql.Composed:
    """The digest of a row as SQL; `columns` says how each is written, else by its name. What the
    table computes itself is left out, as it is of a record."""
    sources = columns or {}
    written = [a.name for a in table.attributes if not a.generated]
    parts = [sources.get(name, sql.Identifier(name)) for name in written]
    return OF_ROW.format(sql.SQL(", ").join(parts))


def numbered(table: Table, rows: sql.Composable) -> sql.Composed:
    """The rows with what their ids are made of, as SQL that stands behind FROM."""
    return ROWS.format(rows=rows, of_row=digest(table), **_names(table))


def id_column(table: Table) -> sql.Composed:
    """The id of one of these, as SQL."""
    names = _names(table)
    return ID.format(digest=names["digest"], number=names["number"])


def order(table: Table) -> sql.Composed:
    """The columns to sort by for ascending ids: the numbers, where rows have been numbered."""
    names = _names(table)
    return sql.SQL("{}, {}").format(names["digest"], names["number"])


def among(table: Table, ids: Sequence[str]) -> sql.Composed:
    """A condition for those with one of these ids; the digests choose before any are numbered."""
    texts = [key for key in ids if "\0" not in key]
    digests = list(dict.fromkeys(key[:WIDTH] for key in texts))
    return qualified("({} = ANY ({}) AND {} = ANY ({}))").format(
        _names(table)["digest"], text_array(digests), id_column(table), text_array(texts)
    )


def numbered_hits(hits: Sequence[Hit]) -> list[Hit]:
    """Hits that have a digest for an id: equal rows are as near, and each is any of them."""
    seen = Counter[str]()
    numbered = list[Hit]()
    for hit in hits:
        seen[hit.id] += 1
        number = seen[hit.id]
        key = hit.id if number == 1 else f"{hit.id}-{number:0{DIGITS}}"
        numbered.append(replace(hit, id=key, document_id=key))
    return numbered


def last(session: Session, table: Table, rows: sql.Composable) -> str:
    """The highest id; an empty text where there is none."""
    query = LAST.format(id_column(table), numbered(table, rows))
    return str(session.one(query) or "")


def remove(session: Session, table: Table, rows: sql.Composable, ids: Sequence[str]) -> None:
    """Delete the rows with these ids, while a lock keeps everybody else from writing: an id is of a
    moment."""
    names = _names(table)
    session.run(
        REMOVE.format(
            rows=rows,
            numbered=numbered(table, rows),
            which=among(table, ids),
            place=names["place"],
            part=names["part"],
        )
    )


def require_form(table: Table, batch: pa.Table) -> None:
    """Raises: InvalidRequest: an id is none of a row of a table without a key."""
    formed = pc.match_substring_regex(batch.column("id"), FORM)
    if (place := pc.index(formed, False).as_py()) >= 0:
        raise _other(table, batch.column("id")[place].as_py())


def require_contents(
    session: Session, table: Table, written: dict[str, sql.Composable], **names: sql.Composable
) -> None:
    """Compare the ids of rows that wait in temporary tables with what the rows hold.

    Raises:
        InvalidRequest: one is of another row.
    """
    other = session.one(OTHER.format(of_row=digest(table, written), **names))
    if other is not None:
        raise _other(table, other)


def _other(table: Table, key: str) -> InvalidRequest:
    return InvalidRequest(
        f"record {key!r}: table {table.name!r} has no key, so that the id of a row is the digest "
        "of what it holds, and this is another. Give the table a key to write records of other ids"
    )
