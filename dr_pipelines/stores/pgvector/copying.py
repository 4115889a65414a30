"""Records out of a table and into it, by COPY in the engine's binary format."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from psycopg import sql

from dr_pipelines.model.record import store_schema
from dr_pipelines.stores.pgvector import contents
from dr_pipelines.stores.pgvector.columns import Column
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.decoding import batch_of, decoded, strings
from dr_pipelines.stores.pgvector.description import Collection
from dr_pipelines.stores.pgvector.encoding import (
    HEADER,
    TRAILER,
    encoded,
    lines,
)
from dr_pipelines.stores.pgvector.inheritance import require_whole
from dr_pipelines.stores.pgvector.keys import key_column
from dr_pipelines.stores.pgvector.statements import qualified
from dr_pipelines.stores.pgvector.streams import PIECE_BYTES, PIECE_ROWS, pieces


def scanned(
    session: Session,
    collection: Collection,
    columns: Sequence[str],
    *,
    where: sql.Composable,
    batch_rows: int,
    ordered: bool,
) -> Iterator[pa.RecordBatch]:
    """The records that a condition keeps. Ascending bytewise by id, the server sorts them, or reads
    them in the order of the key's index; else it reads the table as it lies."""
    require_whole(session, collection.table)
    schema = store_schema(collection.spec)
    sources = [_source(session, collection, name) for name in columns]
    query = sql.SQL("COPY (SELECT {} FROM {} WHERE {}{}) TO STDOUT (FORMAT BINARY)")
    statement = query.format(
        sql.SQL(", ").join(read for read, _ in sources),
        collection.records(session),
        where,
        sql.SQL(" ORDER BY {}").format(_order(collection)) if ordered else sql.SQL(""),
    )
    fields = pa.schema([schema.field(name) for name in columns])
    decoders = [decode for _, decode in sources]
    for rows in pieces(session, statement, rows=batch_rows):
        yield batch_of(decoded(rows, decoders), fields)


def _order(collection: Collection) -> sql.Composable:
    if not collection.table.key:
        return contents.order(collection.table)
    if collection.ours:
        return sql.Identifier("id")
    return qualified('{} COLLATE "C"').format(key_column(collection))


def _source(
    session: Session, collection: Collection, name: str
) -> tuple[sql.Composable, Callable[..., pa.Array]]:
    """The expression to read for a column, and the decoder that makes Arrow of it."""
    if not collection.ours and name in ("id", "document_id"):
        return key_column(collection), strings
    column = collection.mapping.column(name)
    if column is not None:
        return column.read.format(column.identifier, extension=session.vectors), column.decode
    if name == "chunk_index":
        return sql.SQL("0"), lambda fields: pa.array(np.zeros(len(fields.begin), np.int32))
    return qualified("NULL::text"), strings


def load(
    session: Session, target: sql.Composable, columns: Sequence[Column], batch: pa.Table
) -> None:
    """Copy records into a table, as one statement."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        target, sql.SQL(", ").join(column.identifier for column in columns)
    )
    encoders = [column.encode for column in columns]
    rows = max(1, min(PIECE_ROWS, batch.num_rows * PIECE_BYTES // max(1, batch.nbytes)))
    with (
        session.definitions(),
        session.connection.cursor() as cursor,
        cursor.copy(statement) as copy,
    ):
        copy.write(HEADER)
        for start in range(0, batch.num_rows, rows):
            piece = batch.slice(start, rows)
            copy.write(encoded([_one(piece.column(c.name)) for c in columns], encoders))
        copy.write(TRAILER)


def load_texts(
    session: Session, target: sql.Composable, columns: Sequence[Column], batch: pa.Table
) -> None:
    """Copy values into a table as texts, of which the types' input functions make values."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT TEXT)").format(
        target, sql.SQL(", ").join(column.identifier for column in columns)
    )
    rows = max(1, min(PIECE_ROWS, batch.num_rows * PIECE_BYTES // max(1, batch.nbytes)))
    with session.connection.cursor() as cursor, cursor.copy(statement) as copy:
        for start in range(0, batch.num_rows, rows):
            piece = batch.slice(start, rows)
            copy.write(lines([_one(piece.column(c.name)) for c in columns]))


def _one(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
