"""A collection that the log knows is read as it lies: the same is found in any order."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.misfit import Misfit, Misfits
from dr_pipelines.repository.misfit_tally import MisfitTally
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import START, ListedSource, Process, World


class Shuffled(MemoryVectorStore):
    """Gives its records in another order each time that none is asked for, `twice` of them twice;
    counts the scans of everything in order."""

    seed = 0
    twice = 0
    sorted = 0

    def scan(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
        ordered: bool = True,
    ) -> Iterator[pa.RecordBatch]:
        batches = super().scan(name, columns=columns, documents=documents, batch_rows=batch_rows)
        if ordered:
            self.sorted += documents is None
            return batches
        whole = pa.Table.from_batches(batches)
        self.seed += 1
        order = np.random.default_rng(self.seed).permutation(whole.num_rows)
        order = np.concatenate([order, order[: self.twice]])
        return iter(whole.take(pa.array(order)).combine_chunks().to_batches(max_chunksize=3))


@pytest.fixture
def process() -> Process:
    source = ListedSource()
    for number in range(12):
        source.upsert(f"d{number}", f"text {number}, some words of it", at=START)
    ids = iter(f"{n:032x}" for n in range(10_000))
    world = World(source, MemoryBlobStore(), Shuffled(), MemoryWitness(), lambda: next(ids))
    process = world.process()
    process.ingest()
    return process


def shuffled(process: Process) -> Shuffled:
    assert isinstance(process.store, Shuffled)
    return process.store


def test_nothing_is_found_where_nothing_changed(process: Process) -> None:
    before = process.point().manifest.digests
    taken = [process.backup() for _ in range(4)]
    assert [(s.equal, s.findings.recorded) for s in taken] == [(True, [])] * 4
    assert process.point().manifest.digests == before
    assert shuffled(process).sorted == 0


def test_what_changed_is_found_and_read_again_whole(process: Process) -> None:
    store, name = process.store, process.store.aliases()["notes"]
    rows = pa.Table.from_batches(store.scan(name, documents=["d3", "d7"]))
    texts = pa.array([f"edited {n}" for n in range(rows.num_rows)])
    store.write(name, rows.set_column(rows.schema.get_field_index("text"), "text", texts))
    store.write(name, rows.slice(0, 0), replaces=["d5"])
    taken = process.backup()
    assert (taken.findings.changed, taken.findings.absent) == (("d3", "d7"), ("d5",))
    assert process.backup().findings.recorded == []
    assert shuffled(process).sorted == 0


def test_a_restore_is_read_back_in_any_order(process: Process) -> None:
    done = process.restore(switch=True)
    assert (done.bit_identical, done.switched) == (True, True)
    assert shuffled(process).sorted == 0


def test_two_records_of_one_id_are_said_and_not_compared(process: Process) -> None:
    shuffled(process).twice = 1
    with pytest.raises(InvalidRequest, match=r"2 records have the id .* nothing tells them apart"):
        process.backup()


def test_records_that_do_not_fit_are_the_same_in_any_order() -> None:
    ids = pa.array([f"r{n}" for n in range(40)])
    named = [Misfit(record=f"r{n}", column="text", reason="too long") for n in range(40)]
    marks = set[tuple[str, tuple[Misfit, ...]]]()
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(40)
        tally = MisfitTally()
        for some in np.split(order, [7, 8, 30]):
            every = Misfits(np.arange(len(some)), tuple(named[n] for n in some.tolist()))
            tally.add(every, ids.take(pa.array(some)))
        marks.add((tally.together(), tally.named))
    assert len(marks) == 1
