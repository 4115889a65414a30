"""Stores that drop what an alias stands for, or switch it so that a reader sees it."""

import time

from dr_pipelines.model.query import Hit, Query
from dr_pipelines.testing.memory_store import MemoryVectorStore


class AliasIsAbsentForAMoment(MemoryVectorStore):
    """The alias is taken from the old collection before the new one has it."""

    def promote(self, name: str, *, alias: str) -> None:
        self.describe(name)
        self.targets.pop(alias, None)
        time.sleep(0.001)
        super().promote(name, alias=alias)


class AnswersFromTheFirst(MemoryVectorStore):
    """Whoever has asked an alias once is answered by what it stood for then."""

    def __init__(self) -> None:
        super().__init__()
        self._first = dict[str, str]()

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        first = self._first.setdefault(name, self.targets.get(name, name))
        return super().search(first, query, limit=limit)


class DropsWhatIsServed(MemoryVectorStore):
    """A collection is dropped although an alias stands for it."""

    def drop(self, name: str) -> None:
        self.tables.pop(name, None)


class SwitchesInTwoSteps(MemoryVectorStore):
    """For a moment the alias stands for the old collection and for the new one."""

    _both: tuple[str, ...] = ()

    def promote(self, name: str, *, alias: str) -> None:
        old = self.targets.get(alias, name)
        self.newest(name)
        self._both = (old, name)
        time.sleep(0.001)
        super().promote(name, alias=alias)
        self._both = ()

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        hits = []
        for part in (name in self.targets and self._both) or (name,):
            hits += super().search(part, query, limit=limit)
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:limit]


BROKEN: dict[type[MemoryVectorStore], str] = {
    AliasIsAbsentForAMoment: "test_a_reader_never_sees_an_alias_absent_or_half_switched",
    AnswersFromTheFirst: "test_a_reader_never_sees_an_alias_absent_or_half_switched",
    DropsWhatIsServed: "test_a_collection_that_is_served_is_not_dropped",
    SwitchesInTwoSteps: "test_a_reader_never_sees_an_alias_absent_or_half_switched",
}
"""Each broken store and the test of the contract that catches it."""
