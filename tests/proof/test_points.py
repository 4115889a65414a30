"""Proofs of a collection: the newest one, the time since, and how far back the search goes."""

import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import NotFound
from dr_pipelines.model.assurance import Assurance
from dr_pipelines.model.details import RefusalEvidence
from dr_pipelines.proof import points
from dr_pipelines.proof.points import (
    Proof,
    newest_proof,
    newest_snapshot,
    record_proof,
)
from dr_pipelines.repository.evidence import record_evidence
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import (
    START,
    ListedSource,
    Process,
    World,
)


class Clock:
    """Stands still until it is moved."""

    now = START

    def __call__(self) -> datetime:
        return self.now


class SlowStore(MemoryVectorStore):
    """A scan takes an hour."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def scan(self, *args: Any, **named: Any) -> Iterator[pa.RecordBatch]:
        self._clock.now += timedelta(hours=1)
        yield from super().scan(*args, **named)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def process(clock: Clock) -> Process:
    """A document, ingested."""
    source, numbers = ListedSource(), itertools.count()
    source.upsert("a", "text", at=START)
    world = World(
        source=source,
        blobs=MemoryBlobStore(),
        store=SlowStore(clock),
        witness=MemoryWitness(),
        new_id=lambda: f"id{next(numbers)}",
        clock=clock,
    )
    process = world.process()
    process.ingest()
    return process


def test_a_proof_is_as_old_as_the_start_of_its_scan(process: Process, clock: Clock) -> None:
    clock.now = began = START + timedelta(hours=5)
    taken = process.backup()
    assert clock.now > began
    record_proof(process.history, newest_snapshot(process.history), checks=("equal",))

    assert newest_proof(process.history) == Proof(
        taken.number, began, None, assurance=Assurance.EVERY_VALUE
    )


def test_a_proof_out_of_sight_makes_a_new_one_due(
    process: Process, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "LOOK_BACK", 3)
    taken = process.backup()
    record_proof(process.history, newest_snapshot(process.history), checks=("equal",))
    times = []
    for day in range(1, 4):
        assert newest_proof(process.history).number == taken.number
        clock.now = START + timedelta(days=day)
        times.append(clock.now)
        record_evidence(process.history, RefusalEvidence(reason="other"))

    assert newest_proof(process.history) == Proof(0, None, times[0])
    assert newest_snapshot(process.history).number == taken.number

    taken = process.backup()
    record_proof(process.history, newest_snapshot(process.history), checks=("equal",))
    assert newest_proof(process.history).unproven_since is None
    assert newest_proof(process.history).number == taken.number


def test_a_log_without_a_snapshot_has_none_and_is_unproven(process: Process) -> None:
    assert newest_proof(process.history) == Proof(unproven_since=START)
    with pytest.raises(NotFound, match=r"there is no snapshot yet\. Run: dr backup notes"):
        newest_snapshot(process.history)
