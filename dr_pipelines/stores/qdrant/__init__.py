"""Qdrant: a server by the official client, the client's local mode, or the engine in process."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dr_pipelines.stores.shared.engine import Engine, Location, Scheme, Served, opened_by, served_as

if TYPE_CHECKING:
    from dr_pipelines.model.collection import CollectionSpec
    from dr_pipelines.model.compatibility import Note

open_store = opened_by("dr_pipelines.stores.qdrant.connect")


def _values_here(spec: "CollectionSpec") -> "Iterable[Note]":
    """Points of a collection that something else made keep their own ids."""
    from dr_pipelines.model.compatibility import Note, Outcome
    from dr_pipelines.stores.shared.layout import Layout, layout_of

    if layout_of(spec.engine.get("qdrant", {})) is not Layout.FOREIGN:
        message = "each point's id is a UUID made of the record's id, which is in the payload"
        yield Note("ids", Outcome.APPROXIMATED, message)


def _read_alias(url: str, alias: str, base: Path) -> Served | None:
    from dr_pipelines.stores.qdrant.address import FORMS
    from dr_pipelines.stores.shared.address import directory
    from dr_pipelines.stores.shared.pointers import Pointers

    place = directory(url.partition(":")[2], FORMS, base=base)
    return served_as(Pointers(place).target(alias), str)


ENGINE = Engine(
    name="qdrant",
    title="Qdrant",
    schemes=(
        Scheme(name="qdrant", location=Location.SERVER, forms=("qdrant://HOST:PORT",)),
        Scheme(
            name="qdrant+local",
            location=Location.DIRECTORY,
            forms=("qdrant+local:DIRECTORY",),
            files=("meta.json", "collection"),
        ),
        Scheme(
            name="qdrant+edge",
            location=Location.DIRECTORY,
            forms=("qdrant+edge:DIRECTORY",),
            files=("*/edge_config.json",),
            read_alias=_read_alias,
        ),
    ),
    open=open_store,
    extra="qdrant",
    packages=("qdrant_client", "qdrant_edge"),
    takes_names=True,
    values_here=_values_here,
)
