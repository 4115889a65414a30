"""LanceDB: tables in a directory or a bucket."""

from pathlib import Path
from typing import TYPE_CHECKING

from dr_pipelines.stores.shared.engine import Engine, Location, Scheme, Served, opened_by, served_as

if TYPE_CHECKING:
    from dr_pipelines.protocols import HashedFiles, NativeFiles, VectorStore


open_store = opened_by("dr_pipelines.stores.lancedb.connect")


def _native_files(store: "VectorStore") -> "NativeFiles | None":
    from dr_pipelines.stores.lancedb.native import native_files_of

    return native_files_of(store)


def _hashed_files(store: "VectorStore") -> "HashedFiles":
    from dr_pipelines.stores.lancedb.hashed import hashed_files_of

    return hashed_files_of(store)


def _read_alias(url: str, alias: str, base: Path) -> Served | None:
    from dr_pipelines.stores.lancedb.address import open_place
    from dr_pipelines.stores.lancedb.names import stored_name

    return served_as(open_place(url, base=base).target(alias), stored_name)


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
    hashed_files=_hashed_files,
)
