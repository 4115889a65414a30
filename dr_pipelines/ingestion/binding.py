"""The collection that an ingestion writes for: the one that the log names, or a new one."""

import itertools
from collections.abc import Set
from contextlib import suppress

from dr_pipelines.errors import (
    UNREADABLE,
    AlreadyExists,
    ProvenanceChanged,
    Refused,
)
from dr_pipelines.host.extras import require_packages
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.ingestion.refusals import refusals_recorded
from dr_pipelines.live.live import Live
from dr_pipelines.model.recovery_point import (
    Manifest,
    Timeline,
)
from dr_pipelines.planning.serving import require_store
from dr_pipelines.planning.stored import NEW
from dr_pipelines.protocols import (
    VectorStore,
)
from dr_pipelines.repository.history import History

CHECKED_BY = ("pandera",)
"""Checks rows before they are kept."""


def bind(lineage: Lineage, *, history: History, live: Live) -> Timeline:
    """The line of history, and the physical collection, that this run writes for.

    A collection that no log knows yet is created, empty, and its alias pointed at it. Raises
    `ExtraMissing` where what checks the rows is not installed.
    """
    require_packages(CHECKED_BY, purpose=f"{lineage.collection}: embedding documents")
    manifest = history.manifest()
    if manifest is not None:
        with refusals_recorded(history):
            require_provenance(lineage, manifest)
            require_contract(lineage, manifest)
        require_store(lineage.collection, manifest.current, lineage.store_name)
        return manifest.current
    with live.leased():
        return Timeline(
            id=1,
            physical=_new_collection(lineage, history=history, live=live),
            store=lineage.store_name,
        )


def require_provenance(lineage: Lineage, manifest: Manifest) -> None:
    """Refuse to mix vectors of two provenances in one collection."""
    if manifest.provenance is None or manifest.provenance == lineage.provenance:
        return
    changed = "; ".join(manifest.provenance.differences(lineage.provenance))
    raise ProvenanceChanged(
        f"{lineage.collection}: the policy makes other vectors than the collection holds "
        f"({changed}). Build a whole new collection with it: dr restore {lineage.collection} "
        "--route replay --embedder NAME --switch"
    )


def require_contract(lineage: Lineage, manifest: Manifest) -> None:
    """Refuse to write rows of another schema into a collection."""
    if manifest.spec.same_contract(lineage.spec):
        return
    raise Refused(
        f"{lineage.collection}: the policy's fields, vectors or keyword index differ from the "
        f"collection's. Undo the change, or read everything again with the new schema: dr ingest "
        f"{lineage.collection} --accept-schema NAME"
    )


def new_collection_beside(
    lineage: Lineage, *, history: History, live: Live, used: frozenset[str]
) -> str:
    """An empty collection that nothing is served from, none of those that were used before; one
    that a killed run left is used again. The caller holds the lease."""
    store = live.store
    left = _left_over(lineage, store, used=used)
    name = left if left and not store.status(left).records else None
    name = name or _free_name(lineage, history, taken=used | set(store.collections()))
    return _made(lineage, store, name)


def _new_collection(lineage: Lineage, *, history: History, live: Live) -> str:
    """An empty collection of our own making; one that a killed run left is used again."""
    store, served = live.store, live.served()
    if served and store.describe(served).origin != NEW:
        raise AlreadyExists(
            f"the store already serves {lineage.collection!r} from {served!r}, which no log knows. "
            f"Back it up as it is (authority: store), or name the collection differently"
        )
    name = served or _left_over(lineage, store) or _physical_name(lineage, history)
    _made(lineage, store, name)
    if served is None:
        live.promote(name)
    return name


def _made(lineage: Lineage, store: VectorStore, name: str) -> str:
    """The collection, created and indexed; harmless where it is there already."""
    store.create(store.fit(lineage.spec).spec.physical(name, origin=NEW))
    store.build_index(name)
    return name


def _left_over(
    lineage: Lineage, store: VectorStore, *, used: frozenset[str] = frozenset()
) -> str | None:
    for name in store.collections():
        if name in used or not name.startswith(f"{lineage.collection}@"):
            continue
        with suppress(*UNREADABLE):  # it is nobody's then, and stays for somebody to look at
            spec = store.describe(name)
            if spec.origin == NEW and spec.same_contract(lineage.spec):
                return name
    return None


def _free_name(lineage: Lineage, history: History, *, taken: Set[str]) -> str:
    """A physical name that nothing has or had: one made within the same second has it already."""
    name = _physical_name(lineage, history)
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(free for free in itertools.chain([name], numbered) if free not in taken)


def _physical_name(lineage: Lineage, history: History) -> str:
    return f"{lineage.collection}@{history.repository.clock():%Y%m%dT%H%M%SZ}"
