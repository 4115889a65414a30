"""Milvus as a driver: collections, aliases, records and searches of a database."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from itertools import chain, islice

import pyarrow as pa
from pymilvus.grpc_gen import milvus_pb2

from dr_pipelines.errors import AlreadyExists, NotFound, Unavailable
from dr_pipelines.model.collection import CollectionSpec, CollectionStatus
from dr_pipelines.model.compatibility import CompatibilityReport, Note, Outcome
from dr_pipelines.model.query import Filter, Hit
from dr_pipelines.protocols import Listed, Progress
from dr_pipelines.stores.milvus import (
    access,
    aliases,
    building,
    creating,
    filters,
    loading,
    names,
    placement,
    reading,
    search,
    writing,
)
from dr_pipelines.stores.milvus import index as indexes
from dr_pipelines.stores.milvus.address import Address
from dr_pipelines.stores.milvus.capabilities import fitted
from dr_pipelines.stores.milvus.limits import foreign_problems
from dr_pipelines.stores.milvus.live import LABEL, Live, label_text, look
from dr_pipelines.stores.milvus.records import ManagedLayout
from dr_pipelines.stores.milvus.schema import ENGINE, described, layout
from dr_pipelines.stores.milvus.session import Connection
from dr_pipelines.stores.shared.driver import OpenCollection, Use, absent
from dr_pipelines.stores.shared.driver_store import DriverStore
from dr_pipelines.stores.shared.label import Label
from dr_pipelines.stores.shared.layout import Layout, layout_of
from dr_pipelines.stores.shared.misfits import Batch, Problem, value_problems
from dr_pipelines.stores.shared.requests import Request

COMPONENT_BYTES = 4


def milvus_store(address: Address, *, wait_seconds: float = 30) -> "DriverStore[MilvusDriver]":
    """A database of a Milvus server, or a directory of milvus-lite. Thread-safe; with milvus-lite
    the calls of one process take turns (see `loading.turn`)."""
    return DriverStore(MilvusDriver(Connection(address, wait_seconds=wait_seconds)))


class MilvusDriver:
    """The collections that a connection reaches."""

    vector_tolerance: float = 0.0

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.aliases: aliases.MilvusAliases = aliases.MilvusAliases(connection)

    @property
    def engine(self) -> str:
        return f"{ENGINE} {self._connection.version.replace('milvus_', '')}"

    def names(self) -> Iterable[str]:
        return map(names.from_native, self._native_names())

    def inventory(self) -> tuple[Listed, ...]:
        return tuple(map(Listed, sorted(self.names())))

    def exists(self, name: str) -> bool:
        native = names.to_native(name)
        return native is not None and native in self._native_names()

    def warnings(self) -> tuple[str, ...]:
        return ()

    def opened(self, name: str, use: Use) -> AbstractContextManager[OpenCollection]:
        del use
        native = names.to_native(name)
        try:
            if native is not None:
                return nullcontext(
                    MilvusCollection(self._connection, look(self._connection, native))
                )
        except NotFound:
            pass
        raise absent(name, self.names()) from None

    def change_token(self, name: str) -> str | None:
        # Milvus tells when a schema changed and how many rows there are, no more
        self.opened(name, Use.READ)
        return None

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        return fitted(spec, is_lite=self._connection.is_lite)

    def check(self, batch: Batch, spec: CollectionSpec) -> Iterable[Problem]:
        problems = value_problems(batch, spec)
        return chain(problems, foreign_problems(batch, spec)) if _is_foreign(spec) else problems

    def refuse(self, rows: pa.Table, spec: CollectionSpec) -> None:
        if not _is_foreign(spec):
            ManagedLayout(spec).to_parts(rows)

    def create(self, spec: CollectionSpec) -> None:
        native = names.possible(spec.name)
        try:
            creating.create(self._connection, native, spec)
        except Unavailable:
            if (
                native not in self._native_names()
            ):  # else the answer was lost, or somebody was first
                raise

    def drop(self, name: str, *, unless_served: Callable[[], None]) -> None:
        if not self.exists(name):
            return
        with loading.turn(self._connection):
            unless_served()
            request = milvus_pb2.DropCollectionRequest(collection_name=names.to_native(name))
            self._connection.call("DropCollection", request, repeat=True)

    def point(self, alias: str, name: str) -> None:
        with loading.turn(self._connection):  # as `drop`: milvus-lite drops what is served, too
            aliases.point(self._connection, names.possible(alias), names.possible(name))

    def _native_names(self) -> list[str]:
        request = milvus_pb2.ShowCollectionsRequest()
        return list(self._connection.call("ShowCollections", request, repeat=True).collection_names)


class MilvusCollection:
    """A collection as Milvus described it when it was opened."""

    def __init__(self, connection: Connection, live: Live) -> None:
        self._connection = connection
        self._live = live
        self.label = live.label

    @cached_property
    def contract(self) -> CollectionSpec:
        """Without what only more calls tell."""
        return described(
            self._live,
            aliases=(),
            replicas=None,
            access=None,
            groups=None,
            is_lite=self._connection.is_lite,
        )

    def described(self) -> CollectionSpec:
        connection, native = self._connection, self._live.native
        is_lite, served = connection.is_lite, aliases.names_of(connection, of=native)
        return described(
            self._live,
            aliases=tuple(sorted(names.from_native(alias) for alias in served)),
            replicas=None if is_lite else access.replicas(connection, native),
            access=None if is_lite else access.grants(connection, native),
            groups=None if is_lite else placement.resource_groups(connection, native),
            is_lite=is_lite,
        )

    def status(self) -> CollectionStatus:
        """`size_bytes` is what the vectors take: Milvus does not say what all takes."""
        width = sum(column.dimension for column in self._live.columns) or 1
        records = reading.count(self._connection, self._live.native)
        indexed = self._live.built if self.label else bool(self._live.indexes)
        return CollectionStatus(
            records=records, indexed=indexed, size_bytes=records * width * COMPONENT_BYTES
        )

    def notes(self) -> Iterable[Note]:
        reason = "it is not carried: a restored collection is without it"
        return (Note(f"engine.milvus.{part}", Outcome.LOST, reason) for part in self._live.unkept)

    def scan(
        self, columns: Sequence[str], *, documents: Sequence[str] | None, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Gives its first batch when the second is there or there is none: a short scan is of one
        collection, whole."""
        batches = reading.records(
            self._connection,
            self._live.native,
            layout(self._live, self.contract),
            columns=columns,
            documents=documents,
            batch_rows=batch_rows,
            partitions=self._partitions(),
        )
        first = list(islice(batches, 2))
        yield from chain(first, batches)

    def unordered(self, columns: Sequence[str]) -> Iterable[pa.RecordBatch]:
        lies = layout(self._live, self.contract)
        batches = reading.unordered(
            self._connection, self._live.native, lies, columns, self._partitions()
        )
        first = list(islice(batches, 2))
        yield from chain(first, batches)

    def _partitions(self) -> list[str]:
        """Those to read one by one; none where all are read at once."""
        return ["_default", *self._live.partitions] if self._live.partitions else []

    def hits(self, request: Request) -> list[Hit] | None:
        lies = layout(self._live, self.contract)
        if request.exact or not search.can(self._live, lies, request):
            return None
        return search.search(self._connection, self._live, lies, request)

    def counted(self, filter: Filter) -> int:
        condition = filters.expression(filter, layout(self._live, self.contract))
        if condition is False:
            return 0
        return reading.count(self._connection, self._live.native, condition=condition)

    def write(self, rows: pa.Table, *, replaces: Sequence[str]) -> None:
        live, is_lite = self._live, self._connection.is_lite
        merges = bool(live.partitions) or "auto_id" in live.key.flags
        writing.write(
            self._connection,
            live.native,
            layout(live, self.contract),
            rows,
            replaces=replaces,
            merges=merges or (live.dynamic and is_lite),
        )

    def build(self, progress: Progress | None) -> None:
        if self.label is not None:
            self.complete(self.label.spec)
        building.build(self._connection, self._live.native, progress=progress)

    def relabel(self, label: Label) -> None:
        request = milvus_pb2.AlterCollectionRequest(
            collection_name=self._live.native,
            properties=indexes.pairs([(LABEL, label_text(label))]),
        )
        self._connection.call("AlterCollection", request, repeat=True)

    def complete(self, spec: CollectionSpec) -> None:
        del spec  # the label says more: what it was asked to be
        if self.label is None:  # it may look the same: Milvus does not report all that was asked
            raise AlreadyExists(
                f"{self.contract.name!r} is a collection with another spec, which something else "
                "made; choose another name or drop it"
            )
        creating.complete(self._connection, self._live.native, self.label.spec)


def _is_foreign(spec: CollectionSpec) -> bool:
    return layout_of(spec.engine.get(ENGINE, {})) is Layout.FOREIGN
