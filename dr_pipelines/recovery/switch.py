"""The switch: a restored collection becomes the one that is served.

Here the log says so, together with what the line that ends has and this one has not; the store's
alias moves in `Live.apply`, which `switch` calls.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

from dr_pipelines import __version__
from dr_pipelines.errors import Conflict, Refused
from dr_pipelines.live.live import Live
from dr_pipelines.model.details import LeftBehind, RestoreDetail
from dr_pipelines.model.recovery import Plan
from dr_pipelines.model.recovery_point import (
    Coverage,
    Follower,
    Made,
    Manifest,
    RecoveryPoint,
    Timeline,
)
from dr_pipelines.planning.candidate import require_same_line, without_follower
from dr_pipelines.planning.parts import namespace
from dr_pipelines.planning.recovery import next_timeline
from dr_pipelines.recovery.candidate import Candidate
from dr_pipelines.recovery.left_behind import left_behind, unseen_since
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.recovery.state import recounted
from dr_pipelines.repository.history import Committed, History, NextEntry, Tip


def require_unserved(plan: Plan, resources: Resources) -> None:
    """Refuse a target that was switched to since the plan was made."""
    repository, store = resources.repository, resources.store
    latest = History(repository, plan.collection).manifest()
    timelines = latest.timelines if latest else ()
    used = {t.physical for t in timelines if t.store == plan.store}
    if timelines and plan.begins == next_timeline(timelines):
        used = set()  # what had the name is gone, and nothing was switched to since
    if plan.physical in used or plan.physical in store.aliases().values():
        raise Refused(
            f"{plan.physical!r} was switched to by another restore meanwhile: nothing is ever "
            "restored over a collection being served. Run the command again if it is still needed"
        )


ROUNDS = 8
"""Times that what is left behind is established anew, because the served line grew meanwhile."""


class Moved(Conflict):
    """Read again and decide: the line that is served has grown since it was looked at."""


def switch(
    point: RecoveryPoint,
    manifest: Manifest,
    plan: Plan,
    resources: Resources,
    *,
    seconds: dict[str, float],
    on_commit: "Callable[[Committed[SwitchEntry]], None]",
    candidate: Candidate | None = None,
) -> None:
    """Start a new timeline on a restored collection and point the alias at it.

    The entry comes first, and `on_commit` is told; then `Live.apply` moves the store's alias: a
    crash in between is finished by whoever comes next, since the entry is pending until then.

    Raises:
        TimelineClosed: another line than the plan's is served by now.
        Conflict: the candidate was closed, or begun anew; or the log kept growing.
        Moved: the plan catches up, and the line has grown beyond the point: catch up again.
    """
    repository, store = resources.repository, resources.store
    if point.until is not None:
        manifest = recounted(repository, manifest, point.until)
    leased = plan.physical == plan.collection  # by who builds it
    with nullcontext() if leased else resources.lease(plan.collection):
        made = Made(
            engine=namespace(store.engine),
            route=str(plan.route),
            records=manifest.counts.records,
            phases=seconds,
        )
        history = History(repository, plan.collection)
        on_commit(_committed(history, point, manifest, plan, made, candidate))
        Live(store, resources.lease, plan.collection).apply(history)


def _committed(
    history: History,
    point: RecoveryPoint,
    manifest: Manifest,
    plan: Plan,
    made: Made,
    candidate: Candidate | None,
) -> "Committed[SwitchEntry]":
    for _ in range(ROUNDS):
        seen = history.tip()
        behind = None if plan.catch_up else left_behind(history, point, seen)
        unseen = unseen_since(history, seen)
        entry = _Switch(point, manifest, plan, made, candidate, seen, behind, unseen)
        try:
            return history.append("restore", entry.at)
        except Moved:
            if plan.catch_up:
                raise
    raise Conflict(
        f"{plan.collection}: the log kept growing while what it has beyond the recovery point was "
        "compared. Nothing was switched: run the command again when less is written"
    )


@dataclass(frozen=True, kw_only=True)
class SwitchEntry(NextEntry):
    """The entry of a switch."""

    detail: RestoreDetail


@dataclass(frozen=True, slots=True)
class _Switch:
    """A restored collection, served from now on, as an entry: a timeline begins. What was `seen` is
    so at the entry before it."""

    point: RecoveryPoint
    manifest: Manifest
    plan: Plan
    made: Made
    candidate: Candidate | None
    seen: Tip
    behind: LeftBehind | None
    unseen: int | None

    def at(self, tip: Tip) -> SwitchEntry:
        plan, latest = self.plan, tip.existing()
        number = next_timeline(latest.timelines)
        self._require_current(tip)
        timeline = Timeline(
            id=number,
            parent=self.point.manifest.timeline,
            fork=self.point.number,
            physical=plan.physical,
            store=plan.store,
            made=self.made,
        )
        partitions = {
            day: partition.model_copy(update={"entry": tip.number})
            for day, partition in tip.history.days(self.manifest).items()
        }
        update = {
            "coverage": Coverage.of(partitions),
            "timeline": timeline.id,
            "timelines": (*latest.timelines, timeline),
            "taken_over": (),
            "accepted": latest.accepted,  # a decision is about the source, not about this state
            "tool_version": __version__,
        }
        return SwitchEntry(
            manifest=self.manifest.model_copy(update=update),
            pending=(tip.number,),
            followers=self._remaining(tip),
            detail=RestoreDetail(
                point=self.point.id,
                route=str(plan.route),
                physical=plan.physical,
                follower=self.candidate.name if self.candidate else None,
                left_behind=self.behind,
                unseen_since=self.unseen,
            ),
        )

    def _require_current(self, tip: Tip) -> None:
        """Raise where something that was decided does not hold at the entry that is followed."""
        plan = self.plan
        require_same_line(
            plan.collection,
            served=tip.existing().timeline,
            follows=plan.timeline,
            physical=plan.physical,
        )
        if self.candidate is not None:
            self.candidate.require_current(tip)
        built = self.point.entry.body.manifest if plan.catch_up else None
        head = tip.head.entry
        if built not in (None, head.body.manifest if head else None):
            raise Moved(f"{plan.collection}: the log has grown beyond {self.point.id}")
        if not tip.same_state_as(self.seen):
            raise Moved(f"{plan.collection}: the log has grown beyond log:{self.seen.head.number}")

    def _remaining(self, tip: Tip) -> dict[str, Follower] | None:
        """The one entry that makes a candidate current ends it."""
        if self.candidate is None:
            return None
        return without_follower(tip.head.followers, self.candidate.name)
