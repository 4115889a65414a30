"""The phases of a recovery, timed one by one."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar

from dr_pipelines.errors import TimedOut
from dr_pipelines.model.recovery import WHOLE, Phase, Plan, RunRecord
from dr_pipelines.protocols import Progress
from dr_pipelines.recovery.journal import Journal

T = TypeVar("T")
Timer = Callable[[], float]
"""Seconds since some moment, which only go up."""

BESIDE_THE_STORE = ("access", "embed", "fold", "compare")
"""Phases whose work lies in the repository, or is done by every run: it is there whatever became of
the collection."""
SERVING = ("switch", "confirm")
"""Phases whose end is the end of the recovery, late or not: users are served from it already."""
CREATING = ("schema", "files")
"""Phases in which the collection appears: killed in one, there may be none yet."""


class Stopwatch:
    """Times the phases of a run, and records each as it begins and ends. `earlier` is the record of
    runs of the same plan that did not come to their end, without the phases `dropped`, whose work
    is not there any more. `unrecorded` is the first reason why a record could not be read or
    kept. `stopped` is the phase that an error ended, `timed_out` the one
    in which there was no time left. This run
    `started` `now`, the first of the same plan at `first_started`."""

    def __init__(self, plan: Plan, journal: Journal, timer: Timer, *, now: datetime) -> None:
        self.phases: list[Phase] = []
        self.stopped: Phase | None = None
        record, self.unrecorded = journal.last(plan)
        self.earlier: RunRecord = _of_what_is_there(record, plan)
        there = self.earlier.phases
        self.dropped = tuple(phase for phase in record.phases if phase not in there)
        self._plan = plan
        self._journal = journal
        self._timer = timer
        self._began = timer()
        self._running = ("access", self._began)
        self.timed_out: str | None = None
        self.started = now
        self.first_started = record.started or now

    @contextmanager
    def phase(self, name: str) -> Iterator[list[int]]:
        """Time a phase, or more of one of this run; put the number of rows into the list that is
        yielded."""
        self.require_time()
        self._record(name)
        rows = [0]
        self._running = name, (started := self._timer())
        try:
            yield rows
            if name not in SERVING:
                self.require_time()
        except BaseException:
            self.stopped = Phase(name, self._timer() - started, rows[0])
            raise
        self._add(Phase(name, self._timer() - started, rows[0]))
        self._record(None)

    def require_time(self) -> None:
        """Raise `TimedOut` where the phase that is running, or the run, takes longer than it
        may."""
        now, limits = self._timer(), self._plan.terms.limits
        phase, since = self._running
        for name, began in ((phase, since), (WHOLE, self._began)):
            if name in limits and now - began > limits[name]:
                what = "the recovery" if name == WHOLE else f"its phase {name}"
                self.timed_out = phase
                raise TimedOut(
                    f"{self._plan.collection}: {what} took longer than {limits[name]:g} s; it was "
                    f"at {phase}. What it made stays: the same command goes on where it stopped"
                )

    def watched(self, items: Iterable[T]) -> Iterator[T]:
        """The same items, one by one, while there is time; raises `TimedOut`."""
        for item in items:
            self.require_time()
            yield item

    def watching(self, progress: Progress | None) -> Progress:
        """A report of progress that raises `TimedOut` when there is no time left."""

        def look(done: int, total: int) -> None:
            self.require_time()
            if progress is not None:
                progress(done, total)

        return look

    def _add(self, more: Phase) -> None:
        for number, phase in enumerate(self.phases):
            if phase.name == more.name:
                seconds, rows = phase.seconds + more.seconds, phase.rows + more.rows
                self.phases[number] = Phase(phase.name, seconds, rows)
                return
        self.phases.append(more)

    def elapsed(self) -> float:
        """Seconds since this run began."""
        return self._timer() - self._began

    def seconds(self) -> dict[str, float]:
        """The seconds that each phase took, in all runs of the plan together."""
        total = dict[str, float]()
        for phase in (*self.earlier.phases, *self.phases):
            total[phase.name] = total.get(phase.name, 0.0) + phase.seconds
        return total

    def end(self) -> None:
        """The plan is carried out."""
        reason = self._journal.end(self._plan)
        self.unrecorded = self.unrecorded or reason

    def _record(self, running: str | None) -> None:
        phases = (*self.earlier.phases, *self.phases)
        record = RunRecord(
            origin=self._plan.origin, started=self.first_started, phases=phases, running=running
        )
        reason = self._journal.keep(self._plan, record)
        self.unrecorded = self.unrecorded or reason


def _of_what_is_there(record: RunRecord, plan: Plan) -> RunRecord:
    """The record without what was dropped since: where the collection is not there, this run makes
    it from the beginning."""
    if plan.resumed:
        return record
    phases = tuple(phase for phase in record.phases if phase.name in BESIDE_THE_STORE)
    at_its_place = record.running in (*BESIDE_THE_STORE, *CREATING)
    running = record.running if at_its_place and len(phases) == len(record.phases) else None
    return record.model_copy(update={"phases": phases, "running": running})
