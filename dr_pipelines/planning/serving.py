"""From which store a collection is served, and which one its policy names."""

from dr_pipelines.errors import Refused
from dr_pipelines.model.recovery_point import Timeline


def way_back(collection: str, physical: str) -> str:
    """The command that brings a collection back which was served from `physical` and is gone.

    One whose clients ask for it by the engine's own name comes back under that name; any other was
    behind an alias, and is so again.
    """
    if physical == collection:
        return f"dr restore {collection} --into {collection}"
    return f"dr restore {collection} --switch"


def way_beside(collection: str, physical: str) -> str:
    """The command that brings back missing records of a collection that still exists."""
    if physical == collection:
        return (
            f"dr restore {collection}, which makes a copy beside it; or rename or drop what is "
            f"there, then: {way_back(collection, physical)}"
        )
    return way_back(collection, physical)


def elsewhere(served: str, store: str) -> str | None:
    """The problem, if a policy names another store than the one that a restore switched to."""
    if served == store:
        return None
    return (
        f"served from store {served!r}, but the policy says {store!r}: "
        f"set store: {served} in the policy"
    )


def require_store(collection: str, timeline: Timeline, store: str) -> None:
    """Refuse to work on another store than the one a collection is served from."""
    wrong = elsewhere(timeline.store, store)
    if wrong is not None:
        raise Refused(f"{collection}: {wrong}")
