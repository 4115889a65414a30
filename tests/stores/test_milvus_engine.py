"""Promises beside the contract: names, limits, recall, errors, lost servers, missing calls."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pymilvus.grpc_gen import milvus_pb2

from dr_pipelines.errors import (
    AlreadyExists,
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
from dr_pipelines.model.compatibility import Outcome
from dr_pipelines.model.query import (
    Equals,
    FloatArray,
    In,
    Mode,
    Not,
    Query,
    Range,
)
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.milvus import (
    access,
    address,
    beside,
    creating,
    errors,
    names,
    open_store,
    writing,
)
from dr_pipelines.stores.milvus.session import Connection
from dr_pipelines.stores.milvus.store import milvus_store
from dr_pipelines.testing.store_samples import (
    SPEC,
    contents,
    expected,
    record,
    table,
)
from tests.servers.milvus import MilvusServer, running_milvus
from tests.stores.milvus_samples import NATIVE, OWN

NAME = SPEC.name
NATIVE_NAME = "handbook_x4020260101T120000Z"


@pytest.fixture
def database(milvus_server: MilvusServer) -> str:
    return milvus_server.new_database()


@pytest.fixture
def store(milvus_server: MilvusServer, database: str) -> VectorStore:
    return _opened(milvus_server.url(database))


@pytest.fixture
def connection(milvus_server: MilvusServer, database: str) -> Connection:
    where = address.parse(milvus_server.url(database), base=Path())
    return Connection(where, wait_seconds=5)


def _opened(url: str) -> VectorStore:
    return open_store(url, base=Path())


# Aliases


def test_a_collection_that_is_being_dropped_is_not_promoted_meanwhile(tmp_path: Path) -> None:
    store = milvus_store(address.parse(f"milvus+lite:{tmp_path / 'store'}", base=tmp_path))
    store.create(SPEC)
    raised = list[type[Exception]]()

    def promote() -> None:
        try:
            store.driver.point("handbook", NAME)
        except NotFound as error:
            raised.append(type(error))

    promoting = threading.Thread(target=promote)

    def nobody_serves_it() -> None:
        promoting.start()
        promoting.join(0.3)  # blocked until the drop is done: no longer wait shows more

    store.driver.drop(NAME, unless_served=nobody_serves_it)
    promoting.join()
    assert (raised, store.aliases(), store.collections()) == ([NotFound], {}, [])


# Names and addresses


@pytest.mark.parametrize(
    ("name", "native"),
    [
        ("handbook", "handbook"),
        ("handbook@12-520d2a36", "handbook_x4012_x2d520d2a36"),
        ("a-b@1.2", "a_x2db_x401_x2e2"),
        ("Legal_Name_x5f", "Legal_Name_x5f"),
    ],
)
def test_names_are_mapped_and_back(name: str, native: str) -> None:
    assert names.to_native(name) == native
    assert names.from_native(native) == name


def test_a_name_that_reads_like_an_escaped_one_is_refused(store: VectorStore) -> None:
    for name in ("a_x40b", "a" + "-" * 62 + "@" + "-" * 30):
        with pytest.raises(InvalidRequest, match="choose another"):
            store.create(SPEC.physical(name))
        with pytest.raises(NotFound):
            store.describe(name)


@pytest.mark.parametrize(
    "url",
    [
        "milvus:",
        "milvus://",
        "milvus+lite:",
        "milvus://host:port/db",
        "milvus://host/db?secure=maybe",
        "milvus://host/db?token=s3cret",
        "milvus://user:s3cret@host/db",
        "milvus://host/a/b",
        "http://host",
    ],
)
def test_a_wrong_url_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(InvalidRequest, match=r"MILVUS_TOKEN|expected milvus://") as caught:
        open_store(url, base=Path())
    assert "s3cret" not in str(caught.value)


def test_credentials_are_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILVUS_TOKEN", "alice:s3cret")
    where = address.parse("milvus://127.0.0.1:1/db?secure=1", base=Path())
    assert (where.token, where.secure, where.database) == ("alice:s3cret", True, "db")
    assert "s3cret" not in f"{where} {where!r}"
    with pytest.raises(Unavailable, match=r"milvus://127.0.0.1:1/db") as caught:
        milvus_store(where).collections()
    assert "s3cret" not in str(caught.value)


def test_a_file_of_an_older_milvus_lite_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.db").write_bytes(b"SQLite format 3")
    with pytest.raises(InvalidRequest, match="directory"):
        open_store("milvus+lite:old.db", base=tmp_path).collections()


# Limits


def test_what_is_too_long_for_its_column_is_kept_in_pieces(
    store: VectorStore, milvus_server: MilvusServer, database: str
) -> None:
    long = "ü" * 40_000
    row = record("a", text=long, uri=long, extra=long, note=long, groups=["x", None], weight=-0.0)
    store.create(SPEC)
    store.write(NAME, table(row))
    assert contents(store) == expected(row)
    client = milvus_server.client(database)
    (stored,) = client.query(NATIVE_NAME, filter='id == "a#000000"', output_fields=["*"])
    client.close()
    for column in ("text", "uri", "extra", "note"):
        assert stored[column] == "ü" * 32_767  # of 65,535 bytes
    assert stored["groups"] == ["x"]


@pytest.mark.parametrize(
    "change",
    [
        {"id": "i" * 65_536},
        {"document_id": "d" * 65_536},
        {"product": "ü" * 32_768},
        {"groups": ["g"] * 4_097},
        {"groups": ["g", "g" * 65_536]},
    ],
)
def test_what_filters_need_whole_is_refused_by_name(
    store: VectorStore, change: dict[str, Any]
) -> None:
    store.create(SPEC)
    store.write(NAME, table(record("kept")))
    bad = record("bad") | change
    with pytest.raises(InvalidRequest, match=bad["id"][:1000]):
        store.write(NAME, table(record("good"), bad), replaces=["kept"])
    assert contents(store) == expected(record("kept"))


def test_what_has_too_many_pieces_is_refused_by_name(
    store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "PIECES", 2)  # of 4,096: 256 MB
    store.create(SPEC)
    store.write(NAME, table(record("kept", extra="e" * 100_000)))
    with pytest.raises(InvalidRequest, match="bad#000000"):
        store.write(NAME, table(record("good"), record("bad", extra="e" * 200_000)))
    assert [row["id"] for row in contents(store, columns=["id"])] == ["kept#000000"]


def test_reserved_words_are_names_of_fields(store: VectorStore) -> None:
    store.create(OWN)
    values = {"like": "a\n\"b\\'", "dr_kept": ["x", None], "year": 7, "taxi": [1, 2, 3]}
    rows = [record("d", n) | values | {"like": None if n else values["like"]} for n in range(2)]
    for row in rows:
        row |= {"embedding": None, "picture": None, "words": None, "tokens": [[1, 2], [3, 4]]}
    store.write(OWN.name, pa.Table.from_pylist(rows, schema=store_schema(OWN)))
    stored = pa.Table.from_batches(store.scan(OWN.name)).to_pylist()
    assert [row["dr_kept"] for row in stored] == [["x", None]] * 2
    query = Query(vector=np.ones(3, np.float32), vector_name="taxi", exact=False)
    for meant, count in (
        (Equals("like", values["like"]), 1),  # type: ignore[arg-type]
        (Not(Equals("like", values["like"])), 1),  # type: ignore[arg-type]
        (In("like", ("x", values["like"])), 1),  # type: ignore[arg-type]
    ):
        assert len(store.search(OWN.name, replace(query, filter=meant), limit=9)) == count


def test_values_that_expressions_do_not_have_are_found(store: VectorStore) -> None:
    store.create(SPEC)
    infinite = record("a", weight=float("inf"), year=-(2**63))
    store.write(NAME, table(infinite, record("b", weight=1.7976931348623157e308, year=1)))
    query = Query(vector=np.ones(3, np.float32), exact=False)
    for meant, matched in (
        (Equals("weight", float("inf")), ["a"]),
        (Range("weight", gt=1.7976931348623157e308), ["a"]),
        (Range("weight", gt=1e308), ["a", "b"]),
        (Equals("year", -(2**63)), ["a"]),
        (Range("year", gt=-(2**63)), ["b"]),
    ):
        hits = store.search(NAME, replace(query, filter=meant), limit=9)
        assert sorted(hit.document_id for hit in hits) == matched, meant


def test_distances_are_negated_and_not_squared(store: VectorStore) -> None:
    store.create(SPEC)
    store.write(NAME, table(*(record("p", n, picture=[3.0 * n, 4.0 * n]) for n in range(3))))
    for exact in (True, False):
        query = Query(vector=np.zeros(2, np.float32), vector_name="picture", exact=exact)
        scores = [hit.score for hit in store.search(NAME, query, limit=3)]
        assert scores == pytest.approx([0, -5, -10])


def test_records_without_a_vector_are_not_near(store: VectorStore) -> None:
    store.create(SPEC)
    store.write(NAME, table(record("a"), record("none", embedding=None)))
    store.build_index(NAME)
    hits = store.search(NAME, Query(vector=np.ones(3, np.float32), exact=False), limit=9)
    assert [hit.document_id for hit in hits] == ["a"]


def test_words_are_found_by_the_engines_own_terms(store: VectorStore) -> None:
    store.create(SPEC)
    store.write(NAME, table(*(record("w", n, text=f"wolf {'x ' * n}") for n in range(3))))
    store.write(NAME, table(record("n", text=None), record("e", text="")))
    store.build_index(NAME)
    query = Query(mode=Mode.KEYWORD, text="wolf", exact=False)
    assert [hit.id for hit in store.search(NAME, query, limit=9)] == [
        f"w#{n:06d}" for n in range(3)
    ]
    both = replace(query, mode=Mode.HYBRID, vector=np.array([1, 2, 0.25], np.float32))
    assert len(store.search(NAME, both, limit=9)) == 5


# Indexes and recall


def _clusters(seed: int, count: int, dimension: int = 32) -> FloatArray:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(size=(40, dimension))
    points = centres[random.integers(0, 40, count)] + random.normal(0, 0.4, (count, dimension))
    return points.astype(np.float32)


def test_recall_is_the_same_after_a_copy(store: VectorStore) -> None:
    index = VectorIndex(kind="hnsw", parameters={"m": 8, "ef_construction": 40, "ef_search": 20})
    vector = Vector(dimension=32, metric=Metric.COSINE, index=index)
    spec = CollectionSpec(name="near@1", vectors=(vector,), keyword_index=False)
    points = _clusters(2, 2_000)
    ids = pa.array([f"{n:05d}" for n in range(len(points))])
    columns = {
        "id": ids,
        "document_id": ids,
        "chunk_index": pa.array(np.zeros(len(ids), np.int32)),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(points.ravel()), 32),
    }
    schema = store_schema(spec)
    rows = [columns.get(f.name, pa.nulls(len(ids), f.type)) for f in schema]
    store.create(spec)
    store.write(spec.name, pa.table(rows, schema=schema))
    store.build_index(spec.name)
    copy = store.describe(spec.name).physical("near@2")
    store.create(copy)
    store.write(copy.name, pa.Table.from_batches(store.scan(spec.name)))
    store.build_index(copy.name)

    recalls = [_recall(store, name, points) for name in (spec.name, copy.name)]

    assert recalls[0] >= 0.9
    assert abs(recalls[0] - recalls[1]) <= 0.005


def _recall(store: VectorStore, name: str, points: FloatArray) -> float:
    queries, recalled = _clusters(3, 30), 0
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    for query in queries:
        truth = {f"{n:05d}" for n in np.argsort(-(unit @ query))[:10]}
        hits = store.search(name, Query(vector=query, exact=False), limit=10)
        recalled += len(truth & {hit.id for hit in hits})
    return recalled / (10 * len(queries))


def test_what_milvus_lite_lacks_is_said_before_anything_is_made(store: VectorStore) -> None:
    section = NATIVE.engine["milvus"]
    columns = [dict(column) for column in section["columns"]]
    columns[4]["type"] = "Float16Vector"
    half = NATIVE.model_copy(
        update={"engine": {"milvus": section | {"columns": columns, "grants": {"r": ["Query"]}}}}
    )
    fit = store.fit(half)
    outcomes = {note.part: note.outcome for note in fit.notes}
    assert outcomes["engine.milvus.columns"] is Outcome.APPROXIMATED
    assert outcomes["engine.milvus.grants"] is Outcome.LOST
    assert outcomes["engine.milvus.comments"] is Outcome.LOST
    assert outcomes["engine.milvus.consistency"] is Outcome.APPROXIMATED
    assert fit.spec.same_contract(NATIVE)
    assert "milvus" not in fit.spec.engine
    assert store.fit(NATIVE).spec == NATIVE
    with pytest.raises(InvalidRequest, match="Float16Vector"):
        store.create(half)
    assert store.collections() == []


# Errors


def test_a_server_that_is_not_there_is_unavailable() -> None:
    store = _opened("milvus://127.0.0.1:1/")
    for call in (store.collections, store.aliases, lambda: store.create(SPEC)):
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
            call()


def test_a_database_that_is_not_there_is_not_found(milvus_server: MilvusServer) -> None:
    with pytest.raises(InvalidRequest, match="nowhere"):
        _opened(milvus_server.url("nowhere")).create(SPEC)


def test_calls_that_only_a_server_has_are_reported_not_crashes(
    store: VectorStore, connection: Connection
) -> None:
    store.create(SPEC)
    assert access.replicas(connection, NATIVE_NAME) is None
    assert access.grants(connection, NATIVE_NAME) is None
    with pytest.raises(errors.Unsupported, match="does not have this call"):
        access.grant(connection, NATIVE_NAME, {"reader": ["Query"]})
    with pytest.raises(errors.Unsupported):
        connection.call("ListResourceGroups", milvus_pb2.ListResourceGroupsRequest())


def test_a_collection_that_was_begun_is_completed(
    store: VectorStore, connection: Connection
) -> None:
    creating.create(connection, names.possible(OWN.name), OWN)  # and then the process was killed
    assert store.describe(OWN.name).vectors[0].index is None
    store.create(OWN)
    assert store.describe(OWN.name).vectors[0].index == OWN.vectors[0].index
    with pytest.raises(AlreadyExists):
        store.create(OWN.model_copy(update={"origin": "another"}))


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[MilvusServer]:
    with running_milvus(tmp_path / "server") as server:
        yield server


def test_a_restore_beside_survives_a_killed_server(own_server: MilvusServer) -> None:
    store = _opened(own_server.url())
    old, new = SPEC.physical("handbook@1"), SPEC.physical("handbook@2")
    store.create(old)
    store.write(old.name, table(record("old")))
    store.build_index(old.name)
    store.promote(old.name, alias="handbook")
    store.create(new)
    store.write(new.name, table(record("a"), record("b")))

    own_server.kill()
    for call in (
        lambda: store.write(new.name, table(record("c")), replaces=["a"]),
        lambda: store.promote(new.name, alias="handbook"),
        lambda: contents(store, "handbook"),
    ):
        with pytest.raises(Unavailable):
            call()
    own_server.start()

    assert store.aliases() == {"handbook": old.name}
    assert contents(store, "handbook") == expected(record("old"))
    store.create(new)
    store.write(new.name, table(record("c")), replaces=["a"])
    store.build_index(new.name)
    store.promote(new.name, alias="handbook")
    assert contents(store, "handbook") == expected(record("b"), record("c"))


@pytest.mark.long  # the test above kills a server too, before a write and not within one
def test_a_write_that_a_killed_server_cut_is_repeated(
    own_server: MilvusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "REQUEST_ROWS", 20)
    store, client = _opened(own_server.url()), own_server.client("")
    rows = [record("a", n) for n in range(3_000)]
    store.create(SPEC)

    def kill_when_begun() -> None:
        while not client.get_collection_stats(NATIVE_NAME)["row_count"]:
            pass
        own_server.kill()
        client.close()

    killer = threading.Thread(target=kill_when_begun)
    killer.start()
    with pytest.raises(Unavailable):
        store.write(NAME, table(*rows, record("b")))
    killer.join()
    own_server.start()

    assert 0 < store.status(NAME).records < len(rows)
    store.write(NAME, table(*rows, record("b")))
    assert contents(store) == expected(*rows, record("b"))


# milvus-lite within the process

HOLD = """
import sys
from pathlib import Path
from dr_pipelines.stores.milvus import open_store
store = open_store(sys.argv[1], base=Path())
store.collections()
print("open", flush=True)
sys.stdin.read()
"""


def test_a_directory_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    url = f"milvus+lite:{tmp_path / 'store'}"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        store = milvus_store(address.parse(url, base=Path()), wait_seconds=0.2)
        with pytest.raises(Unavailable, match="another process"):
            store.collections()
        other.kill()
    store = milvus_store(address.parse(url, base=Path()), wait_seconds=10)
    assert store.collections() == []


def test_stores_of_one_process_share_a_directory_and_leave_it(tmp_path: Path) -> None:
    url = f"milvus+lite:{tmp_path / 'store'}"
    one, other = _opened(url), _opened(url)
    one.create(SPEC)
    other.write(NAME, table(record("a")))
    assert contents(one) == expected(record("a"))
    del one
    assert contents(other) == expected(record("a"))
    del other
    program = HOLD.replace("sys.stdin.read()", "")
    subprocess.run([sys.executable, "-c", program, url], check=True, timeout=60)
