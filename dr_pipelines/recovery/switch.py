"""The switch: a restored collection becomes the one that is served.

Here the log says so; the store's alias moves in `Live.apply`, which `switch` calls.
"""

from contextlib import nullcontext
from dataclasses import dataclass

from dr_pipelines import __version__
from dr_pipelines.errors import Conflict, Refused
from dr_pipelines.live.live import Live
from dr_pipelines.model.details import RestoreDetail
from dr_pipelines.model.recovery import Plan
from dr_pipelines.model.recovery_point import (
    Coverage,
    Made,
    Manifest,
    RecoveryPoint,
    Timeline,
)
from dr_pipelines.planning.parts import namespace
from dr_pipelines.planning.recovery import next_timeline
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.recovery.state import recounted
from dr_pipelines.repository.history import History, NextEntry, Tip


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


def switch(
    point: RecoveryPoint,
    manifest: Manifest,
    plan: Plan,
    resources: Resources,
    *,
    seconds: dict[str, float],
) -> int:
    """Start a new timeline on a restored collection and point the alias at it.

    The entry comes first, then `Live.apply` moves the store's alias: a crash in between is finished
    by whoever comes next, since the entry is pending until then.
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
        head = history.append("restore", _Switch(point, manifest, plan, made).at).head
        Live(store, resources.lease, plan.collection).apply(history)
    return head.number


@dataclass(frozen=True, slots=True)
class _Switch:
    """A restored collection, served from now on, as an entry: a timeline begins."""

    point: RecoveryPoint
    manifest: Manifest
    plan: Plan
    made: Made

    def at(self, tip: Tip) -> NextEntry:
        plan, latest = self.plan, tip.existing()
        number = next_timeline(latest.timelines)
        if plan.begins not in (None, number):
            raise Conflict(
                f"{plan.collection}: another restore switched meanwhile. Drop {plan.physical!r} "
                "and run the command again if it is still needed"
            )
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
        return NextEntry(
            manifest=self.manifest.model_copy(update=update),
            pending=(tip.number,),
            detail=RestoreDetail(point=plan.point, route=str(plan.route), physical=plan.physical),
        )
