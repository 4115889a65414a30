"""Records into a table, in one transaction: what they replace goes, then they come."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from dr_pipelines.stores.pgvector import keys
from dr_pipelines.stores.pgvector.columns import Column
from dr_pipelines.stores.pgvector.connections import Session, verbatim
from dr_pipelines.stores.pgvector.copying import load, require_kept
from dr_pipelines.stores.pgvector.description import Collection
from dr_pipelines.stores.pgvector.making import section_of
from dr_pipelines.stores.pgvector.texts import escaped

STAGING = "dr_pipelines_staging"


def write(
    session: Session, collection: Collection, batch: pa.Table, *, replaces: Sequence[str]
) -> None:
    """Replace by id and by document, then copy straight into the table: what was there under these
    ids is gone by then, so that no row goes through a temporary table first. Only where a type has
    to read texts itself do rows go through one.

    Raises:
        InvalidRequest: the engine cannot keep a value; nothing was written.
    """
    require_kept(batch, collection)
    if not collection.ours:
        keys.require_keys(collection, batch)
    _remove(session, collection, batch, replaces)
    if batch.num_rows == 0:
        return
    columns = collection.mapping.columns
    if any(column.staged for column in columns):
        _through_staging(session, collection, columns, batch)
    else:
        load(session, collection.identifier(session), columns, batch)


def of_documents(collection: Collection, documents: Sequence[str] | None) -> sql.Composable:
    """A condition for the records of some documents; of all of them where they are None."""
    if documents is None:
        return sql.SQL("true")
    if not collection.ours:
        return keys.with_texts(collection, documents)
    wanted = [escaped(document) for document in documents]
    return sql.SQL("document_id = ANY ({}::text[])").format(sql.Literal(wanted))


MAX_ID = sql.SQL("SELECT pg_catalog.max(id) FROM {}")
MOVE = sql.SQL("""
    SELECT pg_catalog.setval(q.seqrelid, r.reached) FROM pg_sequence q, (
        SELECT CASE WHEN {up} THEN pg_catalog.max({column})
            ELSE pg_catalog.min({column}) END::int8 AS reached
        FROM {target}
    ) r
    WHERE q.seqrelid = pg_catalog.pg_get_serial_sequence({table}, {name})::regclass::oid
        AND r.reached BETWEEN q.seqmin AND q.seqmax
""")


def move_sequences(session: Session, collection: Collection) -> None:
    """Let the sequences of columns go on behind what the table holds."""
    label = collection.table.label
    section = section_of(label.spec) if label and not collection.ours else {}
    target = collection.identifier(session)
    for column, identity in section.get("identity", {}).items():
        session.run(
            MOVE.format(
                up=sql.Literal(identity["increment"] > 0),
                column=sql.Identifier(column),
                target=collection.rows(session),
                table=sql.Literal(target.as_string()),
                name=sql.Literal(column),
            )
        )


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
        if ids:
            session.run(delete.format(target, keys.with_keys(collection, ids)))
        if more:
            session.run(delete.format(target, keys.with_texts(collection, sorted(more))))
        return
    if replaces:
        session.run(delete.format(target, of_documents(collection, replaces)))
    if ids and not _beyond(session, collection, batch):
        known = sql.SQL("id = ANY ({}::text[])").format(sql.Literal([escaped(key) for key in ids]))
        session.run(delete.format(target, known))


def _beyond(session: Session, collection: Collection, batch: pa.Table) -> bool:
    """Whether all ids come after those that are there: a load in order deletes nothing."""
    last = session.one(MAX_ID.format(collection.rows(session)))
    first = pc.min(batch.column("id")).as_py()
    return last is None or escaped(first).encode() > last.encode()


def _through_staging(
    session: Session, collection: Collection, columns: Sequence[Column], batch: pa.Table
) -> None:
    staging = sql.Identifier("pg_temp", STAGING)
    session.run(sql.SQL("DROP TABLE IF EXISTS {}").format(staging))
    session.run(
        sql.SQL("CREATE TEMPORARY TABLE {} ({}) ON COMMIT DROP").format(
            sql.Identifier(STAGING),
            sql.SQL(", ").join(
                sql.SQL("{} {}").format(
                    column.identifier, verbatim("text" if column.staged else column.type)
                )
                for column in columns
            ),
        )
    )
    load(session, staging, columns, batch)
    values = [
        sql.SQL("{}::{}").format(column.identifier, verbatim(column.type))
        if column.staged
        else column.identifier
        for column in columns
    ]
    session.run(
        sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}").format(
            collection.identifier(session),
            sql.SQL(", ").join(column.identifier for column in columns),
            sql.SQL(", ").join(values),
            staging,
        )
    )
