"""Values come back as they were, bit for bit or within the tolerance that a store declares."""

# ruff: noqa: S101 - a suite is made of assertions

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.collection import (
    UNBOUNDED,
    CollectionSpec,
    Metric,
    Vector,
    VectorType,
)
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.shared.narrowing import narrowed
from dr_pipelines.testing.store_promises.given import (
    NAME,
    as_kept,
    filled,
    of_vectors,
    usual,
)
from dr_pipelines.testing.store_samples import (
    EXTREMES,
    contents,
    doubles,
    record,
    table,
)


class Values:
    """The promises about single values and vectors: stored exactly, or refused."""

    refuses: ClassVar[frozenset[str]]

    def test_every_value_comes_back_as_it_was(self, store: VectorStore) -> None:
        storable = [row for row in EXTREMES if row["document_id"] not in self.refuses]
        filled(store, *storable)
        assert contents(store) == as_kept(store, *storable)

    def test_every_double_comes_back_bit_for_bit(self, store: VectorStore) -> None:
        """Engines that read decimal numbers lose the last bit of some."""
        storable = [
            record("n", chunk, weight=number, extra=canonical_json({"n": [{"x": number}]}).decode())
            for chunk, number in enumerate(doubles(1000))
        ]
        filled(store, *storable)
        store.build_index(NAME)
        columns = ["id", "weight", "extra"]
        rows_read = contents(store, columns=columns)
        assert rows_read == [
            {name: row[name] for name in columns} for row in as_kept(store, *storable)
        ]

    def test_what_cannot_be_kept_is_refused_by_name(self, store: VectorStore) -> None:
        refused = [row for row in EXTREMES if row["document_id"] in self.refuses]
        assert {row["document_id"] for row in refused} == self.refuses
        filled(store, record("kept"))
        for row in refused:
            with pytest.raises(InvalidRequest, match=row["id"]):
                store.write(NAME, table(record("good"), row), replaces=["kept"])
        assert contents(store) == as_kept(store, record("kept"))

    @pytest.mark.parametrize("metric", list(Metric)[:3])
    def test_vectors_come_back_bit_for_bit(self, store: VectorStore, metric: Metric) -> None:
        spec = CollectionSpec(name="bits", vectors=(Vector(dimension=3, metric=metric),))
        values = _any_bits(1000) if store.vector_tolerance == 0 else usual(1000)
        filled(store, spec=spec)
        store.write("bits", of_vectors(spec, values))
        _same_vectors(_read_vectors(store, "bits"), values, tolerance=store.vector_tolerance)

    @pytest.mark.parametrize("dtype", list(VectorType))
    def test_vectors_of_narrower_types_come_back(
        self, store: VectorStore, dtype: VectorType
    ) -> None:
        spec = CollectionSpec(
            name="narrow",
            vectors=(
                Vector(
                    dimension=8,
                    metric=Metric.HAMMING if dtype is VectorType.BIT else Metric.L2,
                    dtype=dtype,
                ),
            ),
        )
        random = np.random.default_rng(11).normal(0, 2, (50, 8)).astype(np.float32)
        values = narrowed(random.ravel(), dtype).reshape(random.shape) + np.float32(0)  # no -0.0
        filled(store, spec=spec)
        store.write("narrow", of_vectors(spec, values))
        assert store.describe("narrow").vectors[0].dtype is dtype
        _same_vectors(_read_vectors(store, "narrow"), values, tolerance=store.vector_tolerance)

    def test_sparse_and_several_vectors_come_back(self, store: VectorStore) -> None:
        spec = CollectionSpec(
            name="mixed",
            vectors=(
                Vector(dimension=3, metric=Metric.L2),
                Vector(name="words", kind="sparse", dimension=UNBOUNDED, metric=Metric.DOT),
                Vector(name="tokens", kind="multi", dimension=2, metric=Metric.COSINE),
            ),
        )
        vectors: list[dict[str, Any]] = [
            {"words": {"indices": [0, 7, 2**32 - 1], "values": [0.5, -1.0, 0.25]}, "tokens": None},
            {"words": None, "tokens": [[1.0, 0.0], [0.5, -0.25]]},
            {"words": {"indices": [3], "values": [1.5]}, "tokens": [[0.0, 1.0]]},
        ]
        rows = [record("m", n) | more for n, more in enumerate(vectors)]
        schema = store_schema(spec)
        store.create(spec)
        store.write("mixed", pa.Table.from_pylist(rows, schema=schema))
        store.build_index("mixed")
        assert store.describe("mixed").same_contract(spec)
        read = pa.Table.from_batches(store.scan("mixed"), schema)
        assert [row["words"] for row in read.to_pylist()] == [row["words"] for row in vectors]
        for row, more in zip(read.to_pylist(), vectors, strict=True):
            assert (row["tokens"] is None) == (more["tokens"] is None)
            flat = [np.ravel(v or []).tolist() for v in (row["tokens"], more["tokens"])]
            assert flat[0] == pytest.approx(flat[1], abs=max(store.vector_tolerance, 1e-12))

    def test_an_empty_vector_is_not_a_missing_one(self, store: VectorStore) -> None:
        spec = CollectionSpec(
            name="empty",
            vectors=(
                Vector(dimension=3),
                Vector(name="words", kind="sparse", dimension=9, metric=Metric.DOT),
                Vector(name="tokens", kind="multi", dimension=2),
            ),
        )
        vectors: list[dict[str, Any]] = [
            {"words": {"indices": [], "values": []}, "tokens": []},
            {"words": None, "tokens": None},
            {"words": {"indices": [0, 8], "values": [0.0, -0.0]}, "tokens": [[0.0, -0.0]]},
        ]
        rows = [record("m", n) | more for n, more in enumerate(vectors)]
        store.create(spec)
        store.write("empty", pa.Table.from_pylist(rows, schema=store_schema(spec)))
        read = contents(store, "empty", columns=["words", "tokens"])
        if store.vector_tolerance == 0:
            assert repr(read) == repr(_hexadecimal(vectors))
        else:
            assert [(r["words"] is None, r["tokens"]) for r in read[:2]] == [
                (False, []),
                (True, None),
            ]


def _any_bits(count: int) -> FloatArray:
    random = np.random.default_rng(7).integers(0, 2**32, (count, 3), dtype=np.uint32)
    values = random.view(np.float32)
    return np.where(np.isfinite(values), values, np.float32(-0.0))


def _read_vectors(store: VectorStore, name: str) -> FloatArray:
    column = pa.Table.from_batches(store.scan(name)).column("embedding").combine_chunks()
    whole = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    values: FloatArray = whole.flatten().to_numpy().reshape(len(whole), -1)
    return values


def _same_vectors(actual: FloatArray, expected: FloatArray, *, tolerance: float) -> None:
    """Equal bit for bit, or within the tolerance that a store declares."""
    if tolerance == 0:
        assert actual.tobytes() == expected.tobytes()
        return
    lengths = np.maximum(1, np.linalg.norm(expected.astype(np.float64), axis=1))
    distances = np.abs(actual.astype(np.float64) - expected).max(axis=1)
    assert (distances <= tolerance * lengths).all()


def _hexadecimal(value: Any) -> Any:
    """As `contents` gives values: floats by their bits."""
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, dict):
        return {key: _hexadecimal(item) for key, item in value.items()}
    return [_hexadecimal(item) for item in value] if isinstance(value, list) else value
