"""Rows between a store and a segment: payload of newest records out, observed records in."""

import hashlib
import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import (
    DOCUMENT_ROW,
    Presence,
    narrow_schema,
    store_schema,
    vector_schema,
)
from dr_pipelines.repository import digest
from dr_pipelines.repository.record_places import record_places
from dr_pipelines.repository.segment_rows import SegmentRows
from dr_pipelines.repository.segments import (
    BASE_BYTES,
    BASE_ROWS,
    rows_within,
)
from dr_pipelines.repository.state import State
from dr_pipelines.repository.take_rows import in_order, take_rows

WRITE_ROWS = 2 * BASE_ROWS
ENOUGH_ROWS = WRITE_ROWS - WRITE_ROWS // 16
"""Two base segments, each of which lacks a document or so: a third would have to be cut, and its
rest written on its own, which costs as much as a whole table."""
WRITE_BYTES = 2 * BASE_BYTES


def newest_rows(
    state: State, *, documents: pa.Array | None = None, schema: pa.Schema | None = None
) -> Iterator[pa.Table]:
    """The newest records in `store_schema`, whole documents at a time, in no particular order of
    segments; a table holds about `WRITE_ROWS` rows, or `WRITE_BYTES` of long ones. With
    `documents`, only those; with a `schema`, these columns of segments (`document_id` among them),
    and vectors are only fetched where it has columns of theirs."""
    schema = schema or store_schema(state.spec)
    pending, count, size = list[pa.Table](), 0, 0
    for places in record_places(state, documents=documents):
        rows = places.read(schema.names)
        pending.append(rows.cast(schema))
        count, size = count + rows.num_rows, size + pending[-1].nbytes
        if count >= ENOUGH_ROWS or size >= WRITE_BYTES:
            yield from _whole_documents(pa.concat_tables(pending))
            pending, count, size = [], 0, 0
    if pending:
        yield from _whole_documents(pa.concat_tables(pending))


def observed_rows(
    stored: pa.Table,
    *,
    spec: CollectionSpec,
    versions: pa.Table | None = None,
    absent: pa.Array | None = None,
) -> SegmentRows:
    """Records as a store returned them, as rows of a segment: one version of each document, with
    digests recomputed. Vectors that come in order of documents are not copied.

    `versions` gives `document_id, epoch, position, ordinal, edit, generation`; without it all are
    version 0, edit 1. Documents in `absent` get a row that says so.
    """
    records = _digested(in_order(stored, ["document_id", "chunk_index"]), spec)
    heads = in_order(_document_rows(records, absent=absent), ["document_id"])
    schema = narrow_schema(spec)
    rows = pa.concat_tables([_filled(records, schema), _filled(heads, schema)])
    places = _heads_first(heads["chunk_count"].to_numpy())
    narrow = _versioned(take_rows(rows, places), versions, schema)
    vectors = vector_schema(spec)
    return SegmentRows(narrow, records.select(vectors.names).cast(vectors))


def strings(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """One plain string array."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return array.cast(pa.string())


def _whole_documents(rows: pa.Table) -> Iterator[pa.Table]:
    """Cut where a document ends, as soon as enough rows are together."""
    documents = strings(rows["document_id"])
    changes = pc.not_equal(documents.slice(1), documents.slice(0, max(len(documents) - 1, 0)))
    ends = [*(np.flatnonzero(changes.to_numpy(zero_copy_only=False)) + 1), rows.num_rows]
    limit, begin = rows_within(rows, limit_rows=WRITE_ROWS, limit_bytes=WRITE_BYTES), 0
    for end in ends:
        if end - begin >= limit or end == rows.num_rows > begin:
            yield rows.slice(begin, end - begin)
            begin = end


def _digested(records: pa.Table, spec: CollectionSpec) -> pa.Table:
    content = digest.content_digests(records, spec)
    vectors = digest.vector_digests(records, spec)
    return records.append_column("content_digest", content).append_column("vector_digest", vectors)


def _document_rows(records: pa.Table, *, absent: pa.Array | None) -> pa.Table:
    documents = strings(records["document_id"])
    runs = pc.run_end_encode(documents) if len(documents) else None
    names = runs.values if runs is not None else pa.array([], pa.string())
    ends = runs.run_ends.to_numpy() if runs is not None else np.array([], np.int64)
    counts = np.diff(np.concatenate([[0], ends])).astype(np.int32)
    present = pa.table(
        {
            "document_id": names,
            "presence": pa.array([Presence.PRESENT] * len(names), pa.string()),
            "chunk_count": pa.array(counts, pa.int32()),
            "document_sha256": text_hashes(records["text"], ends),
        }
    )
    if absent is None or len(absent) == 0:
        return present
    gone = pa.table(
        {
            "document_id": absent,
            "presence": pa.array([Presence.ABSENT] * len(absent), pa.string()),
            "chunk_count": pa.array([0] * len(absent), pa.int32()),
            "document_sha256": pa.nulls(len(absent), pa.binary(32)),
        }
    )
    return pa.concat_tables([present, gone])


def text_hashes(texts: pa.ChunkedArray, ends: npt.NDArray[np.int64]) -> pa.Array:
    """SHA-256 of consecutive texts joined, up to each end; null texts join as nothing."""
    column = pc.fill_null(texts, "").cast(pa.large_string()).combine_chunks()
    if len(column) == 0:
        return pa.array([], pa.binary(32))
    offsets = np.frombuffer(column.buffers()[1], np.int64, len(column) + 1, column.offset * 8)
    data = memoryview(column.buffers()[2] or b"")
    bounds = [int(offsets[0]), *offsets[ends].tolist()]
    hashes = [hashlib.sha256(data[a:b]).digest() for a, b in itertools.pairwise(bounds)]
    return pa.array(hashes, pa.binary(32))


def _heads_first(counts: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """The order of a segment for records that stand before their document rows, both ascending by
    document: each document row, then as many records as it counts. As `sort_rows`, which compares
    every key of every row."""
    records, documents = int(counts.sum()), len(counts)
    places = np.cumsum(counts) - counts + np.arange(documents)
    is_record = np.ones(records + documents, np.bool_)
    is_record[places] = False
    order = np.empty(records + documents, np.int64)
    order[places] = records + np.arange(documents)
    order[is_record] = np.arange(records)
    return order


def _versioned(rows: pa.Table, versions: pa.Table | None, schema: pa.Schema) -> pa.Table:
    if versions is None:
        values = {"epoch": 0, "position": 0, "ordinal": 0, "edit": 1, "generation": 0}
        columns = {name: pa.array(np.full(rows.num_rows, value)) for name, value in values.items()}
    else:
        place = pc.index_in(rows["document_id"], value_set=strings(versions["document_id"]))
        names = ("epoch", "position", "ordinal", "edit", "generation")
        columns = {name: versions[name].take(place) for name in names}
    for name, column in columns.items():
        rows = rows.set_column(
            rows.column_names.index(name), schema.field(name), column.cast(schema.field(name).type)
        )
    return rows.cast(schema)


def _filled(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """With every column of a schema, missing ones null, nothing required yet."""
    columns = {
        f.name: rows[f.name].cast(f.type)
        if f.name in rows.column_names
        else pa.nulls(rows.num_rows, f.type)
        for f in schema
    }
    if "chunk_index" not in rows.column_names:
        columns["chunk_index"] = pa.array(np.full(rows.num_rows, DOCUMENT_ROW), pa.int32())
    return pa.table(columns)
