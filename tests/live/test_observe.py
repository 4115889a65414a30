"""A store that rounds is compared within its tolerance: what it rounds is no edit, what is changed
beyond that is found."""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import Damaged
from dr_pipelines.live.observe import within
from dr_pipelines.model.collection import CollectionSpec, Vector
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery import Route
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import (
    SPEC,
    START,
    ListedSource,
    Process,
    World,
)

TOLERANCE = 5e-3


class RoundingStore(MemoryVectorStore):
    """Keeps two decimals of a vector's components."""

    def __init__(self, error: float = 0.0) -> None:
        super().__init__()
        self.error = error

    @property
    def vector_tolerance(self) -> float:
        return TOLERANCE

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        column = batch.column("embedding").combine_chunks()
        values = column.flatten().to_numpy(zero_copy_only=False)
        rounded = (np.round(values, 2) + np.float32(self.error)).astype(np.float32)
        vectors = pa.FixedSizeListArray.from_arrays(
            pa.array(rounded), type=column.type, mask=column.is_null()
        )
        place = batch.column_names.index("embedding")
        super().write(
            name, batch.set_column(place, batch.schema.field(place), vectors), replaces=replaces
        )


@pytest.fixture
def process() -> Process:
    source = ListedSource()
    for day in range(3):
        for number in range(5):
            at = START + timedelta(days=day, hours=number)
            source.upsert(f"d{number}", f"text {number} of day {day}, some words", at=at)
    ids = iter(f"{n:032x}" for n in range(10_000))
    world = World(source, MemoryBlobStore(), RoundingStore(), MemoryWitness(), lambda: next(ids))
    return world.process()


def test_what_is_rounded_is_neither_an_edit_nor_kept_aside(process: Process) -> None:
    done = process.ingest()
    assert done.applied.retained == ()
    assert done.applied.preimages == ()
    rounded = [
        row
        for batch in process.store.scan("notes")
        for row in batch.to_pylist()
        if row["embedding"] != np.float32(row["embedding"]).tolist()
    ]
    assert rounded == []
    snapshot = process.backup()
    assert (snapshot.equal, snapshot.findings.recorded) == (True, [])
    again = process.ingest()
    assert again.applied.written == 0


def test_a_restore_into_a_store_that_rounds_is_equal_within_its_tolerance(
    process: Process,
) -> None:
    process.ingest()
    before = process.folded()
    for route in (Route.LOAD, Route.REPLAY):
        done = process.restore(route=route, switch=True)
        assert (done.bit_identical, done.switched) == (False, True)
        assert process.folded() == before
        assert process.backup().equal


def test_an_edit_beyond_the_tolerance_is_recorded(process: Process) -> None:
    process.ingest()
    store, name = process.store, process.store.aliases()["notes"]
    rows = pa.Table.from_batches(store.scan(name, documents=["d2"])).to_pylist()
    rows[0]["embedding"] = [c + 3 * TOLERANCE for c in rows[0]["embedding"]]
    store.write(name, pa.Table.from_pylist(rows, schema=store_schema(SPEC)))
    assert len(rows) > 2  # the others were rounded only, and are recorded as they were read
    snapshot = process.backup()
    assert (snapshot.findings.changed, snapshot.equal) == (("d2",), True)
    again = process.backup()
    assert (again.findings.recorded, again.equal) == ([], True)


def test_a_store_that_errs_beyond_its_tolerance_is_not_served(process: Process) -> None:
    process.ingest()
    assert isinstance(process.store, RoundingStore)
    process.store.error = 3 * TOLERANCE
    served = process.store.aliases()
    with pytest.raises(Damaged, match="does not read back"):
        process.restore(switch=True)
    assert process.store.aliases() == served


def test_nearness_is_relative_to_length_above_one() -> None:
    spec = CollectionSpec(name="n", vectors=(Vector(dimension=2),))
    stored = [[100.0, 0.0], [100.0, 0.0], [0.1, 0.0], [0.1, 0.0], None, None, [1.0, 0.0]]
    sought = [[100.09, 0.0], [100.11, 0.0], [0.1009, 0.0], [0.1011, 0.0], None, [0.0, 0.0], None]
    kind = pa.list_(pa.float32(), 2)
    tables = [pa.table({"embedding": pa.array(rows, kind)}) for rows in (sought, stored)]
    near = within(tables[0], tables[1], spec, tolerance=1e-3)
    assert near.tolist() == [True, False, True, False, True, False, False]
