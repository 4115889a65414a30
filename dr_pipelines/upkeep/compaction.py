"""Compaction: many segments become few, and checkpoints of small days one object for many of them;
nothing that any answer needs is lost.

Kept are all versions, tombstones and edits, and rows whose digests differ; dropped is only a
replay's repetition of what stands already. State and tombstones must have the same digests after.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines import __version__
from dr_pipelines.errors import Conflict, Damaged, NotFound
from dr_pipelines.live.live import Live
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.details import CompactDetail
from dr_pipelines.model.recovery_point import (
    Coverage,
    Head,
    Manifest,
    Partition,
    SegmentList,
    SegmentRef,
)
from dr_pipelines.repository.distinct import DistinctVersions
from dr_pipelines.repository.history import History, NextEntry, Tip, require_timeline
from dr_pipelines.repository.packed_checkpoints import pack_checkpoints
from dr_pipelines.repository.reachability import reachable
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.rows import strings
from dr_pipelines.repository.segment_rows import SegmentRows
from dr_pipelines.repository.segments import (
    BASE_BYTES,
    BASE_ROWS,
    SORT_COLUMNS,
    read_rows,
    write_segment,
)
from dr_pipelines.repository.take_rows import Numbers


@dataclass(frozen=True, slots=True)
class Reached:
    """Objects that a recovery point refers to, manifest, pages and checkpoints included."""

    objects: int
    size_bytes: int

    @classmethod
    def of(cls, history: History, head: Head) -> "Reached":
        """Those of a log's newest entry."""
        entry, manifest = head.entry, history.manifest_at(head)
        if entry is None or manifest is None:
            return cls(0, 0)
        refs = {ref.key: ref for ref in reachable(history.repository, entry, manifest)}
        return cls(len(refs), sum(ref.size_bytes for ref in refs.values()))


@dataclass(frozen=True, slots=True)
class Compacted:
    """The result of a compaction; `number` is None if there was nothing to do. `before` and `after`
    are everything that the newest point refers to, `packed` checkpoints lie in objects of many now.
    Nothing is deleted: older points keep theirs."""

    number: int | None
    segments_before: int
    segments_after: int
    rows_before: int
    rows_after: int
    before: Reached
    after: Reached
    packed: int = 0


def compact(history: History, *, live: Live) -> Compacted:
    """Rewrite the segments of a collection as few sorted ones, pack checkpoints of small days, and
    commit.

    Entries that are not applied are finished first. Older recovery points keep their segments.
    Raises `Conflict` when another run commits meanwhile, `Damaged` when the result would not fold
    to the same state.
    """
    live.follow(history)
    collection = history.collection
    tip = history.tip()
    manifest = tip.manifest
    if manifest is None:
        raise NotFound(f"{collection}: nothing is backed up yet, so nothing can be compacted")
    before = history.segments(manifest)
    rows = manifest.segments.rows
    reached, days = Reached.of(history, tip.head), history.days(manifest)
    covered = pack_checkpoints(history, days, spec=manifest.spec)
    packed = sum(_moved(days[day], covered[day]) for day in covered)
    if len(before) <= 1 and not packed:
        return Compacted(None, len(before), len(before), rows, rows, reached, reached)
    made = tuple(_rewrite(history, manifest)) if len(before) > 1 else tuple(before)
    update = {"segments": SegmentList.of(made), "coverage": Coverage.of(covered)}
    compacted = manifest.model_copy(update=update)
    _require_same_state(history, manifest, compacted)
    head = history.append("compact", _Fewer(compacted, tip).at).head
    kept_rows, after = sum(ref.rows for ref in made), Reached.of(history, head)
    return Compacted(head.number, len(before), len(made), rows, kept_rows, reached, after, packed)


@dataclass(frozen=True, slots=True)
class _Fewer:
    """The same state in other segments as an entry, unless the state changed since `planned`."""

    compacted: Manifest
    planned: Tip

    def at(self, tip: Tip) -> NextEntry:
        manifest = tip.existing()
        if not tip.same_state_as(self.planned):
            raise Conflict(
                f"{manifest.collection}: another run committed while this one compacted; run it "
                "again"
            )
        require_timeline(manifest, self.compacted.current)
        numbered = tuple(
            ref if ref.entry else ref.model_copy(update={"entry": tip.number})
            for ref in self.compacted.segments.tail
        )
        update = {"segments": SegmentList.of(numbered), "tool_version": __version__}
        return NextEntry(
            manifest=self.compacted.model_copy(update=update),
            detail=CompactDetail(
                segments_before=len(manifest.segments),
                segments_after=len(numbered),
                rows_before=manifest.segments.rows,
                rows_after=sum(ref.rows for ref in numbered),
            ),
        )


def _moved(before: Partition, after: Partition) -> int:
    """Checkpoints of a day that lie elsewhere now."""
    refs = zip(before.documents + before.chunks, after.documents + after.chunks, strict=True)
    return sum(one != other for one, other in refs)


def _require_same_state(history: History, before: Manifest, after: Manifest) -> None:
    with history.fold(before) as old, history.fold(after) as new:
        same = old.counts() == new.counts() and old.digests() == new.digests()
    if not same:
        raise Damaged(
            f"{before.collection}: compacted segments do not fold to the same state; nothing was "
            "committed"
        )


def _rewrite(history: History, manifest: Manifest) -> Iterator[SegmentRef]:
    """New segments over windows of documents, each merged from the segments that hold them."""
    with history.fold(manifest) as state:
        versions = DistinctVersions(state)
        places = versions.by_segment()
        cursors = [
            _Cursor(history.repository, versions.segments[number], versions.spec, *of)
            for number, of in places.items()
        ]
        for bound in _bounds(versions):
            parts = [cursor.up_to(bound) for cursor in cursors]
            rows = SegmentRows.joined_up([part for part in parts if part is not None])
            yield write_segment(
                history.repository,
                history.collection,
                rows.in_order(SORT_COLUMNS),
                spec=manifest.spec,
                kind="base",
            )


def _bounds(versions: DistinctVersions) -> Iterator[str]:
    """The last document of each window of about `BASE_ROWS` rows, or fewer where they are long."""
    count_so_far, last, limit = 0, None, _window_rows(versions.segments)
    for document, count in versions.documents():
        count_so_far, last = count_so_far + count, document
        if count_so_far >= limit:
            yield document
            count_so_far = 0
    if count_so_far and last is not None:
        yield last


def _window_rows(refs: Sequence[SegmentRef]) -> int:
    """Rows of a segment, going by what rows take as they are stored."""
    rows = sum(ref.rows for ref in refs)
    size = sum(ref.stored_bytes for ref in refs)
    return max(1, min(BASE_ROWS, BASE_BYTES * rows // max(1, size)))


class _Cursor:
    """Walks the kept rows of one segment in order of documents, decoding each batch once."""

    def __init__(
        self,
        repository: Repository,
        ref: SegmentRef,
        spec: CollectionSpec,
        rows: Numbers,
        sequences: Numbers,
    ) -> None:
        self._repository = repository
        self._ref = ref
        self._spec = spec
        self._rows, self._sequences = rows, sequences
        self._rest: SegmentRows | None = None

    def up_to(self, bound: str) -> SegmentRows | None:
        """Kept rows of documents up to and including one, which no earlier call returned; None
        where there are none."""
        if not len(self._rows) or self._ref.first_document.encode() > bound.encode():
            return None
        if self._rest is None:
            self._rest = self._load()
        within = pc.less_equal(strings(self._rest.narrow["document_id"]), bound)
        part, self._rest = self._rest.cut(pc.sum(within).as_py() or 0)
        if self._rest.num_rows == 0:
            self._rows, self._rest = self._rows[:0], None
        return part if part.num_rows else None

    def _load(self) -> SegmentRows:
        rows = read_rows(self._repository, self._ref, spec=self._spec).taken(self._rows)
        place = rows.narrow.column_names.index("sequence")
        narrow = rows.narrow.set_column(
            place, rows.narrow.schema.field("sequence"), pa.array(self._sequences, pa.int64())
        )
        return replace(rows, narrow=narrow)
