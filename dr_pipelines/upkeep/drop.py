"""Dropping: what a restore or an ingestion left in a store, and never what is served.

A candidate is closed in its log first, so that no run of its recovery serves what is gone.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from dr_pipelines.errors import NotFound
from dr_pipelines.monitoring.stores import Stored, stored
from dr_pipelines.planning.candidate import candidate_name
from dr_pipelines.planning.stored import Known, Part, require_droppable
from dr_pipelines.protocols import Definer, Lease, VectorStore
from dr_pipelines.recovery.candidate import close
from dr_pipelines.repository.history import History
from dr_pipelines.repository.repository import Repository


@dataclass(frozen=True, slots=True)
class Dropped:
    """A collection that is gone, and the roles that a restore made for it and that stay, since they
    are in use by now or may not be removed. `closed` is the collection whose candidate it was; one
    that was built under the name that is served is closed, and not `removed`."""

    was: Stored
    kept_roles: tuple[str, ...] = ()
    closed: str | None = None
    removed: bool = True


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
        by_log = tuple(collections())
        closed = _closed(name, by_log, store=store_name, repository=repository)
        entries = stored(store, store=store_name, collections=by_log, repository=repository)
        each = next((each for each in entries if each.name == name), None)
        if closed is not None and (each is None or each.part is Part.SERVED):
            gone = Stored(name, Part.CANDIDATE, closed, (), None, None)
            return Dropped(each or gone, closed=closed, removed=False)
        if each is None:
            raise NotFound(f"store {store_name!r} has no collection {name!r}. See: dr stores")
        require_droppable(name, each.part, each.collection, store=store_name, aliases=each.aliases)
        return Dropped(each, _removed(name, store), closed)


def _closed(
    name: str, by_log: Sequence[Known], *, store: str, repository: Repository
) -> str | None:
    """Close a candidate in its log, and return whose it is; None where none of that name is open.
    First: a run that goes on elsewhere must not switch to what is about to be gone."""
    for each in by_log:
        if any((f.physical, f.store) == (name, store) for f in each.followers):
            history = History(repository, each.name)
            close(history, candidate_name(store, name), reason="dropped by name")
            return each.name
    return None


def _removed(name: str, store: VectorStore) -> tuple[str, ...]:
    if isinstance(store, Definer):
        return store.remove(name)
    store.drop(name)
    return ()
