"""Qdrant keeps the contract of a store: the engine in process, and the client's local mode."""

from pathlib import Path
from typing import Any

import pytest

from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Vector,
    VectorIndex,
)
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.qdrant import open_store
from dr_pipelines.testing.store_contract import VectorStoreContract

HNSW = {"m": 24, "ef_construct": 77, "full_scan_threshold": 5000, "max_indexing_threads": 2}
VECTORS = (
    Vector(
        name="dense",
        dimension=8,
        metric="cosine",
        index=VectorIndex(kind="hnsw", parameters={"m": 24, "ef_construction": 77}),
    ),
    Vector(name="bytes", dimension=4, metric="l1", dtype="uint8"),
    Vector(
        name="half",
        dimension=3,
        metric="l2",
        dtype="float16",
        index=VectorIndex(kind="hnsw", parameters={"m": 32, "ef_construction": 200}),
    ),
    Vector(
        name="tokens",
        dimension=2,
        kind="multi",
        metric="dot",
        index=VectorIndex(kind="hnsw", parameters={"m": 32, "ef_construction": 200}),
    ),
    Vector(name="words", dimension=2**32, kind="sparse", metric="dot"),
)
OF_VECTORS: dict[str, Any] = {
    "indexes": {
        "vectors": {
            "dense": HNSW | {"on_disk": True, "payload_m": 8},
            "bytes": {
                "m": 0,
                "ef_construct": 200,
                "full_scan_threshold": 7000,
                "max_indexing_threads": 0,
            },
        },
        "sparse": {
            "words": {
                "index": {"full_scan_threshold": 77, "on_disk": True, "datatype": "float16"},
                "modifier": "idf",
            }
        },
    },
    "quantization": {
        "vectors": {
            "dense": {"scalar": {"type": "int8", "quantile": 0.75, "always_ram": True}},
            "bytes": {"product": {"compression": "x16", "always_ram": True}},
            "half": {
                "binary": {
                    "always_ram": True,
                    "encoding": "one_and_half_bits",
                    "query_encoding": "scalar4bits",
                }
            },
        },
    },
    "storage": {"vectors": {"dense": {"memory": "cold"}, "bytes": {"on_disk": True}}},
    "configuration": {"vectors": {"tokens": {"comparator": "max_sim"}}},
}
FIELDS = tuple(Field(name=t.value[:3], type=t) for t in FieldType if t is not FieldType.STRINGS)
PAYLOAD: dict[str, Any] = {
    "document_id": {"type": "keyword", "on_disk": True},
    "str": {"type": "keyword", "is_tenant": True, "prefix": True, "enable_hnsw": False},
    "int": {"type": "integer", "lookup": True, "range": False, "is_principal": True},
    "num": {"type": "float", "is_principal": True, "memory": "cold"},
    "boo": {"type": "bool", "on_disk": True},
    "tim": {"type": "datetime", "is_principal": True},
    "place": {"type": "geo", "on_disk": True},
    "u": {"type": "uuid", "is_tenant": True},
    "text": {
        "type": "text",
        "tokenizer": "multilingual",
        "min_token_len": 2,
        "max_token_len": 9,
        "lowercase": False,
        "ascii_folding": True,
        "phrase_matching": True,
        "stopwords": {"languages": ["english"], "custom": ["foo"]},
        "stemmer": {"type": "snowball", "language": "german"},
        "scoring": {"type": "bm25"},
    },
}


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return one | {key: one.get(key, {}) | value for key, value in other.items()}


EDGE = _merged(
    OF_VECTORS,
    {
        "indexes": {
            "hnsw": {
                "m": 32,
                "ef_construct": 200,
                "full_scan_threshold": 7000,
                "max_indexing_threads": 1,
            },
            "payload": PAYLOAD,
        },
        "quantization": {"collection": {"turbo": {"bits": "bits2", "always_ram": True}}},
        "storage": {
            "on_disk_payload": False,
            "payload": {"memory": "cached"},
            "id_tracker": {"memory": "pinned"},
        },
        "optimizers": {
            "deleted_threshold": 0.3,
            "vacuum_min_vector_number": 500,
            "default_segment_number": 2,
            "max_segment_size": 100_000,
            "indexing_threshold": 10,
            "prevent_unoptimized": False,
        },
        "configuration": {"wal_enabled": False, "max_search_threads": 2},
    },
)
SERVER = _merged(
    EDGE,
    {
        "limits": {"enabled": True, "max_query_limit": 99, "unindexed_filtering_retrieve": False},
        "optimizers": {"flush_interval_sec": 7, "max_optimization_threads": 3},
        "partitions": {"method": "custom", "keys": ["eu", 7]},
        "properties": {"owner": "somebody"},
        "configuration": {
            "wal": {"wal_capacity_mb": 64, "wal_segments_ahead": 1},
            "write_consistency_factor": 2,
            "read_fan_out_factor": 1,
        },
    },
)
"""What only a server has in force."""
TUNED = (
    CollectionSpec(name="tuned", vectors=VECTORS, fields=FIELDS, engine={"qdrant": EDGE}),
    CollectionSpec(
        name="of-a-server",
        vectors=VECTORS,
        fields=FIELDS,
        shards=3,
        replicas=2,
        engine={"qdrant": SERVER},
    ),
)


def _parts(*keys: str) -> frozenset[str]:
    return frozenset(f"engine.qdrant.{key}" for key in keys)


SPREAD = frozenset(["shards", "replicas"])
OF_EDGE = {
    "of-a-server": SPREAD
    | _parts("configuration", "limits", "optimizers", "partitions", "properties"),
}
"""Parts that Edge does not report: those that only a server has."""
FORGOTTEN = _parts("configuration", "indexes", "optimizers", "quantization", "storage")
OF_THE_LOCAL_MODE = {
    "tuned": FORGOTTEN,
    "of-a-server": SPREAD | FORGOTTEN | _parts("limits", "partitions"),
}
"""Parts that the client's local mode does not report."""
OF_SHARED_CODE = frozenset(
    f"test_{name}"
    for name in (
        "a_filter_means_the_same_in_every_mode",
        "a_filter_that_does_not_fit_is_refused",
        "a_wrong_batch_is_refused_whole",
        "columns_that_cannot_be_are_refused",
    )
)
"""Decided by code of every engine, before this one is asked or after it was read."""
OF_THE_CLIENT = frozenset(
    f"test_{name}"
    for name in (
        "a_filter_means_the_same_to_the_engine",
        "a_name_is_an_alias_or_a_collection",
        "a_specification_is_kept_whole",
        "an_alias_reads_like_its_collection",
        "every_part_of_a_configuration_reads_back",
        "parts_that_are_not_reported_are_those_declared",
        "every_value_comes_back_as_it_was",
        "other_records_of_replaced_documents_are_gone",
        "sparse_and_several_vectors_come_back",
        "the_next_process_finds_everything",
        "what_does_not_exist_is_not_found_by_any_call",
    )
)
"""What the client's calls could spoil; the rest is proved with Edge in each run."""
CONTRACT = frozenset(name for name in dir(VectorStoreContract) if name.startswith("test_"))


class _Edge(VectorStoreContract):
    engine = "qdrant"
    tuned = TUNED
    unreported = OF_EDGE

    @pytest.fixture
    def store(self, tmp_path: Path) -> VectorStore:
        return open_store("qdrant+edge:store", base=tmp_path)


class _Local(VectorStoreContract):
    engine = "qdrant"
    tuned = TUNED
    unreported = OF_THE_LOCAL_MODE
    many = 300  # the local mode commits each point by itself: 600 a second at best

    @pytest.fixture
    def store(self, tmp_path: Path) -> VectorStore:
        return open_store("qdrant+local:store", base=tmp_path)


@pytest.mark.long
class TestQdrantEdgeInFull(_Edge):
    pass


@pytest.mark.long
class TestQdrantLocalInFull(_Local):
    pass


class TestQdrantEdge(_Edge):
    pass


class TestQdrantLocal(_Local):
    pass


for _name in OF_SHARED_CODE:
    setattr(TestQdrantEdge, _name, None)  # pytest does not collect it
for _name in CONTRACT - OF_THE_CLIENT:
    setattr(TestQdrantLocal, _name, None)


def test_the_parts_of_the_contract_exist() -> None:
    assert CONTRACT >= OF_SHARED_CODE | OF_THE_CLIENT


@pytest.mark.parametrize("variant", ["edge", "local"])
def test_parts_that_are_not_in_force_are_named(tmp_path: Path, variant: str) -> None:
    store = open_store(f"qdrant+{variant}:{tmp_path}", base=tmp_path)
    spec = TUNED[1]
    notes = {note.part: note.outcome.value for note in store.fit(spec).notes}
    assert notes["engine.qdrant.limits"] == notes["engine.qdrant.partitions"] == "lost"
    assert notes["engine.qdrant.optimizers"] == "approximated"
    assert (notes["shards"], notes["replicas"]) == ("approximated", "lost")
    assert ("engine.qdrant.quantization" in notes) is (variant == "local")
    store.create(spec)
    unreported = store.describe(spec.name).engine["qdrant"]["unreported"]
    assert {"engine.qdrant.limits", "engine.qdrant.optimizers", "shards"} <= set(unreported)
    assert ("engine.qdrant.indexes" in unreported) is (variant == "local")


def test_the_local_mode_is_not_believed_where_it_makes_things_up(tmp_path: Path) -> None:
    store = open_store(f"qdrant+local:{tmp_path}", base=tmp_path)
    store.create(TUNED[0])
    described = store.describe("tuned")
    assert described.engine["qdrant"]["indexes"]["hnsw"]["m"] == 32  # it reports 16
    assert described.vectors[2].index == VECTORS[2].index


def test_what_the_engine_has_no_word_for_is_believed_and_named(tmp_path: Path) -> None:
    vectors = (
        Vector(name="bits", dimension=8, metric="hamming", dtype="bit"),
        Vector(name="words", dimension=100, kind="sparse", metric="dot"),
    )
    spec = CollectionSpec(name="odd", vectors=vectors)
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    assert {note.part for note in store.fit(spec).notes} == {
        "vectors.bits.metric",
        "vectors.bits.dtype",
    }
    store.create(spec)
    described = store.describe("odd")
    assert described.vectors == vectors
    assert described.engine["qdrant"]["unreported"] == [
        "vectors.bits.dtype",
        "vectors.bits.metric",
        "vectors.words",
    ]
