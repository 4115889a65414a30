"""Records that an engine would not take back are named beforehand by the code that refuses a
write."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import qdrant_edge as edge

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Metric,
    Vector,
)
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.milvus.limits import foreign_problems
from dr_pipelines.stores.qdrant import open_store as open_qdrant
from dr_pipelines.stores.shared.misfits import misfits_of, refused_by

SPEC = CollectionSpec(
    name="docs@1",
    vectors=(Vector(name="v", dimension=2, metric=Metric.COSINE),),
    fields=(Field(name="kind", type=FieldType.STRING),),
    engine={"qdrant": {"layout": "foreign", "columns": {}}},
)


def rows(*changes: dict[str, Any]) -> pa.Table:
    usual = {"chunk_index": 0, "v": [1.0, 0.0]}
    made = [usual | {"document_id": row["id"]} | row for row in changes]
    return pa.Table.from_pylist(made, schema=store_schema(SPEC))


@pytest.fixture
def qdrant(tmp_path: Path) -> VectorStore:
    return open_qdrant(f"qdrant+edge:{tmp_path}", base=tmp_path)


def test_points_that_qdrant_cannot_hold_are_all_named(qdrant: VectorStore, tmp_path: Path) -> None:
    wrong: list[dict[str, Any]] = [
        {"id": "a"},
        {"id": "5", "v": [3.0, 4.0]},
        {"id": "6", "chunk_index": 1},
    ]
    batch = rows(
        {"id": "1"},
        wrong[0],
        {"id": "2"},
        *wrong[1:],
        {"id": "7", "v": [float("nan"), 1]},
    )
    directory = Path(str(qdrant.driver.variant._directory))  # type: ignore[attr-defined]
    (directory / "theirs").mkdir()
    params = edge.EdgeVectorParams(2, edge.Distance.Cosine)
    edge.EdgeShard.create(str(directory / "theirs"), edge.EdgeConfig({"v": params})).close()
    spec = qdrant.describe("theirs")
    batch = batch.select(store_schema(spec).names)
    misfits = qdrant.misfits(spec, batch)
    assert misfits.rows.tolist() == [1, 3, 4, 5]
    assert [misfit.record for misfit in misfits] == ["a", "5", "6", "7"]
    for place in misfits.rows.tolist():
        with pytest.raises(InvalidRequest):
            qdrant.write("theirs", batch.slice(place, 1))
    good = batch.filter(pa.array([place not in misfits.rows for place in range(len(batch))]))
    qdrant.write("theirs", good)
    assert qdrant.status("theirs").records == 2


def test_texts_and_nulls_that_milvus_cannot_hold_are_named() -> None:
    columns = [
        {"name": "key", "column": "id", "type": "VarChar", "params": {"max_length": "3"}},
        {"name": "kind", "column": "kind", "type": "VarChar", "params": {"max_length": "2"}},
        {"name": "v", "column": "v", "type": "FloatVector", "params": {"dim": "2"}},
        {"name": "made", "column": None, "type": "SparseFloatVector", "generated": True},
    ]
    spec = SPEC.model_copy(update={"engine": {"milvus": {"layout": "foreign", "columns": columns}}})
    batch = rows(
        {"id": "a", "kind": "xy"},
        {"id": "b", "kind": "éàü"},
        {"id": "c", "kind": None},
        {"id": "long", "kind": "x"},
    )
    misfits = misfits_of(batch, foreign_problems(batch, spec))
    assert [(misfit.record, misfit.column) for misfit in misfits] == [
        ("b", "kind"),
        ("c", "kind"),
        ("long", "id"),
    ]


def test_rows_are_asked_about_together_while_none_is_refused() -> None:
    sizes = list[int]()

    def refuse(batch: pa.Table) -> None:
        sizes.append(len(batch))
        for key in batch.column("id").to_pylist():
            if key.startswith("bad"):
                raise InvalidRequest(f"record {key!r} is bad")

    good = rows(*({"id": f"g{n}"} for n in range(64)))
    assert len(misfits_of(good, refused_by(good, refuse))) == 0
    assert sizes == [64]
    mixed = pa.concat_tables([good, rows({"id": "bad1"}), good.slice(0, 10), rows({"id": "bad2"})])
    misfits = misfits_of(mixed, refused_by(mixed, refuse))
    assert misfits.rows.tolist() == [64, 75]
    assert [misfit.reason for misfit in misfits] == ["record 'bad1' is bad", "record 'bad2' is bad"]
    assert len(sizes) < 40
