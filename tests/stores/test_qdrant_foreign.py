"""Collections that other programs made in Qdrant come back as they were, for native clients."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import qdrant_edge as edge
from qdrant_client import QdrantClient, models

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import (
    CollectionSpec,
    FieldType,
    Metric,
    VectorKind,
    VectorType,
)
from dr_pipelines.model.query import (
    Contains,
    Equals,
    Mode,
    Query,
    Range,
)
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.qdrant import open_store
from dr_pipelines.stores.qdrant.foreign import ForeignRecords
from dr_pipelines.stores.qdrant.records import NAMESPACE, point_id
from dr_pipelines.stores.qdrant.variant import Page
from dr_pipelines.testing.store_samples import (
    SPEC,
    contents,
    record,
    table,
)

UUID = "0b5c2f1e-9f43-4d0c-8a52-6c1d9a3f7e10"
PAYLOADS: list[dict[str, Any]] = [
    {"kw": "a", "tags": ["x", "y"], "n": 3, "w": 0.5, "ok": True, "page_content": "the wolf"},
    {"kw": None, "tags": [], "n": None, "w": 2, "ok": False, "page_content": "the fox"},
    {},
    {"kw": ["a", "b"], "tags": ["x", None], "n": 2**63, "w": -0.0, "ok": 1, "page_content": 7},
    {
        "kw": "",
        "at": "2024-05-01T10:00:00.000001Z",
        "place": {"lat": 52.5, "lon": 13.4},
        "nested": {"a": [1, 1.0, {"b": None}], "é": "日本"},
        "id": "mine",
        "document_id": "doc-1",
        "text": "not this one",
        "uri": "file:///x",
        "extra": [1],
        "my-key": "k",
        "u": UUID,
        "big": 1e300,
    },
    {"at": "2024-05-01", "kw": "é", "n": -(2**63), "uri": 5, "page_content": ""},
    {"at": "2024-05-01T12:00:00+02:00", "kw": "a", "n": 1.0, "document_id": "doc-2"},
]
IDS: list[int | str] = [0, 7, 10, 2**64 - 1, UUID, "ffffffff-ffff-ffff-ffff-ffffffffffff", 5]


def vectors() -> list[dict[str, Any]]:
    random = np.random.default_rng(5)
    rows: list[dict[str, Any]] = []
    for number in range(len(IDS)):
        rows.append(
            {
                "": random.normal(size=3).astype(np.float32).tolist(),
                "text-dense": random.integers(0, 255, 4).astype(float).tolist(),
                "half": random.normal(size=3).astype(np.float16).astype(float).tolist(),
                "tokens": random.normal(size=(number + 1, 2)).astype(np.float32).tolist(),
            }
        )
    del rows[2][""], rows[3]["tokens"], rows[4]["text-dense"]
    rows[5][""] = [0.0, 0.0, 0.0]
    return rows


CONFIG: dict[str, Any] = {
    "vectors": {
        "": edge.EdgeVectorParams(
            3,
            edge.Distance.Cosine,
            memory=edge.Memory.Cold,
            quantization_config=edge.ScalarQuantizationConfig(
                edge.ScalarType.Int8, quantile=0.75, always_ram=True
            ),
        ),
        "text-dense": edge.EdgeVectorParams(
            4,
            edge.Distance.Manhattan,
            on_disk=True,
            datatype=edge.VectorStorageDatatype.Uint8,
            hnsw_config=edge.HnswIndexConfig(24, 77, 5000, 2, True, 8),
            quantization_config=edge.ProductQuantizationConfig(edge.CompressionRatio.X16),
        ),
        "half": edge.EdgeVectorParams(
            3,
            edge.Distance.Euclid,
            datatype=edge.VectorStorageDatatype.Float16,
            hnsw_config=edge.HnswIndexConfig(0, 100, 10000),
            quantization_config=edge.BinaryQuantizationConfig(
                True,
                edge.BinaryQuantizationEncoding.OneAndHalfBits,
                edge.BinaryQuantizationQueryEncoding.Scalar4Bits,
            ),
        ),
        "tokens": edge.EdgeVectorParams(
            2,
            edge.Distance.Dot,
            multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim),
            quantization_config=edge.TurboQuantQuantizationConfig(
                False, edge.TurboQuantBitSize.Bits1_5
            ),
        ),
    },
    "sparse_vectors": {
        "words": edge.EdgeSparseVectorParams(
            full_scan_threshold=77,
            on_disk=True,
            modifier=edge.Modifier.Idf,
            datatype=edge.VectorStorageDatatype.Float16,
        )
    },
    "hnsw_config": edge.HnswIndexConfig(32, 200, 7000),
    "quantization_config": edge.ScalarQuantizationConfig(edge.ScalarType.Int8),
    "optimizers": edge.EdgeOptimizersConfig(0.3, 500, 2, 100_000, 10, False),
    "max_search_threads": 2,
    "on_disk_payload": False,
    "payload_memory": edge.Memory.Cached,
    "id_tracker_memory": edge.Memory.Pinned,
    "wal_enabled": False,
}
INDEXES: dict[str, Any] = {
    "kw": edge.KeywordIndexParams(is_tenant=True, on_disk=True, prefix=True),
    "tags": edge.PayloadSchemaType.Keyword,
    "n": edge.IntegerIndexParams(lookup=True, range=False, is_principal=True),
    "w": edge.FloatIndexParams(is_principal=True, on_disk=True),
    "ok": edge.BoolIndexParams(memory=edge.Memory.Cold),
    "at": edge.DatetimeIndexParams(is_principal=True, enable_hnsw=False),
    "place": edge.GeoIndexParams(on_disk=True),
    "u": edge.UuidIndexParams(is_tenant=True),
    "document_id": edge.PayloadSchemaType.Keyword,
    "my-key": edge.PayloadSchemaType.Keyword,
    "nested.a": edge.PayloadSchemaType.Integer,
    "page_content": edge.TextIndexParams(
        tokenizer=edge.TokenizerType.Multilingual,
        min_token_len=2,
        max_token_len=9,
        lowercase=False,
        ascii_folding=True,
        phrase_matching=True,
        stopwords=edge.StopwordsSet({edge.Language.English}, {"foo"}),
        stemmer=edge.SnowballParams(edge.SnowballLanguage.German),
        scoring=True,
    ),
}


def made_by_another_program(path: Path) -> None:
    path.mkdir(parents=True)
    shard = edge.EdgeShard.create(str(path), edge.EdgeConfig(**CONFIG))
    points = []
    for key, payload, vectors_of_point in zip(IDS, PAYLOADS, vectors(), strict=True):
        words = edge.SparseVector([1, 2**32 - 1], [0.5, -2.0]) if key != 7 else None
        named = vectors_of_point | ({"words": words} if words else {})
        points.append(edge.Point(key, named, payload))
    shard.update(edge.UpdateOperation.upsert_points(points))
    for key, schema in INDEXES.items():
        shard.update(edge.UpdateOperation.create_field_index(key, schema))
    shard.flush()
    shard.close()


def seen_by_another_program(path: Path) -> dict[str, Any]:
    """Everything that a native client can know of a shard."""
    shard = edge.EdgeShard.load(str(path))
    records, _ = shard.scroll(edge.ScrollRequest(limit=100, with_payload=True, with_vector=True))
    points = {
        "config": json.loads((path / "edge_config.json").read_text()),
        "indexes": {k: _attributes(i) for k, i in shard.info().payload_schema.items()},
        "points": [(r.id, _plain(r.vector), _exactly(r.payload)) for r in records],
    }
    shard.close()
    return points


def _exactly(payload: Any) -> str:
    """JSON that tells 1, 1.0 and true apart."""
    return json.dumps(payload, sort_keys=True)


def _plain(vector: Any) -> Any:
    named = vector if isinstance(vector, dict) else {"": vector}
    return {
        name: (v.indices, v.values) if isinstance(v, edge.SparseVector) else v
        for name, v in named.items()
    }


def _attributes(value: Any) -> Any:
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, set):
        return sorted(map(str, value))
    names = [n for n in dir(value) if not n.startswith("_") and n != "points"]
    values = {n: getattr(value, n) for n in names if not callable(getattr(value, n))}
    return {n: _attributes(v) for n, v in values.items() if type(v) is not type(value)} or str(
        value
    )


def restored(store: VectorStore, name: str, to: str) -> CollectionSpec:
    """Restore a collection of a store beside itself; returns its specification."""
    spec = store.describe(name)
    store.create(spec.physical(to))
    rows = pa.Table.from_batches(store.scan(name))
    store.write(to, rows)
    store.build_index(to)
    return spec


def test_a_shard_of_another_program_comes_back_as_it_was(tmp_path: Path) -> None:
    made_by_another_program(tmp_path / "theirs")
    before = seen_by_another_program(tmp_path / "theirs")
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    assert store.collections() == ["theirs"]

    spec = restored(store, "theirs", "copy")

    after = seen_by_another_program(tmp_path / "copy")
    assert after["config"] == before["config"]
    assert after["indexes"] == before["indexes"]
    assert after["points"] == before["points"]
    assert store.describe("copy") == spec.physical("copy")
    rows = [pa.Table.from_batches(store.scan(name)) for name in ("theirs", "copy")]
    assert rows[0].equals(rows[1])


def test_a_shard_of_another_program_is_described(tmp_path: Path) -> None:
    made_by_another_program(tmp_path / "theirs")
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    spec = store.describe("theirs")
    shapes = {v.name: (v.dimension, v.metric, v.dtype, v.kind) for v in spec.vectors}
    assert shapes == {
        "embedding": (3, Metric.COSINE, VectorType.FLOAT32, VectorKind.DENSE),
        "text_dense": (4, Metric.L1, VectorType.UINT8, VectorKind.DENSE),
        "half": (3, Metric.L2, VectorType.FLOAT16, VectorKind.DENSE),
        "tokens": (2, Metric.DOT, VectorType.FLOAT32, VectorKind.MULTI),
        "words": (2**32, Metric.DOT, VectorType.FLOAT32, VectorKind.SPARSE),
    }
    indexes = {v.name: v.index and v.index.parameters for v in spec.vectors}
    assert indexes == {
        "embedding": {"m": 32, "ef_construction": 200},
        "text_dense": {"m": 24, "ef_construction": 77},
        "half": None,
        "tokens": {"m": 32, "ef_construction": 200},
        "words": None,
    }
    assert {(f.name, f.type) for f in spec.fields} == {
        ("kw", FieldType.STRING),
        ("tags", FieldType.STRINGS),
        ("n", FieldType.INTEGER),
        ("w", FieldType.NUMBER),
        ("ok", FieldType.BOOLEAN),
        ("at", FieldType.TIMESTAMP),
        ("u", FieldType.STRING),
        ("document_id_", FieldType.STRING),
        ("my_key", FieldType.STRING),
    }
    section = spec.engine["qdrant"]
    assert (section["layout"], section["column_roles"]) == ("foreign", {"text": "page_content"})
    assert section["columns"] == {
        "embedding": "",
        "text_dense": "text-dense",
        "document_id_": "document_id",
        "my_key": "my-key",
    }
    assert section["indexes"]["payload"]["n"] == {
        "type": "integer",
        "lookup": True,
        "range": False,
        "is_principal": True,
    }
    assert section["indexes"]["payload"]["page_content"]["stopwords"] == {
        "languages": ["english"],
        "custom": ["foo"],
    }
    assert section["quantization"]["vectors"]["half"]["binary"]["encoding"] == "one_and_half_bits"
    assert "unreported" not in section


def test_a_shard_of_another_program_is_read(tmp_path: Path) -> None:
    made_by_another_program(tmp_path / "theirs")
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    rows = {row["id"]: row for row in pa.Table.from_batches(store.scan("theirs")).to_pylist()}
    assert list(rows) == sorted(map(str, IDS))
    first, odd = rows["0"], rows[str(2**64 - 1)]
    assert (first["document_id"], first["chunk_index"], first["text"]) == ("0", 0, "the wolf")
    assert (first["kw"], first["tags"], first["n"], first["w"]) == ("a", ["x", "y"], 3, 0.5)
    assert (first["ok"], first["extra"], rows["10"]["extra"]) == (True, None, None)
    assert (odd["kw"], odd["tags"], odd["n"], odd["ok"], odd["text"]) == (
        None,
        ["x", None],
        None,
        None,
        None,
    )
    assert json.loads(odd["extra"]) == {"kw": ["a", "b"], "n": 2**63, "ok": 1, "page_content": 7}
    assert rows["7"]["extra"] == '{"kw":null,"n":null,"w":2}'
    assert rows[UUID]["document_id_"] == "doc-1"
    assert json.loads(rows[UUID]["extra"])["id"] == "mine"
    only = list(store.scan("theirs", documents=["7", "nobody", UUID, "8"]))
    assert [row["id"] for batch in only for row in batch.to_pylist()] == [UUID, "7"]


@pytest.mark.parametrize("exact", [True, False])
def test_a_shard_of_another_program_is_searched(tmp_path: Path, exact: bool) -> None:
    made_by_another_program(tmp_path / "theirs")
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    near = vectors()[6]
    half = np.array(near["half"], np.float32)
    for condition, expected in (
        (None, set(map(str, IDS))),
        (Equals("my_key", "k"), {UUID}),
        (Contains("tags", "x"), {"0", str(2**64 - 1)}),
        (Range("n", lt=10), {"0", "ffffffff-ffff-ffff-ffff-ffffffffffff"}),
        (Equals("document_id_", "doc-2"), {"5"}),
    ):
        query = Query(vector=half, vector_name="half", filter=condition, exact=exact)
        hits = store.search("theirs", query, limit=10)
        loose = (
            {"5"} if isinstance(condition, Range) and not exact else set()
        )  # to it 1.0 is an integer
        assert {hit.id for hit in hits} == expected | loose, condition
        assert all(hit.document_id == hit.id for hit in hits)
    best = store.search("theirs", Query(vector=half, vector_name="half", exact=exact), limit=1)
    assert [(hit.id, hit.score) for hit in best] == [("5", pytest.approx(0, abs=1e-6))]  # type: ignore[comparison-overlap]
    words = Query(mode=Mode.KEYWORD, text="wolf", exact=exact)
    assert [(h.id, h.text) for h in store.search("theirs", words, limit=5)] == [("0", "the wolf")]


def test_points_change_under_their_own_ids(tmp_path: Path) -> None:
    made_by_another_program(tmp_path / "theirs")
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    rows = pa.Table.from_batches(store.scan("theirs"))
    first = rows.filter(pa.compute.equal(rows.column("id"), "0"))
    changed = first.set_column(3, first.schema.field(3), pa.array(["new"]))
    store.write("theirs", changed, replaces=["0", "7", "unknown"])
    points = {p[0]: p[2] for p in seen_by_another_program(tmp_path / "theirs")["points"]}
    assert 7 not in points
    assert points[0] == _exactly(PAYLOADS[0] | {"page_content": "new"})
    assert len(points) == len(IDS) - 1


def _changed(column: str, value: Any) -> Callable[[pa.Table], pa.Table]:
    def change(rows: pa.Table) -> pa.Table:
        place = rows.schema.get_field_index(column)
        field = rows.schema.field(place)
        return rows.set_column(place, field, pa.array([value] * len(rows), field.type))

    return change


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("id", "a#000000", "a UUID"),
        ("id", "007", "a UUID"),
        ("id", str(2**64), "a UUID"),
        ("id", UUID.upper(), "a UUID"),
        ("document_id", "other", "document of its own"),
        ("chunk_index", 1, "document of its own"),
        ("extra", "no json", "JSON object"),
        ("extra", "[1]", "JSON object"),
        ("w", float("inf"), "cannot hold"),
        ("embedding", [3.0, 4.0, 0.0], "not of length 1"),
    ],
)
def test_what_such_a_collection_cannot_hold_is_refused(
    tmp_path: Path, column: str, value: Any, reason: str
) -> None:
    made_by_another_program(tmp_path / "theirs")
    before = seen_by_another_program(tmp_path / "theirs")
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    rows = pa.Table.from_batches(store.scan("theirs"))
    first = rows.filter(pa.compute.equal(rows.column("id"), "0"))
    plain = _changed("extra", None)(_changed("w", None)(first))
    with pytest.raises(InvalidRequest, match=reason):
        store.write("theirs", _changed(column, value)(plain))
    assert seen_by_another_program(tmp_path / "theirs") == before


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")  # said once by the local mode
def test_a_collection_of_a_client_comes_back_as_it_was(tmp_path: Path) -> None:
    path = str(tmp_path / "local")
    client = QdrantClient(path=path)
    client.create_collection(
        "theirs",
        vectors_config={
            "text-dense": models.VectorParams(
                size=4,
                distance=models.Distance.EUCLID,
                on_disk=True,
                datatype=models.Datatype.FLOAT16,
                hnsw_config=models.HnswConfigDiff(m=24, payload_m=8),
                quantization_config=models.ScalarQuantization(
                    scalar=models.ScalarQuantizationConfig(type="int8", quantile=0.9)
                ),
            ),
            "tokens": models.VectorParams(
                size=2,
                distance=models.Distance.DOT,
                multivector_config=models.MultiVectorConfig(comparator="max_sim"),
            ),
        },
        sparse_vectors_config={
            "words": models.SparseVectorParams(
                index=models.SparseIndexParams(on_disk=True), modifier=models.Modifier.IDF
            )
        },
        metadata={"owner": "somebody", "nested": {"a": [1, None]}},
    )
    structs = [
        models.PointStruct(
            id=key,
            payload=payload,
            vector={
                "text-dense": [0.5, 1.0, float(n), 0.0],
                "tokens": [[1.0, 2.0]] * (n + 1),
                "words": models.SparseVector(indices=[1, 5], values=[0.5, 1.0]),
            },
        )
        for n, (key, payload) in enumerate(zip(IDS, PAYLOADS, strict=True))
    ]
    client.upsert("theirs", structs)
    client.update_collection_aliases(
        [
            models.CreateAliasOperation(
                create_alias=models.CreateAlias(collection_name="theirs", alias_name=alias)
            )
            for alias in ("live", "also")
        ]
    )
    client.close()
    store = open_store("qdrant+local:local", base=tmp_path)
    assert store.aliases() == {"also": "theirs", "live": "theirs"}

    spec = restored(store, "live", "copy")

    assert spec.aliases == ("also", "live")
    section = spec.engine["qdrant"]
    assert "optimizers" not in section  # what the local mode makes up
    assert "hnsw" not in section["indexes"]
    assert spec.engine["qdrant"]["properties"] == {"owner": "somebody", "nested": {"a": [1, None]}}
    client = QdrantClient(path=path)
    infos = [client.get_collection(name) for name in ("theirs", "copy")]
    for info in infos:
        (info.config.metadata or {}).pop("dr_pipelines", None)
    assert infos[0] == infos[1]
    points = [client.scroll(n, limit=99, with_vectors=True)[0] for n in ("theirs", "copy")]
    client.close()
    seen = [[(r.id, r.vector, _exactly(r.payload)) for r in records] for records in points]
    assert seen[0] == seen[1]


def test_a_name_that_no_specification_has_is_listed_and_refused(tmp_path: Path) -> None:
    made_by_another_program(tmp_path / "2024.docs")
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    assert store.collections() == ["2024.docs"]
    with pytest.raises(InvalidRequest, match=r"2024\.docs.*rename"):
        store.describe("2024.docs")


def test_a_point_of_another_program_in_a_collection_of_ours_is_read_and_replaced(
    tmp_path: Path,
) -> None:
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    store.create(SPEC)
    store.write(SPEC.name, table(record("a")))
    shard = edge.EdgeShard.load(str(tmp_path / SPEC.name))
    stray = edge.Point(7, {"raw": [1.0, 2.0]}, {"é": 1, "a": None})
    shard.update(edge.UpdateOperation.upsert_points([stray]))
    shard.close()
    read = {row["id"]: row for row in contents(store)}
    assert list(read) == ["7", "a#000000"]
    assert (read["7"]["document_id"], read["7"]["extra"]) == ("7", '{"a":null,"é":1}')
    rows = pa.Table.from_batches(store.scan(SPEC.name, documents=["7"]))
    assert len(rows) == 1
    store.write(SPEC.name, rows)
    assert store.status(SPEC.name).records == 2
    store.write(SPEC.name, table(), replaces=["7"])
    assert [row["id"] for row in contents(store)] == ["a#000000"]


def test_the_key_of_a_shard_is_kept_with_the_point(tmp_path: Path) -> None:
    made_by_another_program(tmp_path / "theirs")
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    records = ForeignRecords(store.describe("theirs"), parses=1)
    payloads: list[dict[str, Any]] = [{"kw": "a"}, {"é": 1}, {}]
    page = Page([1, 2, UUID], payloads, [{}, {}, {}], ["eu", 7, None])
    columns = pa.Table.from_batches(store.scan("theirs")).schema.names
    batch = pa.Table.from_batches([records.batch(page, columns)])
    points = records.points(batch)
    assert [(p.id, p.payload, p.shard) for p in points] == list(
        zip(page.ids, payloads, page.shards, strict=True)
    )


def test_ids_of_points_are_the_uuids_of_ids_of_records() -> None:
    assert point_id("a#000000") == str(uuid.uuid5(NAMESPACE, "a#000000"))
    assert point_id("a#000000") == "2b23a2f0-f8ed-58de-976b-e42d70dbe78c"
