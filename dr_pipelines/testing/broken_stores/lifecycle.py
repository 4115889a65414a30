"""Stores that empty a collection, name one that does not exist, or are not found again whole."""

from dataclasses import replace

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.stores.shared.label import Label
from dr_pipelines.testing.memory_store import MemoryVectorStore


class AliasOfAnything(MemoryVectorStore):
    """An alias may stand for a collection that does not exist."""

    def promote(self, name: str, *, alias: str) -> None:
        self.targets[alias] = name


class CreatesAfresh(MemoryVectorStore):
    """The same spec again empties the collection."""

    def create(self, spec: CollectionSpec) -> None:
        self.tables.pop(spec.name, None)
        super().create(spec)


class KeepsAliasesToItself(MemoryVectorStore):
    """The next process knows no alias."""

    def reopened(self) -> MemoryVectorStore:
        again = MemoryVectorStore()
        again.tables.update(self.tables)
        return again


class ForgetsThatItIsIndexed(MemoryVectorStore):
    """The next process does not search by keywords."""

    def reopened(self) -> MemoryVectorStore:
        """The store as the next process opens it."""
        again = MemoryVectorStore()
        again.targets.update(self.targets)
        for name, collection in self.tables.items():
            again.tables[name] = replace(collection, label=Label(spec=collection.spec))
        return again


BROKEN: dict[type[MemoryVectorStore], str] = {
    AliasOfAnything: "test_what_does_not_exist_is_not_found_by_any_call",
    CreatesAfresh: "test_creating_again_keeps_the_records",
    KeepsAliasesToItself: "test_the_next_process_finds_everything",
    ForgetsThatItIsIndexed: "test_the_next_process_finds_everything",
}
"""Each broken store and the test of the contract that catches it."""
