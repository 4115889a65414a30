"""Answers of Chroma's own index and filters."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from dr_pipelines.model.collection import CollectionSpec, Metric
from dr_pipelines.model.query import Hit
from dr_pipelines.stores.chroma.filters import all_of, to_where, unmarked
from dr_pipelines.stores.chroma.records import ODD, beside, null
from dr_pipelines.stores.chroma.schema import is_foreign, is_searched
from dr_pipelines.stores.chroma.session import Engine, Model
from dr_pipelines.stores.shared.requests import Request

INCLUDED = ["distances", "documents", "metadatas"]


class Reading(Protocol):
    """A collection that is searched: how to reach it, and what it is."""

    @property
    def engine(self) -> Engine: ...
    @property
    def model(self) -> Model: ...
    @property
    def spec(self) -> CollectionSpec: ...


def nearest(reading: Reading, request: Request) -> list[Hit] | None:
    """The hits that Chroma finds; None where it has no index for the vector or no words for the
    filter."""
    vector_request, spec, limit = request.nearest, reading.spec, request.limit
    if (
        vector_request is None
        or request.terms is not None
        or not is_searched(spec, vector_request.column)
    ):
        return None
    where = to_where(request.filter, spec)
    if where is None:
        return None
    if where is False:
        return []
    name = vector_request.column.name
    odd = [null(name), beside(name)]
    answer = _answer(reading, vector_request.vector, where, limit=limit)
    if any(set(marks) & set(odd) for marks in _marks(answer)):
        # zeros stand for vectors that are none; seldom, so the condition is added where it counts
        where = all_of([where, *(unmarked(mark) for mark in odd)])
        answer = _answer(reading, vector_request.vector, where, limit=limit)
    return _hits(answer, vector_request.column.metric, foreign=is_foreign(spec))


def _answer(
    reading: Reading, vector: Any, where: Any, *, limit: int
) -> Mapping[str, Sequence[Any]]:
    options = {} if where is True else {"where": where}
    with reading.engine.session() as session:
        answer = session.query(
            reading.model, vector, limit=limit, include=list(INCLUDED), **options
        )
    return {part: answer[part][0] for part in ("ids", *INCLUDED)}


def _marks(answer: Mapping[str, Sequence[Any]]) -> list[Sequence[str]]:
    return [(metadata or {}).get(ODD) or () for metadata in answer["metadatas"]]


def _hits(answer: Mapping[str, Sequence[Any]], metric: Metric, *, foreign: bool) -> list[Hit]:
    hits = list[Hit]()
    for place, key in enumerate(answer["ids"]):
        metadata = answer["metadatas"][place] or {}
        text = answer["documents"][place]
        hits.append(
            Hit(
                id=key,
                document_id=key if foreign else metadata.get("document_id", key),
                score=_score(answer["distances"][place], metric),
                text=None if null("text") in (metadata.get(ODD) or ()) else text,
            )
        )
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))


def _score(distance: float | None, metric: Metric) -> float:
    """Chroma's distances are 1 - cosine, 1 - product, and the square of the distance."""
    if distance is None or math.isnan(distance):  # of products beyond single precision
        return -math.inf
    return -math.sqrt(max(0.0, distance)) if metric is Metric.L2 else 1.0 - distance
