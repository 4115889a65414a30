"""Qdrant as a driver: a server, the client's local mode, or the engine in this process.

A write upserts, then deletes what it supersedes; both are idempotent.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property

import pyarrow as pa

from dr_pipelines.model.collection import CollectionSpec, CollectionStatus, Metric
from dr_pipelines.model.compatibility import CompatibilityReport, Note
from dr_pipelines.model.query import Filter, Hit, fused_hits
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import Listed, Progress
from dr_pipelines.stores.qdrant import schema
from dr_pipelines.stores.qdrant.capabilities import fit, rounding
from dr_pipelines.stores.qdrant.filters import native_filter
from dr_pipelines.stores.qdrant.foreign import ForeignRecords
from dr_pipelines.stores.qdrant.named import NamedVariant
from dr_pipelines.stores.qdrant.records import ManagedRecords
from dr_pipelines.stores.qdrant.variant import Json, OpenPoints, Variant
from dr_pipelines.stores.shared.driver import Use
from dr_pipelines.stores.shared.driver_store import DriverStore
from dr_pipelines.stores.shared.filters import Inexpressible
from dr_pipelines.stores.shared.label import Label, encoded
from dr_pipelines.stores.shared.misfits import Batch, Problem, value_problems
from dr_pipelines.stores.shared.requests import Request, VectorRequest
from dr_pipelines.stores.shared.sorting import ascending, spooled

WRITTEN_ROWS = 1000
WRITTEN_BYTES = 8 * 2**20
"""An upsert holds no more than both; a server takes requests of 32 MiB, in which a vector's
components are text of up to three times their size."""
ASKED_DOCUMENTS = 1000
"""A filter names no more documents."""

SAMPLED_ROWS = 1000
"""Of so many points a key is sought where strict mode forbids to filter by it."""

Records = ManagedRecords | ForeignRecords


def qdrant_store(variant: Variant) -> "DriverStore[QdrantDriver]":
    """The collections of one variant; as safe for threads and processes as that is."""
    return DriverStore(QdrantDriver(variant))


class VariantAliases:
    """The aliases of a variant."""

    def __init__(self, variant: Variant) -> None:
        self._variant = variant

    def all(self) -> dict[str, str]:
        return self._variant.aliases()

    def target(self, alias: str) -> str | None:
        return self._variant.target(alias)


class QdrantDriver:
    """The part of the adapter that is the same for every variant."""

    vector_tolerance: float = 0.0

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.aliases: VariantAliases = VariantAliases(variant)

    @property
    def engine(self) -> str:
        return self.variant.engine

    def names(self) -> Iterable[str]:
        return self.variant.names()

    def inventory(self) -> tuple[Listed, ...]:
        """Every collection, by Qdrant's own names."""
        return tuple(map(Listed, sorted(self.names())))

    def exists(self, name: str) -> bool:
        return name in self.variant.names()

    def warnings(self) -> tuple[str, ...]:
        return self.variant.hidden() if isinstance(self.variant, NamedVariant) else ()

    @contextmanager
    def opened(self, name: str, use: Use) -> "Iterator[QdrantCollection]":
        """A scan lets go of a collection that one process has for itself as soon as all is read:
        whoever gets its records may write."""
        with ExitStack() as stack:
            points = stack.enter_context(self.variant.opened(name))
            done = stack.close if self.variant.exclusive and use is Use.SCAN else None
            yield QdrantCollection(self.variant, points, name, done=done)

    def keeping(self, name: str) -> AbstractContextManager[None]:
        return self.variant.keeping(name)

    def change_token(self, name: str) -> str | None:
        """None: neither a server nor a shard has a number that changes with every change of a
        record, and with nothing else."""
        with self.variant.opened(name) as points:
            points.state()  # a server says only when it is asked that there is none
        return None

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        return fit(spec, self.variant)

    def check(self, batch: Batch, spec: CollectionSpec) -> Iterable[Problem]:
        return value_problems(batch, spec)

    def refuse(self, rows: pa.Table, spec: CollectionSpec) -> None:
        _records(spec, self.variant).check(rows)

    def create(self, spec: CollectionSpec) -> None:
        config = schema.asked_config(spec)
        self.variant.create(spec.name, config, encoded(Label(spec=spec)))

    def drop(self, name: str, *, unless_served: Callable[[], None]) -> None:
        self.variant.drop(name, unless_served=unless_served)

    def point(self, alias: str, name: str) -> None:
        self.variant.point(alias, name)


class QdrantCollection:
    """A collection whose points are open."""

    def __init__(
        self,
        variant: Variant,
        points: OpenPoints,
        name: str,
        *,
        done: Callable[[], None] | None = None,
    ) -> None:
        """`done` closes the points, once a scan has read them all and before it gives any."""
        self._variant = variant
        self._done = done
        self._points = points
        self._name = name
        self._state = points.state()
        self.label = schema.label_of(self._state.label, name)

    @cached_property
    def contract(self) -> CollectionSpec:
        """The description without its aliases."""
        return schema.described(
            self._name, self._state, silent=self._variant.silent, aliases=(), sample=self._sample
        )

    def described(self) -> CollectionSpec:
        readable = self._variant.readable_aliases()
        served = sorted(alias for alias, target in readable.items() if target == self._name)
        return self.contract.model_copy(update={"aliases": tuple(served)})

    def status(self) -> CollectionStatus:
        return CollectionStatus(
            records=self._points.count(),
            indexed=self.label is None or self.label.indexed,
            size_bytes=self._points.size_bytes(),
        )

    def notes(self) -> Iterable[Note]:
        return rounding(self.contract)

    def scan(
        self, columns: Sequence[str], *, documents: Sequence[str] | None, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        """The order of ids is ours, so everything is read and sorted before the first record."""
        read = list(dict.fromkeys([*columns, "id"]))
        batches = self._read(read, documents)
        for batch in ascending(batches, schema=self._schema(read), batch_rows=batch_rows):
            yield batch.select(columns)

    def unordered(self, columns: Sequence[str]) -> Iterable[pa.RecordBatch]:
        batches = self._read(columns, None)
        return batches if self._done is None else spooled(batches, schema=self._schema(columns))

    def _read(
        self, columns: Sequence[str], documents: Sequence[str] | None
    ) -> Iterator[pa.RecordBatch]:
        yield from _batches(self._points, self._records, columns, documents)
        if self._done is not None:
            self._done()

    def _schema(self, columns: Sequence[str]) -> pa.Schema:
        whole = store_schema(self.contract)
        return pa.schema([whole.field(column) for column in columns])

    def hits(self, request: Request) -> list[Hit] | None:
        """Keywords are ranked by the engine where it can (Qdrant Edge, after `build_index`), by its
        own tokens and BM25."""
        if request.exact:
            return None
        condition = None if request.filter is None else native_filter(request.filter, self.contract)
        rankings = list[list[Hit]]()
        if request.nearest is not None:
            rankings.append(self._nearest(request.nearest, condition, limit=request.depth))
        if request.terms is not None:
            rankings.append(self._matching(request.text, condition, limit=request.depth))
        return fused_hits(rankings, limit=request.limit)

    def counted(self, filter: Filter) -> int:
        return self._points.count(native_filter(filter, self.contract))

    def write(self, rows: pa.Table, *, replaces: Sequence[str]) -> None:
        self._records.check(rows)
        for piece in _pieces(rows):
            self._points.upsert(self._records.points(piece))
        for start in range(0, max(1, len(replaces)), ASKED_DOCUMENTS):
            some = replaces[start : start + ASKED_DOCUMENTS]
            for gone in self._records.superseded(rows, some):
                self._points.delete(gone)

    def build(self, progress: Progress | None) -> None:
        if self.label is not None:
            self._points.index_payload(schema.built_indexes(self.contract, self._variant))
        foreign = self.label is None or schema.is_foreign(self.label.spec)
        self._points.optimize(progress, keep_numbers=foreign)

    def relabel(self, label: Label) -> None:
        limits = schema.asked_config(label.spec).get("strict_mode_config")
        self._points.relabel(encoded(label), limits=limits)

    def complete(self, spec: CollectionSpec) -> None:
        del spec  # the label says more: what it was asked to be
        if self.label is not None and not self.label.indexed:
            self._points.complete(schema.asked_config(self.label.spec))

    @cached_property
    def _records(self) -> Records:
        return _records(self.contract, self._variant)

    def _sample(self, key: str) -> object:
        """The first value of a key of the payload."""
        filled: Json = {"must_not": [{"is_empty": {"key": key}}]}
        free = schema.may_filter(self._state.config, key)
        for page in self._points.pages(
            vectors=[],
            payload=[key],
            filter=filled if free else None,
            limit=1 if free else SAMPLED_ROWS,
        ):
            for payload in page.payloads:
                if payload.get(key) not in (None, []):
                    return payload[key]
        return None

    def _nearest(self, request: VectorRequest, condition: Json | None, *, limit: int) -> list[Hit]:
        column = request.column
        if column.metric not in schema.DISTANCES:
            raise Inexpressible(f"no distance of Qdrant is {column.metric}")
        sign = -1.0 if column.metric in (Metric.L2, Metric.L1) else 1.0
        points = self._points.nearest(
            request.vector,
            using=schema.native_name(self.contract, column.name),
            payload=self._records.shown,
            filter=condition,
            limit=limit,
        )
        return [self._records.hit(point, sign * point.score) for point in points]

    def _matching(self, text: str | None, condition: Json | None, *, limit: int) -> list[Hit]:
        key = schema.ranked_key(self.contract, self._variant)
        if key is None or text is None:
            raise Inexpressible("no ranking of texts")
        points = self._points.matching(
            text, using=key, payload=self._records.shown, filter=condition, limit=limit
        )
        return [self._records.hit(point, point.score) for point in points]


def _records(spec: CollectionSpec, variant: Variant) -> Records:
    if schema.is_foreign(spec):
        return ForeignRecords(spec, parses=variant.parses, as_given=variant.keeps_any_vector)
    return ManagedRecords(spec, trusting=variant.keeps_unit_vectors)


def _batches(
    points: OpenPoints,
    records: Records,
    columns: Sequence[str],
    documents: Sequence[str] | None,
) -> Iterator[pa.RecordBatch]:
    """Records in the engine's order; documents are asked for in turns, each of them once."""
    starts = [None] if documents is None else range(0, len(documents), ASKED_DOCUMENTS)
    for start in starts:
        some = [] if start is None or documents is None else documents[start:][:ASKED_DOCUMENTS]
        for page in points.pages(
            vectors=records.vector_names(columns),
            payload=records.payload_keys(columns),
            filter=records.of_documents(some) if start is not None else None,
        ):
            yield records.batch(page, columns)


def _pieces(batch: pa.Table) -> Iterator[pa.Table]:
    """Tables that one upsert takes, each column in one chunk."""
    rows = max(1, min(WRITTEN_ROWS, WRITTEN_BYTES * batch.num_rows // max(1, batch.nbytes)))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows).combine_chunks()
