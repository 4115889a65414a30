"""Queries that both the point and the collection answer: exactly there, by its index here."""

from dataclasses import dataclass, field

import numpy as np

from dr_pipelines.model.collection import Vector
from dr_pipelines.model.query import Hit
from dr_pipelines.planning.recall import SIZES
from dr_pipelines.proof.probes.coverage import by_vector
from dr_pipelines.proof.probes.nearest import Ranking, nearest
from dr_pipelines.proof.probes.sample import Matrix, askable
from dr_pipelines.proof.probes.subject import Expected, Target
from dr_pipelines.repository.drawn import draw_records
from dr_pipelines.repository.rows import strings

HITS = 10
DEPTH = 30
"""Of the exact answer: beyond the ten, those that tie with the tenth."""
MOVED = 0.2
"""Length of what is added to a stored vector to make a query that nobody stored, in lengths of the
vector."""


@dataclass
class Answers:
    """The queries so far, their exact answers at the point and those of the collection."""

    expected: Expected
    target: Target
    vector: Vector
    seed: int
    exact: list[Ranking] = field(default_factory=list)
    hits: list[list[Hit]] = field(default_factory=list)
    drawn: int = 0
    most: int = SIZES[-1]

    def grow(self, queries: int) -> bool:
        """Ask up to so many queries: every other one is a stored vector, the next the same one
        moved. False if there is no other record to ask by."""
        matrix = self._stored(queries // 2)[self.drawn :]
        if len(matrix) and not self.hits:
            self.most = self.target.most_queries(by_vector(self.vector, matrix[0]), self.most)
        matrix = matrix[: max(0, self.most // 2 - self.drawn)]
        if not len(matrix):
            return False
        both = np.empty((2 * len(matrix), matrix.shape[1]), np.float32)
        both[::2] = matrix
        both[1::2] = moved(matrix, seed=self.seed + self.drawn)
        self.drawn += len(matrix)
        columns = ["id", self.vector.name]
        batches = (batch for rows in self.expected.rows(columns) for batch in rows.to_batches())
        self.exact += nearest(batches, both, self.vector, limit=DEPTH)
        self.hits += [self._ask(query) for query in both]
        return True

    def recalls(self, *, tolerance: float) -> list[float]:
        """Of each query, the share of the ten nearest (or of all, where there are fewer) that the
        collection returns; any record that ties with the tenth is as right."""
        return [
            min(1.0, len(exact.right(hits, HITS, tolerance=tolerance)) / due)
            if (due := min(HITS, len(exact.ids)))
            else 1.0
            for exact, hits in zip(self.exact, self.hits, strict=True)
        ]

    def _ask(self, query: Matrix) -> list[Hit]:
        query_by = by_vector(self.vector, query)
        return self.target.store.search(self.target.name, query_by, limit=HITS)

    def _stored(self, records: int) -> Matrix:
        """Vectors of records drawn from all, in the order of the draw: more begin with the same."""
        expected = self.expected
        chosen = draw_records(
            expected.state, most=records, each=0, tenants=0, seed=self.seed,
            without=expected.left_out, besides=expected.left_out.slice(0, 0),
        )  # fmt: skip
        ids = strings(chosen["id"])
        rows = expected.of(ids, strings(chosen["document_id"]), ["id", self.vector.name])
        matrix, _ = askable(rows[self.vector.name], self.vector)
        return matrix


def moved(matrix: Matrix, *, seed: int) -> Matrix:
    """Vectors near some others."""
    noise = np.random.default_rng(seed).normal(size=matrix.shape)
    noise *= np.linalg.norm(matrix, axis=1, keepdims=True) / np.sqrt(matrix.shape[1])
    near: Matrix = (matrix + MOVED * noise).astype(np.float32)
    return near


def answers_of(expected: Expected, target: Target, *, seed: int) -> list[Answers]:
    """One for each vector by which queries ask; nothing was asked yet."""
    return [Answers(expected, target, vector, seed) for vector in target.searched]
