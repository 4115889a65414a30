"""How far a plan of recovery has been carried out, by the log: the plan goes on where it stopped,
and is not carried out where its facts have changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dr_pipelines.model.details import BESIDE, BeginDetail, RestoreDetail
from dr_pipelines.model.recovery_plan import CollectionPlan
from dr_pipelines.model.recovery_point import Head, LogEntry

NEUTRAL = BESIDE | {"applied"}
"""Entries that leave the state as it is, those of a recovery that was refused among them."""
CAUGHT_UP = frozenset({"ingest", "compact"})
"""Entries that a recovery which catches up brings before it switches. A snapshot is none of them:
somebody should see first what it found in the store."""


@dataclass(frozen=True, slots=True)
class Standing:
    """`ready` to be carried out; `done`, as log entry `entry`; `by hand`, since no restore does it;
    or `changed`, and why."""

    state: Literal["ready", "done", "by hand", "changed"]
    reason: str = ""
    entry: int | None = None


def standing(
    plan: CollectionPlan, head: Head, *, planned_sha256: str | None, since: Sequence[LogEntry]
) -> Standing:
    """How a collection's plan stands, by the head of its log, the hash of the entry that was the
    head when the facts were gathered (None where there is none any more), and those since."""
    if plan.request is not None and plan.request.collection != plan.collection:
        other = plan.request.collection
        return Standing("changed", f"the plan's request is of {other!r}: somebody edited it")
    if planned_sha256 != plan.head_sha256:
        return Standing("changed", _another_log(plan, head))
    catches_up = plan.request is not None and plan.request.catch_up
    candidates = {
        entry.body.detail.follower
        for entry in since
        if isinstance(entry.body.detail, BeginDetail) and _is_planned(entry.body.detail, plan)
    }
    for entry in since:
        if entry.kind in NEUTRAL or (catches_up and entry.kind in CAUGHT_UP):
            continue
        detail = entry.body.detail
        if isinstance(detail, RestoreDetail) and (
            _is_planned(detail, plan) or detail.follower in candidates  # it has caught up
        ):
            return Standing("done", f"log:{entry.i} switched to it", entry.i)
        return Standing(
            "changed",
            f"log:{entry.i} ({entry.kind}) was committed at {entry.at.isoformat()}, after the "
            f"facts were gathered at log:{plan.head}",
        )
    return Standing("ready")


def by_hand(plan: CollectionPlan) -> Standing:
    """The standing of a collection that no restore brings back."""
    return Standing("by hand", plan.reason if plan.point else plan.no_point)


def _is_planned(detail: RestoreDetail | BeginDetail, plan: CollectionPlan) -> bool:
    point = plan.point
    if point is None or detail.point is None:
        return False
    whole, _, _ = detail.point.partition(".")
    return whole == f"{point.number}-{point.sha256[:8]}" and detail.route == plan.route


def _another_log(plan: CollectionPlan, head: Head) -> str:
    if head.number < plan.head:
        return f"the log ends at log:{head.number}, and the facts were gathered at log:{plan.head}"
    return f"log:{plan.head} is another entry than when the facts were gathered"
