"""Answers of a collection to queries: as a store serves it, or from a recovery point that is not
restored anywhere."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import pyarrow as pa

from dr_pipelines.contents.documents import DocumentRow, documents_of
from dr_pipelines.contents.record_vectors import stored_vector
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.query import FloatArray, Hit, Query
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery_point import RecoveryPoint
from dr_pipelines.protocols import VectorReader
from dr_pipelines.repository.history import History
from dr_pipelines.repository.rows import newest_rows
from dr_pipelines.repository.state import State
from dr_pipelines.stores.shared.exact import search_all_exactly
from dr_pipelines.stores.shared.requests import checked_query

TEXTS = ("id", "document_id", "chunk_index", "text")


class Answers(Protocol):
    """A collection that can be asked."""

    @property
    def spec(self) -> CollectionSpec:
        """The specification of what is asked."""
        ...

    def hits(self, queries: Sequence[tuple[Query, int]]) -> list[list[Hit]]:
        """The hits of queries, of each at most so many, best first. Raises `InvalidRequest`."""
        ...

    def vector(self, record: str) -> "FloatArray | None":
        """The stored vector of a record; None if there is no such record, or it has none."""
        ...

    def documents(self, names: Sequence[str]) -> list[DocumentRow]:
        """Those of some documents that have text, ascending by id."""
        ...


@dataclass(frozen=True)
class StoreAnswers:
    """A collection that a store serves, by its own name or an alias."""

    store: VectorReader
    name: str
    spec: CollectionSpec

    @classmethod
    def of(cls, store: VectorReader, name: str) -> "StoreAnswers":
        """Raises `NotFound`."""
        return cls(store, name, store.describe(name))

    def hits(self, queries: Sequence[tuple[Query, int]]) -> list[list[Hit]]:
        return [self.store.search(self.name, query, limit=limit) for query, limit in queries]

    def vector(self, record: str) -> "FloatArray | None":
        columns = ["id", self.spec.vectors[0].name]
        scan = partial(self.store.scan, self.name, columns=columns)
        return _vector(stored_vector(record, lambda documents: scan(documents=documents)))

    def documents(self, names: Sequence[str]) -> list[DocumentRow]:
        if not names:
            return []
        return list(documents_of(self.records(TEXTS, documents=sorted(set(names)))))

    def records(
        self, columns: Sequence[str], *, documents: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """All records, or those of some documents (ascending), in any order."""
        yield from self.store.scan(self.name, columns=columns, documents=documents, ordered=False)


@dataclass(frozen=True)
class PointAnswers:
    """The state at a recovery point, read from the repository. Every answer is exact; all queries
    of one call are answered by one pass over the repository."""

    state: State
    spec: CollectionSpec

    def hits(self, queries: Sequence[tuple[Query, int]]) -> list[list[Hit]]:
        requests = [
            checked_query(query, self.spec, limit=limit, indexed=True) for query, limit in queries
        ]
        return search_all_exactly(self.records, requests)

    def vector(self, record: str) -> "FloatArray | None":
        columns = ["id", self.spec.vectors[0].name]
        return _vector(stored_vector(record, lambda some: self.records(columns, documents=some)))

    def documents(self, names: Sequence[str]) -> list[DocumentRow]:
        return list(documents_of(self.records(TEXTS, documents=sorted(set(names)))))

    def records(
        self, columns: Sequence[str], *, documents: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """All records, or those of some documents (ascending), in any order."""
        whole = store_schema(self.spec)
        read = dict.fromkeys([*columns, "document_id"])  # by which rows are cut
        schema = pa.schema([whole.field(name) for name in read])
        chosen = None if documents is None else pa.array(documents, pa.string())
        for rows in newest_rows(self.state, documents=chosen, schema=schema):
            yield from rows.select(list(columns)).to_batches()


@contextmanager
def answers_at(history: History, point: RecoveryPoint) -> Iterator[PointAnswers]:
    """The answers of a recovery point, until the context ends. Raises `Damaged`."""
    with history.fold_point(point) as state:
        yield PointAnswers(state, point.manifest.spec)


def _vector(value: pa.Scalar | None) -> "FloatArray | None":
    return None if value is None or not value.is_valid else np.asarray(value.as_py(), np.float32)
