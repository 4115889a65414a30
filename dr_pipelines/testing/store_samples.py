"""A collection with every kind of field, and records to put into it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Metric,
    Vector,
    VectorIndex,
)
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.record import record_id, store_schema
from dr_pipelines.protocols import Definer, VectorReader, VectorStore

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
CONFIGURED = SPEC.physical("configured").model_copy(
    update={
        "vectors": tuple(
            v.model_copy(update={"index": VectorIndex(kind="hnsw", parameters={"m": 7})})
            for v in SPEC.vectors
        ),
        "shards": 2,
        "replicas": 3,
    }
)
"""For stores that have no configuration of their own: they keep what is said of another's."""
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
        "zeros",
        0,
        weight=-0.0,
        year=0,
        current=False,
        embedding=[-0.0, 0.0, SUBNORMAL],
        raw=[-SUBNORMAL, 0.0],
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


def doubles(count: int, *, seed: int = 12) -> list[float]:
    """Finite numbers: a half of any magnitude, a quarter of the usual ones, the rest whole numbers
    of sixteen digits and subnormal ones."""
    random = np.random.default_rng(seed)
    bits = random.integers(0, 2**64, count, dtype=np.uint64).view(np.float64)
    any_magnitude = bits[np.isfinite(bits)][: count // 2]
    usual = random.normal(size=count // 4)
    whole = random.integers(2**50, 2**53, count // 8).astype(np.float64)
    tiny = random.integers(1, 2**52, count - count // 2 - count // 4 - count // 8, dtype=np.uint64)
    return [float(n) for n in (*any_magnitude, *usual, *whole, *tiny.view(np.float64))]


def contents(store: VectorReader, name: str = SPEC.name, **options: Any) -> list[dict[str, Any]]:
    """Every record, as a scan gives them, with floats that compare by their bits."""
    return [_comparable(row) for batch in store.scan(name, **options) for row in batch.to_pylist()]


def expected(*records: dict[str, Any], tolerance: float = 0.0) -> list[dict[str, Any]]:
    """The rows that `contents` should return after these were written; vectors within a
    tolerance."""
    rows = [_comparable(row) for row in table(*records).to_pylist()]
    for row in rows if tolerance else ():
        row |= {v.name: row[v.name] and Near(row[v.name], tolerance) for v in SPEC.vectors}
    return sorted(rows, key=lambda row: row["id"].encode())


class Near:
    """Equal to a vector whose components differ by no more than a tolerance, and are the same where
    they are not finite."""

    def __init__(self, components: list[str], tolerance: float) -> None:
        self._vector = np.array([float.fromhex(c) for c in components])
        finite = self._vector[np.isfinite(self._vector)]
        self._allowed = tolerance * max(1.0, float(np.linalg.norm(finite)))

    def __eq__(self, other: object) -> bool:
        components = [float.fromhex(c) for c in other] if isinstance(other, list) else []
        return len(components) == len(self._vector) and np.allclose(
            self._vector, components, rtol=0, atol=self._allowed, equal_nan=True
        )

    def __hash__(self) -> int:
        return hash(len(self._vector))

    def __repr__(self) -> str:
        return f"Near({self._vector.tolist()})"


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


def opened(store: VectorStore, name: str) -> None:
    """Take the last step of a restore, where a store has one: the rights of others."""
    if isinstance(store, Definer):
        store.open_up(name)
