"""Chroma: a server, or its own library in a directory."""

from pathlib import Path
from typing import TYPE_CHECKING

from dr_pipelines.stores.shared.engine import Engine, Location, Scheme
from dr_pipelines.stores.shared.naming import NO_NAMES, StoredNames

if TYPE_CHECKING:
    from dr_pipelines.protocols import VectorStore


def open_store(url: str, *, base: Path, names: StoredNames = NO_NAMES) -> "VectorStore":
    """See `connect.open_store`, which is imported now."""
    from dr_pipelines.stores.chroma import connect

    del names  # `takes_names` says that there are none
    return connect.open_store(url, base=base)


ENGINE = Engine(
    name="chroma",
    title="Chroma",
    schemes=(
        Scheme(name="chroma", location=Location.SERVER, forms=("chroma://HOST:PORT",)),
        Scheme(
            name="chroma+local",
            location=Location.DIRECTORY,
            forms=("chroma+local:DIRECTORY",),
            files=("chroma.sqlite3",),
        ),
    ),
    open=open_store,
    extra="chroma",
    packages=("chromadb",),
)
