"""Answers about texts are given without fetching a vector."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.contents.diff import diff
from dr_pipelines.contents.documents import stored_documents
from dr_pipelines.testing.blob_faults import Recording
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import ListedSource, Process, World

DAYS = [datetime(2026, 1, day, 8, tzinfo=UTC) for day in (5, 6)]


@pytest.fixture
def process() -> Process:
    """Two days of a document that changes, and one that an edit changed."""
    source = ListedSource()
    for day in DAYS:
        source.upsert("a", f"one {day.day}", at=day)
    numbers = iter(range(1_000_000))
    world = World(
        source=source,
        blobs=Recording(MemoryBlobStore()),
        store=MemoryVectorStore(),
        witness=MemoryWitness(),
        new_id=lambda: f"id{next(numbers)}",
    )
    made = world.process()
    made.ingest()
    made.backup()
    return made


ANSWERS: dict[str, Callable[[Process], object]] = {
    "documents": lambda p: list(stored_documents(p.history, p.point())),
    "differences": lambda p: diff(p.history, p.point("seq:1"), p.point()),
    "counts": lambda p: p.point().manifest.counts,
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_no_vector_is_fetched(process: Process, answer: str) -> None:
    blobs = process.repository.blobs
    assert isinstance(blobs, Recording)
    stored = [key for key in blobs.keys("") if key.endswith(".vectors.arrow")]
    assert stored
    blobs.calls.clear()
    ANSWERS[answer](process)
    assert [call.key for call in blobs.calls if call.key in stored] == []
    process.restore(switch=False)
    assert {call.key for call in blobs.calls if call.key in stored} != set()
