"""Lists of a manifest that grow with its history: segments, and what was read of each day.

Of a list the manifest itself has only the newest items. Older ones lie in immutable pages, which
the manifests of many entries share (docs/format.md, Lists).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Self

from pydantic import Field as Constraint

from dr_pipelines.model.base import Count, Day, Sha256, Stored
from dr_pipelines.model.recovery_point.partition import (
    Partition,
    frontier_of,
    read_marks,
    sum_of_marks,
)
from dr_pipelines.model.recovery_point.references import (
    MAX_VECTOR_OBJECTS,
    ZERO,
    ObjectRef,
    SegmentRef,
    is_empty,
    is_none,
)

MAX_LEVEL = 16
"""Of a page. With eight pages to one that is more items than `MAX_ITEMS`."""
MAX_ITEMS = 1 << 24
"""Of a list."""


class PageRef(ObjectRef):
    """A page of a list: of `count` items at level 0, else of pages that are a level lower and have
    as many together."""

    level: Annotated[int, Constraint(ge=0, le=MAX_LEVEL)]
    count: Annotated[int, Constraint(ge=1, le=MAX_ITEMS)]


class PackedRef(ObjectRef):
    """The rows of many small segments in one object, and beside it the vectors of their records."""

    vectors: Annotated[tuple[ObjectRef, ...], Constraint(max_length=MAX_VECTOR_OBJECTS)] = (
        Constraint(default=(), exclude_if=is_empty)
    )


class SegmentPageRef(PageRef):
    """A page of segments: sums over them, the range of their documents, bytewise, and that of their
    days; left out where none is of a day.

    `packed` is their rows in one object, left out where they are long; `index` then is the rows of
    all their indexes, left out where segments are large.
    """

    rows: Count
    records: Count
    stored_bytes: Count
    first_document: str
    last_document: str
    first_day: Day | None = Constraint(default=None, exclude_if=is_none)
    last_day: Day | None = Constraint(default=None, exclude_if=is_none)
    index: ObjectRef | None = Constraint(default=None, exclude_if=is_none)
    packed: PackedRef | None = Constraint(default=None, exclude_if=is_none)

    @property
    def joined(self) -> ObjectRef | None:
        """The object that has the rows of all indexes, among other columns or alone."""
        return self.packed or self.index

    @property
    def companions(self) -> tuple[ObjectRef, ...]:
        """The objects beside it that repeat what is in its segments."""
        packed = (self.packed, *self.packed.vectors) if self.packed else ()
        return (*((self.index,) if self.index else ()), *packed)


class DayPageRef(PageRef):
    """A page of days from `first_day` to `last_day`, brought by entries up to `entry`."""

    first_day: Day
    last_day: Day
    entry: Count


class SegmentList(Stored):
    """Segments, oldest first: those of the pages, then the `tail`."""

    pages: tuple[SegmentPageRef, ...] = ()
    tail: tuple[SegmentRef, ...] = ()

    @classmethod
    def of(cls, refs: Iterable[SegmentRef]) -> Self:
        """A list of these alone."""
        return cls(tail=tuple(refs))

    def plus(self, refs: Iterable[SegmentRef]) -> "SegmentList":
        """With more at the end."""
        return self.model_copy(update={"tail": (*self.tail, *refs)})

    def __len__(self) -> int:
        return sum(page.count for page in self.pages) + len(self.tail)

    def __bool__(self) -> bool:
        return bool(self.pages or self.tail)

    @property
    def records(self) -> int:
        """Records of all segments, superseded ones included."""
        return sum(page.records for page in self.pages) + sum(ref.records for ref in self.tail)

    @property
    def rows(self) -> int:
        """Rows of all segments."""
        return sum(page.rows for page in self.pages) + sum(ref.rows for ref in self.tail)

    @property
    def stored_bytes(self) -> int:
        """Size of all their objects."""
        pages = sum(page.stored_bytes for page in self.pages)
        return pages + sum(ref.stored_bytes for ref in self.tail)


class Coverage(Stored):
    """The days of the source that were read: items of the pages, then those of the `tail`. Of
    several of a day the last one counts, together with the checkpoints that it leaves to those
    before (`Partition.earlier`).

    The rest sums up all days, so that most questions need no page. `days` is their number.
    `frontier` is the last position up to which the source was read without a gap, `reached` the
    last that was read, `anchor` the source's at `anchored`, the last position that has one. `empty`
    counts versions of which no chunk was made, `chunks` the chunks checkpoints by provenance.
    `read` is the sum of `read_marks`, and `cut` names the days that it leaves out.
    """

    pages: tuple[DayPageRef, ...] = ()
    tail: dict[Day, Partition] = {}
    days: Count = 0
    frontier: Count = 0
    reached: Count = 0
    anchored: Count = 0
    anchor: str = ""
    empty: Count = 0
    chunks: dict[Sha256, Count] = {}
    read: Sha256 = ZERO
    cut: tuple[Day, ...] = Constraint(default=(), exclude_if=is_empty)

    @classmethod
    def of(cls, partitions: Mapping[Day, Partition]) -> "Coverage":
        """Coverage by these days alone."""
        return cls(tail=dict(partitions)).summed(partitions)

    def summed(self, partitions: Mapping[Day, Partition]) -> "Coverage":
        """The same items, summed up again; `partitions` are all days."""
        newest = max(partitions.values(), key=lambda p: p.anchored, default=None)
        provenances = [ref.provenance for p in partitions.values() for ref in p.chunks]
        update = {
            "days": len(partitions),
            "frontier": frontier_of(partitions.values()),
            "reached": max((p.through for p in partitions.values()), default=0),
            "anchored": newest.anchored if newest else 0,
            "anchor": newest.anchor if newest else "",
            "empty": sum(p.empty for p in partitions.values()),
            "chunks": dict(sorted(Counter(provenances).items())),
            "read": sum_of_marks(read_marks(partitions)),
            "cut": tuple(sorted(day for day, p in partitions.items() if p.changes is None)),
        }
        return self.model_copy(update=update)

    def with_day(self, day: Day, now: Partition, *, before: Partition | None) -> "Coverage | None":
        """With another state of a day, which was `before`. None where that cannot be summed up
        without all other days."""
        reach = self._reach(now, before)
        if reach is None or (before and before.anchored == self.anchored > now.anchored):
            return None
        newest = (now.anchored, now.anchor) if now.anchored >= self.anchored else None
        old = {day: before} if before else {}
        marks = [int(self.read, 16), *read_marks({day: now}), *(-m for m in read_marks(old))]
        made = Counter(ref.provenance for ref in now.chunks)
        gone = Counter(ref.provenance for p in old.values() for ref in p.chunks)
        cut = {*self.cut} - {day} | ({day} if now.changes is None else set())
        update = {
            "tail": self.tail | {day: self._item(day, now, before)},
            "days": self.days + (before is None),
            "frontier": reach[0],
            "reached": reach[1],
            "anchored": newest[0] if newest else self.anchored,
            "anchor": newest[1] if newest else self.anchor,
            "empty": self.empty + now.empty - (before.empty if before else 0),
            "chunks": _moved(self.chunks, made, gone),
            "read": sum_of_marks(marks),
            "cut": tuple(sorted(cut)),
        }
        return self.model_copy(update=update)

    def with_item(self, day: Day, now: Partition, *, before: Partition | None) -> "Coverage":
        """With another state of a day, to be summed up again."""
        return self.model_copy(update={"tail": self.tail | {day: self._item(day, now, before)}})

    def _item(self, day: Day, now: Partition, before: Partition | None) -> Partition:
        """The item that a page or the tail gets; one that the tail has of the day is replaced."""
        here = self.tail.get(day)
        if here is None or before is None:
            return now.since(before)
        item = now.since(before)
        if item.earlier == 0:
            return item
        return item.joined(here)

    def _reach(self, now: Partition, before: Partition | None) -> tuple[int, int] | None:
        """Frontier and last position with a day; None where later days might begin in it."""
        grows = before is None or (now.after == before.after and now.through >= before.through)
        within, whole = now.after <= self.frontier, self.frontier == self.reached
        if not grows or (within and not whole and now.through > self.frontier):
            return None
        reached = max(self.reached, now.through)
        return (reached if within and whole else self.frontier), reached


def _moved(
    counts: Mapping[str, int], made: Mapping[str, int], gone: Mapping[str, int]
) -> dict[str, int]:
    names = sorted({*counts, *made})
    moved = {name: counts.get(name, 0) + made.get(name, 0) - gone.get(name, 0) for name in names}
    return {name: count for name, count in moved.items() if count > 0}
