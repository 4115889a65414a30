"""The VectorStore for Qdrant: a server, the client's local mode, or the engine in this process."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from typing import TypeVar

import pyarrow as pa

from dr_pipelines.errors import AlreadyExists, NotFound
from dr_pipelines.model.collection import CollectionSpec, CollectionStatus, Metric
from dr_pipelines.model.compatibility import CompatibilityReport, Note
from dr_pipelines.model.misfit import Misfits
from dr_pipelines.model.query import Hit, Query, fused_hits
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import Listed, Progress
from dr_pipelines.stores.qdrant import specs
from dr_pipelines.stores.qdrant.driver import Driver, Json, OpenCollection
from dr_pipelines.stores.qdrant.filters import Inexpressible, native_filter
from dr_pipelines.stores.qdrant.fits import fit, rounding
from dr_pipelines.stores.qdrant.foreign_records import ForeignRecords
from dr_pipelines.stores.qdrant.named import NamedDriver
from dr_pipelines.stores.qdrant.own_records import OwnRecords
from dr_pipelines.stores.shared.batches import checked_batch
from dr_pipelines.stores.shared.exact import search_exactly
from dr_pipelines.stores.shared.fitting import comes_back
from dr_pipelines.stores.shared.misfits import misfits_of, refused_by, value_problems
from dr_pipelines.stores.shared.requests import (
    Request,
    checked_alias,
    checked_batch_rows,
    checked_columns,
    checked_query,
)
from dr_pipelines.stores.shared.sorting import ascending

WRITTEN_ROWS = 1000
WRITTEN_BYTES = 8 * 2**20
"""An upsert holds no more than both; a server takes requests of 32 MiB, in which a vector's
components are text of up to three times their size."""
ASKED_DOCUMENTS = 1000
"""A filter names no more documents."""

SAMPLED_ROWS = 1000
"""Of so many points a key is sought where strict mode forbids to filter by it."""

Records = OwnRecords | ForeignRecords
Result = TypeVar("Result")


class QdrantVectorStore:
    """Collections of one driver. As safe for threads and processes as the driver is.

    A write upserts, then deletes what it supersedes; both are idempotent. Where the engine runs in
    this process a scan reads the state at its first `next`, before it gives a record: the order of
    ids is ours, so everything is read and sorted first. A server may change meanwhile.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @property
    def engine(self) -> str:
        return self._driver.engine

    @property
    def vector_tolerance(self) -> float:
        return 0.0

    def collections(self) -> list[str]:
        return sorted(self._driver.names())

    def inventory(self) -> tuple[Listed, ...]:
        """Every collection, by Qdrant's own names."""
        return tuple(map(Listed, self.collections()))

    def aliases(self) -> dict[str, str]:
        return dict(sorted(self._driver.aliases().items()))

    def warnings(self) -> tuple[str, ...]:
        return self._driver.hidden() if isinstance(self._driver, NamedDriver) else ()

    def describe(self, name: str) -> CollectionSpec:
        return self._followed(name, self._description)

    def change_token(self, name: str) -> str | None:
        """None: neither a server nor a shard has a number that changes with every change of a
        record, and with nothing else."""

        def seen(physical: str, _: dict[str, str]) -> None:
            with self._driver.opened(physical) as collection:
                collection.state()  # a server says only when it is asked that there is none

        return self._followed(name, seen)

    def status(self, name: str) -> CollectionStatus:
        def found(physical: str, _: dict[str, str]) -> CollectionStatus:
            with self._driver.opened(physical) as collection:
                label = specs.label_of(collection.state().label, physical)
                return CollectionStatus(
                    records=collection.count(),
                    indexed=label is None or label.indexed,
                    size_bytes=collection.size_bytes(),
                )

        return self._followed(name, found)

    def scan(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
    ) -> Iterator[pa.RecordBatch]:
        spec = self.describe(name)
        rows, asked = checked_batch_rows(batch_rows), checked_columns(columns, spec)
        wanted = None if documents is None else list(dict.fromkeys(documents))
        return self._scanned(name, spec, asked, wanted, rows)

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        """Keywords are ranked by the engine where it can (Qdrant Edge, `exact=False`, after
        `build_index`), by its own tokens and BM25; else exactly."""
        return self._followed(
            name,
            lambda physical, aliases: self._searched(physical, aliases, query, limit=limit),
        )

    def _searched(
        self, physical: str, aliases: dict[str, str], query: Query, *, limit: int
    ) -> list[Hit]:
        with self._driver.opened(physical) as collection:
            spec = self._described(physical, collection, aliases)
            label = specs.label_of(collection.state().label, physical)
            indexed = label is None or label.indexed
            request = checked_query(query, spec, limit=limit, indexed=indexed)
            if not query.exact:
                try:
                    return self._native(collection, spec, request, query.text, limit=limit)
                except Inexpressible:
                    pass  # the engine cannot answer that: answered exactly
            records = self._records(spec)

            def scan(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
                return _batches(collection, records, columns, None)

            return search_exactly(scan, request, limit=limit)

    def compatibility(self, name: str) -> tuple[Note, ...]:
        return (*comes_back(self, name), *rounding(self.describe(name)))

    def misfits(self, spec: CollectionSpec, batch: pa.Table | pa.RecordBatch) -> Misfits:
        known = value_problems(batch, spec)
        return misfits_of(batch, refused_by(batch, self._records(spec).check, known=known))

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        return fit(spec, self._driver)

    def create(self, spec: CollectionSpec) -> None:
        aliases = self._driver.readable_aliases(spec.name)
        if spec.name in aliases:
            raise AlreadyExists(f"{spec.name!r} is an alias; choose another name")
        config = specs.asked_config(spec)
        if spec.name not in self._driver.names():
            with suppress(AlreadyExists):  # somebody was faster: is it the same?
                self._driver.create(spec.name, config, specs.Label(spec).text())
        with self._driver.opened(spec.name) as collection:
            label = specs.label_of(collection.state().label, spec.name)
            found = label.spec if label else self._described(spec.name, collection, aliases)
            if found != spec:
                raise AlreadyExists(
                    f"{spec.name!r} is a collection with another spec; choose another name or "
                    "drop it"
                )
            if label is not None and not label.indexed:  # or a run that was killed left them out
                collection.complete(config)

    def drop(self, name: str) -> None:
        self._driver.drop(self._physical(name)[0])

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        physical, aliases = self._physical(name)
        with self._driver.opened(physical) as collection:
            spec = self._described(physical, collection, aliases)
            new = checked_batch(batch, spec)
            records = self._records(spec)
            records.check(new)
            for piece in _pieces(new):
                collection.upsert(records.points(piece))
            documents = list(dict.fromkeys(replaces))
            for start in range(0, max(1, len(documents)), ASKED_DOCUMENTS):
                asked = documents[start : start + ASKED_DOCUMENTS]
                for gone in records.superseded(new, asked):
                    collection.delete(gone)

    def build_index(self, name: str, *, progress: Progress | None = None) -> None:
        physical, aliases = self._physical(name)
        with self._driver.opened(physical) as collection:
            label = specs.label_of(collection.state().label, physical)
            if label is not None:
                spec = self._described(physical, collection, aliases)
                collection.index_payload(specs.built_indexes(spec, self._driver))
            foreign = label is None or specs.is_native(label.spec)
            collection.optimize(progress, keep_numbers=foreign)
            if label is not None and not label.indexed:
                asked = specs.asked_config(label.spec)
                collection.relabel(
                    specs.Label(label.spec, indexed=True).text(),
                    limits=asked.get("strict_mode_config"),
                )

    def promote(self, name: str, *, alias: str) -> None:
        physical, _ = self._physical(name)
        names = self._driver.names()
        if checked_alias(alias) in names:
            raise AlreadyExists(f"{alias!r} is a collection; choose another alias")
        if physical not in names:
            known = ", ".join(sorted(names)) or "none"
            raise NotFound(f"no collection {physical!r}; there are: {known}")
        self._driver.point(alias, physical)

    def _scanned(
        self,
        name: str,
        spec: CollectionSpec,
        asked: Sequence[str],
        documents: Sequence[str] | None,
        rows: int,
    ) -> Iterator[pa.RecordBatch]:
        """Everything is read before the first batch is there: until then what an alias stands for
        may move."""
        while True:
            with closing(self._ordered(spec, asked, documents, rows)) as batches:
                try:
                    first = next(batches, None)
                except NotFound:
                    moved = self._driver.readable_aliases(name).get(name)
                    if moved in (None, spec.name):
                        raise
                    spec = self.describe(name)
                    checked_columns(asked, spec)
                    continue
                if first is not None:
                    yield first
                    yield from batches
                return

    def _ordered(
        self,
        spec: CollectionSpec,
        asked: Sequence[str],
        documents: Sequence[str] | None,
        rows: int,
    ) -> Generator[pa.RecordBatch, None, None]:
        columns = list(dict.fromkeys([*asked, "id"]))
        whole = store_schema(spec)
        schema = pa.schema([whole.field(column) for column in columns])
        records = self._records(spec)

        def found() -> Iterator[pa.RecordBatch]:
            with self._driver.opened(spec.name) as collection:
                yield from _batches(collection, records, columns, documents)

        for batch in ascending(found(), schema=schema, batch_rows=rows):
            yield batch.select(asked)

    def _native(
        self,
        collection: OpenCollection,
        spec: CollectionSpec,
        request: Request,
        text: str | None,
        *,
        limit: int,
    ) -> list[Hit]:
        """What the engine answers; raises `Inexpressible`."""
        kept = None if request.filter is None else native_filter(request.filter, spec)
        records = self._records(spec)
        rankings: list[list[Hit]] = []
        if request.nearest is not None:
            column = request.nearest.column
            if column.metric not in specs.DISTANCES:
                raise Inexpressible(f"no distance of Qdrant is {column.metric}")
            sign = -1.0 if column.metric in (Metric.L2, Metric.L1) else 1.0
            found = collection.nearest(
                request.nearest.vector,
                using=specs.native_name(spec, column.name),
                payload=records.shown,
                filter=kept,
                limit=request.depth,
            )
            rankings.append([records.hit(point, sign * point.score) for point in found])
        if request.terms is not None:
            key = specs.ranked_key(spec, self._driver)
            if key is None or text is None:
                raise Inexpressible("no ranking of texts")
            found = collection.matching(
                text, using=key, payload=records.shown, filter=kept, limit=request.depth
            )
            rankings.append([records.hit(point, point.score) for point in found])
        return fused_hits(rankings, limit=limit)

    def _followed(self, name: str, read: Callable[[str, dict[str, str]], Result]) -> Result:
        """Read a collection, or what an alias stands for: again, where another was promoted and
        the old one dropped meanwhile. `read` gets its physical name, and all aliases."""
        aliases = self._driver.readable_aliases(name)
        while True:
            physical = aliases.get(name, name)
            try:
                return read(physical, aliases)
            except NotFound:
                aliases = self._driver.readable_aliases(name)
                if aliases.get(name, physical) == physical:
                    raise

    def _description(self, physical: str, aliases: dict[str, str]) -> CollectionSpec:
        with self._driver.opened(physical) as collection:
            return self._described(physical, collection, aliases)

    def _described(
        self, physical: str, collection: OpenCollection, aliases: dict[str, str]
    ) -> CollectionSpec:
        state = collection.state()

        def sample(key: str) -> object:
            filled: Json = {"must_not": [{"is_empty": {"key": key}}]}
            free = specs.may_filter(state.config, key)
            for page in collection.pages(
                vectors=[],
                payload=[key],
                filter=filled if free else None,
                limit=1 if free else SAMPLED_ROWS,
            ):
                for payload in page.payloads:
                    if payload.get(key) not in (None, []):
                        return payload[key]
            return None

        return specs.described(
            physical,
            state,
            silent=self._driver.silent,
            aliases=[alias for alias, target in aliases.items() if target == physical],
            sample=sample,
        )

    def _records(self, spec: CollectionSpec) -> Records:
        if specs.is_native(spec):
            return ForeignRecords(
                spec, parses=self._driver.parses, as_given=self._driver.keeps_any_vector
            )
        return OwnRecords(spec, trusting=self._driver.keeps_unit_vectors)

    def _physical(self, name: str) -> tuple[str, dict[str, str]]:
        """The name, which is not an alias, and all aliases."""
        aliases = self._driver.readable_aliases(name)
        if name in aliases:
            raise NotFound(f"{name!r} is an alias; name the collection {aliases[name]!r}")
        return name, aliases


def _batches(
    collection: OpenCollection,
    records: Records,
    columns: Sequence[str],
    documents: Sequence[str] | None,
) -> Iterator[pa.RecordBatch]:
    """Records in the engine's order; documents are asked for in turns, each of them once."""
    starts = [None] if documents is None else range(0, len(documents), ASKED_DOCUMENTS)
    for start in starts:
        asked = [] if start is None or documents is None else documents[start:][:ASKED_DOCUMENTS]
        for page in collection.pages(
            vectors=records.vector_names(columns),
            payload=records.payload_keys(columns),
            filter=records.of_documents(asked) if start is not None else None,
        ):
            yield records.batch(page, columns)


def _pieces(batch: pa.Table) -> Iterator[pa.Table]:
    """Tables that one upsert takes, each column in one chunk."""
    rows = max(1, min(WRITTEN_ROWS, WRITTEN_BYTES * batch.num_rows // max(1, batch.nbytes)))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows).combine_chunks()
