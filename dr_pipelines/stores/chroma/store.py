"""Chroma, embedded or a server, as a driver.

A write is a series of calls, each of which Chroma takes as a whole: new records are there before
old ones go, and a write that failed is repeated. A scan reads the ids first and then each page as
it is at that moment.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Protocol

import chromadb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import InvalidRequest, NotFound
from dr_pipelines.model.collection import CollectionSpec, CollectionStatus
from dr_pipelines.model.compatibility import CompatibilityReport, Note
from dr_pipelines.model.query import Filter, Hit
from dr_pipelines.protocols import Listed, Progress
from dr_pipelines.stores.chroma import foreign
from dr_pipelines.stores.chroma import records as managed
from dr_pipelines.stores.chroma.capabilities import fitted
from dr_pipelines.stores.chroma.filters import to_where
from dr_pipelines.stores.chroma.names import is_reserved, to_engine, to_physical
from dr_pipelines.stores.chroma.pages import ids_of, records
from dr_pipelines.stores.chroma.schema import (
    ENGINE,
    definition_of,
    described,
    is_foreign,
    label_of,
    labelled,
    space_of,
)
from dr_pipelines.stores.chroma.search import nearest
from dr_pipelines.stores.chroma.session import Engine, Model, Session
from dr_pipelines.stores.chroma.vectors import TOLERANCE
from dr_pipelines.stores.chroma.writing import delete_rows, write_rows
from dr_pipelines.stores.shared.driver import Aliases, OpenCollection, Use, absent
from dr_pipelines.stores.shared.label import Label
from dr_pipelines.stores.shared.misfits import Batch, Problem, value_problems
from dr_pipelines.stores.shared.requests import Request

SCAN_ROWS = 2000
FLOAT_BYTES = 4


class ServedNames(Aliases, Protocol):
    """Where aliases are kept: files beside a directory, collections in a server."""

    def point(self, alias: str, target: str) -> None: ...


class ChromaDriver:
    """Collections of one tenant's database; threads may share it."""

    engine: str = f"{ENGINE} {chromadb.__version__}"
    vector_tolerance: float = TOLERANCE

    def __init__(self, place: Engine, aliases: ServedNames) -> None:
        self.place = place
        self.aliases: ServedNames = aliases

    def names(self) -> Iterable[str]:
        return map(to_physical, self._native_names())

    def inventory(self) -> tuple[Listed, ...]:
        """Every collection, by Chroma's own names."""
        return tuple(map(Listed, sorted(self._native_names())))

    def exists(self, name: str) -> bool:
        try:
            with self.place.session() as session:
                return session.named(name) is not None
        except NotFound:  # nothing was ever created there
            return False

    def warnings(self) -> tuple[str, ...]:
        return ()

    def opened(self, name: str, use: Use) -> AbstractContextManager[OpenCollection]:
        del use
        with self.place.session() as session:
            model = session.named(name)
            if model is None:
                raise absent(name, map(to_physical, _names(session)))
        return nullcontext(ChromaCollection(self, model))

    def change_token(self, name: str) -> str | None:
        self.opened(name, Use.READ)  # Chroma has no sign that says so
        return None

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        return fitted(spec, self.place.namespace)

    def check(self, batch: Batch, spec: CollectionSpec) -> Iterable[Problem]:
        return value_problems(batch, spec)

    def refuse(self, rows: pa.Table, spec: CollectionSpec) -> None:
        self.encoded(rows, spec)

    def encoded(self, new: pa.Table, spec: CollectionSpec) -> managed.Rows:
        """Records as Chroma takes them; raises `InvalidRequest` for one that it would not."""
        if pc.any(pc.equal(new.column("id"), "")).as_py():
            raise InvalidRequest(
                f"batch for {spec.name!r}: record '' has no id, and Chroma needs one"
            )
        if is_foreign(spec):
            return foreign.encoded(new, spec, space_of(spec), parses=self.place.parses)
        return managed.encoded(new, spec, space_of(spec))

    def create(self, spec: CollectionSpec) -> None:
        definition = definition_of(spec)
        with self.place.session(create=True) as session:
            session.create(to_engine(spec.name), definition)

    def drop(self, name: str, *, unless_served: Callable[[], None]) -> None:
        with suppress(NotFound), self.place.session() as session:  # or nothing was ever created
            unless_served()
            model = session.named(name)
            if model is not None:
                session.drop(model.name)

    def point(self, alias: str, name: str) -> None:
        with self.place.session() as session:  # alone, where it is embedded: see `drop`
            if session.named(name) is None:
                raise absent(name, map(to_physical, _names(session)))
            self.aliases.point(alias, name)

    def _native_names(self) -> list[str]:
        try:
            with self.place.session() as session:
                return _names(session)
        except NotFound:  # nothing was ever created there
            return []


class ChromaCollection:
    """A collection as it was found: its calls are sessions of their own."""

    def __init__(self, driver: ChromaDriver, model: Model) -> None:
        self._driver = driver
        self.engine, self.model = driver.place, model
        self.label = label_of(model)
        self.spec = described(model, driver.place.namespace)

    @property
    def contract(self) -> CollectionSpec:
        return self.spec

    def described(self) -> CollectionSpec:
        return self.spec

    def status(self) -> CollectionStatus:
        """Chroma does not say how large a collection is: the size is that of its embeddings."""
        with self.engine.session() as session:
            count = session.count(self.model)
        if count == 0:
            self._require_there()
        size = count * (self.model.dimension or 0) * FLOAT_BYTES
        indexed = self.label is None or self.label.indexed
        return CollectionStatus(records=count, indexed=indexed, size_bytes=size)

    def notes(self) -> Iterable[Note]:
        return ()

    def scan(
        self, columns: Sequence[str], *, documents: Sequence[str] | None, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        yield from records(self, ids_of(self, documents), columns, batch_rows=batch_rows)
        self._require_there()

    def unordered(self, columns: Sequence[str]) -> Iterable[pa.RecordBatch]:
        return self.scan(columns, documents=None, batch_rows=SCAN_ROWS)

    def hits(self, request: Request) -> list[Hit] | None:
        hits = None if request.exact else nearest(self, request)
        if hits is not None and len(hits) < request.limit:
            self._require_there()
        return hits

    def counted(self, filter: Filter) -> int | None:
        where = to_where(filter, self.spec)
        if where is None or isinstance(where, bool):
            return None if where is None else where * self.status().records
        with self.engine.session() as session:
            return len(session.get(self.model, where=where)["ids"])

    def write(self, rows: pa.Table, *, replaces: Sequence[str]) -> None:
        encoded = self._driver.encoded(rows, self.spec)
        written = set(encoded.ids)
        doomed = [key for key in ids_of(self, replaces) if key not in written] if replaces else []
        write_rows(self.engine, self.model, encoded, keep_nothing=is_foreign(self.spec))
        delete_rows(self.engine, self.model, doomed)

    def build(self, progress: Progress | None) -> None:
        """Have the engine apply what is in its log to its index, which a search does first."""
        del progress  # Chroma builds its index by itself and says nothing meanwhile
        dimension = self.model.dimension
        with self.engine.session() as session:
            if dimension is not None and session.count(self.model):
                session.query(self.model, np.zeros(dimension, np.float32), limit=1, include=[])

    def relabel(self, label: Label) -> None:
        with self.engine.session() as session:
            session.set_metadata(self.model, labelled(self.model.metadata, label))

    def complete(self, spec: CollectionSpec) -> None:
        """Nothing is left out: one call makes a collection."""

    def _require_there(self) -> None:
        """Chroma deletes a collection in steps: for a moment it is there, with fewer records or
        none. What looks complete counts only if the collection is still there after it."""
        with self.engine.session() as session:
            model = session.find(self.model.name)
        if model is None or model.id != self.model.id:
            raise NotFound(f"collection {self.spec.name!r} was deleted while it was read")


def _names(session: Session) -> list[str]:
    return [model.name for model in session.collections() if not is_reserved(model.name)]
