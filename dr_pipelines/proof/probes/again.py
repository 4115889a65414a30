"""Queries beside the probes: some that read an index once before it is served, and some of what is
served, asked as applications ask, through the name."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.live.keeping import kept_open
from dr_pipelines.model.collection import Vector
from dr_pipelines.model.query import FloatArray, Query
from dr_pipelines.model.verdict import Check
from dr_pipelines.proof.probes.coverage import HITS, check_coverage
from dr_pipelines.proof.probes.sample import read_sample, read_stored
from dr_pipelines.proof.probes.subject import Expected, Target
from dr_pipelines.repository.drawn import draw_records
from dr_pipelines.repository.rows import strings

WARMING = 16
"""Records whose vectors are asked for: what an index reads for each is read for any other too."""


def probe_served(expected: Expected, target: Target, *, seed: int) -> tuple[Check, ...]:
    """Sampled vectors find themselves through the name that users query. Raises as `probe`."""
    with kept_open(target.store, target.name):
        sample = read_sample(expected, None, seed=seed)
        return (check_coverage(sample, read_stored(sample, target), target),)


def warm(expected: Expected, target: Target, *, seed: int) -> int:
    """Ask a few queries, so that the first users do not wait for an index to be read; returns how
    many. Raises as `probe`."""
    chosen = draw_records(
        expected.state,
        most=WARMING,
        each=0,
        tenants=0,
        seed=seed,
        without=expected.left_out,
        besides=pa.array([], pa.string()),
    )
    ids, documents = strings(chosen["id"]), pc.unique(strings(chosen["document_id"]))
    return sum(_asked_by(expected, target, vector, ids, documents) for vector in target.searched)


def _asked_by(
    expected: Expected, target: Target, vector: Vector, ids: pa.Array, documents: pa.Array
) -> int:
    """Ask for the nearest of some records' vectors, but for those that no query can have."""
    queries = list[FloatArray]()
    for rows in expected.rows(["id", vector.name], documents=documents):
        column = rows.filter(pc.is_in(rows["id"], value_set=ids))[vector.name].drop_null()
        values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        matrix = values.astype(np.float32).reshape(-1, vector.dimension)
        queries += list(matrix[np.isfinite(matrix).all(axis=1) & (matrix != 0).any(axis=1)])
    for values in queries:
        query = Query(vector=values, vector_name=vector.name, exact=False)
        target.store.search(target.name, query, limit=HITS)
    return len(queries)
