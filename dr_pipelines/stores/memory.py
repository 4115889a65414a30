"""The reference VectorStore: Arrow tables in memory, every answer computed from scratch."""

import operator
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import assert_never

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import AlreadyExists, NotFound, Refused
from dr_pipelines.model.collection import CollectionSpec, CollectionStatus, Metric
from dr_pipelines.model.query import (
    And,
    Contains,
    Equals,
    Filter,
    Hit,
    In,
    Not,
    Or,
    Query,
    Range,
    Scalar,
    reciprocal_rank_fusion,
)
from dr_pipelines.model.record import store_schema
from dr_pipelines.stores.batches import checked_batch
from dr_pipelines.stores.keywords import bm25, postings, ranked
from dr_pipelines.stores.requests import (
    Request,
    VectorRequest,
    checked_alias,
    checked_batch_rows,
    checked_columns,
    checked_query,
)

Mask = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Collection:
    """Immutable, so that readers need no lock; `table` is sorted by id."""

    spec: CollectionSpec
    table: pa.Table
    indexed: bool = False


class MemoryVectorStore:
    """Thread-safe; a scan reads the collection as it was when `scan` was called."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._collections: dict[str, _Collection] = {}
        self._aliases: dict[str, str] = {}

    @property
    def engine(self) -> str:
        return f"memory (pyarrow {pa.__version__})"

    @property
    def vector_tolerance(self) -> float:
        return 0.0

    def collections(self) -> list[str]:
        with self._lock:
            return sorted(self._collections)

    def aliases(self) -> dict[str, str]:
        with self._lock:
            return dict(sorted(self._aliases.items()))

    def describe(self, name: str) -> CollectionSpec:
        return self._resolved(name).spec

    def status(self, name: str) -> CollectionStatus:
        found = self._resolved(name)
        return CollectionStatus(
            records=len(found.table), indexed=found.indexed, size_bytes=found.table.nbytes
        )

    def scan(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
    ) -> Iterator[pa.RecordBatch]:
        found = self._resolved(name)
        rows = checked_batch_rows(batch_rows)
        table = found.table.select(checked_columns(columns, found.spec))
        if documents is not None:
            wanted = pa.array(list(documents), pa.string())
            table = table.filter(pc.is_in(found.table.column("document_id"), value_set=wanted))
        return iter(table.combine_chunks().to_batches(max_chunksize=rows))

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        found = self._resolved(name)
        request = checked_query(query, found.spec, limit=limit, indexed=found.indexed)
        rankings = [rank for rank in _rankings(found.table, request) if rank is not None]
        best = rankings[0]
        if len(rankings) > 1:
            best = reciprocal_rank_fusion([[found for found, _ in rank] for rank in rankings])
        return _hits(found.table, best[:limit])

    def create(self, spec: CollectionSpec) -> None:
        with self._lock:
            existing = self._collections.get(spec.name)
            if existing is not None and existing.spec == spec:
                return
            if existing is not None or spec.name in self._aliases:
                taken = "an alias" if existing is None else "a collection with another spec"
                raise AlreadyExists(f"{spec.name!r} is {taken}; choose another name or drop it")
            self._collections[spec.name] = _Collection(spec, store_schema(spec).empty_table())

    def drop(self, name: str) -> None:
        with self._lock:
            if name in self._aliases:
                self._physical(name)
            pointing = sorted(alias for alias, to in self._aliases.items() if to == name)
            if pointing:
                raise Refused(f"{name!r} is served as {pointing}; promote another collection first")
            self._collections.pop(name, None)

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        with self._lock:
            found = self._physical(name)
            new = checked_batch(batch, found.spec)
            gone = pa.array(list(replaces), pa.string())
            old = found.table
            doomed = pc.or_(
                pc.is_in(old.column("id"), value_set=new.column("id").combine_chunks()),
                pc.is_in(old.column("document_id"), value_set=gone),
            )
            merged = pa.concat_tables([old.filter(pc.invert(doomed)), new])
            merged = merged.take(pc.sort_indices(merged.column("id"))).combine_chunks()
            self._collections[name] = replace(found, table=merged)

    def build_index(self, name: str) -> None:
        with self._lock:
            self._collections[name] = replace(self._physical(name), indexed=True)

    def promote(self, name: str, *, alias: str) -> None:
        with self._lock:
            self._physical(name)
            if checked_alias(alias) in self._collections:
                raise AlreadyExists(f"{alias!r} is a collection; choose another alias")
            self._aliases[alias] = name

    def _resolved(self, name: str) -> _Collection:
        with self._lock:
            return self._physical(self._aliases.get(name, name))

    def _physical(self, name: str) -> _Collection:
        if name in self._aliases:
            raise NotFound(f"{name!r} is an alias; name the collection {self._aliases[name]!r}")
        if name not in self._collections:
            known = ", ".join(sorted(self._collections)) or "none"
            raise NotFound(f"no collection {name!r}; there are: {known}")
        return self._collections[name]


def _rankings(table: pa.Table, request: Request) -> Iterator[list[tuple[str, float]] | None]:
    mask = np.ones(len(table), bool) if request.filter is None else matches(request.filter, table)
    nearest, terms = request.nearest, request.terms
    yield None if nearest is None else _nearest(table, mask, nearest, limit=request.depth)
    yield None if terms is None else _matching(table, mask, terms, limit=request.depth)


def _nearest(
    table: pa.Table, mask: Mask, request: VectorRequest, *, limit: int
) -> list[tuple[str, float]]:
    column = table.column(request.column.name)
    kept = table.filter(pa.array(mask & _true(column.is_valid())))
    values = kept.column(request.column.name).combine_chunks().flatten().to_numpy()
    matrix = values.reshape(len(kept), request.column.dimension)
    scores = vector_scores(matrix, request.vector, request.column.metric)
    return ranked(kept.column("id").to_pylist(), scores, limit=limit)


def vector_scores(
    matrix: npt.NDArray[np.float32], vector: npt.NDArray[np.float32], metric: Metric
) -> npt.NDArray[np.float64]:
    """Score each row in double precision, row by row; a zero vector has cosine 0."""
    rows, query = matrix.astype(np.float64), vector.astype(np.float64)
    if metric is Metric.L2:
        distances: Scores = np.sqrt(((rows - query) ** 2).sum(axis=1))
        return 0.0 - distances
    products: Scores = (rows * query).sum(axis=1)
    if metric is Metric.DOT:
        return products
    norms = np.sqrt((rows**2).sum(axis=1)) * np.sqrt((query**2).sum())
    cosines: Scores = np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)
    return cosines


def _matching(
    table: pa.Table, mask: Mask, terms: Sequence[str], *, limit: int
) -> list[tuple[str, float]]:
    every = postings(table.column("text").combine_chunks())
    rows, where = np.unique(every.column("row").to_numpy(), return_inverse=True)
    lengths = np.bincount(where, weights=every.column("frequency").to_numpy())
    every = every.append_column("length", pa.array(lengths[where]))
    found = every.filter(pc.is_in(every.column("term"), value_set=pa.array(terms, pa.string())))
    if not len(found):
        return []
    hit, scores = bm25(found, documents=len(rows), average_length=float(lengths.sum()) / len(rows))
    kept = mask[hit]
    ids = table.column("id").take(pa.array(hit[kept])).to_pylist()
    return ranked(ids, scores[kept], limit=limit)


def _hits(table: pa.Table, best: Sequence[tuple[str, float]]) -> list[Hit]:
    wanted = pa.array([key for key, _ in best], pa.string())
    rows = table.take(pc.index_in(wanted, value_set=table.column("id").combine_chunks()))
    texts, documents = rows.column("text").to_pylist(), rows.column("document_id").to_pylist()
    return [
        Hit(id=key, document_id=documents[i], score=score, text=texts[i])
        for i, (key, score) in enumerate(best)
    ]


def matches(filter: Filter, table: pa.Table) -> Mask:
    """Which rows a checked filter keeps; a comparison with a null is false."""
    match filter:
        case And(filters):
            return reduce(operator.and_, (matches(f, table) for f in filters), _all(table, True))
        case Or(filters):
            return reduce(operator.or_, (matches(f, table) for f in filters), _all(table, False))
        case Not(inner):
            return ~matches(inner, table)
        case Equals(field, value):
            return _compared(table, field, pc.equal, value)
        case In(field, values):
            return reduce(
                operator.or_,
                (_compared(table, field, pc.equal, v) for v in values),
                _all(table, False),
            )
        case Contains(field, value):
            return _containing(table.column(field), value)
        case Range(field, gte, gt, lte, lt):
            bounds: list[tuple[Callable[..., pa.ChunkedArray], Scalar | None]] = [
                (pc.greater_equal, gte),
                (pc.greater, gt),
                (pc.less_equal, lte),
                (pc.less, lt),
            ]
            return reduce(
                operator.and_,
                (_compared(table, field, op, v) for op, v in bounds if v is not None),
            )
        case _:
            assert_never(filter)


def _compared(
    table: pa.Table, field: str, comparison: Callable[..., pa.ChunkedArray], value: Scalar
) -> Mask:
    column = table.column(field)
    return _true(comparison(column, pa.scalar(value, column.type)))


def _containing(column: pa.ChunkedArray, value: str) -> Mask:
    lists = column.combine_chunks()
    equal = _true(pc.equal(pc.list_flatten(lists), pa.scalar(value, pa.string())))
    found = np.zeros(len(lists), bool)
    found[pc.list_parent_indices(lists).to_numpy()[equal]] = True
    return found


def _true(column: pa.ChunkedArray) -> Mask:
    return np.asarray(pc.fill_null(column, False).to_numpy(zero_copy_only=False), dtype=bool)


def _all(table: pa.Table, value: bool) -> Mask:
    return np.full(len(table), value)
