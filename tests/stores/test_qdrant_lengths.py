"""Under cosine Qdrant divides by lengths; what collections of others hold comes back as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import qdrant_edge as edge
from qdrant_client import QdrantClient, models

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.compatibility import Outcome
from dr_pipelines.stores.qdrant import open_store
from dr_pipelines.testing.store_samples import contents

RANDOM = np.random.default_rng(7)
ROWS = 400
Given = np.ndarray[Any, np.dtype[np.float32]]


def of_lengths(width: int, lengths: Given | float) -> Given:
    rows = RANDOM.normal(size=(ROWS, width))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows * np.reshape(lengths, (-1, 1))).astype(np.float32)


def zeroed(rows: Given) -> Given:
    """Most components of each row are nothing."""
    rows[:, : rows.shape[1] - 3] = 0
    return rows


SHORT = of_lengths(8, np.geomspace(1e-30, 3.4526e-4, ROWS).astype(np.float32))
CASES = {
    "any length": of_lengths(8, RANDOM.uniform(0.1, 50, ROWS).astype(np.float32)),
    "shorter than the engine divides": SHORT,
    "about the shortest that it divides": of_lengths(
        8, np.linspace(3.44e-4, 3.46e-4, ROWS).astype(np.float32)
    ),
    "about 1": of_lengths(8, np.linspace(1 - 2e-6, 1 + 2e-6, ROWS).astype(np.float32)),
    "sparse": zeroed(of_lengths(16, 3.0)),
    "one component": of_lengths(1, RANDOM.uniform(0.1, 2, ROWS).astype(np.float32)),
    "two": of_lengths(2, 1.0),
    "three": of_lengths(3, 5.0),
    "long": of_lengths(384, 1.0),
    "zero": np.zeros((ROWS, 8), np.float32),
}


def made_with_edge(directory: Path, rows: Given, datatype: Any, *, several: bool = False) -> None:
    directory.mkdir()
    params = edge.EdgeVectorParams(
        rows.shape[1],
        edge.Distance.Cosine,
        datatype=datatype,
        multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)
        if several
        else None,
    )
    shard = edge.EdgeShard.create(str(directory), edge.EdgeConfig({"v": params}))
    lists = [[row.tolist(), row[::-1].tolist()] if several else row.tolist() for row in rows]
    points = [edge.Point(n, {"v": row}, {}) for n, row in enumerate(lists)]
    shard.update(edge.UpdateOperation.upsert_points(points))
    shard.flush()
    shard.close()


def comes_back(url: str, base: Path) -> None:
    """Assert that a copy as a restore makes it, written twice, equals the collection."""
    store = open_store(url, base=base)
    store.create(store.describe("theirs").physical("copy"))
    rows = pa.Table.from_batches(store.scan("theirs"))
    for _ in range(2):
        store.write("copy", rows)
    assert contents(store, "copy") == contents(store, "theirs")


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("datatype", ["Float32", "Float16", "Uint8"])
@pytest.mark.parametrize("case", CASES)
def test_whatever_edge_holds_comes_back_bit_for_bit(
    tmp_path: Path, case: str, datatype: str, several: bool
) -> None:
    kind = getattr(edge.VectorStorageDatatype, datatype)
    made_with_edge(tmp_path / "theirs", CASES[case], kind, several=several)
    comes_back(f"qdrant+edge:{tmp_path}", tmp_path)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_whatever_the_local_mode_holds_comes_back_bit_for_bit(
    tmp_path: Path, case: str, again: bool
) -> None:
    client = QdrantClient(path=str(tmp_path))
    params = models.VectorParams(size=CASES[case].shape[1], distance=models.Distance.COSINE)
    client.create_collection("theirs", vectors_config={"v": params})
    points = [
        models.PointStruct(id=n, vector={"v": row.tolist()}, payload={"n": n})
        for n, row in enumerate(CASES[case][::20])
    ]
    client.upsert("theirs", points)
    if again:  # then the client keeps what it divided
        client.set_payload("theirs", {"m": 1}, points=list(range(0, len(points), 2)))
    client.close()
    comes_back(f"qdrant+local:{tmp_path}", tmp_path)


@pytest.mark.parametrize("length", [3.0, 1.01, 0.001])
def test_a_vector_that_edge_cannot_have_held_is_refused_by_name(
    tmp_path: Path, length: float
) -> None:
    made_with_edge(tmp_path / "theirs", of_lengths(8, 1.0), edge.VectorStorageDatatype.Float16)
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    rows = pa.Table.from_batches(store.scan("theirs"))
    wrong = of_lengths(8, 1.0)
    wrong[5] *= length
    halved = wrong.astype(np.float16).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(halved.ravel()), 8)
    place = rows.schema.get_field_index("v")
    fifth = rows.column("id")[5].as_py()
    with pytest.raises(InvalidRequest, match=f"record '{fifth}' is not of length 1"):
        store.write("theirs", rows.set_column(place, rows.schema.field(place), column))


@pytest.mark.parametrize("datatype", ["Turbo16", "Turbo8", "Turbo4", "Float16"])
def test_a_form_that_the_engine_rounds_to_again_is_said_beforehand(
    tmp_path: Path, datatype: str
) -> None:
    kind = getattr(edge.VectorStorageDatatype, datatype)
    made_with_edge(tmp_path / "theirs", of_lengths(8, 1.0)[:5], kind)
    notes = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path).compatibility("theirs")
    outcomes = [(note.part, note.outcome) for note in notes]
    assert outcomes == ([("vectors.v", Outcome.REFUSED)] if datatype.startswith("Turbo") else [])
