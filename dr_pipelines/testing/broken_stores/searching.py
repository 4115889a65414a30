"""Stores that do not give the nearest, exactly or by the engine's own index."""

from dataclasses import replace

from dr_pipelines.model.query import Hit, Query
from dr_pipelines.protocols import Progress
from dr_pipelines.testing.memory_store import MemoryVectorStore


class ReturnsOneMore(MemoryVectorStore):
    """A search gives one hit more than it was asked for."""

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        return super().search(name, query, limit=max(limit, 0) and limit + 1)


class SkipsTheBest(MemoryVectorStore):
    """A search begins with the second best."""

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        return super().search(name, query, limit=max(limit, 0) and limit + 1)[1:]


class BreaksTiesBackwards(MemoryVectorStore):
    """Of hits with the same score the last id comes first."""

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        hits = super().search(name, query, limit=limit)
        backwards = hits[::-1]
        return sorted(backwards, key=lambda hit: -hit.score)


class FindsLittle(MemoryVectorStore):
    """Half of what is near is missed."""

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        if query.exact:
            return super().search(name, query, limit=limit)
        return super().search(name, query, limit=2 * limit)[::2]


class ScoresByItsOwnScale(MemoryVectorStore):
    """Best first, on another scale than exact answers."""

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        hits = super().search(name, query, limit=limit)
        return hits if query.exact else [replace(hit, score=(1 + hit.score) / 2) for hit in hits]


class FindsWhatWasIndexed(MemoryVectorStore):
    """The engine's own index is not kept up to date: what was deleted is still found."""

    def __init__(self) -> None:
        super().__init__()
        self._then = MemoryVectorStore()

    def build_index(self, name: str, *, progress: Progress | None = None) -> None:
        super().build_index(name, progress=progress)
        self._then.tables.update(self.tables)

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        if query.exact:
            return super().search(name, query, limit=limit)
        return self._then.search(name, query, limit=limit)


BROKEN: dict[type[MemoryVectorStore], str] = {
    ReturnsOneMore: "test_a_search_gives_the_best_and_no_more_than_asked",
    SkipsTheBest: "test_a_search_gives_the_best_and_no_more_than_asked",
    BreaksTiesBackwards: "test_ties_are_broken_by_id",
    FindsLittle: "test_the_engine_finds_what_is_near",
    ScoresByItsOwnScale: "test_the_engine_finds_what_is_near",
    FindsWhatWasIndexed: "test_the_engine_follows_later_writes",
}
"""Each broken store and the test of the contract that catches it."""
