"""Stores whose keywords do not follow what is written."""

from dr_pipelines.model.query import Hit, Mode, Query
from dr_pipelines.protocols import Progress
from dr_pipelines.testing.memory_store import MemoryVectorStore


class IndexesOnce(MemoryVectorStore):
    """Keywords of later writes are not found."""

    def build_index(self, name: str, *, progress: Progress | None = None) -> None:
        super().build_index(name, progress=progress)
        self._indexed_ids = set(self.newest(name).table.column("id").to_pylist())

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        hits = super().search(name, query, limit=limit)
        if query.mode is not Mode.KEYWORD:
            return hits
        return [hit for hit in hits if hit.id in self._indexed_ids]


BROKEN: dict[type[MemoryVectorStore], str] = {
    IndexesOnce: "test_keywords_follow_later_writes",
}
"""Each broken store and the test of the contract that catches it."""
