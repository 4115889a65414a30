"""Doubles through an engine whose parser is off by one in the last place: in collections of ours
and of other programs, before and after segments are written anew."""

import json
import operator
import struct
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import qdrant_edge as edge
from qdrant_client import QdrantClient, models

from dr_pipelines.backup.result import Terms
from dr_pipelines.backup.snapshot import backup
from dr_pipelines.errors import InvalidRequest
from dr_pipelines.live.live import Live
from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Vector,
)
from dr_pipelines.model.query import (
    Equals,
    Filter,
    In,
    Not,
    Query,
    Range,
)
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery import Request
from dr_pipelines.model.recovery_point import Timeline
from dr_pipelines.protocols import VectorStore
from dr_pipelines.recovery.plan import plan_recovery
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.recovery.run import run_recovery
from dr_pipelines.repository.history import History
from dr_pipelines.stores.qdrant import open_store
from dr_pipelines.stores.qdrant.edge import EdgeCollection
from dr_pipelines.stores.qdrant.filters import native_filter
from dr_pipelines.stores.qdrant.variant import OpenPoints
from dr_pipelines.stores.shared.driver_store import DriverStore
from dr_pipelines.stores.shared.filters import Inexpressible
from dr_pipelines.stores.shared.floats import (
    parsed,
    sendable,
    settled,
    settling,
)
from dr_pipelines.testing.store_samples import (
    SPEC,
    doubles,
    record,
    table,
    vector,
)
from dr_pipelines.testing.world import OneAtATime
from tests.repository.builders import repository as new_repository

LARGEST = 1.7976931348623157e308
EDGES = [0.10490011715303971, -2088692828152993.0, 5e-324, -0.0, LARGEST, 2.2250738585072014e-308]
REWRITTEN = {"optimizers": {"indexing_threshold": 1}, "indexes": {"hnsw": {"m": 8}}}


def numbers_of(count: int, *, seed: int) -> list[float]:
    return doubles(count, seed=seed) + EDGES


def bits(numbers: Sequence[float]) -> bytes:
    return struct.pack(f"{len(numbers)}d", *numbers)


def rows_of(numbers: Sequence[float], spec: CollectionSpec) -> pa.Table:
    ids = [f"{n:05d}" for n in range(len(numbers))]
    around = np.random.default_rng(1).normal(size=(len(ids), 32)).astype(np.float32)
    columns: dict[str, Any] = {
        "id": ids,
        "document_id": ids,
        "chunk_index": [0] * len(ids),
        "x": numbers,
        "embedding": list(around),
        "extra": [json.dumps({"n": [{"x": number}]}) for number in numbers],
    }
    schema = store_schema(spec)
    arrays = [pa.array(columns.get(f.name, [None] * len(ids)), f.type) for f in schema]
    return pa.table(arrays, schema=schema)


def read(store: VectorStore, name: str) -> tuple[bytes, bytes]:
    rows = pa.Table.from_batches(store.scan(name, columns=["id", "x", "extra"]))
    nested = [json.loads(extra)["n"][0]["x"] for extra in rows["extra"].to_pylist()]
    return bits(rows["x"].to_pylist()), bits(nested)


# the local mode commits each point by itself: few in the quick run
@pytest.mark.parametrize(
    ("variant", "count"),
    [("edge", 2000), ("local", 100), pytest.param("local", 2000, marks=pytest.mark.long)],
)
def test_every_double_of_ours_comes_back(tmp_path: Path, variant: str, count: int) -> None:
    store = open_store(f"qdrant+{variant}:{tmp_path}", base=tmp_path)
    spec = CollectionSpec(
        name="ours",
        vectors=(Vector(dimension=32),),
        fields=(Field(name="x", type=FieldType.NUMBER),),
        engine={"qdrant": REWRITTEN},
    )
    numbers = numbers_of(count, seed=3)
    store.create(spec)
    store.write("ours", rows_of(numbers, spec))
    for _ in range(2):  # written anew by the first
        assert read(store, "ours") == (bits(numbers), bits(numbers))
        store.build_index("ours")
    assert read(store, "ours") == (bits(numbers), bits(numbers))


def made_by_another_program(path: Path, numbers: Sequence[float]) -> None:
    config = edge.EdgeConfig(
        vectors={"": edge.EdgeVectorParams(32, edge.Distance.Dot)},
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=1),
    )
    path.mkdir(parents=True)
    shard = edge.EdgeShard.create(str(path), config)
    around = np.random.default_rng(1).normal(size=(len(numbers), 32))
    points = [
        edge.Point(10_000 + n, {"": near.tolist()}, {"x": x, "n": [{"x": x}]})
        for n, (near, x) in enumerate(zip(around, numbers, strict=True))
    ]
    shard.update(edge.UpdateOperation.upsert_points(points))
    shard.update(edge.UpdateOperation.create_field_index("x", edge.PayloadSchemaType.Float))
    shard.flush()
    shard.close()


def copied(store: VectorStore, source: str, to: str) -> None:
    """Restore a collection beside itself; both are equal before and after the index is built."""
    store.create(store.describe(source).physical(to))
    store.write(to, pa.Table.from_batches(store.scan(source)))
    before = read(store, source)
    assert read(store, to) == before
    store.build_index(to)
    assert read(store, to) == before


def test_doubles_of_another_program_come_back_as_the_engine_reads_them(tmp_path: Path) -> None:
    numbers = numbers_of(2000, seed=4)
    made_by_another_program(tmp_path / "theirs", numbers)
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    once = bits([parsed(number) for number in numbers])
    assert read(store, "theirs") == (once, once)
    assert once != bits(numbers)
    assert len({n for n in numbers if parsed(parsed(n)) != parsed(n)}) > 50  # or why at all
    copied(store, "theirs", "again")
    shard = edge.EdgeShard.load(str(tmp_path / "again"))
    indexed = shard.info().indexed_vectors_count
    shard.close()
    assert indexed > len(numbers) / 2  # it was written anew


def test_a_restore_that_is_killed_before_numbers_are_sent_again_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when the engine has written its segments anew, and with them other numbers."""
    made_by_another_program(tmp_path / "theirs", numbers_of(500, seed=9))
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    before, repository = read(store, "theirs"), new_repository()
    terms = Terms(adopt=Timeline(id=1, physical="theirs", store="edge"))
    backup(History(repository, "theirs"), live=Live(store, OneAtATime(), "theirs"), terms=terms)
    request = Request(collection="theirs", store="edge", into="again")
    resources = Resources(repository, store, "edge", OneAtATime())

    with monkeypatch.context() as patch:
        patch.setattr(EdgeCollection, "_restore_payloads", killed)
        with pytest.raises(Killed):
            run_recovery(plan_recovery(request, resources), resources)
    assert read(store, "again") != before

    resumed = plan_recovery(request, resources)
    assert resumed.resumed
    assert run_recovery(resumed, resources).bit_identical
    assert read(store, "again") == before


class Killed(BaseException):
    """As by `kill -9`, in a test."""


def killed(self: EdgeCollection, before: object) -> None:
    raise Killed


def test_building_indexes_leaves_numbers_of_another_program(tmp_path: Path) -> None:
    made_by_another_program(tmp_path / "theirs", numbers_of(2000, seed=5))
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    before = read(store, "theirs")
    store.build_index("theirs")
    assert read(store, "theirs") == before


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")  # said once by the local mode
@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.long)])
def test_doubles_of_a_client_come_back(tmp_path: Path, count: int) -> None:
    numbers = numbers_of(count, seed=6)
    client = QdrantClient(path=str(tmp_path))
    client.create_collection("theirs", models.VectorParams(size=2, distance=models.Distance.DOT))
    points = [
        models.PointStruct(id=n, vector=[1.0, 0.0], payload={"n": [{"x": x}], "x": x})
        for n, x in enumerate(numbers)
    ]
    client.upsert("theirs", points)
    client.close()
    store = open_store(f"qdrant+local:{tmp_path}", base=tmp_path)
    spec = store.describe("theirs")
    rows = pa.Table.from_batches(store.scan("theirs"))
    store.create(spec.physical("again"))
    store.write("again", rows)
    assert pa.Table.from_batches(store.scan("again")).equals(rows)
    numbers_read = [json.loads(extra)["x"] for extra in rows["extra"].to_pylist()]
    assert sorted(map(float.hex, numbers_read)) == sorted(map(float.hex, numbers))


def test_a_double_that_the_engine_never_gives_is_refused_by_name(tmp_path: Path) -> None:
    made_by_another_program(tmp_path / "theirs", [1.0])
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    rows = pa.Table.from_batches(store.scan("theirs"))
    never = next(n for n in doubles(100, seed=7) if sendable(n, parses=1) is None)
    changed = rows.set_column(rows.schema.get_field_index("x"), "x", pa.array([never]))
    with pytest.raises(InvalidRequest, match=f"(?s){never!r}.*record '10000'.*restore into"):
        store.write("theirs", changed)
    assert pa.Table.from_batches(store.scan("theirs")).equals(rows)


# Filters


def crowded() -> list[float]:
    """Every double around some that the engine would change."""
    drawn = doubles(300, seed=8)
    centres = [settled(n) for n in drawn if 2 < len(settling(settled(n))) < 9][:12]
    numbers = [near for low in [*centres, 1.5, 0.0] for near in (low, *settling(low))]
    return (
        numbers + [float(np.nextafter(n, np.inf)) for n in numbers] + [float("inf"), float("nan")]
    )


COMPARED = {"gte": operator.ge, "gt": operator.gt, "lte": operator.le, "lt": operator.lt}


@pytest.mark.parametrize("variant", ["edge", "local"])
def test_filters_tell_neighbouring_doubles_apart(tmp_path: Path, variant: str) -> None:
    store = open_store(f"qdrant+{variant}:{tmp_path}", base=tmp_path)
    numbers = list(dict.fromkeys(crowded()))
    assert len([n for n in numbers if parsed(n) != n]) > 40
    store.create(SPEC)
    store.write(SPEC.name, table(*(record("w", n, weight=w) for n, w in enumerate(numbers))))
    store.build_index(SPEC.name)

    assert isinstance(store, DriverStore)
    with store.driver.variant.opened(SPEC.name) as opened:
        matching = partial(_matching_numbers, opened, numbers)
        for bound in [n for n in numbers if abs(n) < LARGEST][:: 1 if variant == "edge" else 4]:
            for side, compare in COMPARED.items():
                expected = {n for n in numbers if compare(n, bound)}
                assert matching(Range("weight", **{side: bound})) == expected, (side, bound)
            assert matching(Equals("weight", bound)) == {bound}
        assert matching(In("weight", tuple(numbers[:5]))) == set(numbers[:5])
        both = {n for n in numbers if numbers[1] <= n < numbers[2]}
        assert matching(Range("weight", gte=numbers[1], lt=numbers[2])) == both
        assert len(matching(Not(Equals("weight", numbers[1])))) == len(numbers) - 1
    query = Query(vector=vector(1, 0, 0), filter=Equals("weight", numbers[1]), exact=False)
    (hit,) = store.search(SPEC.name, query, limit=9)
    assert hit.id == record("w", 1)["id"]


def _matching_numbers(opened: OpenPoints, numbers: Sequence[float], filter: Filter) -> set[float]:
    """Which numbers the engine finds."""
    pages = opened.pages(vectors=[], payload=["id"], filter=native_filter(filter, SPEC))
    return {numbers[int(payload["id"][2:])] for page in pages for payload in page.payloads}


def test_strict_mode_leaves_the_bits_beside_to_exact_searches() -> None:
    limits = {"enabled": True, "unindexed_filtering_retrieve": False}
    strict = SPEC.model_copy(update={"engine": {"qdrant": {"limits": limits}}})
    changed = next(n for n in doubles(100, seed=9) if parsed(n) != n)
    native_filter(Range("weight", gte=0.5), strict)
    native_filter(Equals("weight", changed), SPEC)
    with pytest.raises(Inexpressible):
        native_filter(Equals("weight", changed), strict)
