"""Milvus: a server, or milvus-lite in a directory."""

from pathlib import Path
from typing import TYPE_CHECKING

from dr_pipelines.stores.shared.engine import Engine, Location, Scheme
from dr_pipelines.stores.shared.naming import NO_NAMES, StoredNames

if TYPE_CHECKING:
    from dr_pipelines.protocols import VectorStore


def open_store(url: str, *, base: Path, names: StoredNames = NO_NAMES) -> "VectorStore":
    """See `connect.open_store`, which is imported now."""
    from dr_pipelines.stores.milvus import connect

    del names  # `takes_names` says that there are none
    return connect.open_store(url, base=base)


ENGINE = Engine(
    name="milvus",
    title="Milvus",
    schemes=(
        Scheme(name="milvus", location=Location.SERVER, forms=("milvus://HOST:PORT",)),
        Scheme(
            name="milvus+lite",
            location=Location.DIRECTORY,
            forms=("milvus+lite:DIRECTORY",),
        ),
    ),
    open=open_store,
    extra="milvus",
    packages=("pymilvus", "milvus_lite", "grpc"),
)
