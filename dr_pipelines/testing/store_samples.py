"""A collection with every kind of field, and records to put into it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from dr_pipelines.model.collection import CollectionSpec, Field, FieldType, Metric, Vector
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.record import record_id, store_schema
from dr_pipelines.protocols import VectorReader

SPEC = CollectionSpec(
    name="handbook@20260101T120000Z",
    vectors=(
        Vector(dimension=3),
        Vector(name="picture", dimension=2, metric=Metric.L2),
        Vector(name="raw", dimension=2, metric=Metric.DOT),
    ),
    fields=(
        Field(name="product", type=FieldType.STRING, role="tenant"),
        Field(name="year", type=FieldType.INTEGER),
        Field(name="weight", type=FieldType.NUMBER),
        Field(name="current", type=FieldType.BOOLEAN),
        Field(name="seen", type=FieldType.TIMESTAMP),
        Field(name="groups", type=FieldType.STRINGS, role="principals"),
        Field(name="note", type=FieldType.STRING, filterable=False),
    ),
    origin="42-1a2b3c4d",
)
LONG = "ü" * 2**20  # 2 MiB
SUBNORMAL = 1e-45


def record(document: str = "a", chunk: int = 0, **values: Any) -> dict[str, Any]:
    """A record with every value set; `values` override."""
    return {
        "id": record_id(document, chunk),
        "document_id": document,
        "chunk_index": chunk,
        "text": f"chunk {chunk} of {document}",
        "uri": f"file:///{document}",
        "product": "search",
        "year": 2026,
        "weight": 0.5,
        "current": True,
        "seen": datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC),
        "groups": ["eng", "ops"],
        "note": "n",
        "extra": '{"k":1}',
        "embedding": [1.0, float(chunk), 0.25],
        "picture": [float(chunk), 0.0],
        "raw": [1.0, float(chunk)],
    } | values


def table(*records: dict[str, Any], spec: CollectionSpec = SPEC) -> pa.Table:
    return pa.Table.from_pylist(list(records), schema=store_schema(spec))


def document(name: str, *, chunks: int) -> list[dict[str, Any]]:
    return [record(name, chunk) for chunk in range(chunks)]


EXTREMES = (
    record("nulls", 0) | dict.fromkeys([f.name for f in store_schema(SPEC) if f.nullable]),
    record("empty", 0, text="", uri="", product="", note="", extra="", groups=[]),
    record("lists", 0, groups=["z", "a", "", "a", None]),
    record(
        "zeros", 0, weight=-0.0, year=0, embedding=[-0.0, 0.0, SUBNORMAL], raw=[-SUBNORMAL, 0.0]
    ),
    record("large", 0, year=2**63 - 1, weight=1.7976931348623157e308, raw=[3.4e38, -3.4e38]),
    record("small", 0, year=-(2**63), weight=float("-inf"), chunk_index=2**31 - 1),
    record("nan", 0, weight=float("nan")),
    record("old", 0, seen=datetime(1, 1, 1, tzinfo=UTC)),
    record("late", 0, seen=datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    record("long", 0, text=LONG),
    record("text", 0, text="a\r\n\t'\"\\%_;--\u0000é e\u0301 日本 🗝", note="NULL"),
    record("norm", 0, embedding=[30.0, 40.0, 0.0], picture=[0.0, 0.0]),
)
"""What stores lose: nulls, signs of zero, order of lists, ends of ranges, long texts."""

FILTERED = (
    record("f", 0, product="search", year=2019, groups=["eng"], weight=1.5),
    record("f", 1, product="mail", year=2020, groups=["eng", "ops"], weight=float("nan")),
    record("f", 2, product=None, year=None, groups=None, current=None, seen=None, weight=None),
    record("f", 3, product="", year=-1, groups=[], current=False, weight=-0.0),
    record("f", 4, product="Search", year=2021, groups=["engine", ""], weight=float("inf")),
    record("f", 5, product="sé", year=2022, seen=datetime(2025, 1, 1, tzinfo=UTC), groups=[None]),
)


def contents(store: VectorReader, name: str = SPEC.name, **options: Any) -> list[dict[str, Any]]:
    """Every record, as a scan gives them, with floats that compare by their bits."""
    return [_comparable(row) for batch in store.scan(name, **options) for row in batch.to_pylist()]


def expected(*records: dict[str, Any]) -> list[dict[str, Any]]:
    """What `contents` should be after these were written."""
    rows = [_comparable(row) for row in table(*records).to_pylist()]
    return sorted(rows, key=lambda row: row["id"].encode())


def vector(*components: float) -> FloatArray:
    return np.array(components, dtype=np.float32)


def texts() -> Iterator[dict[str, Any]]:
    """Texts of different lengths and repetitions, for keyword search."""
    for chunk, text in enumerate(
        [
            "the wolf and the fox",
            "wolf wolf wolf",
            "FOX! Über-wolf, 42",
            "nothing here",
            None,
            "",
            "the long story of a fox who met another fox and told the story to everybody else",
        ]
    ):
        yield record("t", chunk, text=text, embedding=[1.0, float(chunk), 0.0])


def _comparable(value: Any) -> Any:
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items()}
    return [_comparable(item) for item in value] if isinstance(value, list) else value
