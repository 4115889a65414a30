"""Is every vector in the index? Stored vectors are asked for, and must find themselves."""

from collections.abc import Iterator, Sequence

import numpy as np

from dr_pipelines.model.collection import Vector
from dr_pipelines.model.query import FloatArray, Hit, Query
from dr_pipelines.model.verdict import Check, Finding
from dr_pipelines.proof.probes.naming import few
from dr_pipelines.proof.probes.sample import Sample, Stored
from dr_pipelines.proof.probes.subject import Target
from dr_pipelines.protocols import Progress
from dr_pipelines.stores.shared.exact import vector_scores

HITS = 10
SAME_SCORE = 1e-4
"""Difference, relative to scores above 1, up to which two are a tie: engines compute in single
precision, and some of rounded components."""
UNREACHED = 0.005
"""Share of the vectors that an approximate index may fail to reach: a graph of neighbours promises
no way to every node. Damage that probes answer for begins at 2 %."""

UNREACHED_ROUNDED = 0.1
"""The same of an index that keeps rounded vectors: some of the nearest change places. More than
`UNREACHED` of them is a warning."""
ROUNDED = ("pq", "sq", "rq", "quant", "rabit", "bq")
"""In the name of such an index."""


def keeps_rounded(vector: Vector) -> bool:
    """True if a vector's index does not keep whole components, so that its scores are not exact."""
    return any(word in str(vector.index and vector.index.kind) for word in ROUNDED)


def check_coverage(
    sample: Sample, stored: Stored, target: Target, *, progress: Progress | None = None
) -> Check:
    """Ask for sampled vectors by the engine's own index. A record is reached where it is among the
    best, or where the last of them scores as well as itself: equal vectors have other ids."""
    looked_at, ties, findings, limits = 0, 0, list[Finding](), list[str]()
    for vector in target.searched:
        matrix, places = sample.vectors(vector)
        most = target.most_queries(by_vector(vector, matrix[0]), len(matrix)) if len(matrix) else 0
        limits += cut(vector.name, most, len(matrix))
        matrix, places = matrix[:most], places[:most]
        missing = list[int]()
        for number, (query, place) in enumerate(zip(matrix, places.tolist(), strict=True), start=1):
            hits = _hits(target, vector, query)
            among = any(hit.id == sample.ids[place] for hit in hits)
            tie = not among and _ties(hits, query, vector)
            ties += tie
            missing += [] if among or tie else [place]
            if progress is not None:
                progress(number, len(places))
        looked_at += len(places)
        findings += _findings(vector, missing, len(places), sample=sample, stored=stored)
    return Check(
        name="coverage",
        looked_at=looked_at,
        total=sample.total,
        findings=tuple(findings),
        skipped=None if looked_at or len(sample) == 0 else "no record has a vector to ask by",
        least=min(1, len(sample)),
        limits=(*target.unsearched, *limits),
        figures={"drawn": float(sample.drawn), "ties": float(ties)},
    )


def _hits(target: Target, vector: Vector, query: FloatArray) -> list[Hit]:
    return target.store.search(target.name, by_vector(vector, query), limit=HITS)


def by_vector(vector: Vector, query: FloatArray) -> Query:
    """A query by the engine's own index."""
    return Query(vector=query, vector_name=vector.name, exact=False)


def cut(name: str, most: int, of: int) -> Iterator[str]:
    """A sentence where fewer queries were asked than there are."""
    if most < of:
        yield (f"{name}: {most:,} of {of:,} queries, since this engine reads every record for each")


def _ties(hits: Sequence[Hit], query: FloatArray, vector: Vector) -> bool:
    """True if the last of a full list is as near as the record is to itself."""
    if len(hits) < HITS:
        return False
    own = float(vector_scores(query[np.newaxis], query, vector.metric)[0])
    return hits[-1].score >= own - SAME_SCORE * max(1.0, abs(own))


def _findings(
    vector: Vector, missing: Sequence[int], asked_for: int, *, sample: Sample, stored: Stored
) -> Iterator[Finding]:
    """Records that are as they were and are not reached are the index's fault: of an approximate
    one, a few are no fault."""
    unreached = [place for place in missing if stored.near[place]]
    allowed = int(UNREACHED * asked_for) if vector.index is not None else 0
    if len(unreached) > allowed:
        few_of_rounded = keeps_rounded(vector) and len(unreached) <= UNREACHED_ROUNDED * asked_for
        yield Finding(
            check="coverage",
            place=vector.name,
            gate="warns" if few_of_rounded else "refuses",
            message=f"{len(unreached):,} of {asked_for:,} stored vectors are not reached by the "
            f"index, such as that of {_names(unreached, sample)}: queries miss them. Build the "
            "index anew",
        )
    wrong = [place for place in missing if not stored.near[place]]
    if wrong:
        yield Finding(
            check="coverage",
            place=f"{vector.name}/records",
            message=f"{len(wrong):,} of {asked_for:,} vectors of the recovery point find other "
            f"records than their own, which are gone or have other vectors, such as "
            f"{_names(wrong, sample)}",
        )


def _names(places: Sequence[int], sample: Sample) -> str:
    return few([sample.ids[place] for place in places])
