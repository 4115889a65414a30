"""Qdrant at its edges: kills, locks, wrong addresses, damage, recall, exact bits."""

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import qdrant_edge as edge
from httpx import Headers
from qdrant_client.http.exceptions import UnexpectedResponse

from dr_pipelines.errors import (
    AlreadyExists,
    Damaged,
    DrError,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from dr_pipelines.model.collection import (
    CollectionSpec,
    Metric,
    Vector,
    VectorIndex,
)
from dr_pipelines.model.query import (
    Equals,
    FloatArray,
    In,
    Mode,
    Not,
    Or,
    Query,
    Range,
)
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.qdrant.connect import open_store
from dr_pipelines.stores.qdrant.errors import translation
from dr_pipelines.stores.qdrant.filters import native_filter
from dr_pipelines.stores.shared.driver_store import DriverStore
from dr_pipelines.stores.shared.filters import Inexpressible
from dr_pipelines.stores.shared.label import MAX_BYTES
from dr_pipelines.testing.store_promises.given import of_vectors
from dr_pipelines.testing.store_samples import (
    SPEC,
    contents,
    document,
    expected,
    record,
    table,
    vector,
)
from tests.servers.ports import free_port

HNSW = VectorIndex(kind="hnsw", parameters={"m": 16, "ef_construction": 100})


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("qdrant://", "HOST:PORT"),
        ("qdrant://host:port", "malformed"),
        ("qdrant://host:1/collection", "HOST:PORT"),
        ("qdrant://host?https=maybe", "https=1"),
        ("qdrant://host?grpc_port=0", "grpc_port"),
        ("qdrant://host?api_key=S3CRET", "unknown options api_key"),
        ("qdrant://user:S3CRET@host", "QDRANT_API_KEY"),
        ("qdrant+edge:", "names no directory"),
        ("qdrant+local:", "names no directory"),
        ("qdrants://host", "HOST:PORT"),
    ],
)
def test_a_wrong_url_is_refused_without_its_secret(tmp_path: Path, url: str, reason: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        open_store(url, base=tmp_path)
    assert reason in str(refused.value)
    assert "S3CRET" not in str(refused.value)


@pytest.mark.parametrize("options", ["", "?grpc_port={port}"])
def test_a_server_that_is_down_is_unavailable(tmp_path: Path, options: str) -> None:
    port = free_port()
    store = open_store(f"qdrant://127.0.0.1:{port}" + options.format(port=port), base=tmp_path)
    with pytest.raises(Unavailable, match=f"qdrant://127.0.0.1:{port}"):
        store.collections()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, InvalidRequest),
        (404, NotFound),
        (409, AlreadyExists),
        (429, Unavailable),
        (503, Unavailable),
    ],
)
def test_an_answer_of_a_server_is_translated(status: int, kind: type[DrError]) -> None:
    body = b'{"status":{"error":"said by the server"}}'
    error = translation(UnexpectedResponse(status, "reason", body, Headers()), "collection 'x'")
    assert type(error) is kind
    assert "said by the server" in str(error)
    assert ("QDRANT_API_KEY" in str(error)) is (status == 401)


@pytest.mark.parametrize("variant", ["edge", "local"])
def test_who_waits_too_long_for_another_process_is_told(tmp_path: Path, variant: str) -> None:
    url = f"qdrant+{variant}:{tmp_path / 'store'}"
    store = open_store(url, base=tmp_path, wait_seconds=0.2)
    store.create(SPEC)
    holder = (
        "import sys; from pathlib import Path; from dr_pipelines.stores.qdrant import open_store\n"
        f"store = open_store({url!r}, base=Path('.'))\n"
        f"with store.driver.variant.opened({SPEC.name!r}):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert store.collections() == [SPEC.name]
        with pytest.raises(Unavailable, match="in use"):
            store.status(SPEC.name)
        process.stdin.close()
    assert store.status(SPEC.name).records == 0


WRITER = """
import sys
from pathlib import Path
from dr_pipelines.stores.qdrant.connect import open_store
from dr_pipelines.testing.store_samples import SPEC, record, table
store = open_store(sys.argv[1], base=Path("."))
new = SPEC.physical("handbook@new", origin="42")
store.create(new)
print("go", flush=True)
for number in range(10**6):
    rows = [record("busy", n, text=str(number), uri=str(number)) for n in range(200)]
    store.write(new.name, table(*rows, spec=new), replaces=["busy"])
    store.build_index(new.name)
"""


# other moments of the same write are for the long run
LATER = [pytest.param(seed, marks=pytest.mark.long) for seed in (1, 3)]


@pytest.mark.parametrize("seed", [0, 2, *LATER])
def test_a_kill_leaves_what_is_served_and_the_next_run_completes(tmp_path: Path, seed: int) -> None:
    url = f"qdrant+edge:{tmp_path / 'store'}"
    store = open_store(url, base=tmp_path, wait_seconds=5)
    store.create(SPEC)
    store.write(SPEC.name, table(*document("served", chunks=3)))
    store.promote(SPEC.name, alias="handbook")
    with subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        if seed:
            assert process.stdout.readline() == b"go\n"
        time.sleep((0.5, 0.05, 0.2, 0.4)[seed])
        process.send_signal(signal.SIGKILL)
    assert contents(store, "handbook") == expected(*document("served", chunks=3))
    new = SPEC.physical("handbook@new", origin="42")
    if new.name in store.collections():
        seen = contents(store, new.name)
        assert all(row["text"] == row["uri"] for row in seen)
        assert len(seen) in (0, 200)
    store.create(new)
    rows = [record("busy", n, text="done", uri="done") for n in range(200)]
    store.write(new.name, table(*rows), replaces=["busy"])
    store.build_index(new.name)
    store.promote(new.name, alias="handbook")
    assert contents(store, "handbook") == expected(*rows)


def test_what_is_damaged_is_said_to_be(tmp_path: Path) -> None:
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    store.create(SPEC)
    store.write(SPEC.name, table(record()))
    (tmp_path / SPEC.name / "dr_collection.json").write_text("{")
    with pytest.raises(Damaged, match="unreadable"):
        store.describe(SPEC.name)
    (tmp_path / SPEC.name / "edge_config.json").write_text("{")
    with pytest.raises(Damaged, match=SPEC.name):
        store.describe(SPEC.name)


def test_a_label_that_is_too_long_is_not_read_to_its_end(tmp_path: Path) -> None:
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    store.create(SPEC)
    os.truncate(tmp_path / SPEC.name / "dr_collection.json", 16 * MAX_BYTES)
    tracemalloc.start()
    try:
        with pytest.raises(Damaged, match="bytes"):
            store.describe(SPEC.name)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * MAX_BYTES


def test_the_catalogue_of_the_local_mode_may_be_damaged(tmp_path: Path) -> None:
    store = open_store(f"qdrant+local:{tmp_path}", base=tmp_path)
    (tmp_path / "meta.json").write_text("{")
    for call in (store.collections, store.aliases, lambda: store.create(SPEC)):
        with pytest.raises(Damaged, match=r"meta\.json"):
            call()


def test_a_shard_is_not_a_directory_of_shards(tmp_path: Path) -> None:
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    store.create(SPEC)
    inner = open_store(f"qdrant+edge:{tmp_path / SPEC.name}", base=tmp_path)
    with pytest.raises(InvalidRequest, match="shard itself"):
        inner.collections()


def test_reading_makes_no_directory(tmp_path: Path) -> None:
    for variant in ("edge", "local"):
        store = open_store(f"qdrant+{variant}:none", base=tmp_path)
        assert (store.collections(), store.aliases()) == ([], {})
        with pytest.raises(NotFound):
            store.describe("x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("width", [2, 8, 31, 384, 1536, 4096])
def test_vectors_of_length_one_come_back_without_copies(tmp_path: Path, width: int) -> None:
    """The engine divides by the length unless it is about 1; what is about 1 is a matter of its
    sums, which no specification fixes."""
    spec = CollectionSpec(name="unit", vectors=(Vector(dimension=width),))
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    store.create(spec)
    random = np.random.default_rng(width).normal(size=(500, width)).astype(np.float32)
    lengths = np.linalg.norm(random, axis=1, keepdims=True)
    values = (random / lengths * (1 + np.linspace(-3e-7, 3e-7, 500)[:, None])).astype(np.float32)
    store.write("unit", of_vectors(spec, values))
    read = pa.Table.from_batches(store.scan("unit")).combine_chunks()
    got = read.column("embedding").chunk(0).flatten().to_numpy().reshape(values.shape)
    assert got.tobytes() == values.tobytes()
    shard = edge.EdgeShard.load(str(tmp_path / "unit"))
    records, _ = shard.scroll(edge.ScrollRequest(limit=500, with_payload=True, with_vector=True))
    copies = sum("dr-vectors" in (r.payload or {}) for r in records)
    shard.close()
    assert 0 < copies < 400  # those nearest to length 1 have none


# to the local mode the contract's filters go in each run, these in the long one
@pytest.fixture(params=["edge", pytest.param("local", marks=pytest.mark.long)])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> VectorStore:
    store = open_store(f"qdrant+{request.param}:{tmp_path}", base=tmp_path)
    store.create(SPEC)
    weights = [0.5, float("nan"), float("inf"), float("-inf"), None, 1.7976931348623157e308]
    rows = [record("w", n, weight=w, year=2**53 + n) for n, w in enumerate(weights)]
    store.write(SPEC.name, table(*rows))
    store.build_index(SPEC.name)
    return store


FILTERS: list[Any] = [
    Range("weight", gte=0.0),
    Range("weight", lt=float("inf")),
    Range("weight", lte=1.7976931348623157e308),
    Equals("weight", float("inf")),
    Equals("weight", 1.7976931348623157e308),
    Not(Range("weight", gt=float("-inf"))),
    Equals("year", 2**53 + 1),
    Range("year", gt=2**53, lte=2**53 + 3),
    In("weight", (0.5, float("-inf"))),
    Range("product", gt="a"),
    Or((Equals("weight", 0.5), Equals("year", 2**53 + 4))),
]


@pytest.mark.parametrize("number", range(len(FILTERS)))
def test_filters_of_numbers_that_json_lacks_mean_the_same(filled: VectorStore, number: int) -> None:
    query = Query(vector=vector(1, 0, 0), filter=FILTERS[number])
    exact = {hit.id for hit in filled.search(SPEC.name, query, limit=10)}
    native = Query(vector=vector(1, 0, 0), filter=FILTERS[number], exact=False)
    assert {hit.id for hit in filled.search(SPEC.name, native, limit=10)} == exact
    assert exact


def test_most_filters_are_the_engine_s_own() -> None:
    native_filter(FILTERS[0], SPEC)
    for lacking in (Range("product", gt="a"), Range("year", gt=2**53)):
        with pytest.raises(Inexpressible):
            native_filter(lacking, SPEC)


def test_the_engine_ranks_texts_itself_after_its_index_is_built(tmp_path: Path) -> None:
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    store.create(SPEC)
    texts = ["the wolf and the fox", "wolf wolf wolf", "nothing here", None, "a fox"]
    store.write(SPEC.name, table(*(record("t", n, text=t) for n, t in enumerate(texts))))
    store.build_index(SPEC.name)
    assert isinstance(store, DriverStore)
    with store.driver.variant.opened(SPEC.name) as collection:
        points = collection.matching("wolf", using="text", payload=["id"], filter=None, limit=9)
    query = Query(mode=Mode.KEYWORD, text="wolf", exact=False)
    hits = store.search(SPEC.name, query, limit=9)
    assert [hit.id for hit in hits] == [p.payload["id"] for p in points]
    assert {hit.id for hit in hits} == {"t#000000", "t#000001"}
    hybrid = Query(mode=Mode.HYBRID, text="fox", vector=vector(1, 4, 0), exact=False)
    assert len(store.search(SPEC.name, hybrid, limit=9)) == 5


def clustered(count: int, *, seed: int) -> FloatArray:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(size=(40, 32))
    points = centres[random.integers(0, 40, count)] + 0.35 * random.normal(size=(count, 32))
    return points.astype(np.float32)


# another distance takes the same way: in the long run
@pytest.mark.parametrize("metric", [Metric.COSINE, pytest.param(Metric.L2, marks=pytest.mark.long)])
def test_recall_is_the_same_after_a_restore(tmp_path: Path, metric: Metric) -> None:
    """With thresholds of 1 KB, so that 2,000 vectors are searched by the graph."""
    section = {
        "optimizers": {"indexing_threshold": 1},
        "indexes": {"hnsw": {"m": 16, "ef_construct": 100, "full_scan_threshold": 1}},
    }
    spec = CollectionSpec(
        name="before",
        vectors=(Vector(dimension=32, metric=metric, index=HNSW),),
        engine={"qdrant": section},
    )
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    store.create(spec)
    store.write("before", of_vectors(spec, clustered(2000, seed=2)))
    store.build_index("before")
    described = store.describe("before")
    store.create(described.physical("after"))
    store.write("after", pa.Table.from_batches(store.scan("before")))
    store.build_index("after")
    for name in ("before", "after"):
        shard = edge.EdgeShard.load(str(tmp_path / name))
        assert shard.info().indexed_vectors_count == 2000
        shard.close()
    recalls = [_recall(store, name) for name in ("before", "after")]
    assert min(recalls) > 0.9
    assert abs(recalls[0] - recalls[1]) <= 0.005


def _recall(store: VectorStore, name: str) -> float:
    hits_of_both = 0
    points = clustered(30, seed=3)
    for point in points:
        truth, near = (
            {hit.id for hit in store.search(name, Query(vector=point, exact=exact), limit=10)}
            for exact in (True, False)
        )
        hits_of_both += len(truth & near)
    return hits_of_both / (10 * len(points))
