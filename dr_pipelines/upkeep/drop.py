"""Dropping: what a restore or an ingestion left in a store, and never what is served."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from dr_pipelines.errors import NotFound
from dr_pipelines.monitoring.stores import Stored, stored
from dr_pipelines.planning.stored import Known, require_droppable
from dr_pipelines.protocols import Definer, Lease, VectorStore
from dr_pipelines.repository.repository import Repository


@dataclass(frozen=True, slots=True)
class Dropped:
    """A collection that is gone, and the roles that a restore made for it and that stay, since they
    are in use by now or may not be removed."""

    was: Stored
    kept_roles: tuple[str, ...] = ()


def drop(
    name: str,
    *,
    store: VectorStore,
    store_name: str,
    collections: Callable[[], Sequence[Known]],
    repository: Repository,
    lease: Lease,
) -> Dropped:
    """Remove a physical collection that is left over, and return what it was.

    It is looked at with the leases held of its name and of every collection of the policies, so
    that no restore on this machine builds it or switches to it meanwhile.

    Raises `NotFound` where the store has none, `Refused` for what is served or was made by others.
    """
    with ExitStack() as leases:
        leases.enter_context(lease(name))
        for collection in sorted({each.name for each in collections()} - {name}):
            leases.enter_context(lease(collection))
        entries = stored(store, store=store_name, collections=collections(), repository=repository)
        each = next((each for each in entries if each.name == name), None)
        if each is None:
            raise NotFound(f"store {store_name!r} has no collection {name!r}. See: dr stores")
        require_droppable(name, each.part, each.collection, store=store_name, aliases=each.aliases)
        return Dropped(each, _removed(name, store))


def _removed(name: str, store: VectorStore) -> tuple[str, ...]:
    if isinstance(store, Definer):
        return store.remove(name)
    store.drop(name)
    return ()
