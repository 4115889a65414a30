"""Chroma: a server, or its own library in a directory."""

from pathlib import Path
from typing import TYPE_CHECKING

from dr_pipelines.stores.shared.engine import Engine, Location, Scheme, Served
from dr_pipelines.stores.shared.naming import NO_NAMES, StoredNames

if TYPE_CHECKING:
    from dr_pipelines.protocols import VectorStore


def open_store(url: str, *, base: Path, names: StoredNames = NO_NAMES) -> "VectorStore":
    """See `connect.open_store`, which is imported now."""
    from dr_pipelines.stores.chroma import connect

    del names  # `takes_names` says that there are none
    return connect.open_store(url, base=base)


def _read_alias(url: str, alias: str, base: Path) -> Served | None:
    """Of a directory; a server keeps aliases as collections, which any client reads by one call
    (docs/adapters/chroma.md)."""
    from dr_pipelines.stores.chroma.names import alias_target
    from dr_pipelines.stores.chroma.urls import Local, parsed_url
    from dr_pipelines.stores.shared.pointers import Pointers

    where = parsed_url(url, base=base)
    target = Pointers(where.aliases).target(alias) if isinstance(where, Local) else None
    return None if target is None else Served(target, alias_target(target))


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
            read_alias=_read_alias,
        ),
    ),
    open=open_store,
    extra="chroma",
    packages=("chromadb",),
)
