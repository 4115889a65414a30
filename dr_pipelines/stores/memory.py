"""The reference VectorStore: Arrow tables in memory, every answer computed from scratch."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import AlreadyExists, NotFound, Refused
from dr_pipelines.model.collection import CollectionSpec, CollectionStatus
from dr_pipelines.model.compatibility import CompatibilityReport, Note
from dr_pipelines.model.misfit import Misfits
from dr_pipelines.model.query import Hit, Query
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import Progress
from dr_pipelines.stores.shared.batches import checked_batch
from dr_pipelines.stores.shared.exact import search_exactly
from dr_pipelines.stores.shared.fitting import fit_exact
from dr_pipelines.stores.shared.misfits import misfits_of, value_problems
from dr_pipelines.stores.shared.requests import (
    checked_alias,
    checked_batch_rows,
    checked_columns,
    checked_query,
)

KEPT = partial(value_problems, finite=False)
"""NaN and infinities are kept as they are, like any other bits."""


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

    def warnings(self) -> tuple[str, ...]:
        return ()

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

        def records(columns: Sequence[str]) -> list[pa.RecordBatch]:
            return list(found.table.select(columns).combine_chunks().to_batches())

        return search_exactly(records, request, limit=limit)

    def compatibility(self, name: str) -> tuple[Note, ...]:
        self.describe(name)  # raises where there is none; of others everything is kept as given
        return ()

    def misfits(self, spec: CollectionSpec, batch: pa.Table | pa.RecordBatch) -> Misfits:
        return misfits_of(batch, KEPT(batch, spec))

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        return fit_exact(spec)

    def change_token(self, name: str) -> str | None:
        self._resolved(name)
        return None

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
            new = checked_batch(batch, found.spec, check=KEPT)
            gone = pa.array(list(replaces), pa.string())
            old = found.table
            doomed = pc.or_(
                pc.is_in(old.column("id"), value_set=new.column("id").combine_chunks()),
                pc.is_in(old.column("document_id"), value_set=gone),
            )
            merged = pa.concat_tables([old.filter(pc.invert(doomed)), new])
            merged = merged.take(pc.sort_indices(merged.column("id"))).combine_chunks()
            self._collections[name] = replace(found, table=merged)

    def build_index(self, name: str, *, progress: Progress | None = None) -> None:
        del progress  # nothing takes time
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
