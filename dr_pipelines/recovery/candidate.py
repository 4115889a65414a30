"""A candidate in the log: begun, brought further, closed. None of these entries changes the state
or what is served; the one that does is the switch's, which also ends it."""

from dataclasses import dataclass

from dr_pipelines.errors import Refused
from dr_pipelines.model.details import BeginDetail, EndDetail, FollowDetail, short_reason
from dr_pipelines.model.recovery import Plan
from dr_pipelines.model.recovery_point import Follower, Head
from dr_pipelines.planning.candidate import (
    candidate_name,
    require_open,
    require_same_line,
    with_follower,
    without_follower,
)
from dr_pipelines.repository.history import History, NextEntry, Tip


@dataclass(frozen=True, slots=True)
class Candidate:
    """A candidate as this run began it: it ends where the log says another beginning, or none."""

    name: str
    physical: str
    line: int
    began: int

    def require_current(self, tip: Tip) -> Follower:
        """The follower, for the next entry; raises `TimelineClosed` or `Conflict` where this run
        may not go on."""
        require_same_line(
            tip.history.collection,
            served=tip.existing().timeline,
            follows=self.line,
            physical=self.physical,
        )
        return require_open(tip.head.followers, self.name, began=self.began, physical=self.physical)


def is_open(head: Head, plan: Plan) -> bool:
    """True if an earlier run of the plan opened a candidate that nobody closed."""
    return candidate_name(plan.store, plan.physical) in head.followers


def begin(history: History, plan: Plan) -> Candidate:
    """Open the candidate of a plan, or go on with it: whoever began it before ends.

    Raises `TimelineClosed` where another line than the plan's is served by now, `Refused` for a
    name that was closed since the plan's recovery point.
    """
    entry = _Begin(plan)
    head = history.append("begin", entry.at).head
    return Candidate(entry.name, plan.physical, plan.timeline, head.number)


def follow(
    history: History, candidate: Candidate, *, position: int, written: int, records: int
) -> None:
    """Record that a candidate was read back equal to its line at an entry."""
    detail = FollowDetail(
        follower=candidate.name, position=position, written=written, records=records
    )
    history.append("follow", _Follow(candidate, detail).at)


def close(history: History, name: str, *, reason: str) -> None:
    """Close a candidate by name: from now on no run serves it. Raises `NotFound` where none of
    that name is open."""
    detail = EndDetail(follower=name, reason=short_reason(reason))
    history.append("end", _End(detail).at)


@dataclass(frozen=True, slots=True)
class _Begin:
    plan: Plan

    @property
    def name(self) -> str:
        return candidate_name(self.plan.store, self.plan.physical)

    def at(self, tip: Tip) -> NextEntry:
        plan, followers = self.plan, tip.head.followers
        before = followers.get(self.name)
        require_same_line(
            plan.collection,
            served=tip.existing().timeline,
            follows=before.timeline if before else plan.timeline,
            physical=plan.physical,
        )
        if before is None:
            self._require_new(tip)
        begun = Follower(
            began=tip.number,
            timeline=plan.timeline,
            store=plan.store,
            physical=plan.physical,
            position=0,  # until this run has read it back
        )
        return NextEntry(
            followers=with_follower(followers, self.name, begun),
            detail=BeginDetail(follower=self.name, point=plan.point, route=str(plan.route)),
        )

    def _require_new(self, tip: Tip) -> None:
        """Whoever closed a candidate may be about to drop what has its name."""
        beyond = max(0, tip.head.number - self.plan.number)
        for entry in tip.history.entries_back(tip.head, limit=beyond):
            detail = entry.body.detail
            if isinstance(detail, EndDetail) and detail.follower == self.name:
                raise Refused(
                    f"{self.plan.physical!r} was closed as a candidate in log:{entry.i}, and may "
                    "be being dropped: build it under another name with --into"
                )


@dataclass(frozen=True, slots=True)
class _Follow:
    candidate: Candidate
    detail: FollowDetail

    def at(self, tip: Tip) -> NextEntry:
        follower = self.candidate.require_current(tip)
        moved = follower.model_copy(update={"position": self.detail.position})
        followers = with_follower(tip.head.followers, self.candidate.name, moved)
        return NextEntry(followers=followers, detail=self.detail)


@dataclass(frozen=True, slots=True)
class _End:
    detail: EndDetail

    def at(self, tip: Tip) -> NextEntry:
        followers = without_follower(tip.head.followers, self.detail.follower)
        return NextEntry(followers=followers, detail=self.detail)
