"""How far a plan of recovery has been carried out, by the log: the plan goes on where it stopped,
and is not carried out where its facts have changed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from dr_pipelines.model.details import (
    BESIDE,
    BeginDetail,
    RecoveryEvidence,
    RestoreDetail,
)
from dr_pipelines.model.recovery_plan import CollectionPlan, Obstacle
from dr_pipelines.model.recovery_point import Head, LogEntry

NEUTRAL = BESIDE | {"applied"}
"""Entries that leave the state as it is, those of a recovery that was refused among them."""
CAUGHT_UP = frozenset({"ingest", "compact"})
"""Entries that a recovery which catches up brings before it switches. A snapshot is none of them:
somebody should see first what it found in the store."""


SERVES = ("passed", "overridden")
"""Verdicts by which a recovery is served."""


@dataclass(frozen=True, slots=True)
class Standing:
    """`ready` to be carried out; `done`, as log entry `entry`; `unconfirmed`: that entry switched
    to it, and no evidence says that what is served was asked and answered; `by hand`, since no
    restore does it; or `changed`, and why."""

    state: Literal["ready", "done", "unconfirmed", "by hand", "changed"]
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
    ours = _restores(plan, since)
    if not ours:
        disturbing = next((e for e in since if not _may_follow(e, plan)), None)
        return Standing("ready") if disturbing is None else _changed(disturbing, plan)
    before = (e for e in since if e.i < min(ours))
    others = (e for e in since if e.i > min(ours) and e.i not in ours and e.kind == "restore")
    disturbing = next((e for e in before if not _may_follow(e, plan)), next(others, None))
    if disturbing is not None:
        return _changed(disturbing, plan)
    return _confirmed(max(ours), since)


def _restores(plan: CollectionPlan, since: Sequence[LogEntry]) -> set[int]:
    """The entries that switched to the plan's point: by its route, by a candidate that has caught
    up, or to the state of such an entry again."""
    candidates, ours = set[str](), set[int]()
    for entry in since:
        detail = entry.body.detail
        if isinstance(detail, BeginDetail) and _is_planned(detail, plan):
            candidates.add(detail.follower)
        if isinstance(detail, RestoreDetail) and (
            _is_planned(detail, plan)
            or detail.follower in candidates
            or _number(detail.point) in ours
        ):
            ours.add(entry.i)
    return ours


def _number(point: str | None) -> int | None:
    """The entry of a point, by its id; None for one that is cut at a source position."""
    number, _, rest = (point or "").partition("-")
    return int(number) if number.isdecimal() and "." not in rest else None


def _may_follow(entry: LogEntry, plan: CollectionPlan) -> bool:
    """True for an entry that makes no other facts than those of the plan."""
    catches_up = plan.request is not None and plan.request.catch_up
    return entry.kind in NEUTRAL or (catches_up and entry.kind in CAUGHT_UP)


def _changed(entry: LogEntry, plan: CollectionPlan) -> Standing:
    return Standing(
        "changed",
        f"log:{entry.i} ({entry.kind}) was committed at {entry.at.isoformat()}, after the "
        f"facts were gathered at log:{plan.head}",
    )


def _confirmed(switched: int, since: Sequence[LogEntry]) -> Standing:
    """`done` only by evidence: a run that was killed or refused after its switch left none."""
    outcomes = [
        entry.body.detail.outcome
        for entry in since
        if isinstance(entry.body.detail, RecoveryEvidence) and entry.body.detail.entry == switched
    ]
    if any(outcome in SERVES for outcome in outcomes):
        return Standing("done", f"log:{switched} switched to it", switched)
    ended = f"its confirmation ended as {outcomes[-1]}" if outcomes else "it was never confirmed"
    return Standing("unconfirmed", f"log:{switched} switched to it, and {ended}", switched)


def obstacles_to(plan: CollectionPlan, obstacles: Iterable[Obstacle]) -> list[Obstacle]:
    """Obstacles of a plan that keep a collection's restore from being carried out. A source, golden
    queries, a clock and other points than the chosen one do not; a model does where it is needed.
    """
    beside = {"source", "golden", "clock", "repository"}
    beside |= set() if plan.route == "replay" else {"model", "weights"}
    return [
        o for o in obstacles if o.collection in (None, plan.collection) and o.kind not in beside
    ]


def elsewhere(plan: CollectionPlan, repositories: tuple[str, str], url: str) -> Standing | None:
    """The standing of a plan for other places than the policies name: of `repositories` the plan's
    and the policies', and the store by its `url`. None for the same places."""
    planned, named = repositories
    if planned != named:
        return Standing("changed", f"the plan is for repository {planned}, not for {named}")
    if plan.store_sha256 and plan.store_sha256 != url_digest(url):
        store = plan.request.store if plan.request else ""
        reason = f"store {store} has another URL than when the facts were gathered"
        return Standing("changed", reason)
    return None


def url_digest(url: str) -> str:
    """The digest of a URL as the policies write it: secrets are variables there."""
    return sha256(url.encode()).hexdigest()


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
