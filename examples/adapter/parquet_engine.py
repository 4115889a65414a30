"""The engine's description of itself, for its package's entry point:

    [project.entry-points."dr_pipelines.engines"]
    parquet = "parquet_engine:ENGINE"

Imported by every command: the store itself, which brings Arrow, is imported when one is opened.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from dr_pipelines.stores.shared.engine import Engine, Location, Scheme
from dr_pipelines.stores.shared.naming import NO_NAMES, StoredNames

if TYPE_CHECKING:
    from dr_pipelines.protocols import VectorStore


def open_store(url: str, *, base: Path, names: StoredNames = NO_NAMES) -> "VectorStore":
    """The store of `parquet:DIRECTORY`; a relative directory is under `base`."""
    from parquet_store import parquet_store

    del names  # it takes none: see `takes_names`
    return parquet_store(base / url.partition(":")[2])


ENGINE = Engine(
    name="parquet",
    title="Parquet files",
    schemes=(
        Scheme(
            name="parquet",
            location=Location.DIRECTORY,
            forms=("parquet:DIRECTORY",),
            files=("*.parquet",),
        ),
    ),
    open=open_store,
)
