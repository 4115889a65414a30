"""Features that only servers have, as far as messages go: types that milvus-lite lacks, and
indexes.

No server can be had; the bytes are compared with what pymilvus makes and reads of them.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pymilvus import CollectionSchema, DataType, FieldSchema
from pymilvus.client.prepare import Prepare
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from dr_pipelines.errors import (
    Damaged,
    InvalidRequest,
    NotFound,
    Refused,
    Unavailable,
)
from dr_pipelines.model.collection import (
    Metric,
    Vector,
    VectorIndex,
    VectorKind,
)
from dr_pipelines.model.record import SPARSE
from dr_pipelines.stores.milvus import (
    column,
    errors,
    live,
    messages,
)
from dr_pipelines.stores.milvus import index as indexes

T = schema_pb2.DataType
ROWS = np.array([[1.5, -2.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [0.0] * 8], np.float32)


def _packed_by_pymilvus(type: int, values: list[Any]) -> Any:
    field = {"name": "v", "type": DataType(type), "params": {"dim": 8}}
    rows = [{"v": value} for value in values]
    request = Prepare.row_insert_param("c", rows, "", fields_info=[field], enable_dynamic=False)
    return request.fields_data[0]


@pytest.mark.parametrize(
    ("type", "values", "theirs"),
    [
        (T.FloatVector, ROWS, list(ROWS)),
        (T.Float16Vector, ROWS, list(ROWS.astype(np.float16))),
        (T.Int8Vector, np.rint(ROWS), list(np.rint(ROWS).astype(np.int8))),
        (T.BinaryVector, (ROWS > 0) * 1.0, [np.packbits(r > 0).tobytes() for r in ROWS]),
        (T.BFloat16Vector, ROWS, [(r.view(np.uint32) >> 16).astype("<u2").tobytes() for r in ROWS]),
    ],
)
def test_vectors_are_the_bytes_that_pymilvus_makes(type: int, values: Any, theirs: Any) -> None:
    vector_column = column.Column("v", type, params={"dim": "8"})
    array = pa.FixedSizeListArray.from_arrays(pa.array(values.astype(np.float32).ravel()), 8)
    made = messages.to_message(vector_column, array)
    assert made.vectors == _packed_by_pymilvus(type, theirs).vectors
    assert messages.from_message(vector_column, made, 2).equals(array)


def test_nulls_of_vectors_travel_as_gaps() -> None:
    vector_column = column.Column(
        "v", T.Float16Vector, params={"dim": "2"}, flags=frozenset(["nullable"])
    )
    array = pa.array([None, [1.0, 2.0], None, [0.5, 0.25]], pa.list_(pa.float32(), 2))
    made = messages.to_message(vector_column, array)
    assert len(made.vectors.float16_vector) == 2 * 2 * 2
    assert messages.from_message(vector_column, made, 4).to_pylist() == array.to_pylist()
    with pytest.raises(Damaged, match="'v' has 2 values of 5"):
        messages.from_message(vector_column, made, 5)


def test_sparse_vectors_are_the_bytes_that_pymilvus_makes() -> None:
    vector_column = column.Column("v", T.SparseFloatVector)
    values = pa.array([{"indices": [1, 2**31], "values": [0.5, 2.0]}], SPARSE)
    made = messages.to_message(vector_column, values)
    theirs = _packed_by_pymilvus(T.SparseFloatVector, [{1: 0.5, 2**31: 2.0}])
    assert made.vectors == theirs.vectors
    assert messages.from_message(vector_column, made, 1).equals(values)


def test_every_type_of_column_is_described_and_made_again() -> None:
    vectors = {
        DataType.FLOAT_VECTOR,
        DataType.FLOAT16_VECTOR,
        DataType.BFLOAT16_VECTOR,
        DataType.INT8_VECTOR,
        DataType.BINARY_VECTOR,
    }
    fields = [
        FieldSchema("pk", DataType.INT64, is_primary=True, auto_id=True, description="key"),
        FieldSchema("key", DataType.VARCHAR, max_length=9, is_partition_key=True),
        FieldSchema("near", DataType.INT64, is_clustering_key=True),
        FieldSchema("text", DataType.VARCHAR, max_length=9, default_value="x", nullable=True),
        FieldSchema("big", DataType.INT64, default_value=2**62),
        FieldSchema(
            "tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=3, max_length=4
        ),
        FieldSchema("words", DataType.SPARSE_FLOAT_VECTOR),
        *(FieldSchema(f"v{int(kind)}", kind, dim=8, mmap_enabled=True) for kind in vectors),
    ]
    schema = CollectionSchema(fields)
    for field in schema.fields:
        message = schema_pb2.FieldSchema(
            name=field.name,
            data_type=field.dtype,
            is_primary_key=field.is_primary,
            autoID=field.auto_id,
            description=field.description,
            nullable=field.nullable,
            is_partition_key=field.is_partition_key,
            is_clustering_key=field.is_clustering_key,
            element_type=field.element_type or 0,
            default_value=field.default_value,
            type_params=[{"key": k, "value": str(v)} for k, v in field.params.items()],
        )
        read = column.of_message(message)
        again = column.of_json(read.to_json(), read.comment).message()
        order = sorted(again.type_params, key=lambda pair: pair.key)
        del again.type_params[:]
        again.type_params.extend(order)
        order = sorted(message.type_params, key=lambda pair: pair.key)
        del message.type_params[:]
        message.type_params.extend(order)
        assert again == message


def test_a_type_that_is_not_carried_is_named() -> None:
    with pytest.raises(InvalidRequest, match="'m' is Mol"):
        column.of_message(schema_pb2.FieldSchema(name="m", data_type=T.Mol))
    with pytest.raises(InvalidRequest, match="unreadable"):
        column.of_json({"name": "m", "type": "Unheard"})


@pytest.mark.parametrize(
    ("kind", "parameters", "value"),
    [
        ("hnsw", {"m": 24, "ef_construction": 99, "ef_search": 7}, {"M": 24, "efConstruction": 99}),
        ("ivf_pq", {"lists": 9, "sub_vectors": 4, "bits": 8}, {"nlist": 9, "m": 4, "nbits": 8}),
        (
            "hnsw_pq",
            {"m": 24, "sub_vectors": 4, "refine": True, "refine_type": "FP16"},
            {"M": 24, "m": 4, "refine": True, "refine_type": "FP16"},
        ),
        ("diskann", {"search_list": 50}, {}),
    ],
)
def test_parameters_of_indexes_are_said_and_read(
    kind: str, parameters: dict[str, Any], value: dict[str, Any]
) -> None:
    index = VectorIndex(kind=kind, parameters=parameters)
    vector = Vector(dimension=8, metric=Metric.DOT, index=index)
    made = indexes.of_vector(vector, "v")
    request = indexes.request("c", made)
    flat = {pair.key: pair.value for pair in request.extra_params}
    assert made.get("params", {}) == value
    assert (flat["index_type"], flat["metric_type"]) == (kind.upper(), "IP")
    flat.pop("params", None)  # as a server may report it: one by one
    pairs = indexes.pairs((flat | {"dim": "8"}).items())
    description = milvus_pb2.IndexDescription(field_name="v", index_name="mine", params=pairs)
    assert indexes.of_description(description) == made | {"name": "mine"}
    assert indexes.to_vector(made, index) == index
    assert indexes.query_parameters(index, limit=20) in (
        {},
        {"ef": 20},
        {"search_list": 50},
    )


def test_no_index_is_an_exact_one() -> None:
    for vector in (
        Vector(dimension=2),
        Vector(dimension=2, metric=Metric.HAMMING),
        Vector(dimension=2, kind=VectorKind.SPARSE, metric=Metric.DOT),
    ):
        assert indexes.to_vector(indexes.of_vector(vector, "v"), None) is None


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ({"code": 100}, NotFound),
        ({"code": 800}, NotFound),
        ({"error_code": 4}, NotFound),
        ({"code": 101, "error_code": 101}, errors.NotLoaded),
        ({"code": 700, "error_code": 11}, errors.NoIndex),
        ({"code": 1100}, InvalidRequest),
        ({"code": 6, "error_code": 6}, InvalidRequest),
        ({"code": 1400}, Refused),
        ({"code": 8}, Unavailable),
        ({"code": 65535}, Unavailable),
        ({"code": 65535, "extra_info": {"is_input_error": "true"}}, InvalidRequest),
        ({"code": 65535, "reason": "query results exceed the maxOutputSize"}, errors.TooLarge),
    ],
)
def test_statuses_are_errors_of_ours(status: dict[str, Any], error: type[Exception]) -> None:
    translated = errors.of_status(common_pb2.Status(**status), "milvus://host:1/")
    assert type(translated) is error
    assert errors.is_failure(common_pb2.Status(**status))
    assert not errors.is_failure(common_pb2.Status())


def test_a_label_that_is_too_long_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("json.loads", lambda text: pytest.fail(f"parsed {len(text)}"))
    with pytest.raises(Damaged, match="bytes"):
        live.label_of('"' + "x" * live.QUOTED_SIZE + '"', "docs")
