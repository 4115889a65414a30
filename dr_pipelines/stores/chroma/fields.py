"""Declared fields as metadata that Chroma can hold and filter by; see `rows` for the table."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dr_pipelines.model.collection import Field, FieldType

BITS = ":bits"
JSON = ":json"


def in_order(numbers: Any) -> Any:
    """float64 as int64 that ascend as the numbers do (-0.0 before 0.0, NaN at the ends), and back:
    the bits, of negative ones all but the sign turned round."""
    bits = np.asarray(numbers).view(np.int64)
    return bits ^ ((bits >> 63) & np.int64(2**63 - 1))


def from_order(integers: Any) -> Any:
    """The float64 that those int64 are."""
    bits = np.asarray(integers, np.int64)
    return (bits ^ ((bits >> 63) & np.int64(2**63 - 1))).view(np.float64)


def to_keys(column: pa.Array, field: Field) -> dict[str, list[Any]]:
    """The metadata of a field: key → values, None where a record does not have the key."""
    name = field.name
    match field.type:
        case FieldType.TIMESTAMP:
            return {name: column.cast(pa.int64()).to_pylist()}
        case FieldType.NUMBER:
            items = column.to_pylist()
            bits = in_order(column.fill_null(0.0).to_numpy(zero_copy_only=False)).tolist()
            return {
                name: [v if v is not None and np.isfinite(v) else None for v in items],
                name + BITS: [None if v is None else b for v, b in zip(items, bits, strict=True)],
            }
        case FieldType.STRINGS:
            lists = column.to_pylist()
            return {
                name: [[i for i in v if i is not None] or None if v else None for v in lists],
                name + JSON: [None if v is None or _is_one(v) else _json(v) for v in lists],
            }
        case _:
            return {name: column.to_pylist()}


def from_keys(records: Sequence[dict[str, Any]], field: Field) -> pa.Array:
    """The column of a field."""
    name = field.name
    items = [record.get(name) for record in records]
    match field.type:
        case FieldType.TIMESTAMP:
            return pa.array(items, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
        case FieldType.NUMBER:
            bits = [record.get(name + BITS) for record in records]
            exact = from_order([bit or 0 for bit in bits]).tolist()
            merged = [v if b is None else e for v, b, e in zip(items, bits, exact, strict=True)]
            return pa.array(merged, pa.float64(), from_pandas=False)
        case FieldType.STRINGS:
            texts = [record.get(name + JSON) for record in records]
            merged = [v if t is None else json.loads(t) for v, t in zip(items, texts, strict=True)]
            return pa.array(merged, pa.list_(pa.string()))
        case FieldType.INTEGER:
            return pa.array(items, pa.int64())
        case FieldType.BOOLEAN:
            return pa.array(items, pa.bool_())
        case _:
            return pa.array(items, pa.string())


def _is_one(items: list[str | None]) -> bool:
    return len(items) == 1 and items[0] is not None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
