"""Chroma, embedded or a server, as a VectorStore."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

import chromadb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import (
    AlreadyExists,
    InvalidRequest,
    NotFound,
    Refused,
)
from dr_pipelines.model.collection import CollectionSpec, CollectionStatus
from dr_pipelines.model.compatibility import CompatibilityReport, Note, Outcome
from dr_pipelines.model.misfit import Misfits
from dr_pipelines.model.query import Hit, Query
from dr_pipelines.protocols import Listed, Progress
from dr_pipelines.stores.chroma import native, rows
from dr_pipelines.stores.chroma.connection import Engine, Model, Session
from dr_pipelines.stores.chroma.describing import (
    ENGINE,
    NATIVE,
    definition_of,
    described,
    label_of,
    labelled,
    layout_of,
    space_of,
)
from dr_pipelines.stores.chroma.names import is_reserved, to_engine, to_physical
from dr_pipelines.stores.chroma.pages import ids_of, records
from dr_pipelines.stores.chroma.searching import nearest
from dr_pipelines.stores.chroma.vectors import SPACES, TOLERANCE
from dr_pipelines.stores.chroma.writing import delete_rows, write_rows
from dr_pipelines.stores.shared.batches import checked_batch
from dr_pipelines.stores.shared.exact import search_exactly
from dr_pipelines.stores.shared.fitting import Native, comes_back, fit_to
from dr_pipelines.stores.shared.following import followed
from dr_pipelines.stores.shared.misfits import misfits_of, refused_by, value_problems
from dr_pipelines.stores.shared.requests import (
    checked_alias,
    checked_batch_rows,
    checked_columns,
    checked_query,
)

Result = TypeVar("Result")

ABILITIES = Native(
    engine=ENGINE,
    metrics=frozenset(SPACES),
    indexes={"hnsw": frozenset(["m", "ef_construction", "ef_search"])},
    default_index="hnsw",
    vectors=1,
)
SCAN_ROWS = 2000
FLOAT_BYTES = 4


class Aliases(Protocol):
    """Where aliases are kept."""

    def all(self) -> dict[str, str]: ...
    def target(self, alias: str) -> str | None: ...
    def point(self, alias: str, target: str) -> None: ...


@dataclass(frozen=True, slots=True)
class _Reading:
    """A collection as it was found."""

    engine: Engine
    model: Model
    spec: CollectionSpec
    indexed: bool


class ChromaVectorStore:
    """Collections of one tenant's database; threads may share it.

    A write is a series of calls, each of which Chroma takes as a whole: new records are there
    before old ones go, and a write that failed is repeated. A scan reads the ids first and then
    each page as it is at that moment.
    """

    def __init__(self, engine: Engine, aliases: Aliases) -> None:
        self._engine = engine
        self._aliases = aliases

    @property
    def engine(self) -> str:
        return f"{ENGINE} {chromadb.__version__}"

    @property
    def vector_tolerance(self) -> float:
        return TOLERANCE

    def collections(self) -> list[str]:
        return sorted(map(to_physical, self._names()))

    def inventory(self) -> tuple[Listed, ...]:
        """Every collection, by Chroma's own names."""
        return tuple(map(Listed, self._names()))

    def _names(self) -> list[str]:
        try:
            with self._engine.session() as session:
                names = [model.name for model in session.collections()]
        except NotFound:  # nothing was ever created there
            return []
        return sorted(name for name in names if not is_reserved(name))

    def aliases(self) -> dict[str, str]:
        return self._aliases.all()

    def warnings(self) -> tuple[str, ...]:
        return ()

    def describe(self, name: str) -> CollectionSpec:
        return self._followed(name, lambda found: found.spec)

    def change_token(self, name: str) -> str | None:
        return self._followed(name, lambda _: None)  # Chroma has no sign that says so

    def status(self, name: str) -> CollectionStatus:
        return self._followed(name, self._status)

    def scan(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
    ) -> Iterator[pa.RecordBatch]:
        found = self._followed(name, lambda found: found)
        size, asked = checked_batch_rows(batch_rows), checked_columns(columns, found.spec)
        return self._scanned(found, asked, None if documents is None else list(documents), size)

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        return self._followed(name, lambda found: self._searched(found, query, limit=limit))

    def compatibility(self, name: str) -> tuple[Note, ...]:
        return comes_back(self, name)

    def misfits(self, spec: CollectionSpec, batch: pa.Table | pa.RecordBatch) -> Misfits:
        def refuse(rows: pa.Table) -> None:
            self._encoded(rows, spec)

        known = value_problems(batch, spec)
        return misfits_of(batch, refused_by(batch, refuse, known=known))

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        fitted = fit_to(spec, ABILITIES)
        section = fitted.spec.engine.get(ENGINE, {})
        here = self._engine.namespace
        place = {"tenant": here.tenant, "database": here.database}
        if section.get("namespace") in (None, place):
            return fitted
        engine = {**fitted.spec.engine, ENGINE: {**section, "namespace": place}}
        said = f"clients must name tenant {here.tenant!r} and database {here.database!r}"
        note = Note(f"engine.{ENGINE}.namespace", Outcome.APPROXIMATED, said)
        return CompatibilityReport(
            fitted.spec.model_copy(update={"engine": engine}), (*fitted.notes, note)
        )

    def create(self, spec: CollectionSpec) -> None:
        if self._aliases.target(spec.name) is not None:
            raise AlreadyExists(f"{spec.name!r} is an alias; choose another name")
        definition = definition_of(spec)
        with self._engine.session(create=True) as session:
            if session.named(spec.name) is None:
                with suppress(AlreadyExists):  # somebody else was quicker
                    session.create(to_engine(spec.name), definition)
            model = session.named(spec.name)
        label = None if model is None else label_of(model)
        same = label is not None and label.spec == spec
        if not same and (model is None or described(model, self._engine.namespace) != spec):
            raise AlreadyExists(
                f"{spec.name!r} is a collection with another spec; choose another name or drop it"
            )

    def drop(self, name: str) -> None:
        self._check_physical(name)
        try:
            with self._engine.session() as session:
                pointing = sorted(a for a, to in self._aliases.all().items() if to == name)
                if pointing:
                    raise Refused(
                        f"{name!r} is served as {pointing}; promote another collection first"
                    )
                model = session.named(name)
                if model is not None:
                    session.drop(model.name)
        except NotFound:  # nothing was ever created there
            return

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        found = self._physical(name)
        spec = found.spec
        new = checked_batch(batch, spec)
        ids = set(new.column("id").to_pylist())
        encoded, is_native = self._encoded(new, spec), layout_of(spec) == NATIVE
        doomed = [key for key in ids_of(found, replaces) if key not in ids] if replaces else []
        write_rows(self._engine, found.model, encoded, keep_nothing=is_native)
        delete_rows(self._engine, found.model, doomed)

    def _encoded(self, new: pa.Table, spec: CollectionSpec) -> rows.Rows:
        """Records as Chroma takes them; raises `InvalidRequest` for one that it would not."""
        if pc.any(pc.equal(new.column("id"), "")).as_py():
            raise InvalidRequest(
                f"batch for {spec.name!r}: record '' has no id, and Chroma needs one"
            )
        if layout_of(spec) == NATIVE:
            return native.encoded(new, spec, space_of(spec), parses=self._engine.parses)
        return rows.encoded(new, spec, space_of(spec))

    def build_index(self, name: str, *, progress: Progress | None = None) -> None:
        del progress  # Chroma builds its index by itself and says nothing meanwhile
        found = self._physical(name)
        label = label_of(found.model)
        with self._engine.session() as session:
            self._catch_up(session, found)
            if label is not None and not label.indexed:
                built = label.model_copy(update={"indexed": True})
                session.set_metadata(found.model, labelled(found.model.metadata, built))

    def promote(self, name: str, *, alias: str) -> None:
        self._check_physical(name)
        if checked_alias(alias) in self.collections():
            raise AlreadyExists(f"{alias!r} is a collection; choose another alias")
        with self._engine.session() as session:  # alone, where it is embedded: see `drop`
            if session.named(name) is None:
                raise self._unknown(session, name)
            self._aliases.point(alias, name)

    def _catch_up(self, session: Session, found: _Reading) -> None:
        """Have the engine apply what is in its log to its index, which a search does first."""
        if found.model.dimension is not None and session.count(found.model):
            session.query(
                found.model, np.zeros(found.model.dimension, np.float32), limit=1, include=[]
            )

    def _status(self, found: _Reading) -> CollectionStatus:
        """Chroma does not say how large a collection is: the size is that of its embeddings."""
        with self._engine.session() as session:
            count = session.count(found.model)
        if count == 0:
            self._check_there(found)
        size = count * (found.model.dimension or 0) * FLOAT_BYTES
        return CollectionStatus(records=count, indexed=found.indexed, size_bytes=size)

    def _scanned(
        self, found: _Reading, columns: list[str], documents: list[str] | None, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        yield from records(found, ids_of(found, documents), columns, batch_rows=batch_rows)
        self._check_there(found)

    def _searched(self, found: _Reading, query: Query, *, limit: int) -> list[Hit]:
        request = checked_query(query, found.spec, limit=limit, indexed=found.indexed)
        hits = None if query.exact else nearest(found, request, limit=limit)
        if hits is not None:
            if len(hits) < limit:
                self._check_there(found)
            return hits

        def scan(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
            return self._scanned(found, list(columns), None, SCAN_ROWS)

        return search_exactly(scan, request, limit=limit)

    def _check_there(self, found: _Reading) -> None:
        """Chroma deletes a collection in steps: for a moment it is there, with fewer records or
        none. What looks complete counts only if the collection is still there after it."""
        with self._engine.session() as session:
            model = session.find(found.model.name)
        if model is None or model.id != found.model.id:
            raise NotFound(f"collection {found.spec.name!r} was deleted while it was read")

    def _followed(self, name: str, read: Callable[[_Reading], Result]) -> Result:
        return followed(name, self._aliases.target, lambda physical: read(self._found(physical)))

    def _found(self, physical: str) -> _Reading:
        with self._engine.session() as session:
            model = session.named(physical)
            if model is None:
                raise self._unknown(session, physical)
        label = label_of(model)
        spec = described(model, self._engine.namespace)
        return _Reading(self._engine, model, spec, label is None or label.indexed)

    def _physical(self, name: str) -> _Reading:
        self._check_physical(name)
        return self._found(name)

    def _check_physical(self, name: str) -> None:
        target = self._aliases.target(name)
        if target is not None:
            raise NotFound(f"{name!r} is an alias; name the collection {target!r}")

    def _unknown(self, session: Session, name: str) -> NotFound:
        names = [m.name for m in session.collections() if not is_reserved(m.name)]
        known = ", ".join(sorted(map(to_physical, names))) or "none"
        return NotFound(f"no collection {name!r}; there are: {known}")
