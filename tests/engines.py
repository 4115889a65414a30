"""Every store there is, each opened empty: servers are started once, on first use."""

from collections.abc import Callable

from dr_pipelines.protocols import VectorStore

ENGINES = ("memory", "duckdb", "pgvector", "qdrant", "lancedb", "milvus", "chroma")
DIRECTORIES = {
    "duckdb": "duckdb",
    "qdrant": "qdrant+edge",
    "lancedb": "lance",
    "milvus": "milvus+lite",
    "chroma": "chroma+local",
}
"""Schemes of those that are embedded."""
StoreURL = Callable[[str], str]
"""Where a new, empty store of an engine is, as policies write it."""
OpenStore = Callable[[str], VectorStore]
"""Opens a new, empty store of an engine."""
