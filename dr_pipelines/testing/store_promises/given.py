"""Data that several subjects of the contract share: names, ids, a filled store, vectors."""

from typing import Any

import numpy as np
import pyarrow as pa

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import VectorStore
from dr_pipelines.testing.store_samples import SPEC, expected, table

NAME = SPEC.name
OTHER = SPEC.physical("handbook@20260202T120000Z")
ODD_IDS = ("a#1", "a!1", "a", "A", "é", "z", "日本", "🗝", "e\u0301", "~", "a#10", "a#2", "￿")
BM25 = [(2, 1.261048), (0, 1.170687), (1, 0.95232), (6, 0.497423)]
"""Computed by hand from the formula for `Wolf, fox` over `texts()`."""


def filled(store: VectorStore, *records: dict[str, Any], spec: CollectionSpec = SPEC) -> None:
    store.create(spec)
    store.write(spec.name, table(*records, spec=spec))


def as_kept(store: VectorStore, *records: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that `contents` returns after these were written, within the tolerance of the
    store."""
    return expected(*records, tolerance=store.vector_tolerance)


def usual(count: int, *, seed: int = 3) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)


def of_vectors(spec: CollectionSpec, values: FloatArray) -> pa.Table:
    """Records of one document, ids ascending, that have these vectors and nothing else."""
    count, width = values.shape
    columns = {
        "id": pa.array([f"{n:04d}" for n in range(count)]),
        "document_id": pa.array(["d"] * count),
        "chunk_index": pa.array(range(count), pa.int32()),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), width),
    }
    schema = store_schema(spec)
    return pa.table([columns.get(f.name, pa.nulls(count, f.type)) for f in schema], schema=schema)
