"""Segments: immutable rows, each with a narrow index that is all a fold needs."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import Damaged
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import (
    DOCUMENT_ROW,
    index_schema,
    narrow_schema,
    segment_schema,
    vector_schema,
)
from dr_pipelines.model.recovery_point import (
    Digests,
    SegmentKind,
    SegmentRef,
)
from dr_pipelines.repository import digest
from dr_pipelines.repository.codec import decode_table, encode_table, require_schema
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segment_rows import SegmentRows, record_rows, records_of
from dr_pipelines.repository.segment_vectors import (
    LABEL,
    index_key,
    label_of,
    read_vectors,
    write_vectors,
)
from dr_pipelines.repository.take_rows import Numbers, in_order, take_rows

BASE_ROWS = 8_192
"""Rows of a base segment: about 16 MiB with 384 dimensions and short texts. With twice as many a
backup takes 200 MiB more memory."""
BASE_BYTES = 24 * 2**20
"""Of a base segment in memory, where rows are long: fewer rows then, but always whole documents. A
segment at work is there about five times: read, digested, encoded, decoded again, written."""
INDEX_FROM_BYTES = 32 << 10
"""Of a segment's rows as they are stored. Below it an index would save a few kilobytes of reading,
cost as many of writing, and an object."""
SORT_COLUMNS = (
    "document_id",
    "epoch",
    "position",
    "ordinal",
    "edit",
    "generation",
    "sequence",
    "chunk_index",
)


def has_index(size_bytes: int) -> bool:
    """True if a segment whose rows take so much has an index: a small one is read whole instead."""
    return size_bytes >= INDEX_FROM_BYTES


def sort_rows(rows: pa.Table) -> pa.Table:
    """Rows in the order of a segment: bytewise by document, then version, document row first."""
    return in_order(rows, SORT_COLUMNS)


def records_only(rows: pa.Table) -> pa.Table:
    """Without document rows."""
    return take_rows(rows, _numbers(pc.not_equal(rows["chunk_index"], DOCUMENT_ROW)))


def documents_only(rows: pa.Table) -> pa.Table:
    """Document rows only."""
    return rows.filter(pc.equal(rows["chunk_index"], DOCUMENT_ROW))


def with_content_digests(rows: pa.Table, spec: CollectionSpec) -> pa.Table:
    """Fill `content_digest` of record rows from their values; null in document rows."""
    vectors = {vector.name for vector in spec.vectors}
    names = [name for name in rows.column_names if name not in vectors]
    records, places = records_of(rows, names)
    return _with_digests(rows, "content_digest", digest.content_digests(records, spec), places)


def with_vector_digests(rows: pa.Table, spec: CollectionSpec) -> pa.Table:
    """Fill `vector_digest` of record rows from their values; null in document rows."""
    records, places = records_of(rows, ["id", *(vector.name for vector in spec.vectors)])
    return _with_digests(rows, "vector_digest", digest.vector_digests(records, spec), places)


def row_digests(rows: pa.Table) -> Digests:
    """Sums over all rows of a segment or chunks checkpoint, superseded ones included."""
    vectors = (
        rows["vector_digest"]
        if "vector_digest" in rows.column_names
        else pa.nulls(0, pa.binary(32))
    )
    return Digests(
        content=digest.to_hex(digest.total(rows["content_digest"])),
        vectors=digest.to_hex(digest.total(vectors)),
        documents=digest.to_hex(digest.total(_document_digests(rows))),
    )


def write_segment(
    repository: Repository,
    collection: str,
    rows: pa.Table | SegmentRows,
    *,
    spec: CollectionSpec,
    kind: SegmentKind,
    entry: int = 0,
    partition: str | None = None,
    provenance: str | None = None,
    environment: str | None = None,
    metadata: dict[str, str] | None = None,
    input_sha256: str | None = None,
    key: str | None = None,
) -> SegmentRef:
    """Store sorted rows (as they are stored, or in `segment_schema(spec)`), their vectors and their
    index.

    `key` is a fresh name (default: under segments/); `entry` is the log number that will introduce
    the segment, set again by the committer. The rows are written last: a segment that lacks its
    index or its vectors is never referred to. Vectors are sent, and synced, while the rows are
    encoded.
    """
    stored = rows if isinstance(rows, SegmentRows) else SegmentRows.of(rows, spec)
    narrow = stored.narrow
    require_schema(narrow, narrow_schema(spec), what="segment")
    key = key or f"{collection}/segments/{repository.new_name()}.parquet"
    with ThreadPoolExecutor(1, "vectors") as beside:
        sent = beside.submit(write_vectors, repository, key, stored.vectors)
        labels = metadata and {**metadata, LABEL: label_of(sent.result())}
        data = encode_table(narrow, metadata=labels)
        index_ref = None
        if has_index(len(data)):
            index = encode_table(narrow.select(index_schema(spec).names))
            index_ref = repository.put(index_key(key), index)
        vectors = sent.result()
    ref = repository.put(key, data)
    documents = narrow["document_id"]
    return SegmentRef(
        **ref.model_dump(),
        index=index_ref,
        vectors=vectors,
        kind=kind,
        entry=entry,
        rows=narrow.num_rows,
        records=count_records(narrow),
        first_document=documents[0].as_py(),
        last_document=documents[-1].as_py(),
        partition=partition,
        provenance=provenance,
        environment=environment,
        input=input_sha256,
        digests=row_digests(narrow),
    )


def read_segment(
    repository: Repository,
    ref: SegmentRef,
    *,
    spec: CollectionSpec,
    columns: list[str] | None = None,
) -> pa.Table:
    """The rows of a segment, or these columns of them, proven to be the bytes that were written;
    vectors are only fetched where columns of theirs are selected. Raises `Damaged`."""
    selected = segment_schema(spec).names if columns is None else columns
    names = [name for name in selected if name in vector_schema(spec).names]
    if not names:
        return _read_narrow(repository, ref, spec=spec, columns=selected)
    others = [name for name in selected if name not in names]
    narrow = _read_narrow(repository, ref, spec=spec, columns=_with_place(others))
    vectors = read_vectors(repository, ref, spec=spec, columns=names)
    require_fit(narrow, ref)
    return SegmentRows(narrow, vectors).joined(selected)


def read_records(
    repository: Repository,
    ref: SegmentRef,
    *,
    spec: CollectionSpec,
    columns: list[str],
    numbers: Numbers | None = None,
) -> pa.Table:
    """The records of a segment, or those with these row numbers, as `read_segment` reads them, but
    vectors that are selected whole and in order are not copied."""
    names = [name for name in columns if name in vector_schema(spec).names]
    others = [name for name in columns if name not in names]
    narrow = _read_narrow(repository, ref, spec=spec, columns=_with_place(others))
    require_fit(narrow, ref)
    is_record = record_rows(narrow)
    numbers = np.flatnonzero(is_record) if numbers is None else numbers
    records = take_rows(narrow, numbers)
    if names:
        places = np.cumsum(is_record, dtype=np.int64)[numbers] - 1
        vectors = read_vectors(repository, ref, spec=spec, columns=names)
        vectors = vectors if _is_all(places, ref.records) else take_rows(vectors, places)
        for field, column in zip(vectors.schema, vectors.columns, strict=True):
            records = records.append_column(field, column)
    return records.select(columns)


def read_rows(repository: Repository, ref: SegmentRef, *, spec: CollectionSpec) -> SegmentRows:
    """The rows of a segment as they are stored: nothing is joined. Raises `Damaged`."""
    names = narrow_schema(spec).names
    narrow = _read_narrow(repository, ref, spec=spec, columns=names)
    require_fit(narrow, ref)
    return SegmentRows(narrow, read_vectors(repository, ref, spec=spec))


def _with_place(columns: list[str]) -> list[str]:
    """Columns, and the one that tells document rows from records."""
    return columns if "chunk_index" in columns else [*columns, "chunk_index"]


def require_fit(narrow: pa.Table, ref: SegmentRef) -> None:
    """There are as many records as vectors beside them; raises `Damaged`."""
    records = count_records(narrow)
    if records != ref.records:
        raise Damaged(f"{ref.key} has {records} records, not {ref.records}")


def _is_all(places: Numbers, count: int) -> bool:
    return len(places) == count and bool((places == np.arange(count)).all())


def _read_narrow(
    repository: Repository, ref: SegmentRef, *, spec: CollectionSpec, columns: list[str]
) -> pa.Table:
    data, schema = repository.fetch(ref), narrow_schema(spec)
    table = decode_table(data, schema, what=ref.key, columns=columns, rows=ref.rows)
    return _expect_rows(table, ref)


def read_index(repository: Repository, ref: SegmentRef, *, spec: CollectionSpec) -> pa.Table:
    """The index of a segment, row for row; of one without, made of its rows. Raises `Damaged`."""
    if ref.index is None:
        return _read_narrow(repository, ref, spec=spec, columns=index_schema(spec).names)
    data = repository.fetch(ref.index)
    return _expect_rows(
        decode_table(data, index_schema(spec), what=ref.index.key, rows=ref.rows), ref
    )


def rows_within(rows: pa.Table, *, limit_rows: int, limit_bytes: int) -> int:
    """How many rows like these, on the average, stay within both limits; at least one."""
    fitting = int(rows.num_rows) * limit_bytes // max(1, int(rows.nbytes))
    return max(1, min(limit_rows, fitting))


def split_documents(rows: pa.Table, *, limit_rows: int) -> Iterator[pa.Table]:
    """Sorted rows in pieces that never cut a version of a document; a piece is closed as soon as
    it holds `limit_rows`."""
    starts = pc.indices_nonzero(pc.equal(rows["chunk_index"], DOCUMENT_ROW)).to_pylist()
    begin = 0
    for start in starts[1:]:
        if start - begin >= limit_rows:
            yield rows.slice(begin, start - begin)
            begin = start
    if rows.num_rows > begin:
        yield rows.slice(begin)


def _expect_rows(table: pa.Table, ref: SegmentRef) -> pa.Table:
    if table.num_rows != ref.rows:
        raise Damaged(f"{ref.key} has {table.num_rows} rows, not {ref.rows}")
    return table


def count_records(rows: pa.Table) -> int:
    """How many rows are records."""
    return int(pc.sum(pc.not_equal(rows["chunk_index"], DOCUMENT_ROW)).as_py() or 0)


def _document_digests(rows: pa.Table) -> pa.Array:
    names = [*digest.DOCUMENT_COLUMNS, "chunk_index"]
    return digest.document_digests(documents_only(rows.select(names)))


def _numbers(chosen: pa.Array | pa.ChunkedArray) -> Numbers:
    numbers: Numbers = pc.indices_nonzero(chosen).to_numpy().astype(np.int64)
    return numbers


def _with_digests(rows: pa.Table, name: str, digests: pa.Array, places: pa.Array) -> pa.Table:
    column = digests.take(places)
    return rows.set_column(rows.column_names.index(name), rows.schema.field(name), column)


def touched_documents(
    repository: Repository,
    newest_first: Iterable[SegmentRef],
    *,
    spec: CollectionSpec,
    entries: Sequence[int],
) -> pa.Array:
    """Documents of which some entries brought a version, ascending, each once. Segments come as
    they were added, the last one first: those before the entries are not asked for.

    Rows that a compaction merged still say which entry brought them.
    """
    if not entries:
        return pa.array([], pa.string())
    numbers, chunks = pa.array(entries, pa.int64()), list[pa.Array]()
    for ref in newest_first:
        if ref.entry < min(entries):
            break
        if ref.entry in entries or (ref.kind == "base" and ref.entry > min(entries)):
            index = read_index(repository, ref, spec=spec)
            brought_by = pc.fill_null(index["sequence"], ref.entry)
            touched = index.filter(pc.is_in(brought_by, value_set=numbers))
            chunks += touched["document_id"].chunks
    unique = pc.unique(pa.chunked_array(chunks, pa.string()))
    return unique.take(pc.sort_indices(unique))
