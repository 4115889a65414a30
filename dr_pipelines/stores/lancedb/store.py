"""LanceDB as a driver: a table for each collection, of our own layout or of whoever made it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from dr_pipelines.errors import AlreadyExists, InvalidRequest, NotFound
from dr_pipelines.model.collection import PHYSICAL_NAME, CollectionSpec, CollectionStatus
from dr_pipelines.model.compatibility import CompatibilityReport, Note
from dr_pipelines.model.query import Filter, Hit
from dr_pipelines.protocols import Listed, Progress
from dr_pipelines.stores.lancedb.address import LocalPlace, Place
from dr_pipelines.stores.lancedb.capabilities import fitted
from dr_pipelines.stores.lancedb.creation import configured, create_table
from dr_pipelines.stores.lancedb.errors import translating
from dr_pipelines.stores.lancedb.filters import condition
from dr_pipelines.stores.lancedb.index import build_all
from dr_pipelines.stores.lancedb.records import LABEL
from dr_pipelines.stores.lancedb.scans import as_they_lie, ordered, unordered
from dr_pipelines.stores.lancedb.schema import (
    Collection,
    described,
    is_collection,
    opened,
    records_of,
    wanted_indexes,
)
from dr_pipelines.stores.lancedb.search import answers_natively, search_natively
from dr_pipelines.stores.lancedb.unkept import unkept
from dr_pipelines.stores.lancedb.writes import check_digests, replace_records
from dr_pipelines.stores.shared.batches import in_order_of_id
from dr_pipelines.stores.shared.driver import Use, absent
from dr_pipelines.stores.shared.driver_store import DriverStore
from dr_pipelines.stores.shared.following import followed
from dr_pipelines.stores.shared.label import Label, encoded
from dr_pipelines.stores.shared.misfits import Batch, Problem, value_problems
from dr_pipelines.stores.shared.requests import Request

INDEX_CACHE_BYTES = 256 * 2**20
METADATA_CACHE_BYTES = 64 * 2**20
SMALL_FRAGMENTS = 32
"""Fragments that a table of ours may have before `build_index` merges them."""


def lancedb_store(place: Place) -> "DriverStore[LanceDriver]":
    """Tables in a directory or under a prefix of a bucket.

    Safe for any number of readers, threads and processes: a call reads one version of a table.
    Writers of one collection are kept apart by whoever calls; of two that write nevertheless, one
    gets `Conflict` or both are applied.
    """
    return DriverStore(LanceDriver(place))


class PlaceAliases:
    """The aliases of a place."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def all(self) -> dict[str, str]:
        return self._place.aliases()

    def target(self, alias: str) -> str | None:
        return self._place.target(alias)


class LanceDriver:
    """The tables of one place."""

    engine: str = f"lancedb {version('lancedb')} (lance {version('pylance')})"
    vector_tolerance: float = 0.0

    def __init__(self, place: Place) -> None:
        self.place = place
        self.aliases: PlaceAliases = PlaceAliases(place)
        self._session: Any = None

    def names(self) -> Iterable[str]:
        """Tables that have a vector and a name that a collection can have."""
        names = [self.place.collection(table) for table in self.place.tables()]
        return [name for name in names if name is not None and self.exists(name)]

    def inventory(self) -> tuple[Listed, ...]:
        """Every table, by Lance's own names."""
        return tuple(Listed(table, self._lack(table)) for table in sorted(self.place.tables()))

    def exists(self, name: str) -> bool:
        dataset = self.open_dataset(name)
        with translating(name):
            return dataset is not None and is_collection(dataset)

    def warnings(self) -> tuple[str, ...]:
        return self.place.hidden()

    @contextmanager
    def opened(self, name: str, use: Use) -> "Iterator[LanceCollection]":
        collection = self.newest(name, use)
        with translating(name):
            yield LanceCollection(self.place, collection, use)

    def dataset(self, name: str) -> Any:
        """The engine's own object for a collection, or what an alias stands for, at its newest
        version."""
        return followed(name, self.aliases.target, lambda each: self.newest(each).dataset)

    def change_token(self, name: str) -> str | None:
        """The version, and the transaction that made it: a namesake has another one."""
        dataset = self.newest(name).dataset
        with translating(name):
            transaction = dataset.read_transaction(dataset.version)
        if transaction is None:  # of a version that something else wrote without one
            return None
        return f"{dataset.version} {transaction.uuid}"

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        return fitted(spec)

    def check(self, batch: Batch, spec: CollectionSpec) -> Iterable[Problem]:
        """NaN and infinities are kept as they are, like any other bits."""
        yield from value_problems(batch, spec, finite=False)
        yield from records_of(spec).problems(batch)

    def refuse(self, rows: pa.Table, spec: CollectionSpec) -> None:
        """Nothing that `check` takes."""

    def create(self, spec: CollectionSpec) -> None:
        with self.place.alone(), translating(spec.name):
            if self.exists(spec.name):
                raise AlreadyExists(f"{spec.name!r} is there")
            create_table(self._uri(spec.name), spec, options=self.place.options)

    def drop(self, name: str, *, unless_served: Callable[[], None]) -> None:
        with self.place.alone(), translating(name):
            unless_served()
            if self.exists(name):
                self.place.remove(self.place.table(name))

    def point(self, alias: str, name: str) -> None:
        with self.place.alone():
            if not self.exists(name):  # dropped meanwhile
                raise absent(name, self.names())
            self.place.point(alias, name)

    def _lack(self, table: str) -> str | None:
        """Why a table is no collection; of one whose name is none here that is said when it is
        opened by another."""
        name = self.place.collection(table)
        if name is None or self.exists(name):
            return None
        return "the table has no column of vectors of a fixed length"

    def newest(self, name: str, use: Use = Use.READ) -> Collection:
        dataset = self.open_dataset(name, session=self._caches() if use is Use.SEARCH else None)
        with translating(name):
            collection = None if dataset is None else opened(name, dataset)
        if collection is None:
            raise absent(name, self.names())
        return collection

    def open_dataset(self, name: str, *, session: Any = None) -> Any:
        """The dataset of a name; None where there is none."""
        if not PHYSICAL_NAME.fullmatch(name):
            return None
        import lance

        uri, options = self._uri(name), self.place.options
        try:
            with translating(name):
                return lance.dataset(uri, storage_options=options, session=session)
        except NotFound:
            return None

    def _caches(self) -> Any:
        """The session whose memory searches share for indexes: 1.5 ms instead of 8. Scans do
        without, so that they find damage."""
        import lance

        if self._session is None:
            self._session = lance.Session(
                index_cache_size_bytes=INDEX_CACHE_BYTES,
                metadata_cache_size_bytes=METADATA_CACHE_BYTES,
            )
        return self._session

    def _uri(self, name: str) -> str:
        if not PHYSICAL_NAME.fullmatch(name):
            raise InvalidRequest(f"collection name {name!r}: expected {PHYSICAL_NAME.pattern}")
        return self.place.uri(self.place.table(name))


class LanceCollection:
    """A collection at the version that was newest when it was opened."""

    def __init__(self, place: Place, collection: Collection, use: Use) -> None:
        self._place = place
        self._collection = collection
        self._use = use
        self.label = collection.label
        # what is searched has the metric of its index
        self.contract = described(collection) if use is Use.SEARCH else collection.layout.spec

    def described(self) -> CollectionSpec:
        return described(self._collection)

    def status(self) -> CollectionStatus:
        dataset = self._collection.dataset
        files = int(dataset.get_version()["metadata"].get("total_files_size", 0))
        indexes = sum(d.total_size_bytes or 0 for d in dataset.describe_indices())
        return CollectionStatus(
            records=dataset.count_rows(), indexed=self._collection.built, size_bytes=files + indexes
        )

    def notes(self) -> Iterable[Note]:
        return unkept(self._collection.dataset)

    def scan(
        self, columns: Sequence[str], *, documents: Sequence[str] | None, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        return ordered(
            self._collection,
            columns,
            documents=documents,
            batch_rows=batch_rows,
            by_place=isinstance(self._place, LocalPlace),
        )

    def unordered(self, columns: Sequence[str]) -> Iterable[pa.RecordBatch]:
        read = as_they_lie if self._use is Use.SCAN else unordered
        return read(self._collection, columns)

    def hits(self, request: Request) -> list[Hit] | None:
        if request.exact or not answers_natively(self._collection, request):
            return None
        return search_natively(self._collection, request)

    def counted(self, filter: Filter) -> int | None:
        if not self._collection.layout.understands(filter):
            return None
        return int(self._collection.dataset.count_rows(filter=condition(filter)))

    def write(self, rows: pa.Table, *, replaces: Sequence[str]) -> None:
        new = in_order_of_id(rows)
        check_digests(self._collection, new)
        replace_records(self._collection, new, replaces, self._place.options)

    def build(self, progress: Progress | None) -> None:
        """First makes a table of ours one of few fragments. Indexes that are there get the newest
        rows; in a table that users made nothing else is done."""
        dataset = self._collection.dataset
        if self.label is not None and len(dataset.get_fragments()) > SMALL_FRAGMENTS:
            dataset.optimize.compact_files()
        build_all(dataset, wanted_indexes(self._collection), progress)

    def relabel(self, label: Label) -> None:
        self._collection.dataset.update_schema_metadata({LABEL: encoded(label)})

    def complete(self, spec: CollectionSpec) -> None:
        del spec  # the label says more: what it was asked to be
        if self.label is not None:
            with self._place.alone():
                configured(self._collection.dataset, self.label.spec)
