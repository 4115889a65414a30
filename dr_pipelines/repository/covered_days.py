"""The days that a manifest covers, read as far as they are asked for."""

from collections.abc import Iterator, Mapping
from functools import cached_property

from dr_pipelines.errors import Damaged
from dr_pipelines.model.recovery_point import Coverage, ObjectRef, Partition
from dr_pipelines.repository.pages import DAYS, Pages
from dr_pipelines.repository.repository import Repository


class CoveredDays(Mapping[str, Partition]):
    """Coverage by day, ascending; a page is read when something in it is asked for. Raises
    `Damaged`."""

    def __init__(self, repository: Repository, coverage: Coverage) -> None:
        self.coverage = coverage
        self._pages = Pages(repository, DAYS, coverage.pages)
        self._looked_up: dict[str, Partition | None] = {}

    def __len__(self) -> int:
        return self.coverage.days

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __contains__(self, day: object) -> bool:
        return isinstance(day, str) and self._day(day) is not None

    def __getitem__(self, day: str) -> Partition:
        partition = self._day(day)
        if partition is None:
            raise KeyError(day)
        return partition

    def brought_since(self, entry: int) -> dict[str, Partition]:
        """Days that a later log entry brought, ascending."""
        leaves = self._pages.leaves(lambda page: page.entry > entry)
        items = [item for leaf in leaves for item in self._pages.items(leaf)]
        newer = {day for day, p in (*items, *self.coverage.tail.items()) if p.entry > entry}
        return {day: self[day] for day in sorted(newer) if self[day].entry > entry}

    def with_days(self, changed: Mapping[str, Partition]) -> Coverage:
        """Coverage with another state of some days."""
        before = {day: self._day(day) for day in changed}
        coverage: Coverage | None = self.coverage
        for day in sorted(changed, key=lambda day: changed[day].after):
            coverage = coverage and coverage.with_day(day, changed[day], before=before[day])
        if coverage is not None:
            return coverage
        coverage = self.coverage
        for day, now in changed.items():
            coverage = coverage.with_item(day, now, before=before[day])
        return coverage.summed({**self._all, **changed})

    def require_sums(self) -> None:
        """Raise `Damaged` where the days do not add up to what the manifest says of them."""
        if self.coverage.summed(self._all) != self.coverage:
            raise Damaged("the days that are covered do not add up to what the manifest says")

    def walk(self, walked: set[ObjectRef]) -> Iterator[ObjectRef]:
        """Every page and every checkpoint, but for pages that are `walked` and what is in them."""
        for item in (*self._pages.walk(walked), *self.coverage.tail.items()):
            if isinstance(item, tuple):
                yield from (*item[1].documents, *item[1].chunks)
            else:
                yield item

    @cached_property
    def _all(self) -> dict[str, Partition]:
        whole: dict[str, Partition] = {}
        items = (item for leaf in self._pages.leaves() for item in self._pages.items(leaf))
        for day, partition in (*items, *self.coverage.tail.items()):
            whole[day] = _joined(day, partition, whole.get(day))
        return dict(sorted(whole.items()))

    def _day(self, day: str) -> Partition | None:
        if "_all" in self.__dict__:
            return self._all.get(day)
        if day not in self._looked_up:
            self._looked_up[day] = self._read_day(day)
        return self._looked_up[day]

    def _read_day(self, day: str) -> Partition | None:
        joined: Partition | None = None
        leaves = self._pages.leaves(lambda page: page.first_day <= day <= page.last_day)
        for items in (*(self._pages.items(leaf) for leaf in leaves), self.coverage.tail.items()):
            for name, partition in items:
                if name == day:
                    joined = _joined(day, partition, joined)
        return joined


def _joined(day: str, item: Partition, before: Partition | None) -> Partition:
    if item.earlier == 0:
        return item
    if before is None or before.earlier + len(before.documents) != item.earlier:
        raise Damaged(f"the coverage of {day} lacks some of its checkpoints")
    return item.joined(before)
