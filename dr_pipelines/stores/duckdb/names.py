"""The collections of a directory of DuckDB files, by file names alone: no engine is needed."""

from pathlib import Path

from dr_pipelines.model.collection import PHYSICAL_NAME
from dr_pipelines.stores.shared.pointers import Pointers, entries

SUFFIX = ".duckdb"


def collection_file(directory: Path, name: str) -> Path:
    """Where a collection is kept."""
    return directory / f"{name}{SUFFIX}"


def collection_names(directory: Path) -> list[str]:
    """The collections that exist, ascending."""
    there = entries(directory)
    names = (name.removesuffix(SUFFIX) for name in there if name.endswith(SUFFIX))
    return sorted(name for name in names if PHYSICAL_NAME.fullmatch(name))


class DuckDBCatalog:
    """The names of a `duckdb_store`; opens no collection, so it never waits for one."""

    def __init__(self, directory: str | Path) -> None:
        self._directory = Path(directory)

    def collections(self) -> list[str]:
        return collection_names(self._directory)

    def aliases(self) -> dict[str, str]:
        return Pointers(self._directory).all()

    def warnings(self) -> tuple[str, ...]:
        return ()
