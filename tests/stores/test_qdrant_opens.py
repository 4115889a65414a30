"""A shard is opened once for a verb, however many calls it takes."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import qdrant_edge

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import InvalidRequest, Unavailable
from dr_pipelines.live.keeping import kept_open
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.qdrant import edge_shards
from dr_pipelines.stores.qdrant.connect import open_store
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.store_samples import SPEC, document, table
from dr_pipelines.testing.world import COLLECTION, START, ListedSource, Process, World

NAME = SPEC.name


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the shards that were opened."""
    names = list[str]()

    def load(path: str) -> Any:
        names.append(Path(path).name)
        return qdrant_edge.EdgeShard.load(path)

    counting = SimpleNamespace(EdgeShard=SimpleNamespace(load=load))
    monkeypatch.setattr(edge_shards, "edge", counting)
    return names


@pytest.fixture
def store(tmp_path: Path) -> VectorStore:
    return open_store("qdrant+edge:edge", base=tmp_path, wait_seconds=0.2)


@pytest.fixture
def process(store: VectorStore) -> Process:
    source, ids = ListedSource(), iter(f"{n:032x}" for n in range(10_000))
    for number in range(6):
        source.upsert(f"d{number}", f"text {number}, some words of it", at=START)
    world = World(source, MemoryBlobStore(), store, MemoryWitness(), lambda: next(ids))
    process = world.process()
    process.ingest()
    return process


def test_a_backup_opens_the_shard_once(process: Process, opens: list[str]) -> None:
    physical = process.store.aliases()[COLLECTION]
    assert process.backup().equal
    assert opens == [physical]
    rows = pa.Table.from_batches(process.store.scan(physical, documents=["d3"]))
    edited = rows.set_column(
        rows.schema.get_field_index("text"), "text", pa.array(["edited"] * rows.num_rows)
    )
    process.store.write(physical, edited)
    opens.clear()
    assert process.backup().findings.changed == ("d3",)
    assert opens == [physical]


def test_a_restore_opens_what_it_builds_once(process: Process, opens: list[str]) -> None:
    done = process.restore(switch=True)
    assert done.switched
    assert opens.count(done.plan.physical) == 1


def test_an_ingestion_opens_the_shard_once(process: Process, opens: list[str]) -> None:
    physical, source = process.store.aliases()[COLLECTION], process.lineage.source
    assert isinstance(source, ListedSource)
    source.upsert("d9", "one more", at=START)
    process.ingest()
    assert opens.count(physical) <= 2  # to see that it is there, and to write


@pytest.fixture
def filled(store: VectorStore) -> VectorStore:
    store.create(SPEC)
    store.write(NAME, table(*document("a", chunks=3)))
    return store


def test_a_shard_that_is_kept_is_shared_by_threads_and_not_by_others(
    filled: VectorStore, tmp_path: Path, opens: list[str]
) -> None:
    other = open_store("qdrant+edge:edge", base=tmp_path, wait_seconds=0.1)
    with kept_open(filled, NAME):
        assert filled.status(NAME).records == 3
        thread = threading.Thread(
            target=lambda: filled.write(NAME, table(*document("b", chunks=2)))
        )
        thread.start()
        thread.join()
        scan = filled.scan(NAME, ordered=False, batch_rows=1)
        next(scan)
        filled.write(NAME, table(*document("c", chunks=1)))  # while it is read
        assert len(list(scan)) == 4
        assert filled.status(NAME).records == 6
        assert opens == [NAME]
        with pytest.raises(Unavailable):
            other.status(NAME)
    assert other.status(NAME).records == 6
    assert filled.status(NAME).records == 6


def test_a_shard_that_is_kept_is_closed_where_something_fails(
    filled: VectorStore, opens: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with kept_open(filled, NAME):
        filled.status(NAME)
        with pytest.raises(InvalidRequest):
            list(filled.scan(NAME, columns=["unknown"]))
        assert filled.status(NAME).records == 3
    assert opens == [NAME, NAME]


def test_a_collection_that_is_kept_may_be_dropped_and_made_again(filled: VectorStore) -> None:
    with kept_open(filled, NAME), kept_open(filled, NAME):
        assert filled.status(NAME).records == 3
        filled.drop(NAME)
        assert NAME not in filled.collections()
        filled.create(SPEC)
        assert filled.status(NAME).records == 0
    filled.drop(NAME)
