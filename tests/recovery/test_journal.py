"""Phases are recorded on this machine as they go; the log gets them once, at the end."""

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import Unavailable
from dr_pipelines.model.recovery import Recovery, Route, RunRecord
from dr_pipelines.protocols import VectorStore
from dr_pipelines.recovery.journal import FileJournal
from dr_pipelines.recovery.plan import plan_recovery
from dr_pipelines.recovery.report import interruption_lines, recovery_value
from dr_pipelines.recovery.run import run_recovery
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import START, ListedSource, Process, World

BUILDING = ["access", "fold", "schema", "records", "index", "prove", "probe", "warm"]
PHASES = [*BUILDING, "switch", "confirm"]
CALLS = {
    "schema": "create",
    "records": "write",
    "index": "build_index",
    "prove": "scan",
    "probe": "search",
}


class Killed(BaseException):
    """As by `kill -9`, in a test."""


class Dies:
    """A store in which one call ends the process."""

    def __init__(self, store: VectorStore, call: str) -> None:
        self._store = store
        self._call = call

    def __getattr__(self, name: str) -> Any:
        if name != self._call:
            return getattr(self._store, name)

        def die(*_: Any, **__: Any) -> Iterator[Any]:
            raise Killed

        return die


@pytest.fixture
def process() -> Process:
    source = ListedSource()
    source.upsert("a", "first of all", at=START)
    ids = iter(f"{n:032x}" for n in range(100_000))
    world = World(
        source, MemoryBlobStore(), MemoryVectorStore(), MemoryWitness(), lambda: next(ids)
    )
    process = world.process()
    process.ingest()
    process.backup()
    return process


def restored(
    process: Process, place: Path, *, dies_in: str | None = None, route: Route = Route.LOAD
) -> Recovery:
    store = Dies(process.store, CALLS[dies_in]) if dies_in else process.store
    journal = FileJournal(place)
    resources = replace(process.resources(), store=store, journal=journal)
    number = process.history.head().number
    return run_recovery(
        plan_recovery(process.request(f"log:{number}", route=route, switch=True), resources),
        resources,
    )


def record(place: Path) -> RunRecord:
    (file,) = place.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    return RunRecord.model_validate_json(file.read_bytes())


@pytest.mark.parametrize("killed", CALLS)
def test_what_an_interrupted_run_did_is_known_to_the_next(
    process: Process, tmp_path: Path, killed: str
) -> None:
    place, before = tmp_path / "recoveries", PHASES[: PHASES.index(killed)]
    head = process.history.head().number
    with pytest.raises(Killed):
        restored(process, place, dies_in=killed)
    recorded = record(place)
    assert ([phase.name for phase in recorded.phases], recorded.running) == (before, killed)
    assert process.history.head().number == head  # nothing of it is in the log

    done = restored(process, place)

    assert ([phase.name for phase in done.earlier], done.interrupted) == (before, killed)
    assert [phase.name for phase in done.phases] == PHASES
    made = process.point().manifest.current.made
    assert made is not None
    assert sorted(made.phases) == sorted(BUILDING)
    for phase in (*done.earlier, *done.phases[: len(BUILDING)]):
        assert made.phases[phase.name] >= phase.seconds
    assert list(place.iterdir()) == []


def test_a_recovery_that_was_not_interrupted_says_nothing_of_earlier_runs(
    process: Process, tmp_path: Path
) -> None:
    done = restored(process, tmp_path / "recoveries")
    assert (done.earlier, done.interrupted, interruption_lines(done)) == ((), None, [])


def test_the_time_of_what_was_dropped_since_is_not_counted(
    process: Process, tmp_path: Path
) -> None:
    place, served = tmp_path / "recoveries", process.store.collections()
    with pytest.raises(Killed):
        restored(process, place, dies_in="prove")
    (half,) = set(process.store.collections()) - set(served)
    process.store.drop(half)
    done = restored(process, place)
    assert ([phase.name for phase in done.earlier], done.interrupted) == (PHASES[:2], None)
    assert [phase.name for phase in done.dropped] == PHASES[2:5]
    _, line = interruption_lines(done)
    assert line.startswith("done again, because what an earlier run made is gone: schema 0.")
    assert [phase["name"] for phase in recovery_value(done)["dropped"]] == PHASES[2:5]
    made = process.point().manifest.current.made
    assert made is not None
    again = {phase.name: phase.seconds for phase in done.phases[2:-2]}
    assert {name: made.phases[name] for name in again} == again


def test_the_time_of_embedding_is_counted_whatever_became_of_the_collection(
    process: Process, tmp_path: Path
) -> None:
    place, served = tmp_path / "recoveries", process.store.collections()
    with pytest.raises(Killed):
        restored(process, place, dies_in="index", route=Route.REPLAY)
    (half,) = set(process.store.collections()) - set(served)
    process.store.drop(half)
    done = restored(process, place, route=Route.REPLAY)
    assert [phase.name for phase in done.earlier] == ["access", "embed", "fold"]
    assert [phase.name for phase in done.dropped] == ["schema", "records"]
    assert done.interrupted is None


@pytest.mark.parametrize("text", ["", "{", '{"origin": 7}', '{"origin": "of another plan"}'])
def test_what_is_no_record_of_the_plan_is_as_if_there_were_none(
    process: Process, tmp_path: Path, text: str
) -> None:
    place = tmp_path / "recoveries"
    with pytest.raises(Killed):
        restored(process, place, dies_in="index")
    (file,) = place.iterdir()
    file.write_text(text)
    done = restored(process, place)
    assert (done.earlier, done.interrupted, done.bit_identical) == ((), None, True)
    assert interruption_lines(done) == [
        f"times of earlier or later runs may be missing: {done.unrecorded}"
    ]
    assert str(file) in recovery_value(done)["unrecorded"]


def test_a_machine_that_cannot_record_recovers_all_the_same(
    process: Process, tmp_path: Path
) -> None:
    (tmp_path / "recoveries").write_text("in the way")
    done = restored(process, tmp_path / "recoveries")
    assert done.bit_identical
    (line,) = interruption_lines(done)
    assert line.endswith("cannot be read: Not a directory")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("write_bytes", "cannot be written"),
        ("chmod", "cannot be written"),
        ("replace", "cannot be written"),
        ("unlink", "cannot be removed"),
    ],
)
def test_a_record_that_cannot_be_kept_is_said_and_leaves_nothing_half_written(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, message: str
) -> None:
    place, usual = tmp_path / "recoveries", getattr(Path, call)

    def full(path: Path, *rest: Any, **more: Any) -> Any:
        if path.parent != place:
            return usual(path, *rest, **more)
        if call == "write_bytes":
            usual(path, rest[0][:3])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, call, full)
    done = restored(process, place)
    (line,) = interruption_lines(done)
    assert message in line
    assert line.endswith("No space left on device")
    assert list(place.glob("*.tmp")) == []


def test_a_recovery_that_does_not_switch_writes_nothing_to_the_repository(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: Any, **__: Any) -> None:
        raise Unavailable("the repository is mounted read-only")

    monkeypatch.setattr(process.repository.blobs, "create", read_only)
    resources = replace(process.resources(), journal=FileJournal(tmp_path))
    done = run_recovery(plan_recovery(process.request(), resources), resources)
    assert (done.bit_identical, done.switched) == (True, False)
    assert [phase.name for phase in done.phases] == BUILDING
