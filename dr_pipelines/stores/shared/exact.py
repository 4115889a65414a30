"""Exact answers from a scan: what the reference store gives, for any store that can be read.

Every record is read, scored in double precision and forgotten; memory holds a batch and the best so
far, in a search by keywords also every record that has one of the words. Adapters whose engine
cannot promise exact answers, an order among ties or these filters search with this where exactness
is asked for.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import assert_never

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.model.collection import Metric
from dr_pipelines.model.query import And, Filter, Hit, Not, Or, Scalar, fused_hits
from dr_pipelines.stores.shared.filters import Bounds, in_words
from dr_pipelines.stores.shared.keywords import bm25, postings, ranked
from dr_pipelines.stores.shared.misfits import all_finite
from dr_pipelines.stores.shared.requests import Request, VectorRequest

Mask = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]
Scan = Callable[[Sequence[str]], Iterable[pa.RecordBatch]]
"""Every record once, in any order, with these columns of `store_schema`."""

Comparison = Callable[..., pa.ChunkedArray | pa.Array]
COMPARISONS: dict[str, Comparison] = {
    "gte": pc.greater_equal,
    "gt": pc.greater,
    "lte": pc.less_equal,
    "lt": pc.less,
}
SHOWN = ("id", "document_id", "text")


def search_exactly(scan: Scan, request: Request, *, limit: int) -> list[Hit]:
    """At most `limit` hits of a checked query, best first, ties by ascending id."""
    [hits] = search_all_exactly(scan, [replace(request, limit=limit)])
    return hits


def search_all_exactly(scan: Scan, requests: Sequence[Request]) -> list[list[Hit]]:
    """The hits of several checked queries, each as `search_exactly` has them, by one pass over the
    records; of each at most its own `limit`."""
    searches = [_Search.of(request) for request in requests]
    columns = dict.fromkeys(name for search in searches for name in search.columns)
    if not columns:
        return []
    ranked_by_words = any(search.matching for search in searches)
    for batch in scan(list(columns)):
        every = postings(batch.column("text")) if ranked_by_words else None
        for search in searches:
            search.add(batch, every)
    return [search.hits() for search in searches]


def vector_scores(matrix: Matrix, vector: Matrix, metric: Metric) -> Scores:
    """Score each row in double precision, row by row; higher is better, distances are negated. A
    zero vector has cosine 0, two of them have Jaccard distance 0."""
    rows, query = matrix.astype(np.float64), vector.astype(np.float64)
    match metric:
        case Metric.L2:
            distances: Scores = np.sqrt(((rows - query) ** 2).sum(axis=1))
        case Metric.L1:
            distances = np.abs(rows - query).sum(axis=1)
        case Metric.HAMMING:
            distances = (rows != query).sum(axis=1).astype(np.float64)
        case Metric.JACCARD:
            distances = _jaccard(rows != 0, query != 0)
        case Metric.DOT | Metric.COSINE:
            products: Scores = (rows * query).sum(axis=1)
            return products if metric is Metric.DOT else _cosines(products, rows, query)
        case _:
            assert_never(metric)
    return 0.0 - distances


def _jaccard(rows: Mask, query: Mask) -> Scores:
    shared, either = (rows & query).sum(axis=1), (rows | query).sum(axis=1)
    similar: Scores = np.divide(shared, either, out=np.ones(len(rows)), where=either > 0)
    return 1.0 - similar


def _cosines(products: Scores, rows: Scores, query: Scores) -> Scores:
    norms = np.sqrt((rows**2).sum(axis=1)) * np.sqrt((query**2).sum())
    cosines: Scores = np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)
    return cosines


class _Nearest:
    """Records by their vectors: the best so far."""

    def __init__(self, request: VectorRequest, condition: Filter | None, *, limit: int) -> None:
        self._request, self._filter, self._limit = request, condition, limit
        self.columns = _columns(condition, [*SHOWN, request.column.name])
        self.hits = list[Hit]()

    def add(self, batch: pa.RecordBatch) -> None:
        """Rank some records more."""
        column = self._request.column
        mask = _true(batch.column(column.name).is_valid())
        if self._filter is not None:
            mask = mask & matches(self._filter, batch)
        rows = _filtered(batch, mask)
        values = rows.column(column.name).flatten().to_numpy(zero_copy_only=False)
        matrix = values.reshape(rows.num_rows, column.dimension)
        if not all_finite(values):  # near to nothing: such a record is no hit
            finite = np.isfinite(matrix).all(axis=1)
            rows, matrix = rows.filter(pa.array(finite)), matrix[finite]
        scores = vector_scores(matrix, self._request.vector, column.metric)
        self.hits = _better(self.hits, rows, scores, limit=self._limit)


class _Matching:
    """Records by words: every record that has one of the terms, and what BM25 needs of all."""

    def __init__(self, terms: Sequence[str], condition: Filter | None, *, limit: int) -> None:
        self._filter, self._limit = condition, limit
        self.columns = _columns(condition, SHOWN)
        self._terms = pa.array(terms, pa.string())
        self._postings, self._rows = list[pa.Table](), list[pa.RecordBatch]()
        self._documents = self._length = self._matching_rows = 0

    def add(self, batch: pa.RecordBatch, every: pa.Table) -> None:
        """Keep what some records more have of the terms; `every` are the postings of them all."""
        numbers, where = np.unique(every.column("row").to_numpy(), return_inverse=True)
        lengths = np.bincount(where, weights=every.column("frequency").to_numpy()).astype(np.int64)
        self._documents += len(numbers)
        self._length += int(lengths.sum())
        every = every.append_column("length", pa.array(lengths[where]))
        every = every.filter(pc.is_in(every.column("term"), value_set=self._terms))
        matching = pc.unique(every.column("row"))
        place = pc.add(
            pc.index_in(every.column("row"), value_set=matching).cast(pa.int64()),
            self._matching_rows,
        )
        self._postings.append(every.set_column(0, "row", place))
        self._rows.append(batch.select(self.columns).take(matching))
        self._matching_rows += len(matching)

    def hits(self) -> list[Hit]:
        """The best of all that were added."""
        if self._matching_rows == 0:
            return []
        every, average = pa.concat_tables(self._postings), self._length / self._documents
        places, scores = bm25(every, documents=self._documents, average_length=average)
        matching = pa.Table.from_batches(self._rows).take(pa.array(places))
        condition = self._filter
        mask = np.ones(len(places), bool) if condition is None else matches(condition, matching)
        rows = matching.filter(pa.array(mask))
        return _better([], rows, scores[mask], limit=self._limit)


@dataclass(frozen=True, slots=True)
class _Search:
    """A query on its way through the records."""

    limit: int
    nearest: _Nearest | None
    matching: _Matching | None

    @classmethod
    def of(cls, request: Request) -> "_Search":
        nearest, matching, condition, depth = None, None, request.filter, request.depth
        if request.nearest is not None:
            nearest = _Nearest(request.nearest, condition, limit=depth)
        if request.terms is not None:
            matching = _Matching(request.terms, condition, limit=depth)
        return cls(request.limit, nearest, matching)

    @property
    def columns(self) -> list[str]:
        return [name for part in (self.nearest, self.matching) if part for name in part.columns]

    def add(self, batch: pa.RecordBatch, every: pa.Table | None) -> None:
        if self.nearest is not None:
            self.nearest.add(batch)
        if self.matching is not None and every is not None:
            self.matching.add(batch, every)

    def hits(self) -> list[Hit]:
        rankings = list[list[Hit]]()
        if self.nearest is not None:
            rankings.append(self.nearest.hits)
        if self.matching is not None:
            rankings.append(self.matching.hits())
        return fused_hits(rankings, limit=self.limit)


def _better(
    best: list[Hit], rows: pa.Table | pa.RecordBatch, scores: Scores, *, limit: int
) -> list[Hit]:
    """The best of those so far and some more."""
    ids = rows.column("id").to_pylist()
    places = {key: place for place, key in enumerate(ids)}
    more = [
        Hit(
            id=key,
            document_id=rows.column("document_id")[places[key]].as_py(),
            score=score,
            text=rows.column("text")[places[key]].as_py(),
        )
        for key, score in ranked(ids, scores, limit=limit)
    ]
    return sorted([*best, *more], key=lambda hit: (-hit.score, hit.id))[:limit]


def _filtered(batch: pa.RecordBatch, mask: Mask) -> pa.RecordBatch:
    return batch if mask.all() else batch.filter(pa.array(mask))


def _columns(condition: Filter | None, others: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*others, *fields_of(condition)]))


def fields_of(filter: Filter | None) -> Iterator[str]:
    """The fields that a filter looks at."""
    match filter:
        case None:
            return
        case And(filters) | Or(filters):
            for inner in filters:
                yield from fields_of(inner)
        case Not(inner):
            yield from fields_of(inner)
        case _:
            yield filter.field


def matches(filter: Filter, table: pa.Table | pa.RecordBatch) -> Mask:
    """Which rows a checked filter keeps; a comparison with a null is false."""
    return in_words(filter, _Masks(table))


@dataclass(frozen=True, slots=True)
class _Masks:
    """The dialect of masks over some rows."""

    table: pa.Table | pa.RecordBatch

    def all_of(self, conditions: list[Mask]) -> Mask:
        return reduce(operator.and_, conditions, np.full(self.table.num_rows, True))

    def any_of(self, conditions: list[Mask]) -> Mask:
        return reduce(operator.or_, conditions, np.full(self.table.num_rows, False))

    def among(self, field: str, values: Sequence[Scalar], *, meant: bool) -> Mask:
        return _meant(self.any_of([self._compared(field, pc.equal, v) for v in values]), meant)

    def containing(self, field: str, value: str, *, meant: bool) -> Mask:
        return _meant(_containing(self.table.column(field), value), meant)

    def within(self, field: str, bounds: Bounds, *, meant: bool) -> Mask:
        parts = [self._compared(field, COMPARISONS[name], value) for name, value in bounds]
        return _meant(self.all_of(parts), meant)

    def _compared(self, field: str, comparison: Comparison, value: Scalar) -> Mask:
        column = self.table.column(field)
        return _true(comparison(column, pa.scalar(value, column.type)))


def _meant(mask: Mask, meant: bool) -> Mask:
    return mask if meant else ~mask


def _containing(column: pa.ChunkedArray | pa.Array, value: str) -> Mask:
    lists = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    equal = _true(pc.equal(pc.list_flatten(lists), pa.scalar(value, pa.string())))
    mask = np.zeros(len(lists), bool)
    mask[pc.list_parent_indices(lists).to_numpy()[equal]] = True
    return mask


def _true(column: pa.ChunkedArray | pa.Array) -> Mask:
    return np.asarray(pc.fill_null(column, False).to_numpy(zero_copy_only=False), dtype=bool)
