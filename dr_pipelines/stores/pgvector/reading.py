"""Reading a table: by queries where none runs what others wrote, else as it lies."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from dr_pipelines.stores.pgvector import copied, copying
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.description import Collection
from dr_pipelines.stores.pgvector.planner import may_plan
from dr_pipelines.stores.pgvector.statements import qualified
from dr_pipelines.stores.pgvector.writing import of_documents

COUNT = qualified("SELECT count(*) FROM {}")


def scanned(
    session: Session,
    collection: Collection,
    columns: Sequence[str],
    *,
    documents: Sequence[str] | None,
    batch_rows: int,
) -> Iterator[pa.RecordBatch]:
    """The records, of some documents if these are given, ascending bytewise by id."""
    if may_plan(session, collection.table):
        where = of_documents(collection, documents)
        yield from copying.scanned(session, collection, columns, where=where, batch_rows=batch_rows)
        return
    yield from copied.scanned(
        session, collection, columns, documents=documents, batch_rows=batch_rows
    )


def counted(session: Session, collection: Collection) -> int:
    """How many records there are."""
    if may_plan(session, collection.table):
        return int(session.one(COUNT.format(collection.rows(session))))
    return copied.counted(session, collection.table)
