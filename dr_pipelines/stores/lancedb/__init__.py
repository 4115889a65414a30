"""LanceDB: tables in a directory or a bucket."""

from pathlib import Path
from typing import TYPE_CHECKING

from dr_pipelines.stores.shared.engine import Engine, Location, Scheme, Served
from dr_pipelines.stores.shared.naming import NO_NAMES, StoredNames

if TYPE_CHECKING:
    from dr_pipelines.protocols import NativeFiles, VectorStore


def open_store(url: str, *, base: Path, names: StoredNames = NO_NAMES) -> "VectorStore":
    """See `connect.open_store`, which is imported now."""
    from dr_pipelines.stores.lancedb import connect

    return connect.open_store(url, base=base, names=names)


def _native_files(store: "VectorStore") -> "NativeFiles | None":
    from dr_pipelines.stores.lancedb.native import native_files_of

    return native_files_of(store)


def _read_alias(url: str, alias: str, base: Path) -> Served | None:
    from dr_pipelines.stores.lancedb.places import open_place, stored_name

    target = open_place(url, base=base).target(alias)
    return None if target is None else Served(target, stored_name(target))


ENGINE = Engine(
    name="lancedb",
    title="LanceDB",
    schemes=(
        Scheme(
            name="lance",
            location=Location.DIRECTORY,
            forms=("lance:DIRECTORY", "lance:s3://BUCKET/PREFIX"),
            files=("*.lance",),
            read_alias=_read_alias,
        ),
    ),
    open=open_store,
    extra="lancedb",
    packages=("lance", "lancedb"),
    takes_names=True,
    native_files=_native_files,
)
