"""A store some of whose collections have another name here than the adapter gives them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from dr_pipelines.model.collection import CollectionSpec, CollectionStatus
from dr_pipelines.model.compatibility import CompatibilityReport, Note
from dr_pipelines.model.definitions import Definitions
from dr_pipelines.model.misfit import Misfits
from dr_pipelines.model.query import Filter, Hit, Query
from dr_pipelines.protocols import (
    AnswersItself,
    BulkLoad,
    Counts,
    Definer,
    KeepsOpen,
    Progress,
    VectorStore,
)
from dr_pipelines.stores.shared.naming import StoredNames

if TYPE_CHECKING:
    import pyarrow as pa


class DefiningStore(VectorStore, Definer, BulkLoad, Protocol):
    """A store whose collections are definitions."""


class RenamedStore:
    """A `VectorStore` that asks another one by other names: `names` are collection → what the
    adapter calls it. What is called like one of those collections is of something else, and
    stands for nothing."""

    def __init__(self, store: VectorStore, names: Mapping[str, str]) -> None:
        self._store = store
        self._inner = dict(names)
        self._ours = {inner: ours for ours, inner in names.items()}

    @property
    def engine(self) -> str:
        return self._store.engine

    @property
    def vector_tolerance(self) -> float:
        return self._store.vector_tolerance

    def collections(self) -> list[str]:
        there = self._store.collections()
        seen = [name for name in there if name in self._ours or name not in self._inner]
        return sorted(self._ours.get(name, name) for name in seen)

    def aliases(self) -> dict[str, str]:
        return {alias: self._ours.get(to, to) for alias, to in self._store.aliases().items()}

    def warnings(self) -> tuple[str, ...]:
        hidden = StoredNames(self._inner).hidden(self._store.collections(), str)
        return (*self._store.warnings(), *hidden)

    def describe(self, name: str) -> CollectionSpec:
        return self._outside(self._store.describe(self._inside(name)))

    def compatibility(self, name: str) -> tuple[Note, ...]:
        return self._store.compatibility(self._inside(name))

    def misfits(self, spec: CollectionSpec, batch: "pa.Table | pa.RecordBatch") -> Misfits:
        return self._store.misfits(self._with_name(spec), batch)

    def change_token(self, name: str) -> str | None:
        return self._store.change_token(self._inside(name))

    def status(self, name: str) -> CollectionStatus:
        return self._store.status(self._inside(name))

    def scan(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
        ordered: bool = True,
    ) -> "Iterator[pa.RecordBatch]":
        return self._store.scan(
            self._inside(name),
            columns=columns,
            documents=documents,
            batch_rows=batch_rows,
            ordered=ordered,
        )

    def keeping(self, name: str) -> AbstractContextManager[None]:
        store = self._store
        return store.keeping(self._inside(name)) if isinstance(store, KeepsOpen) else nullcontext()

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        return self._store.search(self._inside(name), query, limit=limit)

    def count(self, name: str, filter: Filter) -> int | None:
        store = self._store
        return store.count(self._inside(name), filter) if isinstance(store, Counts) else None

    def answers(self, name: str, query: Query) -> bool:
        store = self._store
        return not isinstance(store, AnswersItself) or store.answers(self._inside(name), query)

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        report = self._store.fit(self._with_name(spec))
        return replace(report, spec=self._outside(report.spec))

    def create(self, spec: CollectionSpec) -> None:
        self._store.create(self._with_name(spec))

    def drop(self, name: str) -> None:
        self._store.drop(self._inside(name))

    def write(self, name: str, batch: "pa.Table", *, replaces: Sequence[str] = ()) -> None:
        self._store.write(self._inside(name), batch, replaces=replaces)

    def build_index(self, name: str, *, progress: Progress | None = None) -> None:
        self._store.build_index(self._inside(name), progress=progress)

    def promote(self, name: str, *, alias: str) -> None:
        self._store.promote(self._inside(name), alias=alias)

    def _inside(self, name: str) -> str:
        """An alias of a collection's own name is the alias, and not the collection."""
        return name if name in self._store.aliases() else self._inner.get(name, name)

    def _with_name(self, spec: CollectionSpec) -> CollectionSpec:
        return spec.model_copy(update={"name": self._inner.get(spec.name, spec.name)})

    def _outside(self, spec: CollectionSpec) -> CollectionSpec:
        return spec.model_copy(update={"name": self._ours.get(spec.name, spec.name)})


class RenamedDefiner(RenamedStore):
    """The same for a store of definitions, which are analysed and opened by its own names."""

    def __init__(self, store: DefiningStore, names: Mapping[str, str]) -> None:
        super().__init__(store, names)
        self._definer: Definer = store
        self._bulk: BulkLoad = store

    def definitions(self, spec: CollectionSpec, *, with_roles: bool) -> Definitions:
        definitions = self._definer.definitions(self._with_name(spec), with_roles=with_roles)
        return replace(definitions, spec=self._outside(definitions.spec))

    def before_rights(self, spec: CollectionSpec) -> CollectionSpec:
        return self._definer.before_rights(spec)

    def open_up(self, name: str) -> None:
        self._definer.open_up(self._inside(name))

    def remove(self, name: str) -> tuple[str, ...]:
        return self._definer.remove(self._inside(name))

    def takes_two_writers(self, name: str) -> bool:
        return self._bulk.takes_two_writers(self._inside(name))

    def build_beside_readers(self, name: str, *, progress: Progress | None = None) -> None:
        self._bulk.build_beside_readers(self._inside(name), progress=progress)

    def chosen(self, name: str) -> dict[str, str]:
        return self._bulk.chosen(self._inside(name))
