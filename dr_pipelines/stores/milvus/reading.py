"""Reading records page by page, in order of the primary key.

Each page asks for what follows the last key, until there is an empty one: a page with fewer records
than asked for says nothing, because a server leaves copies of a record out after it counted them. A
server answers every page from one moment, and says how many records there are at that moment;
milvus-lite answers each from what it holds by then. Servers let at most 16,384 records and about
100 MB through at once.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa
from pymilvus.grpc_gen import milvus_pb2

from dr_pipelines.errors import Damaged
from dr_pipelines.model.record import store_schema
from dr_pipelines.stores.milvus import errors, filters
from dr_pipelines.stores.milvus.column import INTEGERS, Column
from dr_pipelines.stores.milvus.index import pairs
from dr_pipelines.stores.milvus.layout import (
    LISTED_AT_ONCE,
    SMALLEST,
    RecordLayout,
    above,
    among,
)
from dr_pipelines.stores.milvus.loading import STRONG, read
from dr_pipelines.stores.milvus.messages import from_message
from dr_pipelines.stores.milvus.session import Connection
from dr_pipelines.stores.shared import sorting

FIRST_ROWS, MOST_ROWS = 512, 16_384
PAGE_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Page:
    """`values` by the engine's name; `last` is the highest key."""

    values: dict[str, pa.Array]
    count: int
    last: Any
    size_bytes: int


def records(
    connection: Connection,
    native: str,
    layout: RecordLayout,
    *,
    columns: Sequence[str],
    documents: Sequence[str] | None,
    batch_rows: int,
    partitions: Sequence[str],
) -> Iterator[pa.RecordBatch]:
    """Records in order of id; `partitions` are those to read one by one (none: all at once)."""
    selected = list(columns)
    conditions = _conditions(layout, documents)
    if layout.ordered and not partitions and len(conditions) == 1:
        for batch in _batches(connection, native, layout, selected, conditions[0], ""):
            for at in range(0, batch.num_rows, batch_rows):
                yield batch.slice(at, batch_rows)
        return
    with_id = selected if "id" in selected else ["id", *selected]
    batches = (
        batch
        for partition in partitions or ("",)
        for condition in conditions
        for batch in _batches(connection, native, layout, with_id, condition, partition)
    )
    schema = store_schema(layout.spec)
    full = pa.schema([schema.field(name) for name in with_id])
    last = None
    for batch in sorting.ascending(batches, schema=full, batch_rows=batch_rows):
        last = _checked_order(batch.column("id"), last, native)
        yield batch.select(selected)


def unordered(
    connection: Connection,
    native: str,
    layout: RecordLayout,
    columns: Sequence[str],
    partitions: Sequence[str],
) -> Iterator[pa.RecordBatch]:
    """Every record, in the engine's order; `partitions` as above."""
    for partition in partitions or ("",):
        yield from _batches(connection, native, layout, list(columns), True, partition)


def keys(
    connection: Connection, native: str, layout: RecordLayout, condition: str
) -> Iterator[Any]:
    """The keys of records that fulfil a condition."""
    for page in _pages(connection, native, layout, [layout.key], condition, ""):
        yield from page.values[layout.key.name].to_pylist()


def count(
    connection: Connection,
    native: str,
    *,
    condition: filters.Expression = True,
    partition: str = "",
    moment: int = 0,
) -> int:
    """How many records there are, now or at a server's moment."""
    request = milvus_pb2.QueryRequest(
        collection_name=native,
        expr="" if condition is True else str(condition),
        output_fields=["count(*)"],
        partition_names=[partition] if partition else [],
        query_params=pairs([("iterator", "True")]) if moment else [],
        consistency_level=STRONG,
        guarantee_timestamp=moment,
    )
    answer = read(connection, "Query", request)
    return int(answer.fields_data[0].scalars.long_data.data[0])


def of_documents(layout: RecordLayout, documents: Sequence[str]) -> Iterator[str]:
    """Conditions that together mean the records of some documents."""
    column = next(c for c in layout.columns if c.name == layout.document_column)
    keys = [_key_condition(column, document) for document in dict.fromkeys(documents)]
    listed = [value for value in keys if value is not None]
    for at in range(0, len(listed), LISTED_AT_ONCE):
        yield among(column, listed[at : at + LISTED_AT_ONCE])


def _conditions(layout: RecordLayout, documents: Sequence[str] | None) -> list[filters.Expression]:
    return [True] if documents is None else list(of_documents(layout, documents))


def _key_condition(column: Column, document: str) -> str | None:
    """The document's id; None where the column can hold none such."""
    if column.type not in INTEGERS:
        return document
    whole = re.fullmatch("0|-?[1-9][0-9]{0,18}", document)
    return document if whole and SMALLEST <= int(document) < 2**63 else None


def _batches(
    connection: Connection,
    native: str,
    layout: RecordLayout,
    selected: list[str],
    condition: filters.Expression,
    partition: str,
) -> Iterator[pa.RecordBatch]:
    needed = layout.needed(selected)
    for page in _pages(connection, native, layout, needed, condition, partition):
        yield layout.to_records(page.values, page.count, selected, partition=partition)


def _pages(
    connection: Connection,
    native: str,
    layout: RecordLayout,
    needed: Sequence[Column],
    condition: filters.Expression,
    partition: str,
) -> Iterator[Page]:
    """Raises `Damaged` where a server counts records that are in no page."""
    if condition is False:
        return
    moment, total = _moment(connection, native, layout), 0
    for page in _pages_at(connection, native, layout, needed, condition, partition, moment):
        total += page.count
        yield page
    if moment:
        _check_complete(connection, native, layout, condition, partition, moment, total)


def _moment(connection: Connection, native: str, layout: RecordLayout) -> int:
    """A moment from which a server answers any number of requests; 0 where there is none. It is
    asked for alone: the answer that names it may be of an earlier one."""
    if connection.is_lite:
        return 0
    request = _query(native, [layout.key], True, 1, "", 0)
    return int(read(connection, "Query", request).session_ts)


def _check_complete(
    connection: Connection,
    native: str,
    layout: RecordLayout,
    condition: filters.Expression,
    partition: str,
    moment: int,
    total: int,
) -> None:
    """Compare with what the server counts at the moment of the pages, which no writer changes.

    A key that was inserted twice is in one page and counted twice: before a difference is damage,
    keys are counted themselves. A record that expired since was read and is no longer counted.
    """

    def counted(which: filters.Expression = True) -> int:
        conditions = filters.both(which, condition)
        return count(connection, native, condition=conditions, partition=partition, moment=moment)

    if total >= counted():
        return
    by_key, key = 0, layout.key
    for page in _pages_at(connection, native, layout, [key], condition, partition, moment):
        keys = page.values[key.name].to_pylist()
        for at in range(0, len(keys), LISTED_AT_ONCE):
            by_key += counted(among(key, keys[at : at + LISTED_AT_ONCE]))
    there = counted()
    if by_key < there:
        raise Damaged(
            f"{native!r}: Milvus counts {there} records and returned {total}; try again, and if "
            "that stays so, load the collection anew"
        )


def _pages_at(
    connection: Connection,
    native: str,
    layout: RecordLayout,
    needed: Sequence[Column],
    condition: filters.Expression,
    partition: str,
    moment: int,
) -> Iterator[Page]:
    rows, last = FIRST_ROWS, None
    while True:
        after = True if last is None else above(layout.key, last)
        request = _query(native, needed, filters.both(after, condition), rows, partition, moment)
        try:
            answer = read(connection, "Query", request)
        except errors.TooLarge:
            if rows == 1:
                raise
            rows = max(1, rows // 4)
            continue
        page = _page(answer, layout, needed)
        if not page.count:
            return
        _checked_order(page.values[layout.key.name], last, native)
        yield page
        last = page.last
        rows = max(1, min(MOST_ROWS, PAGE_BYTES * page.count // max(1, page.size_bytes)))


def _query(
    native: str,
    needed: Sequence[Column],
    condition: filters.Expression,
    rows: int,
    partition: str,
    moment: int,
) -> Any:
    """The request that the client's iterator sends: `iterator` orders by key and pins the
    moment."""
    options = {"limit": str(rows), "iterator": "True", "reduce_stop_for_best": "True"}
    return milvus_pb2.QueryRequest(
        collection_name=native,
        expr="" if condition is True else str(condition),
        output_fields=[column.name for column in needed],
        partition_names=[partition] if partition else [],
        query_params=pairs(options.items()),
        consistency_level=STRONG,
        guarantee_timestamp=moment,
    )


def _page(answer: Any, layout: RecordLayout, needed: Sequence[Column]) -> Page:
    fields = {field.field_name: field for field in answer.fields_data}
    if not fields:  # so a server may say that nothing is left
        return Page({}, 0, None, 0)
    key = fields[layout.key.name].scalars
    listed = key.string_data.data or key.long_data.data
    total = len(listed)
    values = {c.name: from_message(c, fields[c.name], total) for c in needed if c.name in fields}
    missing = [column.name for column in needed if column.name not in fields]
    if missing and total:
        raise Damaged(f"{layout.spec.name!r}: Milvus returned no columns {missing}")
    return Page(values, total, listed[-1] if total else None, answer.ByteSize())


def _checked_order(keys: pa.Array, last: Any, native: str) -> Any:
    """The last of some keys. Raises `Damaged` unless each is above the one before: a key that comes
    twice would be two records to us and is one to Milvus."""
    listed = keys.to_pylist()
    before = listed if last is None else [last, *listed]
    ascending = all(_bytes(a) < _bytes(b) for a, b in pairwise(before))
    if not ascending:
        raise Damaged(f"{native!r}: a primary key comes twice or out of order")
    return listed[-1] if listed else last


def _bytes(key: Any) -> Any:
    return key.encode() if isinstance(key, str) else key
