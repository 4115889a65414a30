"""Qdrant: a server by the official client, the client's local mode, or the engine in process."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dr_pipelines.stores.shared.engine import Engine, Location, Scheme, Served
from dr_pipelines.stores.shared.naming import NO_NAMES, StoredNames

if TYPE_CHECKING:
    from dr_pipelines.model.collection import CollectionSpec
    from dr_pipelines.model.compatibility import Note
    from dr_pipelines.protocols import VectorStore

WAIT_SECONDS = 30.0


def open_store(
    url: str,
    *,
    base: Path,
    wait_seconds: float = WAIT_SECONDS,
    names: StoredNames = NO_NAMES,
) -> "VectorStore":
    """See `connect.open_store`, which is imported now."""
    from dr_pipelines.stores.qdrant import connect

    return connect.open_store(url, base=base, wait_seconds=wait_seconds, names=names)


def _values_here(spec: "CollectionSpec") -> "Iterable[Note]":
    """Points of a collection that something else made keep their own ids."""
    from dr_pipelines.model.compatibility import Note, Outcome

    if spec.engine.get("qdrant", {}).get("layout") != "foreign":
        said = "each point's id is a UUID made of the record's id, which is in the payload"
        yield Note("ids", Outcome.APPROXIMATED, said)


def _read_alias(url: str, alias: str, base: Path) -> Served | None:
    from dr_pipelines.stores.qdrant.address import directory
    from dr_pipelines.stores.shared.pointers import Pointers

    target = Pointers(directory(url.partition(":")[2], base=base)).target(alias)
    return None if target is None else Served(target, target)


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
