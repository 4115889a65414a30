"""Records replaced in one version: readers see the table before or after, never between."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import Conflict, InvalidRequest
from dr_pipelines.model.query import Scalar
from dr_pipelines.stores.lancedb.errors import translating
from dr_pipelines.stores.lancedb.filters import one_of
from dr_pipelines.stores.lancedb.records import PRIMARY_KEY, Records
from dr_pipelines.stores.lancedb.scans import unordered
from dr_pipelines.stores.lancedb.schema import Collection

ROW = "_rowid"
ATTEMPTS = 10


def replace_records(
    collection: Collection, batch: pa.Table, replaces: Sequence[str], options: Any
) -> None:
    """Insert or replace by id, and remove other records of the documents in `replaces`.

    One merge updates, inserts and deletes, in one version, at the version that was read: where
    somebody else changed the same rows or inserted the same ids meanwhile, all is read and done
    again. It reads the column of the key, 0.1 s for a million records. An append does not, but two
    of them never conflict, and leave an id twice.
    """
    rows = collection.layout.written(batch)
    for left in reversed(range(ATTEMPTS)):
        try:
            with translating(collection.name):
                if collection.layout.key is None:
                    _replace_by_digest(collection, batch, rows, replaces, options)
                else:
                    _replace(collection, batch, rows, replaces)
                return
        except Conflict:
            if not left:
                raise
        with translating(collection.name):
            collection.dataset.checkout_latest()


def _replace(
    collection: Collection, batch: pa.Table, rows: pa.Table, replaces: Sequence[str]
) -> None:
    dataset, ids = collection.dataset, batch.column("id").to_pylist()
    if not _is_marked(collection):
        _keep_last(collection, ids)
    doomed = _doomed(collection, ids, replaces)
    before = dataset.version
    if rows.num_rows:
        merge(collection, rows, doomed)
        if not _is_marked(collection) and dataset.version != before + 1:
            _keep_last(collection, ids)
    elif doomed:
        dataset.delete(_is_one(collection, doomed), conflict_retries=0)


def _is_marked(collection: Collection) -> bool:
    """True if Lance knows the key, so that of two merges that insert an id one conflicts."""
    field = collection.dataset.schema.field(collection.layout.key)
    return PRIMARY_KEY in (field.metadata or {})


def _keep_last(collection: Collection, ids: Sequence[str]) -> None:
    """Of rows with one of these ids let the last be the only one: two writers of a table whose key
    is not marked may both have inserted it."""
    if not ids or not collection.dataset.count_rows():
        return
    rows = _rows_of(collection, ids).sort_by(ROW)
    last = dict(zip(rows.column(0).to_pylist(), rows.column(ROW).to_pylist(), strict=True))
    if len(last) == rows.num_rows:
        return
    extra = sorted(set(rows.column(ROW).to_pylist()) - set(last.values()))
    delete_rows(collection.dataset, extra)


def _rows_of(collection: Collection, ids: Sequence[str]) -> pa.Table:
    """The keys that are there of some, and where they lie."""
    dataset, key = collection.dataset, collection.layout.key
    if collection.built:
        where = _is_one(collection, ids)
        return dataset.to_table(columns=[key], filter=where, with_row_id=True)
    selection = pa.array(ids, pa.string())
    batches = dataset.to_batches(columns=[key], with_row_id=True)
    rows = [b.filter(pc.is_in(b.column(key).cast(pa.string()), selection)) for b in batches]
    return pa.Table.from_batches(rows)


def _doomed(collection: Collection, ids: Sequence[str], replaces: Sequence[str]) -> list[str]:
    """The other ids of the documents that are replaced."""
    if not replaces or not collection.dataset.count_rows():
        return []
    read = _of_index if collection.built else _of_scan
    there = read(collection, list(replaces))
    written = pa.array(ids, pa.string())
    others: list[str] = there.filter(pc.invert(pc.is_in(there, value_set=written))).to_pylist()
    return others


def _of_index(collection: Collection, documents: Sequence[str]) -> pa.Array:
    """Ids of documents, by the index of their column."""
    layout = collection.layout
    same = layout.key == layout.document
    where = one_of(layout.document or "", _keys(layout, documents) if same else documents)
    table = collection.dataset.to_table(columns=[layout.key], filter=where)
    return table.column(layout.key).cast(pa.string()).combine_chunks()


def _of_scan(collection: Collection, documents: Sequence[str]) -> pa.Array:
    """Ids of documents, of all: before indexes are built a third of the time that Lance takes to
    read and plan a condition of thousands of them."""
    selection, pieces = pa.array(documents, pa.string()), [pa.array([], pa.string())]
    for rows in unordered(collection, ["id", "document_id"]):
        pieces.append(rows.column("id").filter(pc.is_in(rows.column("document_id"), selection)))
    return pa.concat_arrays(pieces)


def merge(collection: Collection, rows: pa.Table, doomed: Sequence[str]) -> None:
    """Put rows in place of those with their ids, and remove the doomed, in one version."""
    merge = collection.dataset.merge_insert(collection.layout.key).conflict_retries(0)
    merge = merge.when_matched_update_all().when_not_matched_insert_all()
    if _is_marked(collection):
        merge = merge.use_index(False)  # by an index Lance notes no keys that another may insert
    if doomed:
        merge = merge.when_not_matched_by_source_delete(_is_one(collection, doomed))
    merge.execute(rows)


def _is_one(collection: Collection, ids: Sequence[str]) -> str:
    return one_of(collection.layout.key or "", _keys(collection.layout, ids))


def _keys(layout: Records, ids: Sequence[str]) -> list[Scalar]:
    """Ids as the key column has them; one that it cannot have is not there."""
    return [key for key in map(layout.key_value, ids) if key is not None]


def delete_rows(dataset: Any, places: Sequence[int]) -> None:
    """Raises a conflict where rows were moved meanwhile: to try again at another version would
    find none."""
    dataset.delete(f"{ROW} IN ({', '.join(map(str, places))})", conflict_retries=0)


def _append(collection: Collection, rows: pa.Table, options: Any) -> None:
    import lance

    lance.write_dataset(
        rows.to_reader(), collection.dataset, mode="append", storage_options=options
    )


def _replace_by_digest(
    collection: Collection, batch: pa.Table, rows: pa.Table, replaces: Sequence[str], options: Any
) -> None:
    """In a table without a key an id is what the row holds: rows that are there stay, others come,
    and those that are to go go. Reads the whole table; in two versions where rows come and go, new
    ones first."""
    written = set(batch.column("id").to_pylist())
    there, places = _digests(collection)
    gone = set(replaces) - written
    doomed = [place for key, place in zip(there, places, strict=True) if key in gone]
    missing = written - set(there)
    if missing:
        new = pc.is_in(batch.column("id"), value_set=pa.array(sorted(missing), pa.string()))
        _append(collection, rows.filter(new), options)
    if doomed:
        delete_rows(collection.dataset, doomed)  # as they lay in the version that was read


def _digests(collection: Collection) -> tuple[list[str], list[int]]:
    """The id of each row, and where it lies."""
    read = unordered(collection, ["id"])
    ids = [key for rows in read for key in rows.column("id").to_pylist()]
    table = collection.dataset.to_table(columns=[], with_row_id=True)
    return ids, table.column(ROW).to_pylist()


def check_digests(collection: Collection, batch: pa.Table) -> None:
    """In a table without a key, refuse a record whose id is not that of its row."""
    if collection.layout.key is not None or not batch.num_rows:
        return
    (rows,) = collection.layout.written(batch).combine_chunks().to_batches()
    ids = collection.layout.read(rows, ["id"]).column("id").to_pylist()
    for key, digest in zip(batch.column("id").to_pylist(), ids, strict=True):
        if key.partition(".")[0] != digest:
            raise InvalidRequest(
                f"record {key!r}: in a table without a key its id is the row's digest, {digest!r}"
            )
