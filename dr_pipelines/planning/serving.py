"""From which store a collection is served, and which one its policy names."""

from dr_pipelines.errors import Refused
from dr_pipelines.model.recovery_point import Timeline


def elsewhere(served: str, store: str) -> str | None:
    """What is wrong where a policy names another store than the one that a restore switched to."""
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
