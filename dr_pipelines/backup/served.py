"""The collection that is served, as its store describes it now."""

from dr_pipelines.errors import NotFound, Refused
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.fitness import Part
from dr_pipelines.model.recovery_point import Manifest, Timeline
from dr_pipelines.planning.serving import way_back
from dr_pipelines.protocols import VectorReader
from dr_pipelines.repository.history import History


def parts_of(physical: str, store: VectorReader) -> tuple[Part, ...]:
    """Parts that the engine would refuse, lose, approximate or run as code in a restore."""
    return tuple(Part.of(note) for note in store.compatibility(physical))


def first_manifest(collection: str, adopt: Timeline | None, store: VectorReader) -> Manifest:
    """The manifest that a log begins with, of the collection `adopt`. Raises `NotFound`."""
    if adopt is None:
        raise NotFound(f"{collection}: nothing is known of it yet. Run: dr ingest {collection}")
    if adopt.physical not in store.collections():
        store.describe(adopt.physical)  # which says why there is none
        raise NotFound(f"{collection}: the store has no collection {adopt.physical!r}")
    spec = store.describe(adopt.physical).physical(collection)
    return Manifest(collection=collection, spec=spec, timeline=adopt.id, timelines=(adopt,))


def live_spec(base: Manifest, store: VectorReader, history: History) -> CollectionSpec:
    """The specification that the store reports for the collection now, under the collection's
    name and with its other aliases."""
    physical = base.current.physical
    if physical not in store.collections():
        raise NotFound(
            f"{base.collection!r} is served from {physical!r}, which is not in the store. "
            f"Bring it back: {way_back(base.collection, physical)}"
        )
    live = store.describe(physical)
    history.require_finished(base, live.origin, physical=physical)
    if not live.same_contract(base.spec):
        raise Refused(
            f"{physical!r} has another schema than {base.collection!r} had when it was backed up: "
            "restore it, or start a new collection for the new schema"
        )
    others = {alias for alias, to in store.aliases().items() if to == physical} - {base.collection}
    return live.physical(base.collection).model_copy(update={"aliases": tuple(sorted(others))})
