"""A bounded sample of a collection's records, and those that stand for its clusters."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dr_pipelines.model.collection import CollectionSpec, Metric, Vector, VectorKind

Matrix = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

MOST_RECORDS = 10_000
MOST_VECTOR_BYTES = 64 * 1024 * 1024
ROUNDS = 10
SEED = 0


def dense_vector(spec: CollectionSpec) -> Vector | None:
    """The vector that queries ask by; None where it is not a dense one."""
    vector = spec.vectors[0]
    return vector if vector.kind is VectorKind.DENSE else None


def sample_size(spec: CollectionSpec) -> int:
    """Records of a sample: at most `MOST_RECORDS`, and vectors of at most `MOST_VECTOR_BYTES`."""
    vector = dense_vector(spec)
    if vector is None:
        return MOST_RECORDS
    return max(1, min(MOST_RECORDS, MOST_VECTOR_BYTES // (4 * vector.dimension)))


def sampled(batches: Iterable[pa.RecordBatch], schema: pa.Schema, *, rows: int) -> pa.Table:
    """At most `rows` of the records, each as likely as any other, in the order they came. Equal
    records in an equal order make an equal sample. Holds a batch and the sample."""
    random = np.random.default_rng(SEED)
    chosen, keys = schema.empty_table(), np.empty(0)
    for batch in batches:
        drawn = random.random(batch.num_rows)
        chosen = pa.concat_tables([chosen, pa.table(batch)])
        keys = np.concatenate([keys, drawn])
        if len(keys) > rows:
            keep = np.sort(np.argpartition(keys, rows)[:rows])
            chosen, keys = chosen.take(pa.array(keep)).combine_chunks(), keys[keep]
    return chosen


def matrix_of(column: pa.ChunkedArray, vector: Vector) -> tuple[Matrix, Numbers]:
    """The vectors that can ask, and the rows they are of: not null, finite, not zero. float32[n,
    dimension], of length one where the metric is cosine."""
    valid = np.flatnonzero(column.is_valid().to_numpy())
    values = column.drop_null().combine_chunks().flatten().to_numpy(zero_copy_only=False)
    matrix = values.reshape(len(valid), vector.dimension).astype(np.float32)
    norms = np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64))
    usable = np.isfinite(norms) & (norms > 0)
    matrix, norms = matrix[usable], norms[usable]
    if vector.metric is Metric.COSINE:
        matrix = (matrix / norms[:, None]).astype(np.float32)
    return matrix, valid[usable]


def medoids(matrix: Matrix, count: int) -> Numbers:
    """Rows that stand for clusters of a matrix, ascending: the nearest one to each centre. At most
    `count`; fewer where there are fewer distinct ones.

    k-means by Lloyd's rounds from centres of k-means++ (Arthur and Vassilvitskii, 2007).
    """
    if not len(matrix) or not count:
        return np.empty(0, np.int64)
    random = np.random.default_rng(SEED)
    centres = _first_centres(matrix, count, random)
    for _ in range(ROUNDS):
        nearest = _distances(matrix, centres).argmin(axis=1)
        sums = np.zeros(centres.shape, np.float64)
        np.add.at(sums, nearest, matrix)
        counts = np.bincount(nearest, minlength=len(centres))
        there = counts > 0
        centres[there] = sums[there] / counts[there][:, None]
    return np.unique(_distances(matrix, centres).argmin(axis=0))


def _first_centres(matrix: Matrix, count: int, random: np.random.Generator) -> Matrix:
    chosen = [int(random.integers(len(matrix)))]
    nearest = _distances(matrix, matrix[chosen])[:, 0]
    while len(chosen) < min(count, len(matrix)) and (total := nearest.sum()) > 0:
        chosen.append(int(random.choice(len(matrix), p=nearest / total)))
        nearest = np.minimum(nearest, _distances(matrix, matrix[chosen[-1:]])[:, 0])
    return matrix[chosen].copy()


def _distances(matrix: Matrix, centres: Matrix) -> npt.NDArray[np.float64]:
    """Squared distances, of every row to every centre."""
    squares = np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64)
    others = np.einsum("ij,ij->i", centres, centres, dtype=np.float64)
    product = (matrix @ centres.T).astype(np.float64)
    distances: npt.NDArray[np.float64] = squares[:, None] + others[None, :] - 2 * product
    return distances.clip(min=0.0)
