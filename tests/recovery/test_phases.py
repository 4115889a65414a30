"""A recovery is killed at every boundary of its phases, and its phases are all of its time."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.cli.output import ExitCode, code_of
from dr_pipelines.errors import TimedOut
from dr_pipelines.model.details import RecoveryEvidence
from dr_pipelines.model.recovery import WHOLE, Plan, Recovery, Route, RunRecord, Terms
from dr_pipelines.recovery.journal import FileJournal
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.recovery.run import recover
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import START, Contents, ListedSource, Process, World

PHASES = ["access", "fold", "schema", "records", "index", "prove", "probe", "warm"]
SERVING = ["switch", "confirm"]
REPLAYED = ["access", "embed", "fold"]


class Killed(BaseException):
    """As by `kill -9`, in a test."""


class Dying(FileJournal):
    """A journal of a process that ends right after it has recorded that a phase begins, or that
    it has ended."""

    def __init__(self, directory: Path, *, phase: str, ended: bool) -> None:
        super().__init__(directory)
        self._last = (phase, ended)

    def keep(self, plan: Plan, record: RunRecord) -> str | None:
        problem = super().keep(plan, record)
        phase, ended = self._last
        over = record.running is None and record.phases and record.phases[-1].name == phase
        if over if ended else record.running == phase:
            raise Killed
        return problem


@pytest.fixture
def world() -> World:
    source = ListedSource()
    source.upsert("a", "first of all", at=START, team="x")
    source.upsert("b", "then another", at=START, team="y")
    ids = iter(f"{n:032x}" for n in range(100_000))
    world = World(
        source, MemoryBlobStore(), MemoryVectorStore(), MemoryWitness(), lambda: next(ids)
    )
    world.process().ingest()
    return world


def restored(process: Process, resources: Resources, route: Route = Route.LOAD) -> Recovery:
    return recover(process.request(switch=True, route=route), resources)


def served(world: World) -> tuple[dict[str, str], Contents]:
    return world.store.aliases(), world.served()


@pytest.mark.parametrize("ended", [False, True], ids=["as it begins", "as it ends"])
@pytest.mark.parametrize(
    ("phase", "route"),
    [
        *((phase, Route.LOAD) for phase in [*PHASES, *SERVING]),
        *((phase, Route.REPLAY) for phase in REPLAYED),
    ],
)
def test_a_recovery_that_is_killed_at_a_boundary_goes_on_by_the_same_command(
    world: World, tmp_path: Path, phase: str, route: Route, ended: bool
) -> None:
    process, before = world.process(), served(world)
    journal = Dying(tmp_path, phase=phase, ended=ended)
    with pytest.raises(Killed):
        restored(process, replace(process.resources(), journal=journal), route)
    switched = phase == "confirm" or (phase == "switch" and ended)
    assert (served(world) == before) is not switched
    assert served(world)[1] == before[1]

    process = world.process()
    resources = replace(process.resources(), journal=FileJournal(tmp_path))
    done = restored(process, resources, route)

    assert served(world)[1] == before[1]
    assert (done.verdict.outcome, done.switched) == ("passed", True)
    assert done.digests == process.point(f"log:{done.entry}").manifest.digests
    if not switched:  # after that it is another recovery, of what is served by now
        names = [phase.name for phase in done.earlier]
        assert (phase in names) is ended
        assert done.interrupted == (None if ended else phase)


@dataclass
class Timed:
    """A timer that goes on by a second for each call of a store or a repository."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


class Slow:
    """Something whose every call takes a second."""

    def __init__(self, inner: Any, timer: Timed) -> None:
        self._inner = inner
        self._timer = timer

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **options: Any) -> Any:
            self._timer.now += 1
            return value(*arguments, **options)

        return call


@pytest.mark.parametrize("route", [Route.LOAD, Route.REPLAY])
def test_the_phases_are_all_of_the_time(world: World, route: Route) -> None:
    timer = Timed()
    process = world.process(blobs=Slow(world.blobs, timer))
    resources = replace(
        process.resources(),
        store=Slow(world.store, timer),
        timer=timer,
    )
    readings = list[float]()

    def read() -> float:
        readings.append(timer.now)
        return timer.now

    done = restored(process, replace(resources, timer=read), route)
    wall = readings[-1] - readings[0]  # from the first moment to that of the report
    phases = sum(phase.seconds for phase in done.phases)
    assert wall > 20
    assert phases >= 0.98 * wall


@pytest.mark.parametrize(
    ("limits", "at"),
    [
        ({"records": 0.5}, "records"),
        ({"prove": 0.5}, "prove"),
        ({"probe": 0.5}, "probe"),
        ({WHOLE: 3.0}, "access"),
    ],
)
def test_a_recovery_that_takes_longer_than_it_may_ends_so_and_goes_on(
    world: World, tmp_path: Path, limits: dict[str, float], at: str
) -> None:
    timer, process, before = Timed(), world.process(), served(world)
    resources = replace(
        process.resources(),
        repository=world.process(blobs=Slow(world.blobs, timer)).repository,
        store=Slow(world.store, timer),
        timer=timer,
        journal=FileJournal(tmp_path),
    )
    request = process.request(switch=True, terms=Terms(limits=limits))
    with pytest.raises(TimedOut, match=f"it was at {at}") as ended:
        recover(request, resources)
    assert served(world) == before
    assert code_of(ended.value) is ExitCode.TIMED_OUT
    detail = process.history.latest().entry.body.detail
    assert isinstance(detail, RecoveryEvidence)
    assert (detail.outcome, detail.entry) == ("timed-out", None)
    done = restored(process, replace(process.resources(), journal=FileJournal(tmp_path)))
    assert (done.verdict.outcome, done.interrupted) == ("passed", at)
    assert served(world)[1] == before[1]
