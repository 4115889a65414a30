"""Writing: columns in requests of a bounded size, then the removal of what was replaced."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from pymilvus.grpc_gen import milvus_pb2

from dr_pipelines.stores.milvus import loading, reading
from dr_pipelines.stores.milvus.column import Column, T
from dr_pipelines.stores.milvus.foreign import META
from dr_pipelines.stores.milvus.layout import (
    LISTED_AT_ONCE,
    RecordLayout,
    among,
    key_of,
)
from dr_pipelines.stores.milvus.messages import to_message
from dr_pipelines.stores.milvus.session import LONG_CALL_SECONDS, Connection
from dr_pipelines.stores.shared.columns import whole

REQUEST_ROWS = 2_000
REQUEST_BYTES = 16 * 2**20
"""Servers take 64 MB at once."""


def write(
    connection: Connection,
    native: str,
    layout: RecordLayout,
    rows: pa.Table,
    *,
    replaces: Sequence[str],
    merges: bool,
) -> None:
    """Insert or replace checked records; then delete every other one of the documents.

    `merges` says that the engine would leave something of the record before (values of columns that
    nobody declared, a place in another partition, an id of its own making): then it is deleted
    first, and for a moment a reader finds neither.
    """
    parts = layout.to_parts(rows)
    with loading.turn(connection):
        if merges:
            _remove(connection, native, layout, _keys(layout, rows))
        for partition, table in parts.items():
            for request in _requests(native, layout, table, partition, merges=merges):
                name = "Insert" if merges else "Upsert"
                connection.call(name, request, repeat=not merges, seconds=LONG_CALL_SECONDS)
        if replaces:
            written = set(_keys(layout, rows))
            stale = [
                key
                for condition in reading.of_documents(layout, replaces)
                for key in reading.keys(connection, native, layout, condition)
                if key not in written
            ]
            _delete(connection, native, layout, stale)


def flush(connection: Connection, native: str) -> None:
    """Have the engine put into files all that was written to a collection."""
    with loading.turn(connection):
        request = milvus_pb2.FlushRequest(collection_names=[native])
        connection.call("Flush", request, repeat=True, seconds=LONG_CALL_SECONDS)


def _remove(connection: Connection, native: str, layout: RecordLayout, keys: Sequence[Any]) -> None:
    """Delete those that are there, for good: milvus-lite shows a deleted record again, in the
    partition where it was, once a namesake is inserted before the deletion is in a file."""
    there = [
        key
        for at in range(0, len(keys), LISTED_AT_ONCE)
        for key in reading.keys(
            connection, native, layout, among(layout.key, keys[at : at + LISTED_AT_ONCE])
        )
    ]
    _delete(connection, native, layout, there)
    if there and connection.is_lite:
        flush(connection, native)


def _keys(layout: RecordLayout, rows: pa.Table) -> list[Any]:
    return [key_of(layout, key) for key in rows.column("id").to_pylist()]


def _delete(connection: Connection, native: str, layout: RecordLayout, keys: Sequence[Any]) -> None:
    for at in range(0, len(keys), LISTED_AT_ONCE):
        request = milvus_pb2.DeleteRequest(
            collection_name=native,
            expr=among(layout.key, keys[at : at + LISTED_AT_ONCE]),
            consistency_level=loading.STRONG,
        )
        connection.call("Delete", request, repeat=True)


def _requests(
    native: str, layout: RecordLayout, table: pa.Table, partition: str, *, merges: bool
) -> Iterator[Any]:
    kind = milvus_pb2.InsertRequest if merges else milvus_pb2.UpsertRequest
    columns = [c for c in layout.columns if c.name in table.column_names]
    for at in range(0, len(table), REQUEST_ROWS):
        yield from _fitting(kind, native, columns, table.slice(at, REQUEST_ROWS), partition)


def _fitting(
    kind: Callable[..., Any],
    native: str,
    columns: Sequence[Column],
    rows: pa.Table,
    partition: str,
) -> Iterator[Any]:
    """One request, or two of half as many records, and so on."""
    if rows.nbytes > REQUEST_BYTES and len(rows) > 1:
        half = len(rows) // 2
        yield from _fitting(kind, native, columns, rows.slice(0, half), partition)
        yield from _fitting(kind, native, columns, rows.slice(half), partition)
        return
    data = [_message(column, rows.column(column.name)) for column in columns]
    yield kind(
        collection_name=native, partition_name=partition, num_rows=len(rows), fields_data=data
    )


def _message(column: Column, values: pa.ChunkedArray) -> Any:
    made = to_message(column, whole(values))
    if column.name == META.name and column.type == T.JSON:
        made.is_dynamic = True
    return made
