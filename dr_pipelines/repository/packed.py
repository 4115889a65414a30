"""Rows of many small segments in one object: what is read where a state lies in many of them.

A page of small segments has all of their rows once more, packed: as they are stored, in the order
of the segments, with the number of each row's segment in the page and of its row there, and with
the entry that brought it; and the vectors of their records. A state of 200 documents that changed
on 200 days is then read in a dozen requests and not in 400.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import Damaged
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import DOCUMENT_ROW, narrow_schema, vector_schema
from dr_pipelines.model.recovery_point import PackedRef, SegmentPageRef, SegmentRef
from dr_pipelines.repository.codec import encode_table
from dr_pipelines.repository.joined import (
    is_joined,
    joined_index,
    numbered,
    packed_schema,
    read_beside,
    read_joined,
    shifted,
)
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.same_bits import same_table
from dr_pipelines.repository.segment_list import Group, Segments
from dr_pipelines.repository.segment_rows import SegmentRows, record_rows
from dr_pipelines.repository.segment_vectors import (
    read_packed_vectors,
    read_vectors,
    write_vectors,
)
from dr_pipelines.repository.segments import read_segment
from dr_pipelines.repository.take_rows import Numbers, take_rows

PACKED_BYTES = 512 << 10
"""Of the segments of a page, if their rows are packed: eight of a few records each, or 64 of one.
Of longer ones a request reads enough as it is, and rows would be stored once more for little."""


def is_packed(page: SegmentPageRef) -> bool:
    """True if the segments of a page are so small that their rows lie in one object, too."""
    return is_joined(page) and page.stored_bytes <= PACKED_BYTES


def with_joined(
    repository: Repository, collection: str, page: SegmentPageRef, *, spec: CollectionSpec
) -> SegmentPageRef:
    """A new page with its rows, or the rows of its indexes, in one object; as it is where it is too
    large for either."""
    if is_packed(page):
        packed = _write_packed(repository, collection, page, spec)
        return page.model_copy(update={"packed": packed})
    if is_joined(page):
        key = f"{collection}/manifests/{repository.new_name()}.index.parquet"
        rows = joined_index(repository, page, spec=spec)
        return page.model_copy(update={"index": repository.put(key, encode_table(rows))})
    return page


def packed_records(
    repository: Repository,
    page: SegmentPageRef,
    segments: Numbers,
    rows: Numbers,
    *,
    spec: CollectionSpec,
    columns: list[str],
) -> pa.Table:
    """Records of a page that is packed: the rows with these numbers in these segments, numbered
    from 0, ascending by both. Vectors are only fetched where columns of theirs are selected.
    Raises `Damaged`."""
    names = [name for name in columns if name in vector_schema(spec).names]
    others = [name for name in columns if name not in names]
    packed = _packed(page)
    parts = dict.fromkeys([*others, "chunk_index", "segment", "row"])
    schema = packed_schema(spec)
    part = pa.schema([schema.field(name) for name in parts])
    narrow = read_beside(repository, page, packed, schema, part)
    places = _places(narrow, page, segments, rows)
    records = take_rows(narrow.select(others), places)
    if names:
        is_record = record_rows(narrow)
        count = int(is_record.sum())
        vectors = read_packed_vectors(repository, packed, records=count, spec=spec, columns=names)
        chosen = take_rows(vectors, np.cumsum(is_record, dtype=np.int64)[places] - 1)
        for field, column in zip(chosen.schema, chosen.columns, strict=True):
            records = records.append_column(field, column)
    return records.select(columns)


def check_page(repository: Repository, page: SegmentPageRef, *, spec: CollectionSpec) -> None:
    """Raise `Damaged` where what a page has beside it is not that of what is in it."""
    if page.packed is not None:
        _check_packed(repository, page, page.packed, spec)
    if page.index is None:
        return
    inside = joined_index(repository, page, spec=spec)
    if not read_joined(repository, page, spec=spec).equals(inside):
        raise Damaged(f"{page.index.key}: differs from the indexes of the segments in {page.key}")


def _check_packed(
    repository: Repository, page: SegmentPageRef, ref: PackedRef, spec: CollectionSpec
) -> None:
    inside, packed = _within(repository, page, spec), _read_packed(repository, page, spec)
    pairs = ((inside.narrow, packed.narrow), (inside.vectors, packed.vectors))
    if not all(same_table(one, other) for one, other in pairs):
        raise Damaged(f"{ref.key}: differs from the rows of the segments in {page.key}")


def _write_packed(
    repository: Repository, collection: str, page: SegmentPageRef, spec: CollectionSpec
) -> PackedRef:
    inside = _within(repository, page, spec)
    key = f"{collection}/manifests/{repository.new_name()}.parquet"
    vectors = write_vectors(repository, key, inside.vectors)
    ref = repository.put(key, encode_table(inside.narrow))
    return PackedRef(**ref.model_dump(), vectors=vectors)


def _within(repository: Repository, page: SegmentPageRef, spec: CollectionSpec) -> SegmentRows:
    """The rows of everything in a page, in `packed_schema`; those of a page below it from its own
    packed rows."""
    inside = Segments.within(repository, page)
    parts, number = list[SegmentRows](), 0
    while number < page.count:
        group = inside.holder(number)
        parts.append(_of_group(repository, group, spec))
        number += group.page.count if group.page else 1
    narrow = pa.concat_tables([part.narrow for part in parts])
    vectors = pa.concat_tables([part.vectors for part in parts])
    return SegmentRows(narrow.combine_chunks(), vectors.combine_chunks())


def _of_group(repository: Repository, group: Group, spec: CollectionSpec) -> SegmentRows:
    if group.page is not None:
        rows = _read_packed(repository, group.page, spec)
    else:
        rows = _of_segment(repository, group.only, spec)
    return SegmentRows(shifted(rows.narrow, group.first), rows.vectors)


def _of_segment(repository: Repository, ref: SegmentRef, spec: CollectionSpec) -> SegmentRows:
    """The rows of a segment that count, as segment 0, and the vectors of the records among them."""
    narrow = read_segment(repository, ref, spec=spec, columns=narrow_schema(spec).names)
    vectors = read_vectors(repository, ref, spec=spec)
    rows = numbered(narrow, ref)
    if rows.num_rows == narrow.num_rows:
        return SegmentRows(rows, vectors)
    places = np.cumsum(record_rows(narrow), dtype=np.int64) - 1
    remaining: Numbers = rows["row"].to_numpy()[record_rows(rows)]
    return SegmentRows(rows, take_rows(vectors, places[remaining]))


def _read_packed(repository: Repository, page: SegmentPageRef, spec: CollectionSpec) -> SegmentRows:
    packed, schema = _packed(page), packed_schema(spec)
    narrow = read_beside(repository, page, packed, schema, schema)
    records = pc.sum(pc.not_equal(narrow["chunk_index"], DOCUMENT_ROW)).as_py() or 0
    return SegmentRows(narrow, read_packed_vectors(repository, packed, records=records, spec=spec))


def _packed(page: SegmentPageRef) -> PackedRef:
    if page.packed is None:
        raise Damaged(f"{page.key}: its rows are not packed")
    return page.packed


def _places(rows: pa.Table, page: SegmentPageRef, segments: Numbers, numbers: Numbers) -> Numbers:
    """Where these rows of these segments are among packed ones; raises `Damaged` where one is
    not, or where they do not ascend."""
    rows_there = rows["row"].to_numpy(zero_copy_only=False)
    within = rows["row"].null_count == 0 and len(rows_there) > 0
    within = within and bool(((rows_there >= 0) & (rows_there < page.rows)).all())
    keys = rows["segment"].to_numpy().astype(np.int64) * page.rows + rows_there
    expected = segments * page.rows + numbers
    places: Numbers = np.searchsorted(keys, expected)
    ascending = within and bool((np.diff(keys) > 0).all())
    if not ascending or not np.array_equal(keys[np.minimum(places, len(keys) - 1)], expected):
        raise Damaged(f"{_packed(page).key}: lacks rows of the segments in {page.key}")
    return places
