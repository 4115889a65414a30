"""A collection that cannot be looked at, whoever made it, keeps no other from anything."""

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import UNREADABLE, DrError, NotFound
from dr_pipelines.model.collection import CollectionSpec, CollectionStatus
from dr_pipelines.monitoring.stores import known_collection, stored
from dr_pipelines.planning.stored import Part
from dr_pipelines.repository.history import History
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import (
    SPEC,
    START,
    ListedSource,
    Process,
    World,
)

ANOTHER = "notes@made-by-somebody"


class WithANeighbour(MemoryVectorStore):
    """In which one collection is not to be looked at."""

    raised: type[DrError] = DrError
    in_describe = True

    def describe(self, name: str) -> CollectionSpec:
        if name == ANOTHER and self.in_describe:
            raise self.raised("its rows are not for you")
        return super().describe(name)

    def status(self, name: str) -> CollectionStatus:
        if name == ANOTHER:
            raise self.raised("its rows are not for you")
        return super().status(name)


@pytest.fixture(params=[*UNREADABLE, NotFound])
def process(request: pytest.FixtureRequest) -> Process:
    ids = iter(f"{n:032x}" for n in range(10_000))
    store, source = WithANeighbour(), ListedSource()
    store.raised = request.param
    store.create(SPEC.physical(ANOTHER))
    source.upsert("a", "one two three four", at=START)
    world = World(source, MemoryBlobStore(), store, MemoryWitness(), lambda: next(ids))
    return world.process()


def test_ingestion_backup_and_restore_go_on_beside_it(process: Process) -> None:
    process.ingest()
    assert process.backup().equal
    assert process.restore(switch=True).bit_identical


@pytest.mark.parametrize("in_describe", [True, False])
def test_it_is_listed_with_the_reason(process: Process, *, in_describe: bool) -> None:
    store, repository = process.store, process.repository
    assert isinstance(store, WithANeighbour)
    store.in_describe = in_describe
    process.ingest()
    collections = [known_collection(History(repository, "notes"), store="default")]
    by_name = {
        each.name: each
        for each in stored(store, store="default", collections=collections, repository=repository)
    }
    assert by_name[ANOTHER].problem == "its rows are not for you"
    assert by_name[ANOTHER].part is Part.FOREIGN
    assert len(by_name) == 2
