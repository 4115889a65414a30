"""LanceDB: tables in a directory (`lance:DIRECTORY`) or a bucket (`lance:s3://BUCKET/PREFIX`)."""

import os
from pathlib import Path

from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.lancedb.address import open_place
from dr_pipelines.stores.lancedb.store import lancedb_store
from dr_pipelines.stores.shared.naming import NO_NAMES, StoredNames, checked_as_file


def open_store(url: str, *, base: Path, names: StoredNames = NO_NAMES) -> VectorStore:
    """The store of a URL; relative directories are under `base`. Touches nothing.

    Raises:
        InvalidRequest: the URL is none of this engine.
        ModuleNotFoundError: LanceDB is not installed.
    """
    # nothing here reads the centroids of an index, and Lance warns while nobody has said so
    os.environ.setdefault("LANCE_INCLUDE_VECTOR_CENTROIDS", "false")
    import lance  # noqa: F401 - says now that it is missing, not at the first call

    return lancedb_store(open_place(url, base=base, names=checked_as_file(names)))
