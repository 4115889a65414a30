"""The adapter of an engine: a `Driver`, of which `DriverStore` makes a `VectorStore`.

A driver says how its engine does a thing, and decides nothing: whether a name is an alias, what
happens where a collection is there already or is served, which alias is followed and how long, and
who answers a search are decided once, in the front.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from dr_pipelines.errors import NotFound
from dr_pipelines.model.collection import CollectionSpec, CollectionStatus
from dr_pipelines.model.compatibility import CompatibilityReport, Note
from dr_pipelines.model.query import Filter, Hit
from dr_pipelines.protocols import Listed, Progress
from dr_pipelines.stores.shared.label import Label
from dr_pipelines.stores.shared.misfits import Batch, Problem
from dr_pipelines.stores.shared.requests import Request

if TYPE_CHECKING:
    import pyarrow as pa


class Use(Enum):
    """The purpose for which a collection is opened; an engine that needs no distinction makes
    none."""

    READ = auto()
    SEARCH = auto()
    SCAN = auto()
    WRITE = auto()
    BUILD = auto()


class Aliases(Protocol):
    """Where names of collections stand under other names."""

    def all(self) -> dict[str, str]:
        """Alias → physical name. Raises `Damaged` where one of them cannot be read."""
        ...

    def target(self, alias: str) -> str | None:
        """The physical name that the alias stands for, if it is one. Raises `Damaged`."""
        ...


class OpenCollection(Protocol):
    """A collection for the length of one operation. Every change can be repeated."""

    @property
    def label(self) -> Label | None:
        """The label stored with it; None where something else made the collection."""
        ...

    @property
    def contract(self) -> CollectionSpec:
        """Its columns and their types, and for a search also metrics and whether keywords are
        searched; what else it says need not be up to date."""
        ...

    def described(self) -> CollectionSpec:
        """The label under what the engine reports now."""
        ...

    def status(self) -> CollectionStatus: ...

    def notes(self) -> Iterable[Note]:
        """Parts that would not come back, beside those that `fit` reports for its description."""
        ...

    def scan(
        self, columns: Sequence[str], *, documents: Sequence[str] | None, batch_rows: int
    ) -> "Iterator[pa.RecordBatch]":
        """Records ascending by id, in these columns, at most so many at a time; with `documents`,
        each of which is named once, those of them alone."""
        ...

    def unordered(self, columns: Sequence[str]) -> "Iterable[pa.RecordBatch]":
        """Every record once, in whatever order costs least. Of a collection that was opened to be
        scanned, what `scan` gives: of one moment where it is, and none without an id."""
        ...

    def hits(self, request: Request) -> list[Hit] | None:
        """The engine's own answer; None, or `Inexpressible`, where it has none: then every record
        is read. With `request.exact` only one that misses nothing."""
        ...

    def write(self, rows: "pa.Table", *, replaces: Sequence[str]) -> None:
        """Insert or replace records, which `check` has passed; each document of `replaces` is named
        once. Raises `InvalidRequest` where `refuse` does, before anything is written."""
        ...

    def build(self, progress: Progress | None) -> None:
        """Build what the collection declares and searches need, and wait for it."""
        ...

    def relabel(self, label: Label) -> None:
        """Keep another label."""
        ...

    def complete(self, spec: CollectionSpec) -> None:
        """Make what a run that was killed left out when it created the collection as `spec`, which
        it was asked to be, or has become. `AlreadyExists` where the engine does not tell what it
        would have to be, or where somebody else may have made it look so."""
        ...


class Driver(Protocol):
    """One engine at one place. Names are physical in every call, and every call raises this
    package's errors only."""

    @property
    def engine(self) -> str:
        """As `VectorReader` has it, and so is `vector_tolerance`."""
        ...

    @property
    def vector_tolerance(self) -> float: ...

    @property
    def aliases(self) -> Aliases: ...

    def names(self) -> Iterable[str]:
        """Those of collections."""
        ...

    def inventory(self) -> tuple[Listed, ...]:
        """As `Inventory` has it: `names`, and what looks like a collection and is none."""
        ...

    def exists(self, name: str) -> bool:
        """True if there is such a collection."""
        ...

    def warnings(self) -> tuple[str, ...]:
        """As `Catalog` has it."""
        ...

    def opened(self, name: str, use: Use) -> AbstractContextManager[OpenCollection]:
        """The collection, for one operation. Raises `NotFound` (see `absent`)."""
        ...

    def change_token(self, name: str) -> str | None:
        """As `VectorReader` has it. Raises `NotFound`."""
        ...

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        """As `VectorStore` has it."""
        ...

    def check(self, batch: Batch, spec: CollectionSpec) -> Iterable[Problem]:
        """Rows that a write refuses, as far as masks of columns can tell."""
        ...

    def refuse(self, rows: "pa.Table", spec: CollectionSpec) -> object:
        """Raise `InvalidRequest` where only making the engine's rows shows that it would not take
        them. Asks nobody."""
        ...

    def create(self, spec: CollectionSpec) -> None:
        """Make an empty collection with the label of `spec`; whole, or such that `complete` makes
        it so. `AlreadyExists` where somebody was faster."""
        ...

    def drop(self, name: str, *, unless_served: Callable[[], None]) -> None:
        """Remove a collection, and none where there is none. `unless_served` raises; it is called
        last, where nobody can promote the collection any more. Servers of Chroma, Milvus and Qdrant
        lock nothing for us: there it is called immediately before the request that removes."""
        ...

    def point(self, alias: str, name: str) -> None:
        """Make the alias stand for the collection, durably and in one step. Raises `NotFound` where
        that was dropped meanwhile."""
        ...


@runtime_checkable
class KeepingDriver(Protocol):
    """A driver whose collections take long to open."""

    def keeping(self, name: str) -> AbstractContextManager[None]:
        """As `KeepsOpen` has it."""
        ...


@runtime_checkable
class CountingCollection(Protocol):
    """A collection whose engine counts records by its own filters."""

    def counted(self, filter: Filter) -> int | None:
        """Records that a checked filter keeps. None, or `Inexpressible`, where the engine has no
        words for it."""
        ...


def same(one: CollectionSpec, other: CollectionSpec) -> bool:
    """True if a collection that is one is the other: aliases are the engine's to say, not part of
    what a collection is made of."""
    return one.model_copy(update={"aliases": ()}) == other.model_copy(update={"aliases": ()})


def absent(name: str, names: Iterable[str]) -> NotFound:
    """For a collection that is not there; `names` are those that are."""
    return NotFound(f"no collection {name!r}; there are: {', '.join(sorted(names)) or 'none'}")
