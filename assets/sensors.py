"""The RPO sensor: before the oldest unprotected change is older than the objective, it starts what
protects it.

It reads the log, the source and Dagster's own runs, never the live store. What is due is decided by
`planning.freshness`; here decisions become run requests. It is on by default: a sensor that waits
to be switched on protects nobody.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import dagster as dg

from dr_pipelines.model.notation import duration_text
from dr_pipelines.monitoring.exposure import CachedStatus, cached_status
from dr_pipelines.planning.freshness import (
    Action,
    Need,
    Protection,
    ProtectionStatus,
    confirmation_due,
    exposure,
    needs,
    next_attempt,
    protection,
)
from dr_pipelines.planning.occupancy import Occupancy
from dr_pipelines.repository.history import History

from .checks import FIRST_DAY, LAST_DAY
from .failures import explained
from .metadata import Metadata, exposure_metadata, point_metadata, unread_metadata
from .outside_runs import OutsideRuns, Reported
from .resources import ProjectResource
from .runs import NEED_TAG, Runs
from .tracked import COLLECTION_TAG, Tracked

if TYPE_CHECKING:  # what `define_asset_job` returns has no public name
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

INSTEAD_TAG = "dr/instead-of"
"""Run tag that names a run that waited too long: cancelled, where it was one of ours."""
PRIORITY_TAG = "dagster/priority"
INTERVAL_SECONDS = 30


@dataclass(frozen=True)
class Cursor:
    """The last report and the state that it was of, so that only changes are reported and read
    again. Losing it costs one event and one reading."""

    protection: str = ""
    confirmed_at: datetime | None = None
    seen: CachedStatus | None = None
    gone: tuple[str, ...] = ()
    heard: int = 0
    heard_proof: int = 0

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """The cursor that `text` wrote; an empty one where nothing was written yet."""
        value = json.loads(text) if text else {}
        at = value.get("confirmed_at")
        return cls(
            value.get("protection", ""),
            datetime.fromisoformat(at) if at else None,
            CachedStatus.parse(value.get("seen", "")),
            tuple(value.get("gone", ())),
            value.get("heard", 0),
            value.get("heard_proof", 0),
        )

    def text(self) -> str:
        at = self.confirmed_at.isoformat() if self.confirmed_at else None
        seen = self.seen.text() if self.seen else ""
        value = {"protection": self.protection, "confirmed_at": at, "seen": seen}
        more = {"gone": self.gone, "heard": self.heard, "heard_proof": self.heard_proof}
        return json.dumps(value | {name: each for name, each in more.items() if each})


def build_rpo_sensor(
    tracked: Tracked, jobs: "Sequence[UnresolvedAssetJobDefinition]"
) -> dg.SensorDefinition:
    """The sensor of one collection, which starts `jobs`: a source out of reach stops no other
    collection's."""

    @dg.sensor(
        name=tracked.named("rpo"),
        jobs=list(jobs),
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Keeps every change of {tracked.name} younger than "
        f"{duration_text(tracked.policy.objectives.rpo)} until a recovery point covers it.",
    )
    @explained
    def rpo(context: dg.SensorEvaluationContext, dr_project: ProjectResource) -> dg.SensorResult:
        protected = dr_project.open().collection(tracked.name)
        history = protected.history()
        before = Cursor.parse(context.cursor)
        seen = cached_status(
            history,
            feed=protected.feed() if tracked.has_source else None,
            edited=tracked.edited,
            last=before.seen,
        )
        runs = Runs(tracked, context.instance, dr_project.now())
        tick = Tick(tracked, seen.protection_status, runs, before.gone)
        requests, reason = tick.requests()
        events, cursor = tick.events(before, history)
        reported, proof = tick.outside_runs(before, history)
        if reported.summary:
            context.log.info(reported.summary)
        cursor = replace(cursor, heard=reported.through, heard_proof=proof)
        return dg.SensorResult(
            run_requests=requests,
            skip_reason="; ".join(filter(None, (reason, reported.summary))) if reason else None,
            asset_events=[*events, *reported.events],
            cursor=replace(cursor, seen=seen, gone=tick.occupancy.gone).text(),
        )

    return rpo


@dataclass(frozen=True)
class Tick:
    """One look at one collection."""

    tracked: Tracked
    status: ProtectionStatus
    runs: Runs
    suspected: tuple[str, ...] = ()

    @property
    def rpo(self) -> timedelta:
        return self.tracked.policy.objectives.rpo

    @property
    def now(self) -> datetime:
        return self.runs.now

    @cached_property
    def occupancy(self) -> Occupancy:
        """Runs that are at work on the collection, as of this tick."""
        return self.runs.occupancy()

    def requests(self) -> tuple[list[dg.RunRequest], str]:
        """At most one run, or why there is none."""
        marked = self.runs.clear(self.occupancy, suspected=self.suspected)
        takes = {action: self.runs.duration(action) for action in Action}
        due = needs(self.status, rpo=self.rpo, now=self.now, takes=takes)
        if self.occupancy.gone:
            state = "was marked as failed" if marked else "is marked as failed if it stays so"
            return (
                [],
                f"{self.summary()}; the process of run {self.occupancy.gone[0]} is gone: "
                f"it {state}",
            )
        if self.occupancy.working:
            return [], f"{self.summary()}; run {self.occupancy.working[0]} is at work on it"
        if not due:
            return [], self.summary()
        return self.first_of(due)

    def first_of(self, due: Sequence[Need]) -> tuple[list[dg.RunRequest], str]:
        """The run for the first need that may be tried now."""
        for need in due:
            attempt = next_attempt(
                self.runs.attempts(self.need_key(need)), rpo=self.rpo, now=self.now
            )
            if attempt is None:
                continue
            request = self.request(need, attempt)
            if request is None:
                return [], self.ahead()
            return [request], ""
        return [], f"{self.summary()}; the last tries failed, the next one waits"

    def ahead(self) -> str:
        """The reason why no run can read the unread changes yet: a partition begins with its
        day."""
        day = self.status.stretch.first if self.status.stretch else "a day"
        return (
            f"{self.summary()}; the source's clock is ahead: unread changes belong to "
            f"{day}, which is to come. Until then: dr ingest {self.tracked.name}"
        )

    def request(self, need: Need, attempt: int) -> dg.RunRequest | None:
        """The run for a need; None where its days are to come. Dagster never runs a key twice, so
        each try has its own."""
        key = self.need_key(need)
        tags = {COLLECTION_TAG: self.tracked.name, NEED_TAG: key, "dr/attempt": str(attempt)}
        if need.action is Action.INGEST:
            stretch = self.status.stretch
            days = stretch.until(self.now.date().isoformat()) if stretch else None
            if days is None:
                return None
            tags |= {FIRST_DAY: days.first, LAST_DAY: days.last}
        if waited := (*self.runs.cancel(self.occupancy), *self.occupancy.passed):
            tags |= {INSTEAD_TAG: waited[0], PRIORITY_TAG: "1"}  # the collection had its wait
        return dg.RunRequest(
            job_name=self.tracked.named(need.action), run_key=f"{key}:{attempt}", tags=tags
        )

    def need_key(self, need: Need) -> str:
        return f"{self.tracked.name}:{need.action}:{need.key}"

    def events(
        self, before: Cursor, history: History
    ) -> tuple[Sequence[dg.AssetObservation | dg.AssetMaterialization], Cursor]:
        """An observation when the protection changed, or whether embedding is refused; a quiet
        collection's proof confirmed anew.

        The confirmation lets Dagster's freshness watch this sensor: when it stops, or a proof is
        missing, the recovery point grows old there. Both are events without a run.
        """
        now = protection(self.status, rpo=self.rpo, now=self.now)
        key = self.tracked.key("recovery_point")
        confirmed_at = before.confirmed_at or self.status.proven_at
        if now is Protection.QUIET and confirmation_due(confirmed_at, rpo=self.rpo, now=self.now):
            point = history.point(self.status.proven)
            event = dg.AssetMaterialization(
                asset_key=key,
                description="Nothing has changed since it was proven.",
                metadata=point_metadata(point, repository=history.repository) | self.facts(now),
            )
            return [event], Cursor(now, self.now)
        state = f"{now}, refused" if self.status.refused else now.value
        after = Cursor(state, before.confirmed_at if now is Protection.QUIET else None)
        if state == before.protection:
            return [], after
        return [dg.AssetObservation(asset_key=key, metadata=self.facts(now))], after

    def outside_runs(self, before: Cursor, history: History) -> tuple[Reported, int]:
        """Work that was done without Dagster, and the proof that was reported last. Nothing
        while a run is at work: it reports its own work."""
        if self.occupancy.working or self.occupancy.gone:
            return Reported((), before.heard), before.heard_proof
        outside = OutsideRuns(self.tracked, self.runs.instance, history, self.status.head)
        reported = outside.days(since=before.heard, today=self.now.date().isoformat())
        proof, at = self.status.proven, self.status.proven_at
        if at is not None and proof != before.heard_proof:
            outside.report_proof(proof, at)
        return reported, proof

    def facts(self, now: Protection) -> Metadata:
        """Metadata of an event about the collection's protection."""
        exposed = exposure(self.status, now=self.now)
        return {
            "protection": now.value,
            "days_behind": self.status.behind,
            "head_entry": self.status.head,
            "head_sha256": self.status.head_sha256,
            **unread_metadata(self.status.unread),
            "cannot_be_put_back": list(self.status.unfit),
            "rests_on": self.status.assurance and self.status.assurance.value,
            "uncounted": self.status.uncounted,
            "refused": self.status.refused,
            "source_read": self.status.reading.sentence if self.status.reading else "",
            **exposure_metadata(None if exposed == timedelta.max else exposed),
        }

    def summary(self) -> str:
        """How the collection stands, in a line."""
        exposed = exposure(self.status, now=self.now)
        age = "since ever" if exposed == timedelta.max else str(exposed).partition(".")[0]
        state = protection(self.status, rpo=self.rpo, now=self.now)
        unread = "".join(f"; {sentence}" for sentence in self.status.unread.sentences())
        unfit = f"; cannot be restored: {', '.join(self.status.unfit)}" if self.status.unfit else ""
        behind = f"{self.status.behind} days behind"
        refused = f"; refused: {self.status.refused}" if self.status.refused else ""
        short = self.status.uncounted
        uncounted = f"; log:{short} rests on too little and does not count" if short else ""
        reading = self.status.reading
        read = f"; source: {reading.sentence}" if reading and reading.unexpected else ""
        more = f"{unread}{unfit}{uncounted}{refused}{read}"
        return f"{state}: exposed {age} of {self.rpo}, {behind}{more}"
