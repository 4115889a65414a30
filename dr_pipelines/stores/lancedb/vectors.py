"""Vectors as Lance keeps them, and back: components travel as float32."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dr_pipelines.model.collection import (
    Metric,
    Vector,
    VectorKind,
    VectorType,
)
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.record import vector_type
from dr_pipelines.stores.shared import columns

DISTANCES = {
    Metric.COSINE: "cosine",
    Metric.DOT: "dot",
    Metric.L2: "l2",
    Metric.HAMMING: "hamming",
}
FLOATS = (pa.float16(), pa.float32(), pa.float64())
KEPT = frozenset([VectorType.FLOAT32, VectorType.FLOAT16, VectorType.BIT])
"""Types of component that Lance both keeps and searches; others are kept as float32, which Lance
can search and index: its int8 cannot be searched, and its uint8 is always 8 bits."""


def stored_type(vector: Vector) -> pa.DataType:
    """The column of a vector in a collection of ours."""
    if vector.kind is VectorKind.SPARSE:
        return vector_type(vector)
    if vector.dtype is VectorType.BIT and vector.kind is VectorKind.DENSE:
        return pa.list_(pa.uint8(), (vector.dimension + 7) // 8)
    item = pa.float16() if vector.dtype is VectorType.FLOAT16 else pa.float32()
    dense = pa.list_(item, vector.dimension)
    return pa.list_(dense) if vector.kind is VectorKind.MULTI else dense


def component(type: pa.DataType) -> pa.DataType | None:
    """The type of the components of a column that can be a vector, or several vectors."""
    if pa.types.is_list(type) or pa.types.is_large_list(type):
        inner = type.value_type
        return component(inner) if pa.types.is_fixed_size_list(inner) else None
    if not pa.types.is_fixed_size_list(type):
        return None
    components = (*FLOATS, pa.int8(), pa.uint8())
    return type.value_type if type.value_type in components else None


def searched_natively(vector: Vector, type: pa.DataType) -> bool:
    """True if Lance itself compares such a column by such a metric."""
    item = component(type)
    if item == pa.uint8():
        return vector.metric is Metric.HAMMING and vector.kind is VectorKind.DENSE
    several = vector.kind is VectorKind.MULTI
    metrics = [Metric.COSINE] if several else [Metric.COSINE, Metric.DOT, Metric.L2]
    return item in FLOATS and vector.metric in metrics


def to_stored(array: pa.Array, type: pa.DataType) -> pa.Array:
    """A column of `store_schema` as Lance keeps it. What the type does not have was refused."""
    if pa.types.is_struct(type) or array.type == type:
        return array
    if component(type) != pa.uint8():
        return array.cast(type)
    matrix, present = columns.valid_rows(array)
    return columns.of_rows(np.packbits(matrix != 0, axis=1), present, type)


def from_stored(array: pa.Array, vector: Vector) -> pa.Array:
    """A column of Lance in the type of `store_schema`; float64 is rounded."""
    target = vector_type(vector)
    if component(array.type) != pa.uint8() or vector.kind is not VectorKind.DENSE:
        return array if array.type == target else array.cast(target, safe=False)
    matrix, present = columns.valid_rows(array)
    bits = np.unpackbits(matrix.astype(np.uint8), axis=1, count=vector.dimension)
    return columns.of_rows(bits.astype(np.float32), present, target)


def query_components(vector: FloatArray, type: pa.DataType) -> npt.NDArray[np.generic]:
    """A query vector in the components of a column."""
    if component(type) == pa.uint8():
        return np.packbits(vector != 0)
    return vector


def score(distance: float, metric: Metric) -> float:
    """Lance gives squared distances, and 1 minus similarities and dot products."""
    match metric:
        case Metric.L2:
            return -float(np.sqrt(distance))
        case Metric.COSINE | Metric.DOT:
            return 1.0 - distance
        case _:
            return -distance


def exact_bytes(array: pa.Array) -> pa.Array:
    """The components of each float64 vector, little-endian."""
    matrix, present = columns.valid_rows(array)
    rows = iter(matrix.astype("<f8"))
    return pa.array([next(rows).tobytes() if there else None for there in present], pa.binary())


def of_exact_bytes(rows: pa.Array, type: pa.DataType) -> pa.Array:
    """A float64 column of what `exact_bytes` gave."""
    present = columns.valid(rows)
    joined = b"".join(row for row in rows.to_pylist() if row is not None)
    matrix = np.frombuffer(joined, "<f8").reshape(-1, type.list_size)
    return columns.of_rows(matrix, present, type)
