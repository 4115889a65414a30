"""Collections that Chroma's own clients made, and what its clients see of ours."""

import json
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pyarrow as pa
import pytest
from chromadb import IntInvertedIndexConfig, Schema, StringInvertedIndexConfig, VectorIndexConfig
from chromadb.api.types import EmbeddingFunction, HnswIndexConfig
from chromadb.config import DEFAULT_TENANT, Settings
from chromadb.errors import ChromaError
from chromadb.utils.embedding_functions import register_embedding_function

from dr_pipelines.errors import AlreadyExists, InvalidRequest, NotFound
from dr_pipelines.model.collection import CollectionSpec, Metric, Vector
from dr_pipelines.model.query import Query
from dr_pipelines.planning.parts import compare_parts
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.chroma import open_store
from dr_pipelines.stores.chroma.foreign import replacing
from dr_pipelines.testing.store_samples import (
    SPEC,
    contents,
    expected,
    record,
    table,
    vector,
)
from tests.servers.chroma import ChromaServer

LABEL = "dr:label"
EVERYTHING = ["embeddings", "metadatas", "documents", "uris"]
COUNT = 40


@register_embedding_function  # else the client warns of a name that it does not know
class Constant(EmbeddingFunction[Any]):
    """Nothing here may ever call it."""

    def __init__(self, level: int = 1) -> None:
        self._level = level

    def __call__(self, input: Any) -> Any:
        raise AssertionError("an embedding function was run")

    @staticmethod
    def name() -> str:
        return "constant-of-tests"

    def get_config(self) -> dict[str, Any]:
        return {"level": self._level, "unit": "é"}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> "Constant":
        return Constant(config["level"])

    def default_space(self) -> Any:
        return "l2"

    def supported_spaces(self) -> Any:
        return ["l2", "ip", "cosine"]


def _plain(client: Any) -> Any:
    return client.create_collection("plain", embedding_function=None)


def _tuned(client: Any) -> Any:
    return client.create_collection(
        "tuned-1",
        embedding_function=Constant(7),
        metadata={"owner": "é", "hot": True, "level": 2**62, "share": 0.25, "empty": ""},
        configuration={
            "hnsw": {
                "space": "ip",
                "ef_construction": 90,
                "max_neighbors": 24,
                "ef_search": 70,
                "num_threads": 1,
                "batch_size": 7,
                "sync_threshold": 9,
                "resize_factor": 1.3,
            }
        },
    )


def _legacy(client: Any) -> Any:
    """As clients of the first versions did: parameters are metadata."""
    metadata = {"hnsw:space": "l2", "hnsw:M": 20, "hnsw:search_ef": 33, "hnsw:num_threads": 3}
    return client.create_collection("legacy", metadata=metadata, embedding_function=None)


def _schema(client: Any) -> Any:
    schema = Schema()
    hnsw = HnswIndexConfig(ef_search=44, max_neighbors=12)
    schema.create_index(
        config=VectorIndexConfig(space="ip", embedding_function=Constant(3), hnsw=hnsw)
    )
    schema.delete_index(config=StringInvertedIndexConfig(), key="secret")
    schema.delete_index(config=IntInvertedIndexConfig())
    return client.create_collection("with.schema", schema=schema, embedding_function=None)


MAKERS = (_plain, _tuned, _legacy, _schema)


def _fill(collection: Any, *, count: int = COUNT) -> None:
    """Records with whatever Chroma's metadata can be."""
    random = np.random.default_rng(5)
    metadatas: list[dict[str, Any] | None] = [
        None,
        {"text": "", "größe": 1.0, "n": 1, "yes": True},
        {"secret": "é\u0000🗝", "big": 2**63 - 1, "low": -(2**63), "f": 1e-300},
        {"strings": ["z", "", "a", "z"], "ints": [3, 1, 2**60], "flags": [True, False]},
    ]
    metadatas += [
        {"score": float(random.normal()), "scores": random.normal(size=3).tolist(), "n": n}
        for n in range(count - len(metadatas))
    ]
    collection.add(
        ids=[f"id {n * 7 % count:03d} é" for n in range(count)],
        embeddings=random.normal(size=(count, 4)).astype(np.float32),
        metadatas=metadatas,
        documents=[None, "", *(f"document {n}" for n in range(2, count))],
        uris=["", None, *(f"file:///{n}" for n in range(2, count))],
    )


def _native(client: Any, name: str) -> dict[str, Any]:
    """All that Chroma says of a collection, the label apart."""
    collection = client.get_collection(name, embedding_function=None)
    points = collection.get(include=EVERYTHING)
    records = {
        key: (
            np.asarray(points["embeddings"][place], np.float32).tobytes(),
            points["metadatas"][place] or {},
            points["documents"][place],
            points["uris"][place],
        )
        for place, key in enumerate(points["ids"])
    }
    model = collection.get_model()
    metadata = {k: v for k, v in (collection.metadata or {}).items() if k != LABEL}
    return {
        "records": records,
        "metadata": metadata,
        "configuration": collection.configuration_json,
        "schema": model.serialized_schema,
        "dimension": model.dimension,
    }


@contextmanager
def _client(directory: Path) -> Iterator[Any]:
    settings = Settings(anonymized_telemetry=False)
    client = chromadb.PersistentClient(str(directory), settings=settings)
    try:
        yield client
    finally:
        client.close()


def _settings(**others: Any) -> Settings:
    """No connection is kept for later: `close` would leave it open."""
    return Settings(anonymized_telemetry=False, chroma_http_max_keepalive_connections=0, **others)


@contextmanager
def _server_client(
    server: ChromaServer, database: str, *, tenant: str = DEFAULT_TENANT
) -> Iterator[Any]:
    admin = chromadb.AdminClient(
        _settings(
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host="127.0.0.1",
            chroma_server_http_port=server.port,
        )
    )
    with suppress(ChromaError):  # where it is there
        admin.create_database(database, tenant)
    settings = _settings()
    arguments: dict[str, Any] = {"settings": settings, "tenant": tenant, "database": database}
    with _closed(chromadb.HttpClient("127.0.0.1", server.port, **arguments)) as client:
        yield client


@contextmanager
def _closed(client: Any) -> Iterator[Any]:
    try:
        yield client
    finally:
        client.close()


def _copied(store: VectorStore, name: str, target: str) -> CollectionSpec:
    """Scan one collection and write another of the same description, as a restore does."""
    described = store.describe(name)
    store.create(described.physical(target, origin="copy"))
    for batch in store.scan(name, batch_rows=16):
        store.write(target, pa.Table.from_batches([batch]))
    store.build_index(target)
    return described


@pytest.mark.parametrize("make", MAKERS)
def test_a_copy_of_a_collection_is_the_same_to_its_clients(tmp_path: Path, make: Any) -> None:
    with _client(tmp_path) as client:
        collection = make(client)
        _fill(collection)
        engine_name = collection.name
        before = _native(client, engine_name)
    store = open_store(f"chroma+local:{tmp_path}", base=Path())
    (name,) = store.collections()

    described = _copied(store, name, "copy@1")
    again = store.describe("copy@1")

    assert compare_parts(described, again, engine="chroma") == compare_parts(
        described, described, engine="chroma"
    )
    assert (again.origin, again.same_contract(described)) == ("copy", True)
    del store
    with _client(tmp_path) as client:
        assert _native(client, "copy.1") == before
        assert _native(client, engine_name) == before


def test_a_copy_in_a_server_is_the_same_to_its_clients(chroma_server: ChromaServer) -> None:
    database = f"d{uuid.uuid4().hex}"
    with _server_client(chroma_server, database) as client:
        for make in (_tuned, _schema):
            collection = make(client)
            _fill(collection)
            store = open_store(f"{chroma_server.url}?database={database}", base=Path())
            name = collection.name.replace(".", "@")
            _copied(store, name, "copy@1")
            assert _native(client, "copy.1") == _native(client, collection.name)
            store.drop("copy@1")


def test_a_copy_in_an_empty_server_is_the_same_too(
    tmp_path: Path, chroma_server: ChromaServer
) -> None:
    with _client(tmp_path) as client:
        _fill(_tuned(client))
        before = _native(client, "tuned-1")
    here = open_store(f"chroma+local:{tmp_path}", base=Path())
    tenant, database = f"t{uuid.uuid4().hex}", "elsewhere"
    there = open_store(f"{chroma_server.url}?tenant={tenant}&database={database}", base=Path())
    assert (there.collections(), there.aliases()) == ([], {})

    fitted = there.fit(here.describe("tuned-1"))
    there.create(fitted.spec)
    there.write("tuned-1", pa.Table.from_batches(here.scan("tuned-1")))

    assert [(n.part, n.outcome.value) for n in fitted.notes] == [
        ("engine.chroma.namespace", "approximated")
    ]
    assert fitted.spec.engine["chroma"]["namespace"] == {"tenant": tenant, "database": database}
    spec = there.describe("tuned-1")
    assert [p for p in compare_parts(fitted.spec, spec, engine="chroma") if not p.unreported] == []
    with _server_client(chroma_server, database, tenant=tenant) as client:
        assert _native(client, "tuned-1") == before


def test_records_of_a_collection_that_something_else_made(tmp_path: Path) -> None:
    with _client(tmp_path) as client:
        _fill(_plain(client), count=5)
    store = open_store(f"chroma+local:{tmp_path}", base=Path())
    spec, rows = store.describe("plain"), contents(store, "plain")
    assert spec.vectors[0].dimension == 4
    assert (spec.fields, spec.engine["chroma"]["layout"]) == ((), "foreign")
    assert [row["id"] for row in rows] == [f"id {n:03d} é" for n in range(5)]
    assert {row["document_id"] == row["id"] for row in rows} == {True}
    by_name = {row["id"]: (row["text"], row["uri"], row["extra"]) for row in rows}
    assert by_name["id 000 é"] == (None, "", None)
    assert by_name["id 002 é"] == ("", None, '{"größe":1.0,"n":1,"text":"","yes":true}')
    assert json.loads(by_name["id 001 é"][2])["strings"] == ["z", "", "a", "z"]
    assert store.status("plain").indexed
    hits = store.search("plain", Query(vector=vector(1, 0, 0, 0), exact=False), limit=5)
    exact = store.search("plain", Query(vector=vector(1, 0, 0, 0)), limit=5)
    assert [(h.id, h.document_id, h.text) for h in hits] == [
        (h.id, h.document_id, h.text) for h in exact
    ]
    assert [h.score for h in hits] == pytest.approx([h.score for h in exact])


def test_a_record_that_is_replaced_keeps_nothing_of_its_own(tmp_path: Path) -> None:
    with _client(tmp_path) as client:
        _fill(_plain(client), count=6)
    store = open_store(f"chroma+local:{tmp_path}", base=Path())
    rows = [row for batch in store.scan("plain") for row in batch.to_pylist()]
    schema = next(store.scan("plain")).schema
    for row in rows:
        row |= {"text": None, "uri": "u" if row["uri"] else None, "extra": '{"new":[1.5]}'}

    store.write("plain", pa.Table.from_pylist(rows, schema=schema))

    assert [row for batch in store.scan("plain") for row in batch.to_pylist()] == rows


def test_keys_that_go_are_taken_back_in_the_call_that_replaces() -> None:
    part = {
        "ids": ["a", "b"],
        "metadatas": [{"x": 1}, None],
        "documents": ["d", "d"],
        "uris": [""] * 2,
    }
    old = {"ids": ["b", "a"], "metadatas": [{"y": 2}, {"x": 0, "y": 1}], "documents": [None, ""]}
    assert replacing(part, old | {"uris": ["u", None]}) == []
    assert part["metadatas"] == [{"x": 1, "y": None}, {"y": None}]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"embedding": None}, "no vector"),
        ({"embedding": [1e30, 0, 0, 0]}, "too long"),
        ({"document_id": "other"}, "piece"),
        ({"chunk_index": 1}, "piece"),
        ({"extra": "[]"}, "object"),
        ({"extra": "{}"}, "object"),
        ({"extra": '{"b": 1}'}, "spaces"),
        ({"extra": "{"}, "extra"),
        ({"extra": '{"a":null}'}, "None"),
        ({"extra": '{"a":{"b":1}}'}, "exactly"),
        ({"extra": '{"a":[]}'}, "empty"),
        ({"extra": '{"a":[1,"b"]}'}, "several"),
        ({"extra": '{"a":9223372036854775808}'}, "exactly"),
        ({"extra": '{"a":-0.0}'}, "exactly"),
        ({"extra": '{"a":-0.24836162209524854}'}, "exactly"),
        ({"extra": '{"$a":1}'}, "key"),
        ({"extra": '{"chroma:document":"x"}'}, "key"),
    ],
)
def test_what_a_collection_of_clients_cannot_hold_is_refused_by_name(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with _client(tmp_path) as client:
        collection = client.create_collection(
            "plain", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
        )
        collection.add(ids=["kept"], embeddings=[[1.0, 0, 0, 0]])
    store = open_store(f"chroma+local:{tmp_path}", base=Path())
    before = contents(store, "plain")
    good = dict.fromkeys(["text", "uri", "extra"]) | {"chunk_index": 0, "embedding": [0, 1, 0, 0]}
    rows = [good | {"id": key, "document_id": key} for key in ("good", "bad")]
    rows[1] |= changed
    schema = next(store.scan("plain")).schema

    with pytest.raises(InvalidRequest, match=f"'bad'.*{message}"):
        store.write("plain", pa.Table.from_pylist(rows, schema=schema))

    assert contents(store, "plain") == before


def test_names_that_ours_cannot_be_are_found_again(tmp_path: Path) -> None:
    names = ["2024.sales", "x" * 200, "a.b.c", "A-b", "UPPER_9", "0dr62", "0drzz", "9-9"]
    with _client(tmp_path) as client:
        for name in names:
            made = client.create_collection(name, embedding_function=None)
            made.add(ids=[name], embeddings=[[1.0]])
    store = open_store(f"chroma+local:{tmp_path}", base=Path())
    names_there = store.collections()
    assert len(names_there) == len(names)
    assert {"A-b", "UPPER_9", "a@b.c", "b"} < set(names_there)
    assert {contents(store, name)[0]["id"] for name in names_there} == set(names)
    odd = next(name for name in names_there if name.startswith("c2024-sales@"))
    store.promote(odd, alias="sales")
    assert contents(store, "sales")[0]["id"] == "2024.sales"
    store.promote("b", alias="sales")
    store.drop(odd)
    del store
    with _client(tmp_path) as client:
        assert {c.name for c in client.list_collections()} == set(names) - {"2024.sales"}


def test_what_clients_see_of_our_records(tmp_path: Path) -> None:
    store = open_store(f"chroma+local:{tmp_path}", base=Path())
    spec = SPEC.model_copy(update={"vectors": (Vector(dimension=3, metric=Metric.L2),)})
    store.create(spec)
    store.write(spec.name, table(record("a"), record("b", product=None, groups=[]), spec=spec))
    del store
    with _client(tmp_path) as client:
        collection = client.get_collection("handbook.20260101T120000Z", embedding_function=None)
        where: list[Any] = [
            {"product": "search"},
            {"year": {"$gte": 2026}},
            {"weight": {"$lt": 1.0}},
            {"groups": {"$contains": "eng"}},
            {"document_id": "b"},
        ]
        assert [sorted(collection.get(where=w)["ids"]) for w in where] == [
            ["a#000000"],
            ["a#000000", "b#000000"],
            ["a#000000", "b#000000"],
            ["a#000000"],
            ["b#000000"],
        ]
        got = collection.get(ids=["a#000000"], include=EVERYTHING)
        assert (got["documents"], got["uris"]) == (["chunk 0 of a"], ["file:///a"])
        assert collection.query(query_embeddings=[[1.0, 0, 0.25]], n_results=1)["distances"] == [
            [0.0]
        ]


def test_what_clients_add_to_our_collections_is_not_lost(tmp_path: Path) -> None:
    store = open_store(f"chroma+local:{tmp_path}", base=Path())
    store.create(SPEC)
    store.write(SPEC.name, table(record("a"), record("b", extra=None)))
    del store
    with _client(tmp_path) as client:
        collection = client.get_collection("handbook.20260101T120000Z", embedding_function=None)
        collection.update(ids=["a#000000", "b#000000"], metadatas=[{"mine": 1}, {"mine": ["x"]}])
        collection.add(
            ids=["c"], embeddings=[[1.0, 2.0, 3.0]], documents=["d"], metadatas=[{"year": 3}]
        )
    store = open_store(f"chroma+local:{tmp_path}", base=Path())
    rows = {row["id"]: row for batch in store.scan(SPEC.name) for row in batch.to_pylist()}
    assert (rows["a#000000"]["extra"], rows["b#000000"]["extra"]) == (
        '{"k":1,"mine":1}',
        '{"mine":["x"]}',
    )
    assert {k: rows["c"][k] for k in ("document_id", "chunk_index", "text", "uri", "year")} == {
        "document_id": "c",
        "chunk_index": 0,
        "text": "d",
        "uri": None,
        "year": 3,
    }


def test_an_alias_in_a_server_can_be_followed_by_any_client(chroma_server: ChromaServer) -> None:
    database = f"d{uuid.uuid4().hex}"
    with _server_client(chroma_server, database) as client:
        store = open_store(f"{chroma_server.url}?database={database}", base=Path())
        store.create(SPEC)
        store.promote(SPEC.name, alias="handbook-")
        pointer = client.get_collection("0dr.alias.handbook-.0", embedding_function=None)
        target = pointer.metadata["dr:collection"]
        assert client.get_collection(target, embedding_function=None).count() == 0
        assert store.collections() == [SPEC.name]


def test_an_empty_collection_has_no_dimension_yet(tmp_path: Path) -> None:
    with _client(tmp_path) as client:
        _plain(client)
    store = open_store(f"chroma+local:{tmp_path}", base=Path())
    spec = store.describe("plain")
    assert "vectors.embedding" in spec.engine["chroma"]["unreported"]
    assert contents(store, "plain") == []
    store.create(spec)  # as it is described
    with pytest.raises(AlreadyExists, match="plain"):
        store.create(spec.model_copy(update={"keyword_index": False}))


def test_an_index_that_is_ignored_silently_is_refused(tmp_path: Path) -> None:
    store = open_store(f"chroma+local:{tmp_path}", base=Path())
    spec = CollectionSpec.model_validate(
        {"name": "cloud", "vectors": [{"dimension": 2, "index": {"kind": "spann"}}]}
    )
    with pytest.raises(InvalidRequest, match="spann"):
        store.create(spec)
    assert store.collections() == []
    store.create(store.fit(spec).spec)
    index = store.describe("cloud").vectors[0].index
    assert index is not None
    assert (index.kind, index.parameters["m"]) == ("hnsw", 16)


def test_a_label_goes_away_with_its_collection(tmp_path: Path) -> None:
    store = open_store(f"chroma+local:{tmp_path}", base=Path())
    store.create(SPEC)
    del store
    with _client(tmp_path) as client:
        client.delete_collection("handbook.20260101T120000Z")
        client.create_collection("handbook.20260101T120000Z", embedding_function=None)
    store = open_store(f"chroma+local:{tmp_path}", base=Path())
    assert store.describe(SPEC.name).origin is None
    with pytest.raises(NotFound):
        store.describe("handbook")


def test_no_embedding_function_is_ever_run(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with _client(tmp_path) as client:
            _fill(_tuned(client), count=8)
        store = open_store(f"chroma+local:{tmp_path}", base=Path())
        described = _copied(store, "tuned-1", "copy")
        store.search("copy", Query(vector=vector(1, 0, 0, 0), exact=False), limit=3)
    assert described.engine["chroma"]["functions"] == {
        "embedding": {
            "type": "known",
            "name": "constant-of-tests",
            "config": {"level": 7, "unit": "é"},
        }
    }


def test_lists_of_deleted_collections_do_not_return(tmp_path: Path) -> None:
    """Chroma leaves them behind and gives them to records that come later."""
    with _client(tmp_path) as client:
        gone = client.create_collection("gone", embedding_function=None)
        lists = [{"strays": ["x"], "groups": ["x"], "dr:odd": ["text=null"]}] * 9
        gone.add(ids=list("abcdefghi"), embeddings=[[1.0]] * 9, metadatas=lists)
        client.delete_collection("gone")
        collection = client.create_collection("plain", embedding_function=None)
        collection.add(ids=["victim"], embeddings=[[1.0]], metadatas=[{"n": 1}])
        assert collection.get()["metadatas"][0]["strays"] == ["x"]  # the reason for all this
        client.delete_collection("plain")
    store = open_store(f"chroma+local:{tmp_path}", base=Path())
    rows = [record("a", groups=None), record("b", groups=[]), record("c", groups=["y"])]
    store.create(SPEC)
    store.write(SPEC.name, table(*rows))
    assert contents(store) == expected(*rows, tolerance=store.vector_tolerance)
    del store
    with _client(tmp_path) as client:
        collection = client.get_collection("handbook.20260101T120000Z", embedding_function=None)
        assert collection.get(where={"strays": {"$contains": "x"}})["ids"] == []
