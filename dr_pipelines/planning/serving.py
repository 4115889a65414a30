"""From which store a collection is served, and which one its policy names."""

from dr_pipelines.errors import Refused
from dr_pipelines.model.recovery_point import Timeline


def elsewhere(timeline: Timeline, store: str) -> str | None:
    """What is wrong where a policy names another store than a restore switched to."""
    if timeline.store == store:
        return None
    return (
        f"served from store {timeline.store!r}, but the policy says {store!r}: "
        f"set store: {timeline.store} in the policy"
    )


def require_store(collection: str, timeline: Timeline, store: str) -> None:
    """Refuse to work on another store than the one a collection is served from."""
    wrong = elsewhere(timeline, store)
    if wrong is not None:
        raise Refused(f"{collection}: {wrong}")
