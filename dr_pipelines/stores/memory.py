"""The reference store: Arrow tables in memory, every answer computed from scratch."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import AlreadyExists
from dr_pipelines.model.collection import CollectionSpec, CollectionStatus
from dr_pipelines.model.compatibility import CompatibilityReport, Note
from dr_pipelines.model.query import Filter, Hit
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import Listed, Progress
from dr_pipelines.stores.shared.driver import OpenCollection, Use, absent
from dr_pipelines.stores.shared.driver_store import DriverStore
from dr_pipelines.stores.shared.exact import matches
from dr_pipelines.stores.shared.fitting import fit_exact
from dr_pipelines.stores.shared.label import Label
from dr_pipelines.stores.shared.misfits import Batch, Problem, value_problems
from dr_pipelines.stores.shared.requests import Request


def memory_store() -> "DriverStore[MemoryDriver]":
    """A new, empty store; thread-safe."""
    return DriverStore(MemoryDriver())


@dataclass(frozen=True, slots=True)
class TableState:
    """A collection at one moment: immutable, so that readers need no lock. `table` is sorted by
    id."""

    label: Label
    table: pa.Table

    @property
    def spec(self) -> CollectionSpec:
        return self.label.spec


class MemoryAliases:
    """Aliases in a dictionary, which whoever promotes replaces an entry of."""

    def __init__(self) -> None:
        self.targets = dict[str, str]()

    def all(self) -> dict[str, str]:
        return self.targets.copy()

    def target(self, alias: str) -> str | None:
        return self.targets.get(alias)


class MemoryDriver:
    """Collections and aliases of one process."""

    engine: str = f"memory (pyarrow {pa.__version__})"
    vector_tolerance: float = 0.0

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.tables = dict[str, TableState]()
        self.aliases: MemoryAliases = MemoryAliases()

    def names(self) -> Iterable[str]:
        return list(self.tables)

    def inventory(self) -> tuple[Listed, ...]:
        return tuple(map(Listed, sorted(self.names())))

    def exists(self, name: str) -> bool:
        return name in self.tables

    def warnings(self) -> tuple[str, ...]:
        return ()

    def opened(self, name: str, use: Use) -> "AbstractContextManager[OpenCollection]":
        del use
        return nullcontext(MemoryCollection(self, self.newest(name)))

    def newest(self, name: str) -> TableState:
        """The collection as it is now."""
        state = self.tables.get(name)
        if state is None:
            raise absent(name, self.names())
        return state

    def change_token(self, name: str) -> str | None:
        self.newest(name)  # there is no sign that says so
        return None

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        return fit_exact(spec, engine="memory")

    def check(self, batch: Batch, spec: CollectionSpec) -> Iterable[Problem]:
        """NaN and infinities are kept as they are, like any other bits."""
        return value_problems(batch, spec, finite=False)

    def refuse(self, rows: pa.Table, spec: CollectionSpec) -> None:
        """Nothing that `check` takes."""

    def create(self, spec: CollectionSpec) -> None:
        with self.lock:
            if spec.name in self.tables:
                raise AlreadyExists(f"{spec.name!r} is there")
            self.tables[spec.name] = TableState(Label(spec=spec), store_schema(spec).empty_table())

    def drop(self, name: str, *, unless_served: Callable[[], None]) -> None:
        with self.lock:
            unless_served()
            self.tables.pop(name, None)

    def point(self, alias: str, name: str) -> None:
        with self.lock:
            self.newest(name)
            self.aliases.targets[alias] = name


class MemoryCollection:
    """A collection as it was when it was opened; what is written goes to the newest."""

    def __init__(self, driver: MemoryDriver, state: TableState) -> None:
        self._driver = driver
        self._state = state

    @property
    def label(self) -> Label:
        return self._state.label

    @property
    def contract(self) -> CollectionSpec:
        return self.label.spec

    def described(self) -> CollectionSpec:
        return self.label.spec

    def status(self) -> CollectionStatus:
        table = self._state.table
        return CollectionStatus(
            records=len(table), indexed=self.label.indexed, size_bytes=table.nbytes
        )

    def notes(self) -> Iterable[Note]:
        return ()

    def scan(
        self, columns: Sequence[str], *, documents: Sequence[str] | None, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        table = self._state.table.select(columns)
        if documents is not None:
            selection = pa.array(documents, pa.string())
            owners = self._state.table.column("document_id")
            table = table.filter(pc.is_in(owners, value_set=selection))
        return iter(table.combine_chunks().to_batches(max_chunksize=batch_rows))

    def unordered(self, columns: Sequence[str]) -> Iterable[pa.RecordBatch]:
        return list(self._state.table.select(columns).combine_chunks().to_batches())

    def hits(self, request: Request) -> list[Hit] | None:
        del request
        return None

    def counted(self, filter: Filter) -> int:
        batches = self._state.table.to_batches()
        return sum(int(matches(filter, batch).sum()) for batch in batches)

    def write(self, rows: pa.Table, *, replaces: Sequence[str]) -> None:
        with self._driver.lock:
            newest = self._driver.newest(self.contract.name)
            doomed = pc.or_(
                pc.is_in(newest.table["id"], value_set=rows["id"].combine_chunks()),
                pc.is_in(newest.table["document_id"], value_set=pa.array(replaces, pa.string())),
            )
            merged = pa.concat_tables([newest.table.filter(pc.invert(doomed)), rows])
            merged = merged.take(pc.sort_indices(merged["id"])).combine_chunks()
            self._driver.tables[self.contract.name] = replace(newest, table=merged)

    def build(self, progress: Progress | None) -> None:
        del progress  # keywords are ranked by reading every text: there is nothing to build

    def relabel(self, label: Label) -> None:
        with self._driver.lock:
            newest = self._driver.newest(label.spec.name)
            self._driver.tables[label.spec.name] = replace(newest, label=label)

    def complete(self, spec: CollectionSpec) -> None:
        """Nothing is left out."""
