"""Chroma: a server, or its own library in a directory."""

from pathlib import Path

from dr_pipelines.stores.shared.engine import Engine, Location, Scheme, Served, opened_by, served_as

open_store = opened_by("dr_pipelines.stores.chroma.connect")


def _read_alias(url: str, alias: str, base: Path) -> Served | None:
    """Of a directory; a server keeps aliases as collections, which any client reads by one call
    (docs/adapters/chroma.md)."""
    from dr_pipelines.stores.chroma.address import Local, parsed_url
    from dr_pipelines.stores.chroma.names import alias_target
    from dr_pipelines.stores.shared.pointers import Pointers

    where = parsed_url(url, base=base)
    target = Pointers(where.aliases).target(alias) if isinstance(where, Local) else None
    return served_as(target, alias_target)


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
