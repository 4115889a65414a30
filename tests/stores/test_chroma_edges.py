"""Promises of Chroma's adapter beside the contract: names, numbers, vectors, errors, answers."""

import math
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dr_pipelines.errors import (
    Damaged,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from dr_pipelines.model.collection import (
    PHYSICAL_NAME,
    CollectionSpec,
    Metric,
    Vector,
    VectorIndex,
)
from dr_pipelines.model.query import (
    And,
    Filter,
    FloatArray,
    In,
    Not,
    Query,
    Range,
)
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.chroma import open_store
from dr_pipelines.stores.chroma.address import EXPECTED
from dr_pipelines.stores.chroma.fields import from_order, in_order
from dr_pipelines.stores.chroma.filters import to_where
from dr_pipelines.stores.chroma.names import to_engine, to_physical
from dr_pipelines.stores.chroma.vectors import LONGEST, SHORTEST, TOLERANCE
from dr_pipelines.stores.shared.floats import parsed, sendable
from dr_pipelines.stores.shared.pointers import locked
from dr_pipelines.testing.store_samples import (
    SPEC,
    contents,
    record,
    table,
    vector,
)
from tests.servers.chroma import ChromaServer
from tests.stores.test_filters_agree import FILTERS, ROWS

# Names


@given(st.from_regex(PHYSICAL_NAME, fullmatch=True, alphabet=st.characters(codec="ascii")))
def test_our_names_are_legal_there_and_come_back(name: str) -> None:
    engine = to_engine(name)
    assert to_physical(engine) == name
    assert 3 <= len(engine) <= 512
    assert engine[0].isalnum()
    assert engine[-1].isalnum()
    assert ".." not in engine


@given(st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,100}[a-zA-Z0-9]", fullmatch=True))
def test_their_names_are_legal_here(name: str) -> None:
    physical = to_physical(name)
    assert PHYSICAL_NAME.fullmatch(physical)
    if PHYSICAL_NAME.fullmatch(name):
        assert physical == name
    if len(physical.rpartition("@")[2]) != 32:  # not one that says only a digest
        assert to_engine(physical) == name


def test_examples_of_names() -> None:
    ours = ["handbook", "handbook@12-520d2a36", "b", "a_", "a@b..c", "a@."]
    assert [to_engine(name) for name in ours] == [
        "handbook",
        "handbook.12-520d2a36",
        "0dr62",
        "0dr615f",
        "0dr6140622e2e63",
        "0dr61402e",
    ]


# Numbers


@given(st.floats())
def test_numbers_keep_their_bits_and_order(number: float) -> None:
    (there,) = in_order([number]).tolist()
    assert from_order([there]).tobytes() == np.array([number]).tobytes()
    (zero,) = in_order([0.0]).tolist()
    if not math.isnan(number):
        assert (there < zero) == (number < 0 or math.copysign(1, number) < 0)


@pytest.mark.parametrize("remote", [False, True])
def test_the_parser_of_numbers_is_the_one_that_is_followed(
    tmp_path: Path, chroma_server: ChromaServer, remote: bool
) -> None:
    """The readable number beside an exact one is what Chroma's parser makes of it."""
    place = (
        f"{chroma_server.url}?database=d{uuid.uuid4().hex}"
        if remote
        else f"chroma+local:{tmp_path}"
    )
    store: Any = open_store(place, base=Path())
    numbers = np.random.default_rng(3).integers(0, 2**63, 400, dtype=np.uint64).view(np.float64)
    usual, whole = np.random.default_rng(4), np.random.default_rng(5)
    whole_numbers = whole.integers(2**50, 2**53, 50).astype(np.float64)
    numbers = np.concatenate([numbers[np.isfinite(numbers)], usual.random(50), whole_numbers])
    rows = [record("n", n, weight=x) for n, x in enumerate(numbers.tolist())]
    store.create(SPEC)
    store.write(SPEC.name, table(*rows))
    assert [row["weight"] for row in contents(store, columns=["weight"])] == [
        number.hex() for number in numbers.tolist()
    ]
    with store.driver.place.session() as session:
        stored = session.get(session.named(SPEC.name), include=["metadatas"])
    readable = {m["chunk_index"]: m["weight"] for m in stored["metadatas"]}
    once = [parsed(number) for number in numbers.tolist()]
    assert [readable[n] for n in range(len(rows))] == (list(map(parsed, once)) if remote else once)
    assert sum(a != b for a, b in zip(once, numbers.tolist(), strict=True)) > 90  # or why at all


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([1, 2]))
def test_a_number_that_chroma_holds_can_be_sent_again(number: float, parses: int) -> None:
    for _ in range(parses):
        number = parsed(number)
    if math.isfinite(number) and not (number == 0 and math.copysign(1, number) < 0):
        sent = sendable(number, parses=parses)
        assert sent is not None
        for _ in range(parses):
            sent = parsed(sent)
        assert sent == number


# Vectors


def _vectors(
    values: FloatArray, *, metric: Metric = Metric.COSINE
) -> tuple[CollectionSpec, pa.Table]:
    count, width = values.shape
    spec = CollectionSpec(name="vectors", vectors=(Vector(dimension=width, metric=metric),))
    schema = store_schema(spec)
    columns = {
        "id": pa.array([f"{n:05d}" for n in range(count)]),
        "document_id": pa.array([f"{n:05d}" for n in range(count)]),
        "chunk_index": pa.array([0] * count, pa.int32()),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), width),
    }
    arrays = [columns.get(f.name, pa.nulls(count, f.type)) for f in schema]
    return spec, pa.table(arrays, schema=schema)


def _read(store: VectorStore, width: int) -> FloatArray:
    column = pa.Table.from_batches(store.scan("vectors")).column("embedding").combine_chunks()
    flat: FloatArray = column.flatten().to_numpy().reshape(-1, width)
    return flat


@pytest.mark.parametrize("width", [1, 2, 8, 384])
def test_the_tolerance_is_kept_for_every_length(tmp_path: Path, width: int) -> None:
    random = np.random.default_rng(width)
    values = random.normal(size=(600, width))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    values *= 10.0 ** random.uniform(
        math.log10(SHORTEST) + 0.1, math.log10(LONGEST) - 0.1, (600, 1)
    )
    values[:200] /= np.linalg.norm(values[:200], axis=1, keepdims=True)
    stored = values.astype(np.float32)
    spec, batch = _vectors(stored)
    store = open_store("chroma+local:store", base=tmp_path)
    store.create(spec)
    store.write("vectors", batch)
    differences = np.abs(_read(store, width).astype(np.float64) - stored).max(axis=1)
    relative = differences / np.linalg.norm(stored.astype(np.float64), axis=1)
    assert 0 < relative.max() <= TOLERANCE == store.vector_tolerance or width == 1
    assert relative.max() <= TOLERANCE


@pytest.mark.parametrize("metric", [Metric.DOT, Metric.L2])
def test_other_spaces_keep_every_bit(tmp_path: Path, metric: Metric) -> None:
    bits = np.random.default_rng(7).integers(0, 2**32, (500, 3), dtype=np.uint32).view(np.float32)
    values = np.where(np.isfinite(bits), bits, np.float32(-0.0))
    spec, batch = _vectors(values, metric=metric)
    store = open_store("chroma+local:store", base=tmp_path)
    store.create(spec)
    store.write("vectors", batch)
    assert _read(store, 3).tobytes() == values.tobytes()


def test_vectors_beyond_cosine_are_kept_beside_and_left_out_of_its_answers(tmp_path: Path) -> None:
    values = np.array([[3e38, -3e38], [1e-45, -0.0], [2e19, 0], [1, 0], [0, 1], [0, 0]], np.float32)
    spec, batch = _vectors(values)
    rows = batch.to_pylist()
    rows.append(rows[0] | {"id": "none", "document_id": "none", "embedding": None})
    batch = pa.Table.from_pylist(rows, schema=batch.schema)
    store = open_store("chroma+local:store", base=tmp_path)
    store.create(spec)
    store.write("vectors", batch)
    read = pa.Table.from_batches(store.scan("vectors"))
    assert repr(read.column("embedding").to_pylist()) == repr(batch.column("embedding").to_pylist())
    query = Query(vector=vector(1, 0))
    exact = [hit.id for hit in store.search("vectors", query, limit=9)]
    assert exact == ["00001", "00002", "00003", "00000", "00004", "00005"]
    native = store.search("vectors", Query(vector=vector(1, 0), exact=False), limit=9)
    assert [(hit.id, hit.score) for hit in native] == [("00003", 1), ("00004", 0), ("00005", 0)]


def test_a_vector_that_chroma_lost_is_damage(tmp_path: Path) -> None:
    store: Any = open_store("chroma+local:store", base=tmp_path)
    spec, batch = _vectors(np.array([[1, 0]], np.float32))
    store.create(spec)
    with store.driver.place.session() as session:
        model = session.named("vectors")
        session.upsert(model, ids=["long"], embeddings=[np.array([3e38, 3e38], np.float32)])
    with pytest.raises(Damaged, match="'long'"):
        list(store.scan("vectors"))
    store.write("vectors", batch, replaces=["long"])  # it has no document: its id stands for it
    with store.driver.place.session() as session:
        session.delete(session.named("vectors"), ["long"])
    assert [row["id"] for row in contents(store, "vectors")] == ["00000"]


def test_an_empty_id_is_refused(tmp_path: Path) -> None:
    store = open_store("chroma+local:store", base=tmp_path)
    store.create(SPEC)
    with pytest.raises(InvalidRequest, match="''"):
        store.write(SPEC.name, table(record("a"), record("b", id="")))
    assert contents(store) == []


# Answers


def test_recall_is_the_same_after_a_copy(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    centres = random.normal(size=(40, 24))
    points = centres[random.integers(0, 40, 2000)] + random.normal(scale=0.35, size=(2000, 24))
    index = VectorIndex(kind="hnsw", parameters={"m": 8, "ef_construction": 40, "ef_search": 20})
    spec, batch = _vectors(points.astype(np.float32))
    spec = spec.model_copy(
        update={"vectors": (spec.vectors[0].model_copy(update={"index": index}),)}
    )
    store = open_store("chroma+local:store", base=tmp_path)
    store.create(spec)
    store.write("vectors", batch)
    store.build_index("vectors")
    store.create(store.describe("vectors").physical("copy"))
    store.write("copy", pa.Table.from_batches(store.scan("vectors")))
    store.build_index("copy")
    queries = points[::20] + random.normal(scale=0.1, size=(100, 24))

    def recall(name: str) -> float:
        recalled = 0
        for query in queries.astype(np.float32):
            scores = (points @ query) / np.linalg.norm(points, axis=1)
            truth = {f"{n:05d}" for n in np.argsort(-scores)[:10]}
            hits = store.search(name, Query(vector=query, exact=False), limit=10)
            recalled += len(truth & {hit.id for hit in hits})
        return recalled / (10 * len(queries))

    before, after = recall("vectors"), recall("copy")
    assert before > 0.8
    # a graph depends on the order in which records came and on chance: half a point, and ten hits
    assert abs(before - after) <= 0.015


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> VectorStore:
    store = open_store("chroma+local:store", base=tmp_path_factory.mktemp("filters"))
    store.create(SPEC)
    store.write(SPEC.name, table(*ROWS))
    store.build_index(SPEC.name)
    return store


@settings(max_examples=60, deadline=None)
@given(condition=FILTERS)
def test_a_filter_in_the_engines_words_is_the_filter(
    filtered: VectorStore, condition: Filter
) -> None:
    query = Query(vector=vector(1, 0, 0), filter=condition)
    exact = filtered.search(SPEC.name, query, limit=100)
    native = filtered.search(
        SPEC.name, Query(vector=vector(1, 0, 0), filter=condition, exact=False), limit=100
    )
    assert {hit.id for hit in native} == {hit.id for hit in exact}


def test_a_filter_that_chroma_has_no_words_for_is_answered_exactly(filtered: VectorStore) -> None:
    deep: Filter = Range("year", gte=0)
    for _ in range(40):
        deep = Not(And((deep,)))
    many = In("year", tuple(range(20_000)))
    for condition in (deep, many, Range("product", gte="a")):
        assert to_where(condition, SPEC) is None
        query = Query(vector=vector(1, 0, 0), filter=condition, exact=False)
        assert filtered.search(SPEC.name, query, limit=100)
    assert to_where(Range("year", gte=0), SPEC) == {"year": {"$gte": 0}}


# Places and errors


@pytest.mark.parametrize(
    "url",
    [
        "chroma://:8000",
        "chroma://host:port",
        "chroma://host/path",
        "chroma://user:hunter2@host:1",
        "chroma://host?token=hunter2",
        "chroma://host?ssl=yes",
        "chroma://host?database=ab",
        "chroma://host?tenant=a&tenant=b",
        "chroma://host?tenant=..%2f..",
        "chroma+local:",
        "chroma+local:d?ssl=1",
        "hunter2:x",
    ],
)
def test_a_wrong_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        open_store(url, base=Path())
    assert EXPECTED in str(caught.value)
    assert "hunter2" not in str(caught.value).removeprefix("store URL: its scheme is 'hunter2'")


def test_tenants_and_databases_keep_apart(tmp_path: Path, chroma_server: ChromaServer) -> None:
    for place in (f"chroma+local:{tmp_path}", chroma_server.url):
        tenant = f"tenant-{uuid.uuid4().hex}"
        urls = [f"{place}?tenant={tenant}&database=d{n}s" for n in range(2)]
        one, two = (open_store(url, base=Path()) for url in urls)
        one.create(SPEC)
        one.promote(SPEC.name, alias="handbook")
        assert (two.collections(), two.aliases()) == ([], {})
        two.create(SPEC)
        two.write(SPEC.name, table(record()))
        assert (contents(one, "handbook"), len(contents(two))) == ([], 1)
        two.drop(SPEC.name)
        assert one.collections() == [SPEC.name]


def test_a_place_where_nothing_is_reads_as_empty_and_stays_so(tmp_path: Path) -> None:
    store = open_store("chroma+local:nowhere", base=tmp_path)
    assert (store.collections(), store.aliases()) == ([], {})
    store.drop(SPEC.name)
    for call in (store.describe, store.status, store.change_token, store.build_index):
        with pytest.raises(NotFound):
            call(SPEC.name)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    store = open_store("chroma://127.0.0.1:1/", base=tmp_path)
    calls: tuple[Any, ...] = (
        store.collections,
        store.aliases,
        lambda: store.describe(SPEC.name),
        lambda: store.create(SPEC),
        lambda: store.drop(SPEC.name),
        lambda: list(store.scan(SPEC.name)),
        lambda: store.promote(SPEC.name, alias="handbook"),
    )
    for call in calls:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
            call()


def test_a_directory_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Unavailable, match=r"file cannot be read \(Not a directory\)"):
        open_store("chroma+local:file", base=tmp_path).create(SPEC)
    (tmp_path / "chroma.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(Damaged, match=str(tmp_path)):
        open_store(f"chroma+local:{tmp_path}", base=Path()).collections()


def test_a_directory_of_an_older_chroma_is_not_migrated_by_reading_it(tmp_path: Path) -> None:
    store = open_store(f"chroma+local:{tmp_path}", base=Path())
    store.create(SPEC)
    del store
    with closing(sqlite3.connect(tmp_path / "chroma.sqlite3")) as database:
        database.execute("DELETE FROM migrations WHERE dir = 'sysdb' AND version > 8")
        database.commit()
        with pytest.raises(InvalidRequest, match="older"):
            open_store(f"chroma+local:{tmp_path}", base=Path()).collections()
        newest = "SELECT max(version) FROM migrations WHERE dir = 'sysdb'"
        assert database.execute(newest).fetchall() == [(8,)]


def test_waiting_for_another_process_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dr_pipelines.stores.chroma.connect.WAIT_SECONDS", 0.2)
    store = open_store(f"chroma+local:{tmp_path}", base=Path())
    store.create(SPEC)
    with locked(tmp_path / ".dr", wait_seconds=1), pytest.raises(Unavailable, match="lock"):
        store.describe(SPEC.name)
    assert store.describe(SPEC.name).name == SPEC.name


def test_a_label_that_is_unreadable_is_damage(tmp_path: Path) -> None:
    store: Any = open_store(f"chroma+local:{tmp_path}", base=Path())
    store.create(SPEC)
    with store.driver.place.session() as session:
        session.set_metadata(session.named(SPEC.name), {"dr:label": "{"})
    with pytest.raises(Damaged, match="dr:label"):
        store.describe(SPEC.name)
