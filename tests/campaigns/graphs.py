"""Qdrant searches small collections, and what it has not indexed yet, without the graph: what makes
it build and ask one, and whether it did."""

from typing import Any

from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.qdrant.edge import EdgeCollection
from dr_pipelines.stores.qdrant.store import QdrantDriver
from dr_pipelines.stores.shared.driver_store import DriverStore

SECTION: dict[str, Any] = {
    "qdrant": {
        "optimizers": {"indexing_threshold": 1},
        "indexes": {"hnsw": {"full_scan_threshold": 1}},
    }
}
"""Thresholds of one kilobyte, in the engine's own section of a specification."""


def require_graph(store: VectorStore, name: str, *, vectors: int) -> None:
    """In Qdrant so many vectors are in a graph; other engines build one for any number."""
    if isinstance(store, DriverStore) and isinstance(store.driver, QdrantDriver):
        with store.driver.variant.opened(store.describe(name).name) as opened:
            assert isinstance(opened, EdgeCollection)
            assert opened._shard.info().indexed_vectors_count == vectors
