"""Columns between Arrow and Milvus' messages.

Vectors and doubles go in and out as blocks of bytes: appended one by one, 20,000 vectors of 384
components take seconds. In Arrow, whole numbers are int64, numbers float64, JSON is its text, dense
vectors of any type are float32, sparse ones `SPARSE`.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pymilvus.grpc_gen import schema_pb2

from dr_pipelines.errors import Damaged
from dr_pipelines.model.record import SPARSE
from dr_pipelines.stores.milvus.column import (
    DENSE,
    INTEGERS,
    TEXTS,
    Column,
    T,
)

SPARSE_ITEM = np.dtype([("index", "<u4"), ("value", "<f4")])
TIMES = pa.timestamp("us", tz="UTC")
Matrix = npt.NDArray[np.float32]


def arrow_type(column: Column) -> pa.DataType:
    """How a column's values stand in Arrow."""
    if column.type in DENSE:
        return pa.list_(pa.float32(), column.dimension)
    if column.type == T.SparseFloatVector:
        return SPARSE
    if column.type == T.Array:
        return pa.list_(_scalar_type(column.element))
    return _scalar_type(column.type)


def to_message(column: Column, values: pa.Array) -> Any:
    """A column of a request; `values` has the column's `arrow_type`."""
    made = schema_pb2.FieldData(field_name=column.name, type=column.type)
    if column.nullable:
        made.valid_data.extend(values.is_valid().to_pylist())
        values = values.drop_null()  # only the values that are there travel
    if column.type in DENSE:
        _put_vectors(made.vectors, column, values)
    elif column.type == T.SparseFloatVector:
        made.vectors.sparse_float_vector.contents.extend(_sparse_bytes(v) for v in values)
    elif column.type == T.Array:
        made.scalars.array_data.element_type = column.element
        for row in values.to_pylist():
            _put_scalars(made.scalars.array_data.data.add(), column.element, row)
    else:
        _put_scalars(made.scalars, column.type, values)
    return made


def from_message(column: Column, data: Any, count: int) -> pa.Array:
    """A column of an answer that has `count` rows.

    Raises:
        Damaged: it has another number of values.
    """
    kind = arrow_type(column)
    if column.type in DENSE:
        matrix = _vectors(column, data.vectors)
        values = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), column.dimension)
    elif column.type == T.SparseFloatVector:
        contents = data.vectors.sparse_float_vector.contents
        values = pa.array([_sparse(content) for content in contents], kind)
    elif column.type == T.Array:
        rows = data.scalars.array_data.data
        values = pa.array([_scalars(row, column.element) for row in rows], kind)
    else:
        values = pa.array(_scalars(data.scalars, column.type), kind)
    return _with_nulls(values, data, count)


def narrow_bytes(type: int, rows: Matrix) -> bytes:
    """Vectors of a type narrower than float32, as Milvus has them."""
    encode, _ = _NARROW[type]
    return encode(rows)


def _with_nulls(values: pa.Array, data: Any, count: int) -> pa.Array:
    """Nulls where the answer says so: servers send a value for every row or, of vectors, only those
    that are there; milvus-lite sends one for every row."""
    valid = np.array(data.valid_data, dtype=bool)
    if len(valid) == count and not valid.all():
        place = np.where(valid, np.arange(count), 0)
        if len(values) < count:
            place = np.cumsum(valid) - 1
        return values.take(pa.array(place, mask=~valid))
    if len(values) != count:
        raise Damaged(f"column {data.field_name!r} has {len(values)} values of {count} records")
    return values


def _scalar_type(type: int) -> pa.DataType:
    if type in INTEGERS:
        return pa.int64()
    if type in (T.Float, T.Double):
        return pa.float64()
    if type == T.Bool:
        return pa.bool_()
    return TIMES if type == T.Timestamptz else pa.string()


def _put_scalars(into: Any, type: int, values: Any) -> None:
    listed = values if isinstance(values, list) else values.to_pylist()
    if type == T.Bool:
        into.bool_data.data.extend(listed)
    elif type == T.Int64:
        into.long_data.data.extend(listed)
    elif type in INTEGERS:
        into.int_data.data.extend(listed)
    elif type == T.Float:
        into.float_data.ParseFromString(_packed(np.array(listed, "<f4")))
    elif type == T.Double:
        into.double_data.ParseFromString(_packed(np.array(listed, "<f8")))
    elif type == T.JSON:
        into.json_data.data.extend(text.encode() for text in listed)
    elif type == T.Geometry:
        into.geometry_wkt_data.data.extend(listed)
    elif type == T.Timestamptz:
        into.string_data.data.extend(time.isoformat() for time in listed)
    else:
        into.string_data.data.extend(listed)


def _scalars(data: Any, type: int) -> list[Any]:
    if type == T.Bool:
        return list(data.bool_data.data)
    if type == T.Int64:
        return list(data.long_data.data)
    if type in INTEGERS:
        return list(data.int_data.data)
    if type in (T.Float, T.Double):
        return list(data.float_data.data if type == T.Float else data.double_data.data)
    if type == T.JSON:
        return [_canonical(value) for value in data.json_data.data]
    if type == T.Timestamptz:
        return [_time(value) for value in data.string_data.data]
    if type in TEXTS and data.WhichOneof("data") == "geometry_wkt_data":
        return list(data.geometry_wkt_data.data)
    return list(data.string_data.data)


def _canonical(value: bytes) -> str:
    """JSON text with sorted keys and no spaces; what is no JSON (milvus-lite returns strings bare)
    as the JSON string that it is."""
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = value.decode("utf-8", "replace")
    return json.dumps(parsed, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _time(text: str) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def _put_vectors(into: Any, column: Column, values: pa.Array) -> None:
    into.dim = column.dimension
    flat = values.flatten().to_numpy(zero_copy_only=False)
    if column.type == T.FloatVector:
        into.float_vector.ParseFromString(_packed(flat.astype("<f4", copy=False)))
        return
    encode, _ = _NARROW[column.type]
    setattr(into, _MEMBER[column.type], encode(flat.reshape(-1, column.dimension)))


def _vectors(column: Column, data: Any) -> Matrix:
    width = column.dimension
    if column.type == T.FloatVector:
        message = data.float_vector
        size = 4 * len(message.data)
        values = message.SerializeToString()
        return np.frombuffer(values, "<f4", offset=len(values) - size).reshape(-1, width)
    _, decode = _NARROW[column.type]
    return decode(getattr(data, _MEMBER[column.type]), width)


def _packed(values: npt.NDArray[Any]) -> bytes:
    """A message whose first member is a packed repeated number, which is little-endian."""
    content = values.tobytes()
    if not content:
        return b""
    size, length = len(content), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return b"\x0a" + bytes(length) + content


def _from_half(content: bytes, width: int) -> Matrix:
    return np.frombuffer(content, "<f2").reshape(-1, width).astype(np.float32)


def _to_brain(rows: Matrix) -> bytes:
    return (np.ascontiguousarray(rows).view(np.uint32) >> 16).astype("<u2").tobytes()


def _from_brain(content: bytes, width: int) -> Matrix:
    words = np.frombuffer(content, "<u2").astype(np.uint32) << 16
    return words.view(np.float32).reshape(-1, width)


def _from_int8(content: bytes, width: int) -> Matrix:
    return np.frombuffer(content, np.int8).reshape(-1, width).astype(np.float32)


def _from_bits(content: bytes, width: int) -> Matrix:
    rows = np.frombuffer(content, np.uint8).reshape(-1, (width + 7) // 8)
    return np.unpackbits(rows, axis=1)[:, :width].astype(np.float32)


_MEMBER: dict[int, str] = {
    T.Float16Vector: "float16_vector",
    T.BFloat16Vector: "bfloat16_vector",
    T.Int8Vector: "int8_vector",
    T.BinaryVector: "binary_vector",
}
_NARROW: dict[int, tuple[Callable[[Matrix], bytes], Callable[[bytes, int], Matrix]]] = {
    T.Float16Vector: (lambda rows: rows.astype("<f2").tobytes(), _from_half),
    T.BFloat16Vector: (_to_brain, _from_brain),
    T.Int8Vector: (lambda rows: rows.astype(np.int8).tobytes(), _from_int8),
    T.BinaryVector: (lambda rows: np.packbits(rows != 0, axis=1).tobytes(), _from_bits),
}


def _sparse_bytes(vector: pa.StructScalar) -> bytes:
    items = np.empty(len(vector["indices"]), SPARSE_ITEM)
    items["index"] = vector["indices"].values.to_numpy(zero_copy_only=False)
    items["value"] = vector["values"].values.to_numpy(zero_copy_only=False)
    return items.tobytes()


def _sparse(content: bytes) -> dict[str, list[Any]]:
    items = np.sort(np.frombuffer(content, SPARSE_ITEM), order="index")
    return {"indices": items["index"].tolist(), "values": items["value"].tolist()}
