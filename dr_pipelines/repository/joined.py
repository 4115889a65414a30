"""Indexes of many segments as one table: what a fold reads where segments are small.

Its rows are those of the indexes, in the order of the segments, with the number of each row's
segment in the page and of its row there, and with the entry that brought it. They come from an
object of their own, or from the packed rows of the page, which have their columns among others.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import Damaged
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import index_schema, narrow_schema
from dr_pipelines.model.recovery_point import (
    ObjectRef,
    SegmentPageRef,
    SegmentRef,
    SourcePosition,
)
from dr_pipelines.repository.codec import decode_table
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segment_list import Group, Range, Segments
from dr_pipelines.repository.segments import read_index

ROWS_EACH = 256
"""Of the segments of a page, on the average, if it has one index for all: with more, that saves
few requests and is long."""
ROWS_TOGETHER = 131_072


def joined_schema(spec: CollectionSpec) -> pa.Schema:
    """Of an index of many segments."""
    schema: pa.Schema = index_schema(spec)
    return schema.append(pa.field("segment", pa.int32())).append(pa.field("row", pa.int64()))


def packed_schema(spec: CollectionSpec) -> pa.Schema:
    """Of the rows of many segments, without their vectors."""
    schema: pa.Schema = narrow_schema(spec)
    return schema.append(pa.field("segment", pa.int32())).append(pa.field("row", pa.int64()))


def is_joined(page: SegmentPageRef) -> bool:
    """True if the segments of a page are small enough for one index."""
    return page.rows <= min(ROWS_TOGETHER, ROWS_EACH * page.count)


def joined_index(repository: Repository, page: SegmentPageRef, *, spec: CollectionSpec) -> pa.Table:
    """Rows of everything in a page, in `joined_schema`; those of a page below it from what that has
    beside it, if anything. What the page itself has is left aside. Raises `Damaged`."""
    inside = Segments.within(repository, page)
    tables = [read() for read in group_reads(repository, inside, spec=spec)]
    return pa.concat_tables(tables).combine_chunks()


def read_joined(repository: Repository, page: SegmentPageRef, *, spec: CollectionSpec) -> pa.Table:
    """The index of a page that has one, or packed rows. Raises `Damaged`."""
    if page.packed is not None:
        return read_beside(repository, page, page.packed, packed_schema(spec), joined_schema(spec))
    if page.index is None:
        raise Damaged(f"{page.key}: has no index")
    return read_beside(repository, page, page.index, joined_schema(spec), joined_schema(spec))


def read_beside(
    repository: Repository, page: SegmentPageRef, ref: ObjectRef, schema: pa.Schema, part: pa.Schema
) -> pa.Table:
    """A part of the columns of a page's index or of its packed rows. Raises `Damaged` where they
    cannot be those of the page."""
    what = ref.key
    rows = decode_table(repository.fetch(ref), schema, what=what, columns=part.names)
    numbers = rows["segment"]
    bounds = pc.min_max(numbers).as_py()
    unnumbered = "sequence" in part.names and rows["sequence"].null_count
    if rows.num_rows > page.rows or numbers.null_count or unnumbered:
        raise Damaged(f"{what}: is not the index of {page.key}")
    if rows.num_rows and not 0 <= bounds["min"] <= bounds["max"] < page.count:
        raise Damaged(f"{what}: names segments that {page.key} does not have")
    return rows


def group_rows(repository: Repository, group: Group, *, spec: CollectionSpec) -> pa.Table:
    """Rows of a group in `joined_schema`, with the numbers of their segments. Raises `Damaged`."""
    if group.page is not None:
        return shifted(read_joined(repository, group.page, spec=spec), group.first)
    if group.segment is None:
        return joined_schema(spec).empty_table()
    return shifted(segment_rows(repository, group.segment, spec=spec), group.first)


def group_reads(
    repository: Repository,
    segments: Segments,
    *,
    spec: CollectionSpec,
    documents: Range | None = None,
) -> Iterator[Callable[[], pa.Table]]:
    """A call for each group of segments whose range of documents meets another, that reads its
    rows."""
    for group in segments.groups(documents):
        yield partial(group_rows, repository, group, spec=spec)


def segment_rows(repository: Repository, ref: SegmentRef, *, spec: CollectionSpec) -> pa.Table:
    """Rows of one segment's index that count, in `joined_schema`, as segment 0."""
    return numbered(read_index(repository, ref, spec=spec), ref)


def numbered(index: pa.Table, ref: SegmentRef) -> pa.Table:
    """An index with the number of each row, as segment 0, and the entry that brought it; without
    rows that do not count in the segment."""
    place = index.column_names.index("sequence")
    sequence = pc.fill_null(index["sequence"].cast(pa.int64()), ref.entry)
    rows = index.set_column(place, index.schema.field("sequence"), sequence)
    count = rows.num_rows
    rows = rows.append_column("segment", pa.repeat(pa.scalar(0, pa.int32()), count))
    rows = rows.append_column("row", pa.array(np.arange(count, dtype=np.int64)))
    return rows if ref.until is None else rows.filter(said_by(rows, ref.until))


def said_by(rows: pa.Table, cut: SourcePosition) -> pa.ChunkedArray:
    """Rows that the source had said by a position; no edits."""
    same = pc.and_(
        pc.equal(rows["epoch"], cut.epoch), pc.less_equal(rows["position"], cut.position)
    )
    return pc.and_(pc.equal(rows["edit"], 0), pc.or_(same, pc.less(rows["epoch"], cut.epoch)))


def shifted(rows: pa.Table, first: int) -> pa.Table:
    """The same rows with other numbers of segments, from `first` on."""
    place = rows.column_names.index("segment")
    numbers = pc.add(rows["segment"], pa.scalar(first, pa.int32()))
    return rows.set_column(place, rows.schema.field("segment"), numbers)
