"""Calls that only a server runs: the client's, answered by its local mode with the server's
answers put over it. No server is at hand; each answer is as its reference describes it."""

import time
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from dr_pipelines.errors import InvalidRequest, Unavailable
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.stores.qdrant import client as calls
from dr_pipelines.stores.qdrant.address import server_address
from dr_pipelines.stores.qdrant.server import ServerVariant
from dr_pipelines.stores.qdrant.store import QdrantDriver, qdrant_store
from dr_pipelines.stores.shared.driver_store import DriverStore
from dr_pipelines.testing.store_samples import (
    SPEC,
    contents,
    document,
    expected,
    table,
)

SHARDED = SPEC.model_copy(
    update={"engine": {"qdrant": {"partitions": {"method": "custom", "keys": ["eu", 7]}}}}
)
STRICT = {
    "enabled": True,
    "max_query_limit": 2,
    "upsert_max_batchsize": 3,
    "unindexed_filtering_retrieve": False,
}
LIMITED = SPEC.model_copy(update={"engine": {"qdrant": {"limits": STRICT}}})


class AsAServer(QdrantClient):
    """The local mode, which keeps shard keys, payload indexes and strict mode as a server does, and
    refuses what strict mode forbids."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.keys: list[Any] = []
        self.indexes: dict[str, Any] = {}
        self.strict = models.StrictModeConfigOutput()
        self.dies_at_keys = False
        self.status = models.CollectionStatus.GREEN

    def get_collection(self, collection_name: str, **_: Any) -> Any:
        info = super().get_collection(collection_name)
        info.config.strict_mode_config = self.strict
        info.status = self.status
        if self.keys:
            info.config.params.sharding_method = models.ShardingMethod.CUSTOM
        info.payload_schema = {
            key: models.PayloadIndexInfo(data_type=kind, points=0)
            for key, kind in self.indexes.items()
        }
        return info

    def list_shard_keys(self, collection_name: str, **_: Any) -> Any:
        del collection_name
        described = [models.ShardKeyDescription(key=key) for key in self.keys]
        return models.ShardKeysResponse(shard_keys=described)

    def create_shard_key(self, collection_name: str, shard_key: Any, **_: Any) -> bool:
        del collection_name
        if self.dies_at_keys:
            raise KeyboardInterrupt
        if shard_key in self.keys:
            raise ValueError(f"Shard key {shard_key} already there")
        self.keys.append(shard_key)
        return True

    def create_payload_index(self, collection_name: str, field_name: str, **options: Any) -> Any:
        del collection_name
        schema = options["field_schema"]
        self.indexes[field_name] = schema if isinstance(schema, str) else schema.type

    def update_collection(self, collection_name: str, **changed: Any) -> bool:
        strict = changed.pop("strict_mode_config", None)
        if strict is not None:
            self.strict = models.StrictModeConfigOutput(**strict.model_dump())
        return super().update_collection(collection_name, **changed)

    def scroll(self, collection_name: str, **options: Any) -> Any:
        if self.strict.enabled:
            assert options["limit"] <= (self.strict.max_query_limit or 10**9)
            for condition in getattr(options.get("scroll_filter"), "must_not", None) or []:
                assert condition.is_empty.key in self.indexes, "an unindexed key is filtered by"
        return super().scroll(collection_name, **options)

    def upsert(self, collection_name: str, points: Any, **options: Any) -> Any:
        if self.strict.enabled:
            assert len(points) <= (self.strict.upsert_max_batchsize or 10**9)
        options.pop("shard_key_selector", None)
        return super().upsert(collection_name, points, **options)


@pytest.fixture
def server() -> AsAServer:
    return AsAServer()


@pytest.fixture
def store(server: AsAServer) -> DriverStore[QdrantDriver]:
    driver = ServerVariant(server_address("qdrant://127.0.0.1:1"), api_key=None)
    driver._client = server
    return qdrant_store(driver)


def test_shard_keys_that_a_kill_left_out_are_made_by_the_next_run(
    store: DriverStore[QdrantDriver], server: AsAServer
) -> None:
    server.dies_at_keys = True
    with pytest.raises(KeyboardInterrupt):
        store.create(SHARDED)
    assert store.collections() == [SHARDED.name]
    server.dies_at_keys = False
    server.keys = ["eu"]  # one was made
    store.create(SHARDED)
    assert server.keys == ["eu", 7]
    assert "document_id" in server.indexes
    store.create(SHARDED)
    assert server.keys == ["eu", 7]


def test_a_shard_key_that_cannot_be_made_is_an_error(
    store: DriverStore[QdrantDriver], server: AsAServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> bool:
        raise ValueError("not possible")

    monkeypatch.setattr(server, "create_shard_key", refused)
    with pytest.raises(InvalidRequest, match="not possible"):
        store.create(SHARDED)


def test_strict_mode_comes_after_the_records_and_is_kept_to(
    store: DriverStore[QdrantDriver], server: AsAServer
) -> None:
    store.create(LIMITED)
    assert not server.strict.enabled
    waiting = store.describe(LIMITED.name).engine["qdrant"]
    assert waiting["limits"] == STRICT
    assert waiting["unreported"] == ["engine.qdrant.limits"]
    rows = document("d", chunks=7)
    store.write(LIMITED.name, table(*rows, spec=LIMITED))
    store.build_index(LIMITED.name)
    assert server.strict.enabled
    section = store.describe(LIMITED.name).engine["qdrant"]
    assert section["limits"] == STRICT
    assert "unreported" not in section
    store.write(LIMITED.name, table(*rows, spec=LIMITED))
    assert contents(store, LIMITED.name) == expected(*rows)


def test_a_collection_in_strict_mode_is_described_by_its_first_points(
    store: DriverStore[QdrantDriver], server: AsAServer
) -> None:
    params = models.VectorParams(size=2, distance=models.Distance.DOT)
    server.create_collection("theirs", vectors_config=params)
    payloads: list[dict[str, Any]] = [{}, {"kw": []}, {"kw": None}, {"page_content": "wolf"}]
    points = [
        models.PointStruct(id=number, vector=[1, 0], payload=payload)
        for number, payload in enumerate([*payloads, {"kw": ["a"]}])
    ]
    server.upsert("theirs", points)
    server.indexes["kw"] = "keyword"
    free = store.describe("theirs")
    server.strict = models.StrictModeConfigOutput(**STRICT)
    strict = store.describe("theirs")
    assert strict.engine["qdrant"].pop("limits") == STRICT
    free.engine["qdrant"].pop("limits", None)
    assert strict == free
    assert strict.engine["qdrant"]["column_roles"]["text"] == "page_content"


@pytest.mark.parametrize("status", [models.CollectionStatus.YELLOW, models.CollectionStatus.GREY])
def test_optimizers_that_get_no_further_are_not_waited_for_without_end(
    store: DriverStore[QdrantDriver],
    server: AsAServer,
    monkeypatch: pytest.MonkeyPatch,
    status: models.CollectionStatus,
) -> None:
    monkeypatch.setattr(calls, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(calls, "STALLED_SECONDS", 0.1)
    spec = CollectionSpec(name="slow", vectors=SPEC.vectors)
    store.create(spec)
    server.status = status
    start = time.monotonic()
    with pytest.raises(Unavailable, match="no further"):
        store.build_index("slow")
    assert time.monotonic() - start < 5
    server.status = models.CollectionStatus.GREEN
    store.build_index("slow")
    assert store.status("slow").indexed
