"""Reading records of one version, in order of id or as they lie.

In a directory the ids are read first. A table whose records lie in their order is read as it lies;
another one is read once and sorted outside: of 50,000 records of 384 components of which 1 % had
been written again that took 0.45 s of the processor, and taking them by their places 0.92, since
Lance reads a stretch with a gap row by row. Records of some documents are taken by their places,
but not in a bucket, where these are many requests (50,000 records: 562 and 4.7 s, against 10 and
1.4 s), nor of a table without a key, whose ids are digests of rows, nor where bytes of blobs are
asked for, which Lance takes as descriptors only: there, too, the table is read once.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.record import store_schema
from dr_pipelines.stores.lancedb.blobs import refuse_unkept
from dr_pipelines.stores.lancedb.digests import numbered
from dr_pipelines.stores.lancedb.errors import translating
from dr_pipelines.stores.lancedb.schema import Collection
from dr_pipelines.stores.shared.sorting import ascending

PIECE_ROWS = 8192
PIECE_BYTES = 32 * 2**20
READ_BYTES = 8 * 2**20


def unordered(collection: Collection, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Every record, as they lie, in these columns of `store_schema`."""
    layout, seen = collection.layout, dict[str, int]()
    read = list(columns)
    if layout.key is None and "document_id" in columns and "id" not in columns:
        read.append("id")  # which numbers equal rows
    with translating(collection.name):
        needed = layout.columns(read)
        of_blobs = [column for column in needed if column in layout.blobs]
        refuse_unkept(collection.dataset, of_blobs, key=layout.key)
        batches = collection.dataset.to_batches(
            columns=needed,
            with_row_id=not needed,  # rows without a column have no number
            blob_handling="all_binary" if of_blobs else None,
            batch_size_bytes=READ_BYTES,
            batch_readahead=2,
            fragment_readahead=1,
        )
        for batch in batches:
            if not batch.num_rows:
                continue
            rows = layout.read(batch, read)
            if layout.key is None and "id" in read:
                rows = numbered(rows, seen)
            yield rows.select(list(columns))


def as_they_lie(collection: Collection, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The same to be recorded: a row without an id is refused. Equal ids are not looked for."""
    for batch in unordered(collection, list(dict.fromkeys([*columns, "id"]))):
        _check_nulls(collection.name, batch.column("id"))
        yield batch.select(list(columns))


def ordered(
    collection: Collection,
    columns: Sequence[str],
    *,
    documents: Sequence[str] | None,
    batch_rows: int,
    by_place: bool,
) -> Iterator[pa.RecordBatch]:
    """Records ascending by id; `by_place` where any row of the table is soon read."""
    with_blobs = not collection.layout.blobs.isdisjoint(collection.layout.columns(columns))
    if by_place and collection.layout.key is not None and not with_blobs:
        places = _places(collection, documents)
        if documents is not None:
            yield from _taken(collection, columns, places, batch_rows)
            return
        if np.array_equal(places, np.arange(len(places))):
            for batch in unordered(collection, columns):
                for start in range(0, batch.num_rows, batch_rows):
                    yield batch.slice(start, batch_rows)
            return
    yield from _sorted(collection, columns, documents, batch_rows)


def _taken(
    collection: Collection, columns: Sequence[str], places: "np.ndarray[Any, Any]", rows: int
) -> Iterator[pa.RecordBatch]:
    layout, dataset = collection.layout, collection.dataset
    needed = layout.columns(columns)
    if not needed:
        needed = layout.columns(["id"])
    step = rows * max(1, _piece_rows(dataset) // rows)
    for start in range(0, len(places), step):
        with translating(collection.name):
            taken = dataset.take(places[start : start + step], columns=needed)
            pieces = taken.combine_chunks().to_batches()
        for piece in pieces:
            records = layout.read(piece, columns)
            for begin in range(0, records.num_rows, rows):
                yield records.slice(begin, rows)


def _places(collection: Collection, documents: Sequence[str] | None) -> "np.ndarray[Any, Any]":
    """Where the records lie, in ascending order of id."""
    needed = ["id"] if documents is None else ["id", "document_id"]
    table = pa.Table.from_batches(
        unordered(collection, needed),
        schema=pa.schema([store_schema(collection.layout.spec).field(n) for n in needed]),
    )
    order = pc.sort_indices(table.column("id"))
    ids = table.column("id").take(order)
    _check_ids(collection.name, ids)
    if documents is not None:
        selection = pa.array(list(documents), pa.string())
        order = order.filter(pc.is_in(table.column("document_id"), selection).take(order))
    return np.asarray(order.to_numpy())


def _check_ids(name: str, ids: pa.ChunkedArray) -> None:
    """Ids of our own collections are unique; in a table of users nobody enforces it."""
    _check_nulls(name, ids)
    repeated = pc.equal(ids[:-1], ids[1:]) if len(ids) > 1 else None
    if repeated is not None and pc.any(repeated).as_py():
        first = ids[pc.index(repeated, pa.scalar(True)).as_py()].as_py()
        raise InvalidRequest(
            f"{name!r}: more than one row has the id {first!r}; mark a column that is unique with "
            "the metadata lance-schema:unenforced-primary-key=true"
        )


def _check_nulls(name: str, ids: pa.Array | pa.ChunkedArray) -> None:
    if ids.null_count:
        raise InvalidRequest(f"{name!r}: {ids.null_count} rows have no id; give them one")


def _piece_rows(dataset: Any) -> int:
    """Rows to take at once: few when records are large."""
    metadata = dataset.get_version()["metadata"]
    size, rows = int(metadata.get("total_files_size", 0)), int(metadata.get("total_rows", 0))
    return max(1, min(PIECE_ROWS, PIECE_BYTES * max(1, rows) // max(1, size)))


def _sorted(
    collection: Collection, columns: Sequence[str], documents: Sequence[str] | None, rows: int
) -> Iterator[pa.RecordBatch]:
    read = list(dict.fromkeys(["id", *columns]))
    read += ["document_id"] if documents is not None and "document_id" not in read else []
    whole = store_schema(collection.layout.spec)
    schema = pa.schema([whole.field(column) for column in read])
    batches = unordered(collection, read)
    if documents is not None:
        batches = _of_documents(batches, pa.array(list(documents), pa.string()))
    last = pa.nulls(0, pa.string())
    for batch in ascending(batches, schema=schema, batch_rows=rows):
        ids = batch.column("id")
        _check_ids(collection.name, pa.chunked_array([last, ids]))
        last = ids[-1:]
        yield batch.select(list(columns))


def _of_documents(
    batches: Iterator[pa.RecordBatch], selection: pa.Array
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        rows = batch.filter(pc.is_in(batch.column("document_id"), selection))
        if rows.num_rows:
            yield rows
