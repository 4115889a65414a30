"""Aliases in a server: an empty collection for each, whose metadata names the collection meant.

The alias `handbook` is the collection `0dr.alias.handbook.0` with the metadata
`{"dr:collection": "handbook.12-520d2a36"}`, a name of Chroma's. Any client can follow it:

    target = client.get_collection("0dr.alias.handbook.0").metadata["dr:collection"]

Chroma replaces a collection's metadata in one transaction: readers see the old name or the new one.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

from dr_pipelines.errors import AlreadyExists, Damaged
from dr_pipelines.model.collection import NAME
from dr_pipelines.stores.chroma.names import RESERVED, to_engine, to_physical
from dr_pipelines.stores.chroma.session import Definition, Model, Session

TARGET = "dr:collection"
PREFIX, SUFFIX = f"{RESERVED}alias.", ".0"


class ServerPointers:
    """The aliases of a tenant's database, each replaced in one step."""

    def __init__(self, session: Callable[[], AbstractContextManager[Session]]) -> None:
        self._session = session

    def all(self) -> dict[str, str]:
        """Alias → physical name, ascending."""
        with self._session() as session:
            models = [m for m in session.collections() if m.name.startswith(PREFIX)]
        named = {m.name.removeprefix(PREFIX).removesuffix(SUFFIX): _target(m) for m in models}
        return dict(sorted(named.items()))

    def target(self, alias: str) -> str | None:
        """The physical name that the alias stands for, if it is one."""
        if not NAME.fullmatch(alias):
            return None
        with self._session() as session:
            model = session.find(_name(alias))
        return None if model is None else _target(model)

    def point(self, alias: str, target: str) -> None:
        """Replace what the alias stands for."""
        with self._session() as session:
            meant = session.named(target)
            metadata = {TARGET: to_engine(target) if meant is None else meant.name}
            try:
                session.create(_name(alias), Definition(None, None, metadata))
            except AlreadyExists:
                session.set_metadata(session.find(_name(alias)), metadata)


def _name(alias: str) -> str:
    return f"{PREFIX}{alias}{SUFFIX}"


def _target(model: Model) -> str:
    target = (model.metadata or {}).get(TARGET)
    if not isinstance(target, str):
        raise Damaged(f"collection {model.name!r} names no collection; promote the alias again")
    return to_physical(target)
