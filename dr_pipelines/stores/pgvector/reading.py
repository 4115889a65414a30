"""Reading a table: by queries where none runs what others wrote, else as it lies."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
from psycopg import sql

from dr_pipelines.stores.pgvector import copied, copying
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.description import Collection
from dr_pipelines.stores.pgvector.keys import of_documents
from dr_pipelines.stores.pgvector.planner import may_plan
from dr_pipelines.stores.pgvector.shown import WHOLE
from dr_pipelines.stores.pgvector.statements import oid, qualified

COUNT = qualified("SELECT count(*) FROM {}")
LARGEST = qualified("SELECT max({})::int8 FROM {}")
SIZE = qualified("SELECT pg_total_relation_size({})")
SIZE_OF_TREE = qualified(
    "SELECT sum(pg_total_relation_size(relid))::int8 FROM pg_partition_tree({})"
)
SMALLEST = qualified("SELECT min({})::int8 FROM {}")


def scanned(
    session: Session,
    collection: Collection,
    columns: Sequence[str],
    *,
    documents: Sequence[str] | None,
    batch_rows: int,
    ordered: bool,
) -> Iterator[pa.RecordBatch]:
    """The records, of some documents if these are given: ascending bytewise by id, or as they lie.
    Those of a table without a key are numbered in order of what they hold: here they come so."""
    if may_plan(session, collection.table):
        where = of_documents(collection, documents)
        yield from copying.scanned(
            session, collection, columns, where=where, batch_rows=batch_rows, ordered=ordered
        )
    elif ordered or not collection.table.key:
        yield from copied.scanned(
            session, collection, columns, documents=documents, batch_rows=batch_rows
        )
    else:
        for batch in copied.records(session, collection, columns, documents=documents):
            for start in range(0, batch.num_rows, batch_rows):
                yield batch.slice(start, batch_rows)


def counted(session: Session, collection: Collection) -> int:
    """How many records there are."""
    if may_plan(session, collection.table):
        return int(session.one(COUNT.format(collection.rows(session))))
    return copied.counted(session, collection.table)


def extreme(session: Session, collection: Collection, column: str, *, largest: bool) -> int | None:
    """The largest or smallest whole number in a column; None where it has none. Of a column of
    whole numbers the server takes it of an index, if one is there."""
    attribute = next(a for a in collection.table.attributes if a.name == column)
    whole = attribute.plain and attribute.kind in WHOLE
    if not whole or not may_plan(session, collection.table):
        return copied.extreme(session, collection.table, attribute, largest=largest)
    query = LARGEST if largest else SMALLEST
    number = session.one(query.format(sql.Identifier(column), collection.rows(session)))
    return None if number is None else int(number)


def size_bytes(session: Session, collection: Collection) -> int:
    """Bytes on disk: rows, what is kept beside them, indexes; of all partitions."""
    query = SIZE_OF_TREE if collection.table.partitioned else SIZE
    return int(session.one(query.format(oid(collection.table.id))) or 0)
