"""DuckDB: a file for each collection, in a directory."""

from pathlib import Path
from typing import TYPE_CHECKING

from dr_pipelines.stores.shared.engine import Engine, Location, Scheme, Served, served_as
from dr_pipelines.stores.shared.naming import NO_NAMES, StoredNames

if TYPE_CHECKING:
    from dr_pipelines.protocols import Catalog, VectorStore


def open_store(url: str, *, base: Path, names: StoredNames = NO_NAMES) -> "VectorStore":
    """The store of `duckdb:DIRECTORY`; a relative directory is under `base`."""
    from dr_pipelines.stores.duckdb.store import duckdb_store

    del names  # `takes_names` says that there are none
    return duckdb_store(base / Path(url.partition(":")[2]).expanduser())


def _catalog(directory: Path) -> "Catalog":
    """The names in a directory, without the engine."""
    from dr_pipelines.stores.duckdb.names import DuckDBCatalog

    return DuckDBCatalog(directory)


def _read_alias(url: str, alias: str, base: Path) -> Served | None:
    from dr_pipelines.stores.duckdb.names import collection_file
    from dr_pipelines.stores.shared.pointers import Pointers

    directory = base / Path(url.partition(":")[2]).expanduser()
    target = Pointers(directory).target(alias)
    return served_as(target, lambda name: collection_file(directory, name).name)


ENGINE = Engine(
    name="duckdb",
    title="DuckDB",
    schemes=(
        Scheme(
            name="duckdb",
            location=Location.DIRECTORY,
            forms=("duckdb:DIRECTORY",),
            files=("*.duckdb",),
            read_alias=_read_alias,
        ),
    ),
    open=open_store,
    catalog=_catalog,
)
