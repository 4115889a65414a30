"""The store: collections, aliases, records and searches of a Milvus database."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import TypeVar

import pyarrow as pa
from pymilvus.grpc_gen import milvus_pb2

from dr_pipelines.errors import (
    AlreadyExists,
    NotFound,
    Refused,
    Unavailable,
)
from dr_pipelines.model.collection import CollectionSpec, CollectionStatus
from dr_pipelines.model.compatibility import CompatibilityReport, Note, Outcome
from dr_pipelines.model.misfit import Misfits
from dr_pipelines.model.query import Hit, Query
from dr_pipelines.protocols import Progress
from dr_pipelines.stores.milvus import (
    access,
    aliases,
    building,
    creating,
    loading,
    names,
    placement,
    reading,
    searching,
    writing,
)
from dr_pipelines.stores.milvus.address import Address
from dr_pipelines.stores.milvus.connection import Connection
from dr_pipelines.stores.milvus.describing import (
    ENGINE,
    NATIVE,
    described,
    layout,
    layout_of,
)
from dr_pipelines.stores.milvus.filters import Inexpressible
from dr_pipelines.stores.milvus.fitted import fitted
from dr_pipelines.stores.milvus.limits import native_problems
from dr_pipelines.stores.milvus.live import Live, look
from dr_pipelines.stores.milvus.own import OwnLayout
from dr_pipelines.stores.shared.batches import checked_batch
from dr_pipelines.stores.shared.exact import search_exactly
from dr_pipelines.stores.shared.fitting import comes_back
from dr_pipelines.stores.shared.misfits import misfits_of, refused_by, value_problems
from dr_pipelines.stores.shared.requests import (
    checked_alias,
    checked_batch_rows,
    checked_columns,
    checked_query,
)

Result = TypeVar("Result")

COMPONENT_BYTES = 4
FOLLOWS = 20
"""How often a read starts anew after an alias that moves on and on."""


class MilvusVectorStore:
    """A database of a Milvus server, or a directory of milvus-lite. Thread-safe; with milvus-lite
    the calls of one process take turns (see `loading.turn`)."""

    def __init__(self, address: Address, *, wait_seconds: float = 30) -> None:
        self._connection = Connection(address, wait_seconds=wait_seconds)

    @property
    def engine(self) -> str:
        version = self._connection.version
        return f"milvus {version.replace('milvus_', '')}"

    @property
    def vector_tolerance(self) -> float:
        return 0.0

    def collections(self) -> list[str]:
        request = milvus_pb2.ShowCollectionsRequest()
        found = self._connection.call("ShowCollections", request, repeat=True)
        return sorted(names.from_native(native) for native in found.collection_names)

    def aliases(self) -> dict[str, str]:
        return aliases.all_of(self._connection)

    def warnings(self) -> tuple[str, ...]:
        return ()

    def describe(self, name: str) -> CollectionSpec:
        return self._followed(name, self._described)

    def change_token(self, name: str) -> str | None:
        # Milvus tells when a schema changed and how many rows there are, no more
        return self._followed(name, lambda _: None)

    def status(self, name: str) -> CollectionStatus:
        """`size_bytes` is what the vectors take: Milvus does not say what all takes."""
        return self._followed(name, self._status)

    def scan(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
    ) -> Iterator[pa.RecordBatch]:
        rows = checked_batch_rows(batch_rows)
        asked = None if documents is None else list(documents)

        def found(live: Live) -> Iterator[pa.RecordBatch]:
            return self._scanned(live, columns, asked, rows)

        return self._begun(name, self._followed(name, found), found)

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        return self._followed(name, lambda live: self._searched(live, query, limit=limit))

    def compatibility(self, name: str) -> tuple[Note, ...]:
        unkept = self._followed(name, lambda live: live.unkept)
        said = "it is not carried: a restored collection is without it"
        notes = (Note(f"engine.milvus.{part}", Outcome.LOST, said) for part in unkept)
        return (*comes_back(self, name), *notes)

    def misfits(self, spec: CollectionSpec, batch: pa.Table | pa.RecordBatch) -> Misfits:
        known = value_problems(batch, spec)
        if layout_of(spec.engine.get(ENGINE, {})) == NATIVE:
            return misfits_of(batch, chain(known, native_problems(batch, spec)))
        return misfits_of(batch, refused_by(batch, OwnLayout(spec).to_parts, known=known))

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        return fitted(spec, is_lite=self._connection.is_lite)

    def create(self, spec: CollectionSpec) -> None:
        native = names.possible(spec.name)
        if aliases.target(self._connection, native) is not None:
            raise AlreadyExists(f"{spec.name!r} is an alias; choose another name")
        if not self._exists(native):
            try:
                creating.create(self._connection, native, spec)
            except Unavailable:
                if not self._exists(native):  # else the answer was lost, or somebody was first
                    raise
        live = look(self._connection, native)
        if live.label is None or not self._is(live, live.label, spec):
            raise AlreadyExists(
                f"{spec.name!r} is a collection with another spec; choose another name or drop it"
            )
        creating.complete(self._connection, native, live.label)

    def drop(self, name: str) -> None:
        native = names.to_native(name)
        if native is None:
            return
        self._refuse_alias(name, native)
        if not self._exists(native):
            return
        pointing = aliases.known(self._connection, of=native)
        if pointing:
            served = [names.from_native(alias) for alias in pointing]
            raise Refused(f"{name!r} is served as {served}; promote another collection first")
        with loading.turn(self._connection):
            request = milvus_pb2.DropCollectionRequest(collection_name=native)
            self._connection.call("DropCollection", request, repeat=True)

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        live = self._physical(name)
        spec = self._described(live)
        rows = checked_batch(batch, spec)
        merges = bool(live.partitions) or "auto_id" in live.key.flags
        writing.write(
            self._connection,
            live.native,
            layout(live, spec),
            rows,
            replaces=replaces,
            merges=merges or (live.dynamic and self._connection.is_lite),
        )

    def build_index(self, name: str, *, progress: Progress | None = None) -> None:
        live = self._physical(name)
        if live.label is not None:
            creating.complete(self._connection, live.native, live.label)
        building.build(self._connection, live.native, progress=progress)
        if live.label is not None and not live.indexed:
            building.mark(self._connection, live.native)

    def promote(self, name: str, *, alias: str) -> None:
        live = self._physical(name)
        native = names.to_native(checked_alias(alias))
        if native is None or (self._exists(native) and not self._target(native)):
            raise AlreadyExists(f"{alias!r} is a collection; choose another alias")
        aliases.point(self._connection, native, live.native)

    def _status(self, live: Live) -> CollectionStatus:
        width = sum(column.dimension for column in live.columns) or 1
        records = reading.count(self._connection, live.native)
        indexed = live.indexed if live.label else bool(live.indexes)
        return CollectionStatus(
            records=records, indexed=indexed, size_bytes=records * width * COMPONENT_BYTES
        )

    def _scanned(
        self,
        live: Live,
        columns: Sequence[str] | None,
        documents: Sequence[str] | None,
        batch_rows: int,
    ) -> Iterator[pa.RecordBatch]:
        spec = self._described(live)
        return reading.records(
            self._connection,
            live.native,
            layout(live, spec),
            columns=checked_columns(columns, spec),
            documents=documents,
            batch_rows=batch_rows,
            partitions=["_default", *live.partitions] if live.partitions else [],
        )

    def _begun(
        self,
        name: str,
        batches: Iterator[pa.RecordBatch],
        found: Callable[[Live], Iterator[pa.RecordBatch]],
    ) -> Iterator[pa.RecordBatch]:
        """A scan that follows an alias until it gives its first batch, which it does when the
        second is there or there is none: a short scan is of one collection, whole."""
        try:
            first, rest = _first(batches)
        except NotFound:
            first, rest = self._followed(name, lambda live: _first(found(live)))
        yield from chain(first, rest)

    def _searched(self, live: Live, query: Query, *, limit: int) -> list[Hit]:
        spec = self._described(live)
        lies = layout(live, spec)
        indexed = live.indexed if live.label else True
        request = checked_query(query, spec, limit=limit, indexed=indexed)
        if not query.exact and searching.can(live, lies, request):
            try:
                return searching.search(
                    self._connection, live, lies, request, text=query.text or "", limit=limit
                )
            except Inexpressible:
                pass  # a value that Milvus' expressions do not have: read every record instead

        def records(wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
            return reading.unordered(self._connection, live.native, lies, wanted)

        return search_exactly(records, request, limit=limit)

    def _described(self, live: Live) -> CollectionSpec:
        is_lite = self._connection.is_lite
        served = aliases.known(self._connection, of=live.native)
        return described(
            live,
            aliases=tuple(sorted(names.from_native(alias) for alias in served)),
            replicas=None if is_lite else access.replicas(self._connection, live.native),
            access=None if is_lite else access.grants(self._connection, live.native),
            groups=None if is_lite else placement.resource_groups(self._connection, live.native),
            is_lite=is_lite,
        )

    def _is(self, live: Live, label: CollectionSpec, spec: CollectionSpec) -> bool:
        """Whether the collection is what was asked for, or has become it."""
        return _same(label, spec) or _same(self._described(live), spec)

    def _followed(self, name: str, read: Callable[[Live], Result]) -> Result:
        """Read a collection, or what an alias stands for: again, where another was promoted and
        the old one dropped meanwhile."""
        native = aliases.resolved(self._connection, name)
        for _ in range(FOLLOWS):
            try:
                return read(self._found(name, native))
            except NotFound:
                moved = aliases.resolved(self._connection, name)
                if moved is None or (moved == native and not self._exists(moved)):
                    raise
                native = moved  # or the same again, made anew meanwhile
        return read(self._found(name, native))

    def _physical(self, name: str) -> Live:
        """The collection of a name that is no alias."""
        native = names.to_native(name)
        if native is not None:
            self._refuse_alias(name, native)
        return self._found(name, native)

    def _found(self, name: str, native: str | None) -> Live:
        try:
            if native is not None:
                return look(self._connection, native)
        except NotFound:
            pass
        there = ", ".join(self.collections()) or "none"
        raise NotFound(f"no collection {name!r}; there are: {there}") from None

    def _refuse_alias(self, name: str, native: str) -> None:
        target = self._target(native)
        if target is not None:
            said = names.from_native(target)
            raise NotFound(f"{name!r} is an alias; name the collection {said!r}")

    def _target(self, native: str) -> str | None:
        return aliases.target(self._connection, native)

    def _exists(self, native: str) -> bool:
        request = milvus_pb2.ShowCollectionsRequest()
        found = self._connection.call("ShowCollections", request, repeat=True)
        return native in found.collection_names


def _first(
    batches: Iterator[pa.RecordBatch],
) -> tuple[list[pa.RecordBatch], Iterator[pa.RecordBatch]]:
    """The first two of some batches, as far as there are any, and the others."""
    return list(islice(batches, 2)), batches


def _same(one: CollectionSpec, other: CollectionSpec) -> bool:
    """Aliases are Milvus' to say, not part of what a collection is made of."""
    return one.model_copy(update={"aliases": ()}) == other.model_copy(update={"aliases": ()})
