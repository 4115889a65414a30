"""A layer around any vector store that says what is being called, and may interfere."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from threading import Lock
from typing import Literal, TypeVar

import pyarrow as pa

from dr_pipelines.model.collection import CollectionSpec, CollectionStatus
from dr_pipelines.model.compatibility import CompatibilityReport, Note
from dr_pipelines.model.definitions import Definitions
from dr_pipelines.model.misfit import Misfits
from dr_pipelines.model.query import Hit, Query
from dr_pipelines.protocols import Definer, KeepsOpen, Progress, VectorStore

T = TypeVar("T")

CallName = Literal[
    "collections",
    "aliases",
    "describe",
    "compatibility",
    "status",
    "change_token",
    "scan",
    "batch",
    "search",
    "create",
    "drop",
    "write",
    "build_index",
    "open_up",
    "promote",
]
Moment = Literal["before", "after"]
Hook = Callable[[CallName, str, Moment, int], None]
"""Called with (call, collection or "", moment, number of the call from 1). What it raises is raised
to the caller; it may end the process, or write to the store below."""


class RecordingStore:
    """Calls `hook` before and after every call; each batch that a scan yields is a call `batch`.

    A call that fails has no "after". Numbers count every call, batches included.
    """

    def __init__(self, store: VectorStore, hook: Hook) -> None:
        self._store = store
        self._hook = hook
        self._lock = Lock()
        self._count = 0

    @property
    def engine(self) -> str:
        return self._store.engine

    @property
    def vector_tolerance(self) -> float:
        return self._store.vector_tolerance

    def collections(self) -> list[str]:
        return self._called("collections", "", self._store.collections)

    def aliases(self) -> dict[str, str]:
        return self._called("aliases", "", self._store.aliases)

    def warnings(self) -> tuple[str, ...]:
        return self._store.warnings()

    def describe(self, name: str) -> CollectionSpec:
        return self._called("describe", name, lambda: self._store.describe(name))

    def status(self, name: str) -> CollectionStatus:
        return self._called("status", name, lambda: self._store.status(name))

    def scan(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
        ordered: bool = True,
    ) -> Iterator[pa.RecordBatch]:
        scan = self._called(
            "scan",
            name,
            lambda: self._store.scan(
                name,
                columns=columns,
                documents=documents,
                batch_rows=batch_rows,
                ordered=ordered,
            ),
        )
        return self._batches(name, scan)

    def keeping(self, name: str) -> AbstractContextManager[None]:
        store = self._store  # nothing is asked of the engine
        return store.keeping(name) if isinstance(store, KeepsOpen) else nullcontext()

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        return self._called("search", name, lambda: self._store.search(name, query, limit=limit))

    def compatibility(self, name: str) -> tuple[Note, ...]:
        return self._called("compatibility", name, lambda: self._store.compatibility(name))

    def misfits(self, spec: CollectionSpec, batch: pa.Table | pa.RecordBatch) -> Misfits:
        return self._store.misfits(spec, batch)  # pure: nothing is asked of the engine

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        return self._store.fit(spec)

    def change_token(self, name: str) -> str | None:
        return self._called("change_token", name, lambda: self._store.change_token(name))

    def create(self, spec: CollectionSpec) -> None:
        self._called("create", spec.name, lambda: self._store.create(spec))

    def drop(self, name: str) -> None:
        self._called("drop", name, lambda: self._store.drop(name))

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        self._called("write", name, lambda: self._store.write(name, batch, replaces=replaces))

    def build_index(self, name: str, *, progress: Progress | None = None) -> None:
        build = self._store.build_index
        self._called("build_index", name, lambda: build(name, progress=progress))

    def definitions(self, spec: CollectionSpec, *, with_roles: bool) -> Definitions:
        if isinstance(self._store, Definer):
            return self._store.definitions(spec, with_roles=with_roles)
        return Definitions(spec)

    def before_rights(self, spec: CollectionSpec) -> CollectionSpec:
        return self._store.before_rights(spec) if isinstance(self._store, Definer) else spec

    def open_up(self, name: str) -> None:
        if isinstance(self._store, Definer):
            self._called("open_up", name, partial(self._store.open_up, name))

    def remove(self, name: str) -> tuple[str, ...]:
        if not isinstance(self._store, Definer):
            self.drop(name)
            return ()
        roles = list[str]()
        remove = self._store.remove
        self._called("drop", name, lambda: roles.extend(remove(name)))
        return tuple(roles)

    def promote(self, name: str, *, alias: str) -> None:
        self._called("promote", name, lambda: self._store.promote(name, alias=alias))

    def _batches(self, name: str, scan: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            while True:
                number = self._next()
                self._hook("batch", name, "before", number)
                batch = next(scan, None)
                if batch is None:
                    return
                self._hook("batch", name, "after", number)
                yield batch
        finally:
            close = getattr(scan, "close", None)  # an iterator need not have one
            if close is not None:
                close()

    def _called(self, call: CallName, name: str, do: Callable[[], T]) -> T:
        number = self._next()
        self._hook(call, name, "before", number)
        result = do()
        self._hook(call, name, "after", number)
        return result

    def _next(self) -> int:
        with self._lock:
            self._count += 1
            return self._count
