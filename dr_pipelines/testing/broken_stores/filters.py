"""Stores that ignore a filter, apply it late, or mean something else by it."""

from dataclasses import replace

from dr_pipelines.model.query import (
    And,
    Equals,
    Filter,
    Hit,
    In,
    Mode,
    Not,
    Query,
)
from dr_pipelines.testing.memory_store import MemoryVectorStore


class IgnoresFilters(MemoryVectorStore):
    """A search answers as if it had no filter."""

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        return super().search(name, replace(query, filter=None), limit=limit)


class FiltersAfterTheLimit(MemoryVectorStore):
    """Keeps what matches of the best `limit` records, not the best `limit` of what matches."""

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        if query.filter is None:
            return super().search(name, query, limit=limit)
        best = {hit.id for hit in super().search(name, replace(query, filter=None), limit=limit)}
        return [hit for hit in super().search(name, query, limit=limit) if hit.id in best]


class NullIsNeverNot(MemoryVectorStore):
    """Three-valued logic, as plain SQL has it."""

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        rewritten = query.filter and _three_valued(query.filter)
        return super().search(name, replace(query, filter=rewritten), limit=limit)


def _three_valued(condition: Filter) -> Filter:
    match condition:
        case Not(Equals("product", _)):
            not_null = In("product", ("search", "mail", "", "Search", "sé"))
            return And((condition, not_null))
        case _:
            return condition


class ApproximatesWithoutFilters(MemoryVectorStore):
    """The engine's own search does not know filters."""

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        relaxed = query if query.exact else replace(query, filter=None)
        return super().search(name, relaxed, limit=limit)


class MatchesWithoutFilters(MemoryVectorStore):
    """The engine's own index of keywords does not know filters."""

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        plain = query.exact or query.mode is not Mode.KEYWORD
        return super().search(name, query if plain else replace(query, filter=None), limit=limit)


BROKEN: dict[type[MemoryVectorStore], str] = {
    IgnoresFilters: "test_a_filter_means_the_same_in_every_mode",
    FiltersAfterTheLimit: "test_a_filter_comes_before_the_limit",
    NullIsNeverNot: "test_a_filter_means_the_same_in_every_mode",
    ApproximatesWithoutFilters: "test_a_filter_means_the_same_to_the_engine",
    MatchesWithoutFilters: "test_a_filter_means_the_same_to_the_engine",
}
"""Each broken store and the test of the contract that catches it."""
