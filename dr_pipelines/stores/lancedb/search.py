"""Answers of Lance's own indexes and filters, in the scores of this package."""

from collections.abc import Sequence
from typing import Any

from dr_pipelines.model.query import Filter, Hit, fused_hits
from dr_pipelines.stores.lancedb import vectors
from dr_pipelines.stores.lancedb.filters import condition
from dr_pipelines.stores.lancedb.schema import Collection
from dr_pipelines.stores.shared.requests import Request, VectorRequest

SHOWN = ("id", "document_id", "text")
CANDIDATES = 100
"""What a search of a graph keeps in view at least. By Lance's own default, half as many again as
are asked for, ten neighbours are 96.6 % of the nearest for SciFact's abstracts, and others in every
graph that is built; with a hundred they are 99.8 %, for 0.15 ms more."""


def answers_natively(collection: Collection, request: Request) -> bool:
    """True if the engine can answer by itself: not for metrics or types that it does not search,
    not with a filter on a column whose type differs from the field's, not without a key or a
    full-text index."""
    layout, nearest = collection.layout, request.nearest
    if layout.key is None or not layout.understands(request.filter):
        return False
    if request.terms is not None and not collection.layout.text:
        return False
    if nearest is None:
        return True
    column = layout.schema.field(layout.column(nearest.column.name))
    return vectors.searched_natively(nearest.column, column.type)


def search_natively(collection: Collection, request: Request) -> list[Hit]:
    """At most `limit` hits, best first, ties by id. Two rankings are fused as LanceDB's client
    does, by reciprocal rank with k = 60."""
    rankings = list[list[Hit]]()
    if request.nearest is not None:
        rankings.append(_nearest(collection, request.nearest, request.filter, request.depth))
    if request.terms is not None:
        rankings.append(_matching(collection, request.text or "", request.filter, request.depth))
    return fused_hits(rankings, limit=request.limit)


def _nearest(
    collection: Collection, request: VectorRequest, filter: Filter | None, limit: int
) -> list[Hit]:
    layout = collection.layout
    column = layout.column(request.column.name)
    nearest = {
        "column": column,
        "q": vectors.query_components(request.vector, layout.schema.field(column).type),
        "k": limit,
        "ef": max(CANDIDATES, 2 * limit),  # read by graphs alone
        "metric": vectors.DISTANCES[request.column.metric],
    }
    rows = _rows(collection, "_distance", filter, nearest=nearest)
    metric = request.column.metric
    return _hits(collection, rows, [vectors.score(d, metric) for d in _column(rows, "_distance")])


def _matching(collection: Collection, text: str, filter: Filter | None, limit: int) -> list[Hit]:
    query = {"query": text, "columns": [collection.layout.text]}
    rows = _rows(collection, "_score", filter, full_text_query=query, limit=limit)
    return _hits(collection, rows, _column(rows, "_score"))


def _rows(collection: Collection, score: str, filter: Filter | None, **search: Any) -> Any:
    return collection.dataset.to_table(
        columns=[*collection.layout.columns(SHOWN), score],
        filter=None if filter is None else condition(filter),
        prefilter=True,
        **search,
    )


def _column(rows: Any, name: str) -> Sequence[float]:
    numbers: Sequence[float] = rows.column(name).to_pylist()
    return numbers


def _hits(collection: Collection, rows: Any, scores: Sequence[float]) -> list[Hit]:
    (batch,) = rows.combine_chunks().to_batches() or [None]
    if batch is None:
        return []
    shown = collection.layout.read(batch, SHOWN).to_pylist()
    hits = [
        Hit(id=row["id"], document_id=row["document_id"], score=score, text=row["text"])
        for row, score in zip(shown, scores, strict=True)
    ]
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))
