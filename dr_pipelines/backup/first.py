"""The first look at a collection that no log entry describes: everything in it is new.

It is one pass. The store is read on one thread, while two others digest, encode, compare, hash,
write and sync a segment each: four segments of the records are in memory at a time.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.backup.passing import Passing
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery_point import Manifest, SegmentRef
from dr_pipelines.protocols import VectorReader
from dr_pipelines.repository.accounting import Sums, added_up, sums_of
from dr_pipelines.repository.history import History
from dr_pipelines.repository.prefetch import ending, map_concurrently, prefetch
from dr_pipelines.repository.rows import observed_rows, strings
from dr_pipelines.repository.segments import BASE_BYTES, BASE_ROWS, write_segment


@dataclass(frozen=True, slots=True)
class FirstContents:
    """Segments of everything that a store has, and what they add up to."""

    segments: tuple[SegmentRef, ...]
    sums: Sums


def first_contents(
    manifest: Manifest, passing: Passing, *, store: VectorReader, history: History
) -> FirstContents | None:
    """Read all records in order and write them as base segments that no entry names yet.

    None where there are none, or where documents are not contiguous in the order of ids; what was
    written for it stays behind, unnamed.
    """
    written = list[tuple[SegmentRef, Sums]]()
    batches = passing.through(store.scan(manifest.current.physical))
    with closing(prefetch(_contiguous(batches, manifest.spec))) as read_ahead:
        for segment in map_concurrently(partial(_written, manifest, history), read_ahead):
            if segment is None:
                return None
            written.append(segment)
    if not written:
        return None
    return FirstContents(tuple(ref for ref, _ in written), added_up(sums for _, sums in written))


def _written(
    manifest: Manifest, history: History, stored: pa.Table | None
) -> tuple[SegmentRef, Sums] | None:
    """One segment, and its sums."""
    if stored is None:
        return None
    spec = manifest.spec
    rows = observed_rows(stored, spec=spec)
    ref = write_segment(history.repository, history.collection, rows, spec=spec, kind="base")
    return ref, sums_of(ref, rows.narrow, spec)


def _contiguous(
    batches: Iterator[pa.RecordBatch], spec: CollectionSpec
) -> Iterator[pa.Table | None]:
    """Records of new segments; None, and the end, where documents are not contiguous."""
    last = ""
    for rows in _by_document(batches, spec):
        documents = strings(rows["document_id"])
        if documents[0].as_py() <= last or not _ascending(documents):
            yield None
            return
        last = documents[-1].as_py()
        yield rows


def _by_document(batches: Iterator[pa.RecordBatch], spec: CollectionSpec) -> Iterator[pa.Table]:
    """Tables of about `BASE_ROWS` rows, or `BASE_BYTES` of long ones, that end with a document's
    last row, if documents are contiguous."""
    pending = store_schema(spec).empty_table()
    with ending(batches):
        for batch in batches:
            pending = pa.concat_tables([pending, pa.Table.from_batches([batch])])
            if pending.num_rows < BASE_ROWS and pending.nbytes < BASE_BYTES:
                continue
            last = pending["document_id"][-1]
            end = pc.index(pending["document_id"], last).as_py()
            if end:
                yield pending.slice(0, end)
                pending = pending.slice(end)
    if pending.num_rows:
        yield pending


def _ascending(documents: pa.Array) -> bool:
    steps = pc.less_equal(documents.slice(0, len(documents) - 1), documents.slice(1))
    return bool(pc.all(steps).as_py() is not False)
