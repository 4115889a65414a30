"""PostgreSQL with pgvector: `open_store` makes a store of a URL."""

from pathlib import Path

from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.pgvector.address import parsed
from dr_pipelines.stores.pgvector.store import PgvectorStore

__all__ = ["PgvectorStore", "open_store"]


def open_store(url: str, *, base: Path) -> VectorStore:
    """The schema that `postgresql://USER[:PASSWORD]@HOST[:PORT]/DATABASE[?schema=NAME]` names;
    connects when it is first asked something. Nothing of it depends on `base`."""
    del base
    return PgvectorStore(parsed(url))
