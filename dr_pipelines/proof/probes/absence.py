"""Is what was deleted still gone? Records that the log had are looked for."""

from collections.abc import Iterator

import pyarrow as pa

from dr_pipelines.model.collection import Vector
from dr_pipelines.model.query import Query
from dr_pipelines.proof.probes.sample import askable
from dr_pipelines.proof.probes.subject import Expected, Target
from dr_pipelines.repository.drawn import draw_gone

MOST = 100
"""Records that are gone, drawn from all that the log still has rows of."""
HITS = 10


def returned(expected: Expected, target: Target, *, seed: int) -> tuple[int, list[str]]:
    """How many records that are gone were looked for, and those that are there all the same: by
    their document, or near the vector that they had."""
    gone = draw_gone(expected.state, most=MOST, seed=seed)
    if not gone.num_rows:
        return 0, []
    ids = set(gone["id"].to_pylist())
    there = set(_by_document(target, gone))
    for vector in target.searched:
        there |= set(_by_vector(target, vector, gone))
    return len(ids), sorted(there & ids)


def _by_document(target: Target, gone: pa.Table) -> Iterator[str]:
    documents = gone["document_id"].unique().to_pylist()
    for batch in target.store.scan(target.name, columns=["id"], documents=documents):
        yield from batch["id"].to_pylist()


def _by_vector(target: Target, vector: Vector, gone: pa.Table) -> Iterator[str]:
    matrix, _ = askable(gone[vector.name], vector)
    for query in matrix:
        by_vector = Query(vector=query, vector_name=vector.name, exact=False)
        yield from (hit.id for hit in target.store.search(target.name, by_vector, limit=HITS))
