"""An ingestion that finds nothing new: its cost does not follow the days that are covered."""

import itertools
from datetime import timedelta

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.stores.memory import memory_store
from dr_pipelines.testing.blob_faults import Recording
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import START, ListedSource, World


def reads_of_nothing_new(days: int) -> int:
    """Objects that a second ingestion reads."""
    source, numbers = ListedSource(), itertools.count()
    world = World(
        source=source,
        blobs=MemoryBlobStore(),
        store=memory_store(),
        witness=MemoryWitness(),
        new_id=lambda: f"w{next(numbers)}",
    )
    for day in range(days):
        source.upsert("a", f"day {day}", at=START + timedelta(days=day))
    assert len(world.process().ingest().days) == days
    recording = Recording(world.blobs)
    assert world.process(blobs=recording).ingest().days == ()
    return recording.count("read")


def test_days_that_are_covered_are_not_planned_again() -> None:
    assert reads_of_nothing_new(2) == reads_of_nothing_new(20)
