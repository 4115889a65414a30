"""Exact nearest records of many queries at once, by matrix products over batches."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dr_pipelines.model.collection import Metric, Vector
from dr_pipelines.model.query import Hit
from dr_pipelines.proof.probes.sample import Matrix
from dr_pipelines.stores.shared.exact import vector_scores

Scores = npt.NDArray[np.float64]
BATCH_ROWS = 8_192
"""Times the queries, that is how many scores are in memory at once."""


@dataclass(frozen=True)
class Ranking:
    """The nearest records of a query, best first, with their scores."""

    ids: tuple[str, ...]
    scores: Scores

    def tied(self, limit: int, *, tolerance: float) -> frozenset[str]:
        """The first so many, and all that score as well as the last of them."""
        if len(self.ids) <= limit:
            return frozenset(self.ids)
        last = self.scores[limit - 1]
        enough = self.scores >= last - tolerance * max(1.0, abs(float(last)))
        return frozenset(key for key, is_enough in zip(self.ids, enough, strict=True) if is_enough)

    def right(self, hits: Sequence[Hit], limit: int, *, tolerance: float) -> frozenset[str]:
        """The hits that are among the first so many, or score as well as the last of them.

        Where all of this ranking tie, more records may that are not in it: then one that is not
        counts by the score that the engine gives it.
        """
        ties = self.tied(limit, tolerance=tolerance)
        if len(self.ids) <= limit or len(ties) < len(self.ids):
            return ties & {hit.id for hit in hits}
        last = float(self.scores[limit - 1])
        least = last - tolerance * max(1.0, abs(last))
        return frozenset(hit.id for hit in hits if hit.id in ties or hit.score >= least)


def nearest(
    batches: Iterable[pa.RecordBatch], queries: Matrix, vector: Vector, *, limit: int
) -> list[Ranking]:
    """The `limit` nearest records (`id` and the vector) of each query, in double precision. One
    that is not finite is near to nothing. Memory holds a batch and the best."""
    ids = np.empty((len(queries), 0), object)
    scores: Scores = np.empty((len(queries), 0))
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH_ROWS):
            piece = batch.slice(start, BATCH_ROWS)
            matrix, places = _finite(piece.column(vector.name), vector)
            names = np.array(piece.column("id").to_pylist(), object)[places]
            ids, scores = _best(ids, scores, names, _scores(matrix, queries, vector), limit)
    order = np.argsort(-scores, axis=1, kind="stable")
    return [
        Ranking(tuple(ids[row, order[row]].tolist()), scores[row, order[row]])
        for row in range(len(queries))
    ]


def _finite(column: pa.Array, vector: Vector) -> tuple[Matrix, npt.NDArray[np.int64]]:
    """The vectors that are near to anything, and the places of their rows."""
    places = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    values = column.flatten().to_numpy(zero_copy_only=False).reshape(len(places), vector.dimension)
    finite = np.isfinite(values).all(axis=1)
    return values[finite], places[finite]


def _best(
    ids: npt.NDArray[np.object_],
    scores: Scores,
    names: npt.NDArray[np.object_],
    more: Scores,
    limit: int,
) -> tuple[npt.NDArray[np.object_], Scores]:
    """The best of those so far and some more."""
    joined = np.hstack([scores, more])
    labels = np.hstack([ids, np.broadcast_to(names, more.shape)])
    if joined.shape[1] <= limit:
        return labels, joined
    chosen = np.argpartition(-joined, limit - 1, axis=1)[:, :limit]
    return np.take_along_axis(labels, chosen, 1), np.take_along_axis(joined, chosen, 1)


def _scores(matrix: Matrix, queries: Matrix, vector: Vector) -> Scores:
    """Scores of every query (rows) and record (columns); higher is better."""
    if vector.metric not in (Metric.COSINE, Metric.DOT, Metric.L2):
        rows = [vector_scores(matrix, query, vector.metric) for query in queries]
        return np.array(rows, np.float64).reshape(len(queries), len(matrix))
    left, right = queries.astype(np.float64), matrix.astype(np.float64)
    if vector.metric is Metric.COSINE:
        left, right = _unit(left), _unit(right)
    products: Scores = left @ right.T
    if vector.metric is not Metric.L2:
        return products
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None, :] - 2 * products
    distances: Scores = -np.sqrt(np.maximum(squares, 0.0))
    return distances


def _unit(matrix: Scores) -> Scores:
    """Of length 1, but for zero vectors, which stay."""
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    unit: Scores = np.divide(matrix, norms, out=np.zeros_like(matrix), where=norms > 0)
    return unit
