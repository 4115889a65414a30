"""Milvus collections as this package and as others make them."""

from typing import Any

from pymilvus import DataType, Function, FunctionType, MilvusClient

from dr_pipelines.model.collection import (
    UNBOUNDED,
    CollectionSpec,
    Field,
    FieldType,
    Metric,
    Vector,
    VectorIndex,
    VectorKind,
)

OWN = CollectionSpec(
    name="tuned@2-own",
    vectors=(
        Vector(
            dimension=8,
            index=VectorIndex(
                kind="hnsw", parameters={"m": 24, "ef_construction": 77, "ef_search": 50}
            ),
        ),
        Vector(
            name="picture",
            dimension=4,
            metric=Metric.L2,
            index=VectorIndex(kind="ivf_flat", parameters={"lists": 7, "probes": 3}),
        ),
        Vector(name="words", kind=VectorKind.SPARSE, dimension=UNBOUNDED, metric=Metric.DOT),
        Vector(name="tokens", kind=VectorKind.MULTI, dimension=2),
        Vector(name="taxi", dimension=3, metric=Metric.L1),
    ),
    fields=(
        Field(name="year", type=FieldType.INTEGER),
        Field(name="like", type=FieldType.STRING),
        Field(name="dr_kept", type=FieldType.STRINGS),
    ),
    replicas=2,
    engine={
        "milvus": {
            "layout": "managed",
            "properties": {"collection.ttl.seconds": "86400", "mmap.enabled": "true"},
            "consistency": "Session",
            "indexes": [{"field": "year", "type": "INVERTED"}],
            "grants": {"reader": ["Query", "Search"]},
            "roles": {"reader": ["alice"]},
        }
    },
)

NATIVE = CollectionSpec(
    name="native",
    vectors=(
        Vector(
            name="vec",
            dimension=4,
            metric=Metric.L2,
            index=VectorIndex(kind="hnsw", parameters={"m": 9, "ef_construction": 44}),
        ),
    ),
    fields=(
        Field(name="score_", type=FieldType.NUMBER),
        Field(name="doc", type=FieldType.STRING, filterable=False),
        Field(name="dr_partition", type=FieldType.STRING, filterable=False),
    ),
    engine={
        "milvus": {
            "layout": "foreign",
            "columns": [
                {
                    "name": "pk",
                    "type": "VarChar",
                    "params": {"max_length": "64"},
                    "primary": True,
                    "column": "id",
                },
                {
                    "name": "text",
                    "type": "VarChar",
                    "params": {"enable_analyzer": "true", "max_length": "500"},
                    "column": "text",
                },
                {"name": "score", "type": "Float", "nullable": True, "column": "score_"},
                {"name": "doc", "type": "JSON", "nullable": True, "column": "doc"},
                {
                    "name": "vec",
                    "type": "FloatVector",
                    "params": {"dim": "4"},
                    "column": "vec",
                },
                {
                    "name": "terms",
                    "type": "SparseFloatVector",
                    "generated": True,
                    "column": None,
                },
            ],
            "comments": {"collection": "of users", "columns": {"score": "how good"}},
            "consistency": "Eventually",
            "dynamic": True,
            "functions": [
                {"name": "bm25", "type": "BM25", "inputs": ["text"], "outputs": ["terms"]}
            ],
            "partitions": {"names": ["de", "en"]},
            "properties": {"mmap.enabled": "true"},
            "indexes": [
                {"field": "score", "type": "INVERTED"},
                {
                    "field": "terms",
                    "type": "SPARSE_INVERTED_INDEX",
                    "metric": "BM25",
                    "params": {"bm25_b": 0.5, "bm25_k1": 1.5},
                },
                {
                    "field": "vec",
                    "type": "HNSW",
                    "metric": "L2",
                    "params": {"M": 9, "efConstruction": 44},
                },
            ],
        }
    },
)

TENANTS = 3


def make_everything(client: MilvusClient, name: str) -> list[dict[str, Any]]:
    """A collection with a value other than the default in every part that milvus-lite has, and its
    records."""
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("pk", DataType.INT64, is_primary=True)
    schema.add_field(
        "content",
        DataType.VARCHAR,
        max_length=1000,
        enable_analyzer=True,
        enable_match=True,
        analyzer_params={"tokenizer": "standard"},
    )
    schema.add_field("metadata", DataType.JSON, nullable=True)
    schema.add_field("i8", DataType.INT8, default_value=7)
    schema.add_field("i16", DataType.INT16, nullable=True)
    schema.add_field("i32", DataType.INT32, nullable=True)
    schema.add_field("i64", DataType.INT64, nullable=True)
    schema.add_field("f", DataType.FLOAT, nullable=True)
    schema.add_field("d", DataType.DOUBLE, nullable=True)
    schema.add_field("b", DataType.BOOL, nullable=True)
    schema.add_field("where", DataType.GEOMETRY, nullable=True)
    schema.add_field("when", DataType.TIMESTAMPTZ, nullable=True)
    lists = {"max_capacity": 9, "nullable": True}
    schema.add_field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_length=50, **lists)
    for element in (DataType.INT64, DataType.INT8, DataType.FLOAT, DataType.DOUBLE, DataType.BOOL):
        column = f"many_{element.name.lower()}"
        schema.add_field(column, DataType.ARRAY, element_type=element, **lists)
    schema.add_field("tenant", DataType.VARCHAR, max_length=20, is_partition_key=True)
    schema.add_field("vec", DataType.FLOAT_VECTOR, dim=4)
    schema.add_field("vec2", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_field("terms", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(
        Function(
            name="bm25",
            function_type=FunctionType.BM25,
            input_field_names=["content"],
            output_field_names=["terms"],
        )
    )
    indexes = client.prepare_index_params()
    # as JSON: pymilvus 3 says parameters one by one, which milvus-lite does not read
    indexes.add_index("vec", index_type="HNSW", metric_type="L2", **_json(M=24, efConstruction=99))
    indexes.add_index("vec2", index_type="IVF_FLAT", metric_type="IP", **_json(nlist=3))
    indexes.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    indexes.add_index(
        "terms", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25", **_json(bm25_k1=1.5)
    )
    indexes.add_index("i64", index_type="INVERTED")
    client.create_collection(
        name, schema=schema, index_params=indexes, properties={"collection.ttl.seconds": "86400"}
    )
    rows = [_row(number) for number in range(30)]
    client.insert(name, rows)
    return rows


def _json(**parameters: Any) -> dict[str, Any]:
    return {"params": {"params": parameters}}


def _row(number: int) -> dict[str, Any]:
    odd = number % 2
    return {
        "pk": number * 7919 - 100_000,
        "content": f"text {number} ü" if odd else "",
        "metadata": {"z": "é", "a": [1, {"b": None}, 0.1]} if odd else None,
        "i8": -number,
        "i16": number if odd else None,
        "i32": -(2**31) + number,
        "i64": 2**63 - 1 - number,
        "f": 0.1 * number,
        "d": 0.1 * number if odd else None,
        "b": bool(odd),
        "where": f"POINT ({number} 1)" if odd else None,
        "when": "2026-01-02T03:04:05.123456Z" if odd else None,
        "tags": [["a", "", "ü"], [], None][number % 3],
        "many_int64": [2**63 - 1, -number],
        "many_int8": [-128, 127] if odd else [],
        "many_float": [0.5, 1e-45],
        "many_double": [0.1, -0.0] if odd else None,
        "many_bool": [True, False],
        "tenant": f"t{number % TENANTS}",
        "vec": [number, 0.1, -0.0, 1e-45],
        "vec2": [number, 1.5],
        "words": {3: 1.5, number + 10: 0.25},
        **({"color": "red", "size": {"b": number, "a": [None]}} if odd else {}),
    }
