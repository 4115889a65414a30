"""The LanceDB adapter: a table for each collection, of our own layout or of whoever made it."""

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from typing import Any, TypeVar

import pyarrow as pa

from dr_pipelines.errors import (
    AlreadyExists,
    Damaged,
    InvalidRequest,
    NotFound,
    Refused,
)
from dr_pipelines.model.collection import PHYSICAL_NAME, CollectionSpec, CollectionStatus
from dr_pipelines.model.compatibility import CompatibilityReport, Note
from dr_pipelines.model.misfit import Misfits
from dr_pipelines.model.query import Hit, Query
from dr_pipelines.protocols import Listed, Progress
from dr_pipelines.stores.lancedb.abilities import fitted
from dr_pipelines.stores.lancedb.creation import configured, create_table
from dr_pipelines.stores.lancedb.description import (
    BUILT,
    Collection,
    described,
    layout_of,
    opened,
    wanted_indexes,
)
from dr_pipelines.stores.lancedb.errors import translating
from dr_pipelines.stores.lancedb.indexes import build_all
from dr_pipelines.stores.lancedb.places import LocalPlace, Place
from dr_pipelines.stores.lancedb.scans import ordered, unordered
from dr_pipelines.stores.lancedb.searches import answers_natively, search_natively
from dr_pipelines.stores.lancedb.unkept import unkept
from dr_pipelines.stores.lancedb.writes import check_digests, replace_records
from dr_pipelines.stores.shared.batches import checked_batch, in_order_of_id
from dr_pipelines.stores.shared.exact import search_exactly
from dr_pipelines.stores.shared.fitting import comes_back
from dr_pipelines.stores.shared.misfits import Problem, misfits_of, value_problems
from dr_pipelines.stores.shared.requests import (
    checked_alias,
    checked_batch_rows,
    checked_columns,
    checked_query,
)

Result = TypeVar("Result")

INDEX_CACHE_BYTES = 256 * 2**20
METADATA_CACHE_BYTES = 64 * 2**20
SMALL_FRAGMENTS = 32
"""Fragments that a table of ours may have before `build_index` merges them."""


class LanceDBVectorStore:
    """Tables in a directory or under a prefix of a bucket.

    Safe for any number of readers, threads and processes: a call reads one version of a table.
    Writers of one collection are kept apart by whoever calls; of two that write nevertheless, one
    gets `Conflict` or both are applied.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._session: Any = None

    @property
    def place(self) -> Place:
        """Where the tables are."""
        return self._place

    def dataset(self, name: str) -> Any:
        """The engine's own object for a collection, at its newest version."""
        return self._followed(name, lambda collection: collection.dataset)

    @property
    def engine(self) -> str:
        return f"lancedb {version('lancedb')} (lance {version('pylance')})"

    @property
    def vector_tolerance(self) -> float:
        return 0.0

    def collections(self) -> list[str]:
        """Tables that have a vector and a name that a collection can have."""
        names = [self._place.collection(table) for table in self._place.tables()]
        return sorted(name for name in names if name is not None and self._is_collection(name))

    def inventory(self) -> tuple[Listed, ...]:
        """Every table, by Lance's own names."""
        return tuple(Listed(table, self._lack(table)) for table in sorted(self._place.tables()))

    def aliases(self) -> dict[str, str]:
        return self._place.aliases()

    def warnings(self) -> tuple[str, ...]:
        return self._place.hidden()

    def describe(self, name: str) -> CollectionSpec:
        return self._followed(name, described)

    def change_token(self, name: str) -> str | None:
        """The version, and the transaction that made it: a namesake has another one."""
        return self._followed(name, _change_token)

    def status(self, name: str) -> CollectionStatus:
        return self._followed(name, _status)

    def scan(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
    ) -> Iterator[pa.RecordBatch]:
        """The version that is newest at this call; where an alias has moved on before the first
        batch was read, and the old collection is gone, what it stands for then."""
        size, wanted = checked_batch_rows(batch_rows), None if documents is None else [*documents]

        def read(collection: Collection) -> Iterator[pa.RecordBatch]:
            return ordered(
                collection,
                checked_columns(columns, collection.layout.spec),
                documents=wanted,
                batch_rows=size,
                by_place=isinstance(self._place, LocalPlace),
            )

        collection = self._followed(name, lambda found: found)
        checked_columns(columns, collection.layout.spec)
        return self._scanned(name, collection, read)

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        session = None if query.exact else self._caches()
        return self._followed(name, lambda found: _searched(found, query, limit), session=session)

    def compatibility(self, name: str) -> tuple[Note, ...]:
        hanging = self._followed(name, lambda collection: unkept(collection.dataset))
        return (*comes_back(self, name), *hanging)

    def misfits(self, spec: CollectionSpec, batch: pa.Table | pa.RecordBatch) -> Misfits:
        return misfits_of(batch, _problems(batch, spec))

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        return fitted(spec)

    def create(self, spec: CollectionSpec) -> None:
        if self._place.target(spec.name) is not None:
            raise AlreadyExists(f"{spec.name!r} is an alias; choose another name")
        with self._place.alone(), translating(spec.name):
            uri, options = self._uri(spec.name), self._place.options
            existing = self._found(spec.name)
            if existing is None:
                create_table(uri, spec, options=options)
                existing = self._physical(spec.name)
            if (existing.label or described(existing)) != spec:
                raise AlreadyExists(
                    f"{spec.name!r} is a collection with another spec; choose another name or "
                    "drop it"
                )
            if existing.label is not None:
                configured(existing.dataset, spec)

    def drop(self, name: str) -> None:
        self._refuse_alias(name)
        with self._place.alone(), translating(name):
            pointing = sorted(a for a, to in self._place.aliases().items() if to == name)
            if pointing:
                raise Refused(f"{name!r} is served as {pointing}; promote another collection first")
            if self._found(name) is not None:
                self._place.remove(self._place.table(name))

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        collection = self._physical(name)
        new = in_order_of_id(checked_batch(batch, collection.layout.spec, check=_problems))
        with translating(name):
            check_digests(collection, new)
            replace_records(collection, new, replaces, self._place.options)

    def build_index(self, name: str, *, progress: Progress | None = None) -> None:
        """First makes a table of ours one of few fragments. Indexes that are there get the newest
        rows; in a table that users made nothing else is done."""
        collection = self._physical(name)
        dataset = collection.dataset
        with translating(name):
            if collection.label is not None and len(dataset.get_fragments()) > SMALL_FRAGMENTS:
                dataset.optimize.compact_files()
            build_all(dataset, wanted_indexes(collection), progress)
            if not collection.built:
                dataset.update_config({BUILT: "true"})

    def promote(self, name: str, *, alias: str) -> None:
        self._physical(name)
        if self._found(checked_alias(alias)) is not None:
            raise AlreadyExists(f"{alias!r} is a collection; choose another alias")
        with self._place.alone():
            self._physical(name)  # dropped meanwhile?
            self._place.point(alias, name)

    def _lack(self, table: str) -> str | None:
        """Why a table is no collection; of one whose name is none here that is said when it is
        opened by another."""
        name = self._place.collection(table)
        if name is None or self._is_collection(name):
            return None
        return "the table has no column of vectors of a fixed length"

    def _is_collection(self, name: str) -> bool:
        try:
            return self._found(name) is not None
        except Damaged:  # it is there, and whoever asks for it is told so
            return True

    def _followed(
        self,
        name: str,
        read: Callable[[Collection], Result],
        *,
        session: Any = None,
        opened: Collection | None = None,
    ) -> Result:
        """Read the newest version of a collection, by its name or an alias: again, where another
        was promoted and the old one dropped meanwhile. `opened` is what the name stood for."""
        physical = opened.name if opened is not None else self._place.target(name) or name
        while True:
            try:
                found = opened or self._known(physical, session=session)
                with translating(physical):
                    return read(found)
            except (NotFound, Damaged):  # half of its files are gone, or all
                moved = self._place.target(name)
                if moved in (None, physical):
                    raise
                physical, opened = moved, None

    def _scanned(
        self,
        name: str,
        opened: Collection,
        read: Callable[[Collection], Iterator[pa.RecordBatch]],
    ) -> Iterator[pa.RecordBatch]:
        def begun(
            found: Collection,
        ) -> tuple[pa.RecordBatch | None, Iterator[pa.RecordBatch]]:
            batches = read(found)
            return next(batches, None), batches

        first, rest = self._followed(name, begun, opened=opened)
        if first is not None:
            yield first
            yield from rest

    def _physical(self, name: str) -> Collection:
        self._refuse_alias(name)
        return self._known(name)

    def _known(self, name: str, *, session: Any = None) -> Collection:
        found = self._found(name, session=session)
        if found is None:
            known = ", ".join(self.collections()) or "none"
            raise NotFound(f"no collection {name!r}; there are: {known}")
        return found

    def _found(self, name: str, *, session: Any = None) -> Collection | None:
        if not PHYSICAL_NAME.fullmatch(name):
            return None
        import lance

        uri, options = self._uri(name), self._place.options
        try:
            with translating(name):
                dataset = lance.dataset(uri, storage_options=options, session=session)
        except NotFound:
            return None
        return opened(name, dataset)

    def _caches(self) -> Any:
        """What searches keep in memory of indexes, from one to the next: 1.5 ms instead of 8. Scans
        do without, so that they find what is damaged."""
        import lance

        if self._session is None:
            self._session = lance.Session(
                index_cache_size_bytes=INDEX_CACHE_BYTES,
                metadata_cache_size_bytes=METADATA_CACHE_BYTES,
            )
        return self._session

    def _refuse_alias(self, name: str) -> None:
        target = self._place.target(name)
        if target is not None:
            raise NotFound(f"{name!r} is an alias; name the collection {target!r}")

    def _uri(self, name: str) -> str:
        if not PHYSICAL_NAME.fullmatch(name):
            raise InvalidRequest(f"collection name {name!r}: expected {PHYSICAL_NAME.pattern}")
        return self._place.uri(self._place.table(name))


def _problems(batch: pa.Table | pa.RecordBatch, spec: CollectionSpec) -> Iterator[Problem]:
    """NaN and infinities are kept as they are, like any other bits."""
    yield from value_problems(batch, spec, finite=False)
    yield from layout_of(spec).problems(batch)


def _change_token(collection: Collection) -> str | None:
    transaction = collection.dataset.read_transaction(collection.dataset.version)
    if transaction is None:  # of a version that something else wrote without one
        return None
    return f"{collection.dataset.version} {transaction.uuid}"


def _status(collection: Collection) -> CollectionStatus:
    dataset = collection.dataset
    files = int(dataset.get_version()["metadata"].get("total_files_size", 0))
    indexes = sum(d.total_size_bytes or 0 for d in dataset.describe_indices())
    return CollectionStatus(
        records=dataset.count_rows(), indexed=collection.built, size_bytes=files + indexes
    )


def _searched(collection: Collection, query: Query, limit: int) -> list[Hit]:
    spec = described(collection)  # the metric is that of the index
    request = checked_query(query, spec, limit=limit, indexed=collection.built)
    if not query.exact and answers_natively(collection, request):
        return search_natively(collection, request, query.text, limit=limit)

    def records(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        return unordered(collection, columns)

    return search_exactly(records, request, limit=limit)
