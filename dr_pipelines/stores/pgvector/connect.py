"""PostgreSQL with pgvector: `open_store` makes a store of a URL."""

from pathlib import Path

from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.pgvector.address import parsed
from dr_pipelines.stores.pgvector.names import collection_name
from dr_pipelines.stores.pgvector.store import PgvectorStore
from dr_pipelines.stores.shared.naming import NO_NAMES, StoredNames
from dr_pipelines.stores.shared.renamed import RenamedDefiner

__all__ = ["PgvectorStore", "open_store"]


def open_store(url: str, *, base: Path, names: StoredNames = NO_NAMES) -> VectorStore:
    """The schema that `postgresql://USER[:PASSWORD]@HOST[:PORT]/DATABASE[?schema=NAME]` names;
    connects when it is first asked something. Nothing of it depends on `base`. `names` are tables
    that have another name here than their own."""
    del base
    store = PgvectorStore(parsed(url))
    if not names.stored:
        return store
    return RenamedDefiner(store, {ours: collection_name(own) for ours, own in names.stored.items()})
