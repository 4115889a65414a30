"""Dagster's runs of one collection: who is at work on it, what was tried, how long it takes.

What follows is decided by `planning`; what is decided of dead and stale runs is carried out here.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from dr_pipelines.planning.freshness import Action, Attempts, expected_duration
from dr_pipelines.planning.occupancy import Occupancy, Run, occupancy

from .run_process import process_gone
from .tracked import COLLECTION_TAG, Tracked

NEED_TAG = "dr/need"
"""Run tag that names what a run was started for; tries are counted by it."""
STALE_TAG = "dr/stale"
"""Run tag of one that was cancelled because it waited too long: no try."""
MEASURED_RUNS = 5
STATUS = dg.DagsterRunStatus
UNFINISHED = [
    STATUS.QUEUED,
    STATUS.NOT_STARTED,
    STATUS.STARTING,
    STATUS.STARTED,
    STATUS.CANCELING,
]
GONE = "The process of this run has ended without a word: the run is marked as failed."


@dataclass(frozen=True)
class Runs:
    """`rpo` is how long a run may wait for its turn."""

    tracked: Tracked
    instance: dg.DagsterInstance
    now: datetime

    @property
    def rpo(self) -> timedelta:
        return self.tracked.policy.objectives.rpo

    def occupancy(self) -> Occupancy:
        """Runs that are at work on the collection or wait to be, whoever started them. A restore
        builds beside and keeps nobody from starting, but it may be gone."""
        records = self.instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED))
        runs = [self._seen(record) for record in records if self._concerns(record.dagster_run)]
        restores = [self._seen(r) for r in records if self._restores(r.dagster_run)]
        runs += [run for run in restores if run.gone]
        return occupancy(runs, rpo=self.rpo, now=self.now)

    def clear(self, occupancy: Occupancy, *, suspected: Collection[str]) -> tuple[str, ...]:
        """Mark runs as failed whose processes are gone, where that was so the last time too: what
        watches them was given the time to say it first. Returns those that were marked."""
        gone = [
            run for run in self._still(occupancy.gone, STATUS.STARTED) if run.run_id in suspected
        ]
        for run in gone:
            self.instance.report_run_failed(run, GONE)
        return tuple(run.run_id for run in gone)

    def cancel(self, occupancy: Occupancy) -> tuple[str, ...]:
        """Cancel runs that have waited too long; one that was started meanwhile is left alone.
        Returns those that were cancelled."""
        stale = list(self._still(occupancy.stale, STATUS.QUEUED))
        for run in stale:
            message = (
                f"It has waited for its turn for longer than {self.rpo}: another takes its place."
            )
            self.instance.add_run_tags(run.run_id, {STALE_TAG: self.now.isoformat()})
            self.instance.report_run_canceling(run, message)
            self.instance.report_run_canceled(run, message)
        return tuple(run.run_id for run in stale)

    def attempts(self, need: str) -> Attempts:
        """Runs that were started for a need, whatever became of them."""
        records = self.instance.get_run_records(dg.RunsFilter(tags={NEED_TAG: need}))
        tried = [r for r in records if STALE_TAG not in r.dagster_run.tags]
        ended = [_time(r.end_time) or r.update_timestamp.astimezone(UTC) for r in tried]
        return Attempts(len(records), max(ended, default=None), stale=len(records) - len(tried))

    def duration(self, action: Action) -> timedelta:
        """How long the next run may take, from the last ones that succeeded."""
        records = self.instance.get_run_records(
            dg.RunsFilter(job_name=self.tracked.named(action), statuses=[STATUS.SUCCESS]),
            limit=MEASURED_RUNS,
        )
        measured = [
            timedelta(seconds=r.end_time - r.start_time)
            for r in records
            if r.start_time and r.end_time
        ]
        return expected_duration(measured, rpo=self.rpo)

    def _concerns(self, run: dg.DagsterRun) -> bool:
        if run.tags.get(COLLECTION_TAG) == self.tracked.name:
            return True
        checks = [check.asset_key for check in run.asset_check_selection or ()]
        return any(self.tracked.owns(key) for key in [*(run.asset_selection or ()), *checks])

    def _restores(self, run: dg.DagsterRun) -> bool:
        ops = run.run_config.get("ops", {}) if isinstance(run.run_config, dict) else {}
        config = ops.get("restore_collection", {}).get("config", {})
        return bool(config.get("collection") == self.tracked.name)

    def _seen(self, record: dg.RunRecord) -> Run:
        run = record.dagster_run
        waiting = record.create_timestamp.astimezone(UTC) if run.status is STATUS.QUEUED else None
        return Run(
            run.run_id,
            queued_since=waiting,
            ours=NEED_TAG in run.tags,
            gone=process_gone(self.instance, record),
        )

    def _still(self, ids: Collection[str], status: dg.DagsterRunStatus) -> Iterator[dg.DagsterRun]:
        for run_id in ids:
            run = self.instance.get_run_by_id(run_id)
            if run is not None and run.status is status:
                yield run


def _time(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
