"""The two sides of a probe: the contents that are expected, and the collection that is asked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.model.collection import CollectionSpec, Vector, VectorKind
from dr_pipelines.model.query import Query
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import AnswersItself, VectorReader
from dr_pipelines.repository.rows import newest_rows, strings
from dr_pipelines.repository.state import State

READ, FEWEST = 500_000, 10
"""Records that may be read for queries that the engine does not answer by itself, and queries that
are asked of any number of records."""
WITHOUT_INDEX = 50
"""Queries by a vector without an index: such a search is exact, and cannot miss a record."""


@dataclass(frozen=True)
class Expected:
    """The contents of a recovery point, but for the records that the engine refused (their ids)."""

    state: State
    left_out: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))

    @property
    def spec(self) -> CollectionSpec:
        return self.state.spec

    @property
    def records(self) -> int:
        """How many records there must be."""
        return self.state.counts().records - len(self.left_out)

    def of(self, ids: pa.Array, documents: pa.Array, columns: Sequence[str]) -> pa.Table:
        """The records with some ids, in their order, in these columns, `id` among them; in memory.
        `documents` has the document of each."""
        whole = store_schema(self.spec)
        read = [pa.schema([whole.field(name) for name in columns]).empty_table()]
        for rows in self.rows(columns, documents=pc.unique(documents)):
            read.append(rows.filter(pc.is_in(rows["id"], value_set=ids)))
        rows = pa.concat_tables(read).combine_chunks()
        return rows.take(pc.index_in(ids, value_set=strings(rows["id"]))).combine_chunks()

    def rows(
        self, columns: Sequence[str], *, documents: pa.Array | None = None
    ) -> Iterator[pa.Table]:
        """The records in these columns of `store_schema`, or those of some documents, in bounded
        memory; vectors are read only where they are asked for."""
        whole, read = store_schema(self.spec), dict.fromkeys([*columns, "document_id"])
        if len(self.left_out):
            read["id"] = None
        schema = pa.schema([whole.field(name) for name in read])
        for rows in newest_rows(self.state, documents=documents, schema=schema):
            if len(self.left_out):
                rows = rows.filter(pc.invert(pc.is_in(rows["id"], value_set=self.left_out)))
            yield rows.select(list(columns))


@dataclass(frozen=True)
class Target:
    """A collection that is asked, by its own name or an alias; `spec` is what its store reports."""

    store: VectorReader
    name: str
    spec: CollectionSpec = field(repr=False)

    @classmethod
    def of(cls, store: VectorReader, name: str) -> "Target":
        """Raises `NotFound`."""
        return cls(store, name, store.describe(name))

    def most_queries(self, query: Query, most: int) -> int:
        """How many queries such as one may be asked. Where every record is read for each, since the
        engine does not answer them or no index helps it, no more than read `READ` records
        together; and `WITHOUT_INDEX` where the engine has no index that could lack something."""
        store = self.store
        answers = not isinstance(store, AnswersItself) or store.answers(self.name, query)
        indexed = self._is_indexed(query)
        if answers and indexed:
            return most
        records = max(1, store.status(self.name).records)
        few = min(most, max(FEWEST, READ // records))
        return few if indexed else min(few, WITHOUT_INDEX)

    def _is_indexed(self, query: Query) -> bool:
        """True if no vector is asked for, or one that has an index."""
        name = query.vector_name or self.spec.vectors[0].name
        indexed = any(each.name == name and each.index for each in self.spec.vectors)
        return query.vector is None or indexed

    @property
    def searched(self) -> tuple[Vector, ...]:
        """The vectors by which a query can ask."""
        return tuple(v for v in self.spec.vectors if v.kind is VectorKind.DENSE)

    @property
    def unsearched(self) -> tuple[str, ...]:
        """A sentence on the vectors by which only the engine's own clients can ask; else none."""
        names = [v.name for v in self.spec.vectors if v.kind is not VectorKind.DENSE]
        if not names:
            return ()
        return (f"only the engine's own clients ask by {', '.join(names)}: nothing is shown of it",)
