"""A collection of PostgreSQL for the length of one operation: in a transaction that holds its
table or, while indexes are built, in one for each."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import psycopg
import pyarrow as pa

from dr_pipelines.errors import AlreadyExists
from dr_pipelines.model.collection import CollectionSpec, CollectionStatus
from dr_pipelines.model.compatibility import Note
from dr_pipelines.model.query import Filter, Hit
from dr_pipelines.protocols import Progress
from dr_pipelines.stores.pgvector import bulk, contents, indexing, reading, searching, writing
from dr_pipelines.stores.pgvector.alias_names import aliases
from dr_pipelines.stores.pgvector.called import code_notes
from dr_pipelines.stores.pgvector.catalog import Table
from dr_pipelines.stores.pgvector.connections import Connections, Session
from dr_pipelines.stores.pgvector.consents import BUILT, STAYS, Consents
from dr_pipelines.stores.pgvector.description import Collection, described
from dr_pipelines.stores.pgvector.fitted import key_notes, restorable_notes
from dr_pipelines.stores.pgvector.guarding import held_for_writing
from dr_pipelines.stores.pgvector.lookup import collection_in, table_of
from dr_pipelines.stores.pgvector.making import AS_IT_WAS, ENGINE, section_of, write_key_label
from dr_pipelines.stores.pgvector.rights import owner_of
from dr_pipelines.stores.pgvector.streams import PIECE_ROWS
from dr_pipelines.stores.shared.driver import same
from dr_pipelines.stores.shared.label import Label
from dr_pipelines.stores.shared.requests import Request


@dataclass(slots=True)
class Filling:
    """The highest id of each collection without a key that this process makes and fills: to ask for
    it takes a look at every row. Forgotten before a write, and known again when it is known what
    was written."""

    highest: dict[str, str] = field(default_factory=dict)

    def take(self, name: str) -> str | None:
        """The highest id, which nobody knows any more."""
        return self.highest.pop(name, None)


@dataclass(frozen=True, slots=True)
class Server:
    """All that operations of one store share; `build` are settings for building indexes."""

    connections: Connections
    build: dict[str, str]
    consents: Consents = field(default_factory=Consents)
    filling: Filling = field(default_factory=Filling)
    chosen: dict[str, dict[str, str]] = field(default_factory=dict)
    """The settings under which indexes of collections were built."""
    analysed: dict[str, int] = field(default_factory=dict)
    """Tables that are built but for what readers would wait for."""


class OpenTable:
    """A table that is a collection. `below` is the highest id that it has, if that is known; after
    a write `highest` is the one that it has then."""

    def __init__(
        self,
        server: Server,
        session: Session,
        name: str,
        collection: Collection,
        *,
        below: str | None = None,
    ) -> None:
        self._server = server
        self._session = session
        self._name = name
        self._collection = collection
        self._below = below
        self.highest: str | None = None

    @property
    def label(self) -> Label | None:
        """An index that was dropped since is to be built again."""
        label = self._collection.table.label
        return None if label is None else Label(spec=label.spec, indexed=self._collection.built)

    @property
    def contract(self) -> CollectionSpec:
        """Of a table of others with its layout: another one keeps other values."""
        spec = self._collection.spec
        if self._collection.ours:
            return spec
        return spec.model_copy(update={"engine": {**spec.engine, ENGINE: {"layout": AS_IT_WAS}}})

    def described(self) -> CollectionSpec:
        names = aliases(self._session).items()
        pointing = sorted(alias for alias, to in names if to == self._collection.table.name)
        return described(self._session, self._collection, aliases=tuple(pointing))

    def status(self) -> CollectionStatus:
        return CollectionStatus(
            records=reading.counted(self._session, self._collection),
            indexed=self._collection.built,
            size_bytes=reading.size_bytes(self._session, self._collection),
        )

    def notes(self) -> Iterable[Note]:
        yield from key_notes(self._collection)
        yield from restorable_notes(self._session, self.described())
        yield from code_notes(self._session, self._collection.table)

    def scan(
        self, columns: Sequence[str], *, documents: Sequence[str] | None, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        return reading.scanned(
            self._session,
            self._collection,
            columns,
            documents=documents,
            batch_rows=batch_rows,
            ordered=True,
        )

    def unordered(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        return reading.scanned(
            self._session,
            self._collection,
            columns,
            documents=None,
            batch_rows=PIECE_ROWS,
            ordered=False,
        )

    def hits(self, request: Request) -> list[Hit] | None:
        return searching.search(self._session, self._collection, request)

    def counted(self, filter: Filter) -> int | None:
        return searching.counted(self._session, self._collection, filter)

    def write(self, rows: pa.Table, *, replaces: Sequence[str]) -> None:
        session, collection = self._session, self._collection
        below = self._below
        is_filled = self._server.consents.is_accepted(self._name) and not collection.built
        if collection.table.key or not is_filled:
            below = None
        elif below is None:
            below = contents.last(session, collection.table, collection.rows(session))
        adds = is_filled and not replaces and bulk.refuses_at_once(session, collection.table)
        if not (adds and self._added(rows)):
            writing.write(session, collection, rows, replaces=replaces, below=below)
        if below is not None:
            self.highest = max(below, *rows.column("id").to_pylist(), key=str.encode)

    def _added(self, rows: pa.Table) -> bool:
        """Write rows without a look for what they replace; False, and nothing was written, where a
        key is there already."""
        try:
            with self._session.connection.transaction():  # in which this is a savepoint
                writing.write(self._session, self._collection, rows, replaces=(), adding=True)
        except psycopg.errors.UniqueViolation:
            return False
        return True

    def build_beside_readers(self, progress: Progress | None) -> None:
        """Indexes, and what the server finds in the rows by them."""
        self._build_indexes(progress)
        indexing.analyse(self._server.connections, self._collection, look=self._look())
        self._server.analysed[self._name] = self._collection.table.id

    def _build_indexes(self, progress: Progress | None) -> None:
        """Each in a transaction of its own, after a look at what is executed."""
        server = self._server
        settings = indexing.build(
            server.connections, self._collection, server.build, look=self._look(), progress=progress
        )
        if settings:
            server.chosen[self._name] = settings

    def build(self, progress: Progress | None) -> None:
        """Indexes, then what waits for readers; in the last transaction sequences go on behind what
        the table holds."""
        consents = self._server.consents
        self._build_indexes(progress)
        analysed = self._server.analysed.pop(self._name, None) == self._collection.table.id
        connections, look = self._server.connections, self._look()
        indexing.finish(connections, self._collection, look=look, analysed=analysed)
        if self._collection.table.label is None:
            return
        with self._locked_table() as (session, table):
            consents.require_made(session, self._name, outcome=BUILT)
            writing.move_sequences(session, collection_in(session, table, self._name))

    def relabel(self, label: Label) -> None:
        """In a transaction of its own."""
        own = self._collection.table.label
        if own is not None:
            with self._locked_table() as (session, table):
                write_key_label(session, table.name, replace(own, indexed=label.indexed))

    def complete(self, spec: CollectionSpec) -> None:
        """A table is made whole. What is there already is looked at as what was made would be."""
        table = self._collection.table
        if table.label is None or not same(table.label.spec, spec):
            raise AlreadyExists(
                f"{spec.name!r} is a collection with another spec, or something else made it: who "
                "owns a table may make it look like one; choose another name or drop it"
            )
        _require_ours(self._session, table, spec)
        self._server.filling.take(spec.name)
        self._server.consents.accept(table.label.spec)
        self._server.consents.require_made(self._session, spec.name, outcome=STAYS)

    def _look(self) -> Callable[[Session], None]:
        believed = self._server.consents.require_believed
        return partial(believed, table=self._collection.table, outcome=BUILT)

    @contextmanager
    def _locked_table(self) -> Iterator[tuple[Session, Table]]:
        with (
            self._server.connections.writing() as session,
            held_for_writing(session, partial(table_of, session, self._name)) as table,
        ):
            yield session, table


def _require_ours(session: Session, table: Table, spec: CollectionSpec) -> None:
    """Whoever may create in the schema may write a label: what another role owns, and would not own
    after a restore, is no beginning of one."""
    owner, ours = owner_of(session, table.id)
    if not ours and owner != section_of(spec).get("owner"):
        raise AlreadyExists(
            f"{spec.name!r} is there and belongs to {owner!r}, who is neither this user nor whose "
            "it was: choose another name, or drop it"
        )
