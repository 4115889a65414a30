"""Vectors as Chroma has them, and as text where it has no place for them.

Chroma holds one dense vector a record. In a cosine space it keeps that vector divided by its length
and the length, and multiplies them for an answer: three roundings, each of at most 2^-24 of a
component. Seen at most in 60,000 vectors of 1 to 1536 components and lengths of 1e-17 to 1e19:
1.2e-7 of the length. Squares of lengths are single precision too, so beyond these bounds all
components become NaN or 0; such vectors are kept as text.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dr_pipelines.model.collection import Metric, Vector, VectorKind
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.record import vector_type
from dr_pipelines.stores.shared import columns
from dr_pipelines.stores.shared.columns import Mask

TOLERANCE = 4 * 2.0**-24
SHORTEST, LONGEST = 1e-18, 1e19
SPACES = {Metric.COSINE: "cosine", Metric.DOT: "ip", Metric.L2: "l2"}
METRICS = {space: metric for metric, space in SPACES.items()}


def matrix(column: pa.Array) -> tuple[FloatArray, Mask]:
    """float32[rows, dimension] of a dense vector column, zeros where it is null, and where it is
    not."""
    rows, present = columns.all_rows(column)
    return rows.astype(np.float32, copy=False), present


def beyond(rows: FloatArray, space: str) -> Mask:
    """Which vectors a space cannot hold."""
    if space != SPACES[Metric.COSINE]:
        return np.zeros(len(rows), bool)
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    outside: Mask = (lengths > 0) & ((lengths < SHORTEST) | (lengths > LONGEST))
    return outside


def column(rows: FloatArray, valid: Mask, vector: Vector) -> pa.Array:
    """The Arrow column of a dense vector."""
    return columns.of_rows(np.asarray(rows, np.float32), valid, vector_type(vector))


def to_texts(values: pa.Array, vector: Vector) -> list[str | None]:
    """A vector column as text: base64 of little-endian float32, or JSON where it is not dense."""
    if vector.kind is not VectorKind.DENSE:
        return [None if v is None else _json(v) for v in values.to_pylist()]
    rows, valid = matrix(values)
    return [
        columns.to_base64(row) if has else None
        for row, has in zip(rows, valid.tolist(), strict=True)
    ]


def from_texts(texts: Sequence[str | None], vector: Vector) -> pa.Array:
    """The vector column of such texts."""
    if vector.kind is not VectorKind.DENSE:
        return pa.array([t and json.loads(t) for t in texts], vector_type(vector))
    rows = np.zeros((len(texts), vector.dimension), np.float32)
    for place, text in enumerate(texts):
        if text is not None:
            rows[place] = columns.from_base64(text)
    return column(rows, np.array([text is not None for text in texts], bool), vector)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
