"""The segments of a manifest, read as far as they are asked for."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import overload

from dr_pipelines.errors import Damaged
from dr_pipelines.model.recovery_point import (
    ObjectRef,
    SegmentList,
    SegmentPageRef,
    SegmentRef,
)
from dr_pipelines.repository.pages import SEGMENTS, Pages
from dr_pipelines.repository.repository import Repository

Range = tuple[str, str]
"""First and last of some documents, bytewise."""


@dataclass(frozen=True, slots=True)
class Group:
    """Segments from the number `first` on: all of a page whose rows, or their indexes, are in one
    object, or one segment alone."""

    first: int
    page: SegmentPageRef | None
    segment: SegmentRef | None = None

    @property
    def only(self) -> SegmentRef:
        """The segment that it is; raises `Damaged` for a page."""
        if self.segment is None:
            raise Damaged(f"{self.page.key if self.page else 'a list'}: is no segment")
        return self.segment


class Segments(Sequence[SegmentRef]):
    """The segments of a manifest in the order in which they were added; a page is read when
    something in it is asked for. Raises `Damaged`."""

    def __init__(self, repository: Repository, listed: SegmentList) -> None:
        self.listed = listed
        self._pages = Pages(repository, SEGMENTS, listed.pages)

    def __len__(self) -> int:
        return len(self.listed)

    @overload
    def __getitem__(self, number: int) -> SegmentRef: ...
    @overload
    def __getitem__(self, number: slice) -> tuple[SegmentRef, ...]: ...
    def __getitem__(self, number: int | slice) -> SegmentRef | tuple[SegmentRef, ...]:
        if isinstance(number, slice):
            return tuple(self)[number]
        place = number + len(self) if number < 0 else number
        if not 0 <= place < len(self):
            raise IndexError(number)
        return self._at(place)

    def __iter__(self) -> Iterator[SegmentRef]:
        for leaf in self._pages.leaves():
            yield from self._pages.items(leaf)
        yield from self.listed.tail

    def newest_first(self) -> Iterator[SegmentRef]:
        """All of them, those added last first."""
        yield from reversed(self.listed.tail)
        for page in reversed(self.listed.pages):
            yield from self._newest_first(page)

    def of_day(self, day: str) -> list[SegmentRef]:
        """Those that a day of the source brought, in order."""
        leaves = self._pages.leaves(
            lambda page: (page.first_day or "") <= day <= (page.last_day or "")
        )
        inside = [ref for leaf in leaves for ref in self._pages.items(leaf)]
        return [ref for ref in (*inside, *self.listed.tail) if ref.partition == day]

    def groups(self, documents: Range | None = None) -> Iterator[Group]:
        """All of them, or those whose range of documents meets another; joined where a page has
        one index for all."""
        first = 0
        for page in self.listed.pages:
            yield from self._groups(page, first, documents)
            first += page.count
        for ref in self.listed.tail:
            if meets(ref, documents):
                yield Group(first, None, ref)
            first += 1

    def holder(self, number: int) -> Group:
        """The segment of this number, with all of the largest page that is packed and has it."""
        place = bisect_right(self._ends, number)
        first = self._ends[place - 1] if place else 0
        if place == len(self._ends):
            return Group(number, None, self.listed.tail[number - first])
        page = self.listed.pages[place]
        while page.packed is None and page.level:
            for below in self._pages.below(page):
                if number < first + below.count:
                    page = below
                    break
                first += below.count
            else:
                raise Damaged(f"{page.key}: lacks items")
        if page.packed is not None:
            return Group(first, page)
        return Group(number, None, self._pages.items(page)[number - first])

    def walk(self, walked: set[ObjectRef]) -> Iterator[SegmentPageRef | SegmentRef]:
        """Every page and every segment, but for pages that are `walked` and what is in them."""
        yield from self._pages.walk(walked)
        yield from self.listed.tail

    @classmethod
    def within(cls, repository: Repository, page: SegmentPageRef) -> "Segments":
        """The segments of a page alone, numbered from 0. Objects of its own beside it are left
        aside."""
        bare = page.model_copy(update={"index": None, "packed": None})
        return cls(repository, SegmentList(pages=(bare,)))

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(page.count for page in self.listed.pages))

    def _at(self, place: int) -> SegmentRef:
        number = bisect_right(self._ends, place)
        before = self._ends[number - 1] if number else 0
        if number == len(self._ends):
            return self.listed.tail[place - before]
        page, place = self.listed.pages[number], place - before
        while page.level:
            for below in self._pages.below(page):
                if place < below.count:
                    page = below
                    break
                place -= below.count
            else:
                raise Damaged(f"{page.key}: lacks items")
        return self._pages.items(page)[place]

    def _newest_first(self, page: SegmentPageRef) -> Iterator[SegmentRef]:
        if page.level == 0:
            yield from reversed(self._pages.items(page))
            return
        for below in reversed(self._pages.below(page)):
            yield from self._newest_first(below)

    def _groups(self, page: SegmentPageRef, first: int, documents: Range | None) -> Iterator[Group]:
        if not meets(page, documents):
            return
        if page.joined is not None:
            yield Group(first, page)
        elif page.level:
            for below in self._pages.below(page):
                yield from self._groups(below, first, documents)
                first += below.count
        else:
            for number, ref in enumerate(self._pages.items(page), start=first):
                if meets(ref, documents):
                    yield Group(number, None, ref)


def meets(ref: SegmentRef | SegmentPageRef, documents: Range | None) -> bool:
    """True if some of the documents in a range may be in it; documents are ordered bytewise."""
    if documents is None:
        return True
    first, last = (name.encode() for name in documents)
    return ref.first_document.encode() <= last and ref.last_document.encode() >= first
