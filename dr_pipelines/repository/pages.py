"""Pages of the lists that manifests share: summed up, written, read within limits.

A page is immutable, and each reference to it says what is in it; a page that has something else is
damaged. So is a list that names a page twice: however often it were read, a few stored bytes never
become many.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from dr_pipelines.errors import Damaged
from dr_pipelines.model.base import Day, canonical_json
from dr_pipelines.model.recovery_point import (
    DayPageRef,
    ObjectRef,
    PageRef,
    Partition,
    SegmentPageRef,
    SegmentRef,
)
from dr_pipelines.repository.repository import Repository

PAGE_BYTES = 48 << 10
"""Of a page that is written at once; a single item may be longer."""
SEGMENTS_TOGETHER = 8
DAYS_TOGETHER = 7
"""Items of a tail that become a page, and pages that become one of the next level: not the same
number, so that an entry rarely writes pages of both lists."""
TAIL_BYTES = 16 << 10
"""Of a tail: where items are long, fewer of them are written again with each manifest."""

Item = TypeVar("Item")
Page = TypeVar("Page", bound=PageRef)
DayItem = tuple[str, Partition]


@dataclass(frozen=True)
class Kind(Generic[Item, Page]):
    """One of the lists: how its pages are encoded, and summed up as a reference."""

    together: int
    items: TypeAdapter[Any]
    pages: TypeAdapter[tuple[Page, ...]]
    of_items: Callable[[ObjectRef, Sequence[Item]], Page]
    of_pages: Callable[[ObjectRef, Sequence[Page]], Page]
    ordered: Callable[[Any], Sequence[Item]]
    stored: Callable[[Sequence[Item]], Any]

    def encoded(self, items: Sequence[Item]) -> bytes:
        """Items as a page, or a part of a tail, stores them."""
        return canonical_json(self.items.dump_python(self.stored(items), mode="json"))


def _segment_page(ref: ObjectRef, refs: Sequence[SegmentRef]) -> SegmentPageRef:
    days = [ref.partition for ref in refs if ref.partition is not None]
    return SegmentPageRef(
        **ref.model_dump(),
        level=0,
        count=len(refs),
        rows=sum(ref.rows for ref in refs),
        records=sum(ref.records for ref in refs),
        stored_bytes=sum(ref.stored_bytes for ref in refs),
        first_document=min((ref.first_document for ref in refs), key=str.encode),
        last_document=max((ref.last_document for ref in refs), key=str.encode),
        first_day=min(days, default=None),
        last_day=max(days, default=None),
    )


def _segment_pages(ref: ObjectRef, pages: Sequence[SegmentPageRef]) -> SegmentPageRef:
    return SegmentPageRef(
        **ref.model_dump(),
        level=pages[0].level + 1,
        count=sum(page.count for page in pages),
        rows=sum(page.rows for page in pages),
        records=sum(page.records for page in pages),
        stored_bytes=sum(page.stored_bytes for page in pages),
        first_document=min((page.first_document for page in pages), key=str.encode),
        last_document=max((page.last_document for page in pages), key=str.encode),
        first_day=min((p.first_day for p in pages if p.first_day), default=None),
        last_day=max((p.last_day for p in pages if p.last_day), default=None),
    )


def _day_page(ref: ObjectRef, items: Sequence[DayItem]) -> DayPageRef:
    return DayPageRef(
        **ref.model_dump(),
        level=0,
        count=len(items),
        first_day=min(day for day, _ in items),
        last_day=max(day for day, _ in items),
        entry=max(partition.entry for _, partition in items),
    )


def _day_pages(ref: ObjectRef, pages: Sequence[DayPageRef]) -> DayPageRef:
    return DayPageRef(
        **ref.model_dump(),
        level=pages[0].level + 1,
        count=sum(page.count for page in pages),
        first_day=min(page.first_day for page in pages),
        last_day=max(page.last_day for page in pages),
        entry=max(page.entry for page in pages),
    )


SEGMENTS = Kind[SegmentRef, SegmentPageRef](
    together=SEGMENTS_TOGETHER,
    items=TypeAdapter(tuple[SegmentRef, ...]),
    pages=TypeAdapter(tuple[SegmentPageRef, ...]),
    of_items=_segment_page,
    of_pages=_segment_pages,
    ordered=tuple,
    stored=tuple,
)
DAYS = Kind[DayItem, DayPageRef](
    together=DAYS_TOGETHER,
    items=TypeAdapter(dict[Day, Partition]),
    pages=TypeAdapter(tuple[DayPageRef, ...]),
    of_items=_day_page,
    of_pages=_day_pages,
    ordered=lambda value: tuple(value.items()),
    stored=dict,
)


# --- writing -----------------------------------------------------------------------------------


def paged(
    repository: Repository,
    collection: str,
    kind: Kind[Item, Page],
    pages: Sequence[Page],
    tail: Sequence[Item],
) -> tuple[tuple[Page, ...], Sequence[Item]]:
    """The same list with a short tail: what is too much of it is in pages after those there are."""
    if len(tail) < kind.together and len(kind.encoded(tail)) <= TAIL_BYTES:
        return tuple(pages), tail
    longer = list(pages)
    for items in _leaves(kind, tail):
        ref = _put(repository, collection, kind.encoded(items))
        longer.append(kind.of_items(ref, items))
        while _is_full(kind, longer):
            merged = longer[-kind.together :]
            longer[-kind.together :] = [_inner(repository, collection, kind, merged)]
    return tuple(longer), ()


def _leaves(kind: Kind[Item, Page], items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    begin, size = 0, 0
    for place, item in enumerate(items):
        length = len(kind.encoded([item]))
        if place > begin and size + length > PAGE_BYTES:
            yield items[begin:place]
            begin, size = place, 0
        size += length
    if len(items) > begin:
        yield items[begin:]


def _is_full(kind: Kind[Item, Page], pages: Sequence[Page]) -> bool:
    newest = pages[-kind.together :]
    return len(newest) == kind.together and len({page.level for page in newest}) == 1


def _inner(
    repository: Repository, collection: str, kind: Kind[Item, Page], pages: Sequence[Page]
) -> Page:
    data = canonical_json(kind.pages.dump_python(tuple(pages), mode="json"))
    return kind.of_pages(_put(repository, collection, data), pages)


def _put(repository: Repository, collection: str, data: bytes) -> ObjectRef:
    return repository.put(f"{collection}/manifests/{repository.new_name()}.json", data)


# --- reading -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pages(Generic[Item, Page]):
    """The pages of one list, each read once. Raises `Damaged`."""

    repository: Repository
    kind: Kind[Item, Page]
    top: Sequence[Page]
    _items: dict[str, Sequence[Item]] = field(default_factory=dict, init=False)
    _below: dict[str, Sequence[Page]] = field(default_factory=dict, init=False)
    _parents: dict[str, str] = field(default_factory=dict, init=False)

    def leaves(self, chosen: Callable[[Page], bool] = lambda _: True) -> Iterator[Page]:
        """Pages of items, oldest first; below those pages alone that are `chosen`."""
        for page in self._once(self.top, ""):
            yield from self._leaves(page, chosen)

    def walk(self, walked: set[ObjectRef]) -> Iterator[Page | Item]:
        """Every page, and every item in one. Nothing of pages that are `walked` already: those that
        were walked to their end become so."""
        for page in self._once(self.top, ""):
            yield from self._walked(page, walked)

    def items(self, leaf: Page) -> Sequence[Item]:
        """The items of such a page."""
        if leaf.key not in self._items:
            items = self.kind.ordered(self._parsed(leaf, self.kind.items))
            _require_same(leaf, items, self.kind.of_items)
            self._items[leaf.key] = items
        return self._items[leaf.key]

    def below(self, page: Page) -> Sequence[Page]:
        """The pages in a page of pages."""
        if page.key not in self._below:
            pages = self._parsed(page, self.kind.pages)
            if any(below.level != page.level - 1 for below in pages):
                raise Damaged(f"{page.key}: its pages are not of the level below its own")
            _require_same(page, pages, self.kind.of_pages)
            self._below[page.key] = pages
        return self._below[page.key]

    def _leaves(self, page: Page, chosen: Callable[[Page], bool]) -> Iterator[Page]:
        if not chosen(page):
            return
        if page.level == 0:
            yield page
            return
        for below in self._once(self.below(page), page.key):
            yield from self._leaves(below, chosen)

    def _walked(self, page: Page, walked: set[ObjectRef]) -> Iterator[Page | Item]:
        if page in walked:
            return
        yield page
        if page.level == 0:
            yield from self.items(page)
        else:
            for below in self._once(self.below(page), page.key):
                yield from self._walked(below, walked)
        walked.add(page)

    def _once(self, pages: Sequence[Page], parent: str) -> Sequence[Page]:
        """These pages, none of which is in another place of the list, too."""
        if len({page.key for page in pages}) < len(pages) or any(
            self._parents.setdefault(page.key, parent) != parent for page in pages
        ):
            raise Damaged(f"{parent or 'a manifest'}: names a page that its list has twice")
        return pages

    def _parsed(self, page: Page, adapter: TypeAdapter[Any]) -> Any:
        value = self.repository.fetch_json(page)
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            raise Damaged(f"{page.key}: not a page of a list") from error


def _require_same(
    page: Page, contents: Sequence[Any], summed: Callable[[ObjectRef, Sequence[Any]], Page]
) -> None:
    """Raise `Damaged` where a reference says something else of a page than what is in it."""
    try:
        made = summed(_object(page), contents) if contents else None
    except ValidationError:
        made = None
    update = {name: getattr(page, name, None) for name in ("index", "packed")}
    if made is None or made.model_copy(update=update).model_dump() != page.model_dump():
        raise Damaged(f"{page.key}: does not hold what its reference says of it")


def _object(page: PageRef) -> ObjectRef:
    return ObjectRef.model_validate({n: getattr(page, n) for n in ObjectRef.model_fields})
