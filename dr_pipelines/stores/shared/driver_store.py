"""The front of every engine: a `VectorStore` over a `Driver`."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from dr_pipelines.errors import AlreadyExists, NotFound, Refused
from dr_pipelines.model.collection import CollectionSpec, CollectionStatus
from dr_pipelines.model.compatibility import CompatibilityReport, Note
from dr_pipelines.model.filter_check import checked_filter
from dr_pipelines.model.misfit import Misfits
from dr_pipelines.model.query import Filter, Hit, Query
from dr_pipelines.protocols import Listed, Progress
from dr_pipelines.stores.shared.batches import checked_batch
from dr_pipelines.stores.shared.driver import (
    CountingCollection,
    Driver,
    KeepingDriver,
    OpenCollection,
    Use,
    absent,
    same,
)
from dr_pipelines.stores.shared.exact import search_exactly
from dr_pipelines.stores.shared.filters import Inexpressible
from dr_pipelines.stores.shared.fitting import comes_back
from dr_pipelines.stores.shared.following import followed
from dr_pipelines.stores.shared.misfits import misfits_of, refused_by
from dr_pipelines.stores.shared.requests import (
    checked_alias,
    checked_batch_rows,
    checked_columns,
    checked_query,
)

if TYPE_CHECKING:
    import pyarrow as pa

D = TypeVar("D", bound=Driver)
Result = TypeVar("Result")


class DriverStore(Generic[D]):
    """As safe for threads and processes as the driver. A scan reads the state at its first `next`,
    and only then finds out that something is wrong with it."""

    def __init__(self, driver: D) -> None:
        self._driver = driver

    @property
    def driver(self) -> D:
        """The engine's own side of the store."""
        return self._driver

    @property
    def engine(self) -> str:
        return self._driver.engine

    @property
    def vector_tolerance(self) -> float:
        return self._driver.vector_tolerance

    def collections(self) -> list[str]:
        return sorted(self._driver.names())

    def inventory(self) -> tuple[Listed, ...]:
        return self._driver.inventory()

    def aliases(self) -> dict[str, str]:
        return dict(sorted(self._driver.aliases.all().items()))

    def warnings(self) -> tuple[str, ...]:
        return self._driver.warnings()

    def describe(self, name: str) -> CollectionSpec:
        return self._followed(name, lambda collection: collection.described())

    def status(self, name: str) -> CollectionStatus:
        return self._followed(name, lambda collection: collection.status())

    def change_token(self, name: str) -> str | None:
        return followed(name, self._driver.aliases.target, self._driver.change_token)

    def compatibility(self, name: str) -> tuple[Note, ...]:
        return self._followed(
            name,
            lambda collection: (*comes_back(collection.described(), self), *collection.notes()),
        )

    def misfits(self, spec: CollectionSpec, batch: "pa.Table | pa.RecordBatch") -> Misfits:
        problems = self._driver.check(batch, spec)
        refuse = partial(self._driver.refuse, spec=spec)
        return misfits_of(batch, refused_by(batch, refuse, problems=problems))

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        return self._driver.fit(spec)

    def scan(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
        ordered: bool = True,
    ) -> "Iterator[pa.RecordBatch]":
        """Until there is a first batch an alias may move."""
        rows = checked_batch_rows(batch_rows)
        selection = None if documents is None else list(dict.fromkeys(documents))

        def begun(physical: str) -> "tuple[pa.RecordBatch | None, Iterator[pa.RecordBatch]]":
            with ExitStack() as opening:
                collection = opening.enter_context(self._driver.opened(physical, Use.SCAN))
                selected = checked_columns(columns, collection.contract)
                if ordered or selection is not None:  # of some, the driver has but one way
                    batches = collection.scan(selected, documents=selection, batch_rows=rows)
                else:
                    batches = _at_most(collection.unordered(selected), rows)
                if isinstance(batches, Generator):
                    opening.enter_context(closing(batches))
                first = next(batches, None)
                open_collection.push(opening.pop_all())
            return first, batches

        with ExitStack() as open_collection:
            first, rest = followed(name, self._driver.aliases.target, begun)
            if first is not None:
                yield first
                yield from rest

    def keeping(self, name: str) -> AbstractContextManager[None]:
        driver: object = self._driver
        return driver.keeping(name) if isinstance(driver, KeepingDriver) else nullcontext()

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        answer = partial(_answered, query=query, limit=limit)
        return self._followed(name, answer, use=Use.SEARCH)

    def count(self, name: str, filter: Filter) -> int | None:
        return self._followed(name, partial(_counted, filter=filter), use=Use.SEARCH)

    def answers(self, name: str, query: Query) -> bool:
        return self._followed(name, partial(_answers, query=query), use=Use.SEARCH)

    def create(self, spec: CollectionSpec) -> None:
        if self._driver.aliases.target(spec.name) is not None:
            raise AlreadyExists(f"{spec.name!r} is an alias; choose another name")
        if not self._driver.exists(spec.name):
            try:
                self._driver.create(spec)
            except AlreadyExists:
                if not self._driver.exists(spec.name):  # something else has its name
                    raise  # else somebody was faster: is it the same?
        with self._driver.opened(spec.name, Use.READ) as collection:
            if not _is(collection, spec):
                raise AlreadyExists(
                    f"{spec.name!r} is a collection with another spec; choose another name or "
                    "drop it"
                )
            collection.complete(spec)

    def drop(self, name: str) -> None:
        self._refuse_alias(name)
        self._driver.drop(name, unless_served=partial(self._refuse_served, name))

    def write(self, name: str, batch: "pa.Table", *, replaces: Sequence[str] = ()) -> None:
        self._refuse_alias(name)
        with self._driver.opened(name, Use.WRITE) as collection:
            rows = checked_batch(batch, collection.contract, check=self._driver.check)
            collection.write(rows, replaces=list(dict.fromkeys(replaces)))

    def build_index(self, name: str, *, progress: Progress | None = None) -> None:
        self._refuse_alias(name)
        with self._driver.opened(name, Use.BUILD) as collection:
            collection.build(progress)
            if collection.label is not None and not collection.label.indexed:
                collection.relabel(collection.label.model_copy(update={"indexed": True}))

    def promote(self, name: str, *, alias: str) -> None:
        self._refuse_alias(name)
        if self._driver.exists(checked_alias(alias)):
            raise AlreadyExists(f"{alias!r} is a collection; choose another alias")
        if not self._driver.exists(name):
            raise absent(name, self._driver.names())
        self._driver.point(alias, name)

    def _followed(
        self, name: str, read: Callable[[OpenCollection], Result], *, use: Use = Use.READ
    ) -> Result:
        def at(physical: str) -> Result:
            with self._driver.opened(physical, use) as collection:
                return read(collection)

        return followed(name, self._driver.aliases.target, at)

    def _refuse_alias(self, name: str) -> None:
        target = self._driver.aliases.target(name)
        if target is not None:
            raise NotFound(f"{name!r} is an alias; name the collection {target!r}")

    def _refuse_served(self, name: str) -> None:
        aliases = self._driver.aliases.all()
        pointing = sorted(alias for alias, to in aliases.items() if to == name)
        if pointing:
            raise Refused(f"{name!r} is served as {pointing}; promote another collection first")


def _at_most(batches: "Iterable[pa.RecordBatch]", rows: int) -> "Iterator[pa.RecordBatch]":
    """The same records, no more than so many at a time, and never none."""
    with ExitStack() as reading:
        if isinstance(batches, Generator):
            reading.enter_context(closing(batches))
        for batch in batches:
            for start in range(0, batch.num_rows, rows):
                yield batch.slice(start, rows)


def _answered(collection: OpenCollection, *, query: Query, limit: int) -> list[Hit]:
    """By the engine where it can, else by reading every record."""
    indexed = collection.label is None or collection.label.indexed
    request = checked_query(query, collection.contract, limit=limit, indexed=indexed)
    with suppress(Inexpressible):
        hits = collection.hits(request)
        if hits is not None:
            return hits
    return search_exactly(collection.unordered, request, limit=limit)


def _answers(collection: OpenCollection, *, query: Query) -> bool:
    """Found out by one hit: whether an engine has words for a query depends on its parts."""
    indexed = collection.label is None or collection.label.indexed
    request = checked_query(query, collection.contract, limit=1, indexed=indexed)
    with suppress(Inexpressible):
        return collection.hits(request) is not None
    return False


def _counted(collection: OpenCollection, *, filter: Filter) -> int | None:
    """By the engine alone: reading every record would say nothing of its indexes."""
    condition, counting = checked_filter(filter, collection.contract), collection
    if isinstance(counting, CountingCollection):
        with suppress(Inexpressible):
            return counting.counted(condition)
    return None


def _is(collection: OpenCollection, spec: CollectionSpec) -> bool:
    """True if a collection was created as this, or has become it."""
    created = collection.label is not None and same(collection.label.spec, spec)
    return created or same(collection.described(), spec)
