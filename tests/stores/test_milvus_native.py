"""Collections that users made come back as they were, seen through pymilvus' own client."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pymilvus import DataType, MilvusClient

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import CollectionSpec, FieldType, VectorKind
from dr_pipelines.model.query import (
    Contains,
    Equals,
    Mode,
    Not,
    Query,
    Range,
)
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.milvus import open_store
from tests.servers.milvus import MilvusServer
from tests.stores.milvus_samples import make_everything

OURS = ("dr.label",)
COPY, NATIVE_COPY = "copy@1-a.b", "copy_x401_x2da_x2eb"


@pytest.fixture
def database(milvus_server: MilvusServer) -> str:
    return milvus_server.new_database()


@pytest.fixture
def client(milvus_server: MilvusServer, database: str) -> Iterator[MilvusClient]:
    client = milvus_server.client(database)
    yield client
    client.close()


@pytest.fixture
def store(milvus_server: MilvusServer, database: str) -> VectorStore:
    return open_store(milvus_server.url(database), base=Path())


@pytest.fixture(scope="module")
def users(milvus_server: MilvusServer) -> str:
    """A database with a collection of users, `users_own`, served as `served`: left as it is."""
    database = milvus_server.new_database()
    client = milvus_server.client(database)
    make_everything(client, "users_own")
    client.create_alias("users_own", "served")
    client.close()
    store = open_store(milvus_server.url(database), base=Path())
    store.build_index("users_own")
    return database


@pytest.fixture
def reader(milvus_server: MilvusServer, users: str) -> VectorStore:
    return open_store(milvus_server.url(users), base=Path())


def _copied(store: VectorStore, name: str, copy: str = COPY) -> CollectionSpec:
    """A restore: describe, create beside, write the scanned rows, build."""
    spec = store.describe(name).physical(copy)
    rows = pa.Table.from_batches(store.scan(name), schema=store_schema(spec))
    store.create(spec)
    store.write(copy, rows)
    store.build_index(copy)
    return spec


def _rows(client: MilvusClient, name: str, key: str = "pk", **options: Any) -> list[dict[str, Any]]:
    rows = client.query(name, filter="", limit=1000, output_fields=["*"], **options)
    return sorted((dict(row) for row in rows), key=lambda row: row[key])


def _bits(rows: list[dict[str, Any]]) -> list[str]:
    """Values with the signs of their zeros; keys of JSON objects have no order."""
    return [json.dumps(row, sort_keys=True, default=str) for row in rows]


def _described(client: MilvusClient, name: str) -> dict[str, Any]:
    description = client.describe_collection(name)
    description["properties"] = {
        k: v for k, v in description["properties"].items() if k not in OURS
    }
    return {k: v for k, v in description.items() if k not in ("collection_name", "collection_id")}


def _indexes(client: MilvusClient, name: str) -> list[dict[str, Any]]:
    return [client.describe_index(name, indexes) for indexes in sorted(client.list_indexes(name))]


def test_everything_of_a_collection_of_users_comes_back(
    store: VectorStore, client: MilvusClient
) -> None:
    make_everything(client, "users_own")
    _copied(store, "users_own")
    before, after = _rows(client, "users_own"), _rows(client, NATIVE_COPY)
    assert len(before) == 30
    assert _bits(after) == _bits(before)
    assert _described(client, NATIVE_COPY) == _described(client, "users_own")
    assert _indexes(client, NATIVE_COPY) == _indexes(client, "users_own")
    assert client.list_partitions(NATIVE_COPY) == client.list_partitions("users_own")
    for name in ("users_own", NATIVE_COPY):
        hits = client.search(
            name, data=["text"], anns_field="terms", limit=30, output_fields=["pk"]
        )
        assert len(hits[0]) == 15


def test_a_collection_of_users_is_described_by_the_rules(reader: VectorStore) -> None:
    spec = reader.describe("served")
    assert (reader.collections(), reader.aliases()) == (["users_own"], {"served": "users_own"})
    assert (spec.name, spec.aliases, spec.keyword_index) == ("users_own", ("served",), True)
    assert [(v.name, v.kind) for v in spec.vectors] == [
        ("vec", VectorKind.DENSE),
        ("vec2", VectorKind.DENSE),
        ("words", VectorKind.SPARSE),
    ]
    types = {field.name: field.type for field in spec.fields}
    assert "content" not in types  # it is the text
    assert types["metadata_"] is FieldType.STRING  # `metadata` is a word of our own
    assert types["i8"] is types["i64"] is FieldType.INTEGER
    assert types["f"] is types["d"] is FieldType.NUMBER
    assert (types["b"], types["when"]) == (FieldType.BOOLEAN, FieldType.TIMESTAMP)
    assert (types["tags"], types["many_int64"]) == (FieldType.STRINGS, FieldType.STRING)
    rows = pa.Table.from_batches(reader.scan("served")).to_pylist()
    assert [row["id"] for row in rows] == sorted(str(n * 7919 - 100_000) for n in range(30))
    (row,) = (row for row in rows if row["id"] == str(7919 - 100_000))
    assert (row["document_id"], row["chunk_index"], row["text"]) == (row["id"], 0, "text 1 ü")
    assert row["metadata_"] == '{"a":[1,{"b":null},0.1],"z":"é"}'
    assert row["extra"] == '{"color":"red","size":{"a":[null],"b":1}}'
    assert row["many_int64"] == "[9223372036854775807,-1]"


def test_partitions_and_who_is_in_them_come_back(store: VectorStore, client: MilvusClient) -> None:
    schema = client.create_schema()
    schema.add_field("name", DataType.VARCHAR, max_length=100, is_primary=True)
    schema.add_field("vec", DataType.FLOAT_VECTOR, dim=2)
    client.create_collection("parted", schema=schema)
    for partition in ("de", "en", "empty"):
        client.create_partition("parted", partition)
    for number, partition in enumerate(["_default", "de", "en", "de"]):
        row = {"name": f'{number}"\\', "vec": [number, 1]}
        client.insert("parted", row, partition_name=partition)

    _copied(store, "parted")

    assert client.list_partitions(NATIVE_COPY) == ["_default", "de", "empty", "en"]
    for partition in ("_default", "de", "en", "empty"):
        options = {"key": "name", "partition_names": [partition]}
        assert _rows(client, NATIVE_COPY, **options) == _rows(client, "parted", **options)  # type: ignore[arg-type]
    moved = pa.Table.from_batches(store.scan(COPY, documents=['1"\\']))
    place = moved.schema.get_field_index("dr_partition")
    moved = moved.set_column(place, "dr_partition", pa.array(["en"]))
    store.write(COPY, moved, replaces=['3"\\', "unknown"])
    assert len(_rows(client, NATIVE_COPY, "name", partition_names=["de"])) == 0
    assert len(_rows(client, NATIVE_COPY, "name", partition_names=["en"])) == 2


def test_ids_that_the_engine_made_come_back(store: VectorStore, client: MilvusClient) -> None:
    client.create_collection("quick", dimension=3, auto_id=True)
    client.insert("quick", [{"vector": [n, 1, 0.5], "color": f"c{n}"} for n in range(5)])
    _copied(store, "quick")
    assert _rows(client, NATIVE_COPY, "id") == _rows(client, "quick", "id")
    assert _described(client, NATIVE_COPY) == _described(client, "quick")


def test_a_replaced_record_keeps_nothing_of_the_one_before(
    store: VectorStore, client: MilvusClient
) -> None:
    client.create_collection("quick", dimension=3, auto_id=False)
    client.insert("quick", [{"id": 7, "vector": [1, 2, 3], "old": 1}])
    rows = pa.Table.from_batches(store.scan("quick"))
    place = rows.schema.get_field_index("extra")
    store.write("quick", rows.set_column(place, "extra", pa.array(['{"new":2}'])))
    assert _rows(client, "quick", "id") == [{"id": 7, "vector": [1, 2, 3], "new": 2}]


@pytest.mark.parametrize("exact", [True, False])
def test_filters_and_scores_mean_the_same_natively(reader: VectorStore, exact: bool) -> None:
    vector = np.array([3, 0.1, 0, 0], np.float32)
    query = Query(vector=vector, exact=exact)
    hits = reader.search("users_own", query, limit=3)
    assert [hit.score for hit in hits] == pytest.approx([0, -1, -1], abs=1e-6)
    assert hits[0].text == "text 3 ü"
    for meant, count in (
        (Equals("tenant", "t1"), 10),
        (Not(Range("i16", gte=7)), 18),
        (Contains("tags", "ü"), 10),
        (Not(Contains("tags", "ü")), 20),
        (Equals("i64", 2**63 - 1), 1),
        (Range("d", lt=1.0), 5),
    ):
        question = Query(vector=vector, filter=meant, exact=exact)
        assert len(reader.search("users_own", question, limit=30)) == count, meant
    words = Query(mode=Mode.KEYWORD, text="text 3", exact=exact)
    assert reader.search("users_own", words, limit=30)[0].text == "text 3 ü"


def test_values_that_the_columns_do_not_take_are_refused_by_name(reader: VectorStore) -> None:
    before = pa.Table.from_batches(reader.scan("users_own"))
    rows = pa.Table.from_batches(reader.scan("users_own", documents=["-100000"]))
    for column, value, message in (
        ("id", "word", "word"),
        ("id", "007", "007"),
        ("text", "x" * 1001, "-100000"),
        ("tenant", None, "-100000"),
        ("vec", None, "-100000"),
        ("many_int64", "{", "-100000"),
        ("extra", "[]", "-100000"),
    ):
        place = rows.schema.get_field_index(column)
        field = rows.schema.field(column)
        bad = rows.set_column(place, field, pa.array([value], field.type))
        with pytest.raises(InvalidRequest, match=message):
            reader.write("users_own", bad)
    assert pa.Table.from_batches(reader.scan("users_own")).equals(before)


def test_the_label_is_a_property_and_goes_with_the_collection(
    store: VectorStore, client: MilvusClient
) -> None:
    client.create_collection("quick", dimension=3)
    spec = _copied(store, "quick")
    label = client.describe_collection(NATIVE_COPY)["properties"]["dr.label"]
    assert json.loads(json.loads(label))["spec"]["name"] == spec.name
    store.drop(COPY)
    client.create_collection(NATIVE_COPY, dimension=3)
    assert store.describe(COPY).origin is None
    with pytest.raises(InvalidRequest, match="another spec"):
        store.create(spec)
