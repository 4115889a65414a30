"""Records into a table, in one transaction: what they replace goes, then they come."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from dr_pipelines.errors import Conflict
from dr_pipelines.stores.pgvector import contents, decoding, encoding, keys, reading
from dr_pipelines.stores.pgvector.columns import Column, written
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.copying import load, load_texts
from dr_pipelines.stores.pgvector.description import Collection
from dr_pipelines.stores.pgvector.making import section_of
from dr_pipelines.stores.pgvector.statements import oid, qualified, text_array, verbatim
from dr_pipelines.stores.pgvector.texts import escaped

STAGING = "dr_pipelines_staging"
ROW = decoding.numbers(">i4", pa.int32()), encoding.numbers(">i4")


def write(
    session: Session,
    collection: Collection,
    batch: pa.Table,
    *,
    replaces: Sequence[str],
    below: str | None = None,
    adding: bool = False,
) -> None:
    """Replace by id and by document, then copy straight into the table: what was there under these
    ids is gone by then, so that no row goes through a temporary table first. Rows go through one
    where a type has to read texts itself, where ids are made of the rows, and where the schema
    belongs to others, so that the table is written by its number. All ids that are there are known
    to be at most `below`, where that is given. With `adding` nothing is looked for: an id that is
    there is an error of the table's key.

    Raises:
        InvalidRequest: the engine cannot keep a value; nothing was written.
    """
    if not collection.ours:
        keys.require_keys(collection, batch)
    first = pc.min(batch.column("id")).as_py()
    above = below is not None and (first is None or first.encode() > below.encode())
    if replaces or not (adding or above):
        _remove(session, collection, batch, replaces)
    if batch.num_rows == 0:
        return
    columns, batch = written(collection.mapping.columns, batch)
    staged = any(column.staged for column in columns)
    if staged or session.bound or not collection.table.key:
        _through_staging(session, collection, columns, batch)
    else:
        load(session, collection.identifier(session), columns, batch)


OTHER_TYPE = qualified("""
    SELECT s.attname FROM pg_attribute s
    JOIN pg_type y ON y.oid = s.atttypid AND y.typnamespace <> 'pg_catalog'::regnamespace::oid
    WHERE s.attrelid = {staging}::regclass::oid AND s.attnum > 0::int2 AND NOT EXISTS (
        SELECT FROM pg_attribute a WHERE a.attrelid = {table} AND a.attname = s.attname
            AND a.atttypid = s.atttypid AND NOT a.attisdropped)
""")
MAX_ID = qualified("SELECT pg_catalog.max(id) FROM {}")
MOVE = qualified("""
    SELECT pg_catalog.setval(q.seqrelid, {reached}) FROM pg_sequence q
    WHERE q.seqrelid = pg_catalog.pg_get_serial_sequence({table}, {name})::regclass::oid
        AND {reached} >= q.seqmin AND {reached} <= q.seqmax
""")


def move_sequences(session: Session, collection: Collection) -> None:
    """Let the sequences of columns go on behind what the table holds."""
    label, table = collection.table.label, collection.table
    section = section_of(label.spec) if label and not collection.ours else {}
    target = sql.Literal(session.table(table.name).as_string())
    for column, identity in section.get("identity", {}).items():
        reached = reading.extreme(session, collection, column, largest=identity["increment"] > 0)
        if reached is not None:
            number = qualified("{}::int8").format(sql.Literal(str(reached)))
            name = sql.Literal(column)
            session.run(MOVE.format(reached=number, table=target, name=name))


def _remove(
    session: Session, collection: Collection, batch: pa.Table, replaces: Sequence[str]
) -> None:
    target = collection.rows(session)
    delete = sql.SQL("DELETE FROM {} WHERE {}")
    if session.one(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(target)) is False:
        return
    ids = batch.column("id").to_pylist()
    if not collection.ours:
        more = set(replaces).difference(ids)
        if not collection.table.key:
            contents.remove(session, collection.table, target, sorted({*ids, *more}))
            return
        if ids:
            session.run(delete.format(target, keys.with_keys(session, collection, ids)))
        if more:
            session.run(delete.format(target, keys.with_texts(collection, sorted(more))))
        return
    if replaces:
        session.run(delete.format(target, keys.of_documents(collection, replaces)))
    if ids and not _beyond(session, collection, batch):
        same_id = qualified("id = ANY ({})").format(text_array([escaped(key) for key in ids]))
        session.run(delete.format(target, same_id))


def _beyond(session: Session, collection: Collection, batch: pa.Table) -> bool:
    """True if all ids come after those in the table: a load in order deletes nothing."""
    last = session.one(MAX_ID.format(collection.rows(session)))
    first = pc.min(batch.column("id")).as_py()
    return last is None or escaped(first).encode() > last.encode()


def _through_staging(
    session: Session, collection: Collection, columns: Sequence[Column], batch: pa.Table
) -> None:
    """Rows with values that only their types' input functions make of texts: those come by COPY
    into a table of their own, where their columns have these types, and the other columns beside
    them. A cast of text would ask for a cast, which may be somebody's. Of a table without a key the
    rows are compared with their ids there."""
    read = [column for column in columns if column.staged]
    plain = [column for column in columns if not column.staged]
    rows = Column(_free_name(columns), _free_name(columns), "integer", *ROW)
    numbered = batch.append_column(rows.name, pa.array(range(len(batch)), pa.int32()))
    ids = Column("id", f"{rows.native} id", "text", decoding.strings, encoding.strings)
    first = [rows, *plain] if collection.table.key else [rows, ids, *plain]
    beside = _staging(session, 0, first)
    texts = _staging(session, 1, [rows, *read])
    _require_types(session, collection, [beside, texts])
    load(session, beside, first, numbered)
    load_texts(session, texts, [rows, *read], numbered)
    places: dict[str, sql.Composable] = {
        c.native: sql.Identifier("t" if c.staged else "b", c.native) for c in [*plain, *read]
    }
    if not collection.table.key:
        tables = {"beside": beside, "texts": texts, "row": rows.identifier, "id": ids.identifier}
        contents.require_contents(session, collection.table, places, **tables)
    with session.definitions():
        session.run(
            qualified(
                "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} AS b "
                "JOIN {} AS t ON b.{} = t.{}"
            ).format(
                collection.identifier(session),
                sql.SQL(", ").join(c.identifier for c in [*plain, *read]),
                sql.SQL(", ").join(places[c.native] for c in [*plain, *read]),
                beside,
                texts,
                rows.identifier,
                rows.identifier,
            )
        )


def _require_types(
    session: Session, collection: Collection, staging: Sequence[sql.Identifier]
) -> None:
    """Raises: Conflict: the name of a type stood for another one when a column was made of it."""
    for table in staging:
        query = OTHER_TYPE.format(
            staging=sql.Literal(table.as_string()), table=oid(collection.table.id)
        )
        if (name := session.one(query)) is not None:
            raise Conflict(f"the type of column {name!r} was replaced meanwhile; try again")


def _free_name(columns: Sequence[Column]) -> str:
    name = "row"
    while any(c.name == name or c.native.startswith(name) for c in columns):
        name += "_"
    return name


def _staging(session: Session, number: int, columns: Sequence[Column]) -> sql.Identifier:
    """A temporary table with some columns, empty."""
    name = f"{STAGING}_{number}"
    staging = sql.Identifier("pg_temp", name)
    session.run(sql.SQL("DROP TABLE IF EXISTS {}").format(staging))
    session.define(
        sql.SQL("CREATE TEMPORARY TABLE {} ({}) ON COMMIT DROP").format(
            sql.Identifier(name),
            sql.SQL(", ").join(
                sql.SQL("{} {}").format(column.identifier, verbatim(column.type))
                for column in columns
            ),
        )
    )
    return staging
