"""A schema of a PostgreSQL database as a driver: its tables with vectors are the collections."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain

import pyarrow as pa
from psycopg import sql

from dr_pipelines.errors import AlreadyExists, Conflict, InvalidRequest
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.compatibility import CompatibilityReport
from dr_pipelines.model.definitions import Definitions
from dr_pipelines.protocols import Listed, Progress
from dr_pipelines.stores.pgvector import alias_views, bulk, lookup
from dr_pipelines.stores.pgvector.absence import listed
from dr_pipelines.stores.pgvector.address import Address
from dr_pipelines.stores.pgvector.alias_names import aliases
from dr_pipelines.stores.pgvector.analysis import analyse
from dr_pipelines.stores.pgvector.catalog import find_table, rows_of, taken
from dr_pipelines.stores.pgvector.change_tokens import change_token
from dr_pipelines.stores.pgvector.connections import Connections, Session
from dr_pipelines.stores.pgvector.consents import AS_MADE
from dr_pipelines.stores.pgvector.description import FOREIGN_KEYS, collection_of
from dr_pipelines.stores.pgvector.fitted import fitted
from dr_pipelines.stores.pgvector.foreign_keys import add_foreign_keys, is_beside
from dr_pipelines.stores.pgvector.guarding import held_for_writing, require_guarded
from dr_pipelines.stores.pgvector.keeping import kept_problems
from dr_pipelines.stores.pgvector.making import (
    ENGINE,
    as_described,
    make_table,
    require_extension,
    section_of,
)
from dr_pipelines.stores.pgvector.open_table import OpenTable, Server
from dr_pipelines.stores.pgvector.opening import forget_roles, open_up, without_rights
from dr_pipelines.stores.pgvector.rehearsal import rehearsed, remove
from dr_pipelines.stores.pgvector.role import role_warnings
from dr_pipelines.stores.pgvector.statements import qualified
from dr_pipelines.stores.shared.driver import Use
from dr_pipelines.stores.shared.driver_store import DriverStore
from dr_pipelines.stores.shared.misfits import Batch, Problem, value_problems

SERVER = qualified("SELECT pg_catalog.current_setting('server_version')")
ALONE = sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE")


class PgvectorStore(DriverStore["PgvectorDriver"]):
    """Safe for any number of threads and processes. Beside the front of every engine it has only
    what no other store has: its collections are definitions (`Definer`), and are filled by several
    writers at a time (`BulkLoad`)."""

    def __init__(self, address: Address) -> None:
        super().__init__(PgvectorDriver(address))

    def definitions(self, spec: CollectionSpec, *, with_roles: bool) -> Definitions:
        return self.driver.definitions(spec, with_roles=with_roles)

    def before_rights(self, spec: CollectionSpec) -> CollectionSpec:
        return without_rights(spec)

    def open_up(self, name: str) -> None:
        self.driver.open_up(name)

    def remove(self, name: str) -> tuple[str, ...]:
        self._refuse_alias(name)
        return self.driver.remove(name, unless_served=partial(self._refuse_served, name))

    def takes_two_writers(self, name: str) -> bool:
        self._refuse_alias(name)
        return self.driver.takes_two_writers(name)

    def build_beside_readers(self, name: str, *, progress: Progress | None = None) -> None:
        self._refuse_alias(name)
        with self.driver.opened(name, Use.BUILD) as table:
            table.build_beside_readers(progress)

    def chosen(self, name: str) -> dict[str, str]:
        return self.driver.chosen(name)


class PgvectorDriver:
    """The tables of one schema. Every call is one transaction, except what says otherwise."""

    vector_tolerance: float = 0.0

    def __init__(self, address: Address) -> None:
        self.connections = Connections(address)
        self.aliases: lookup.ViewAliases = lookup.ViewAliases(self.connections)
        self._server = Server(self.connections, dict(address.build))
        self._consents, self._filling = self._server.consents, self._server.filling

    @property
    def engine(self) -> str:
        with self.connections.reading() as session:
            version = str(session.one(SERVER)).partition(" ")[0]
            extension = session.extension
        numbers = ".".join(map(str, extension.version)) if extension else "none"
        return f"pgvector {numbers} on PostgreSQL {version}"

    def names(self) -> Iterable[str]:
        return lookup.all_collections(self.connections)

    def inventory(self) -> tuple[Listed, ...]:
        """Every table and view of the schema, by its own name, but for what an extension made,
        partitions, and views that are aliases."""
        collections = set(self.names())
        return lookup.looked(self.connections, partial(listed, collections=collections))

    def exists(self, name: str) -> bool:
        return lookup.is_there(self.connections, name)

    def warnings(self) -> tuple[str, ...]:
        with self.connections.reading() as session:
            return role_warnings(session)

    @contextmanager
    def opened(self, name: str, use: Use) -> Iterator[OpenTable]:
        """A reader's transaction sees one moment, and keeps others from dropping, emptying and
        rewriting the table; a writer's is committed at the end. Indexes are built in transactions
        of their own."""
        if use is Use.WRITE:
            with self._written(name) as table:
                yield table
        elif use is Use.BUILD:
            with self.connections.reading() as session:
                collection = lookup.physical(session, name)
            yield OpenTable(self._server, session, name, collection)
        else:
            with lookup.holding(self.connections, name) as (session, collection):
                yield OpenTable(self._server, session, name, collection)

    @contextmanager
    def _written(self, name: str) -> Iterator[OpenTable]:
        below = self._filling.take(name)
        with (
            self.connections.writing() as session,
            held_for_writing(session, partial(lookup.table_of, session, name)) as table,
        ):
            if not self._consents.covers(session, table, name):
                require_guarded(session, table)
            collection = lookup.collection_in(session, table, name)
            opened = OpenTable(self._server, session, name, collection, below=below)
            yield opened
        if opened.highest is not None:
            self._filling.highest[name] = opened.highest

    def takes_two_writers(self, name: str) -> bool:
        """As `BulkLoad` has it."""
        with self.connections.reading() as session:
            return bulk.takes_two_writers(session, lookup.table_of(session, name))

    def chosen(self, name: str) -> dict[str, str]:
        """As `BulkLoad` has it."""
        return dict(self._server.chosen.get(name, {}))

    def change_token(self, name: str) -> str | None:
        with lookup.holding(self.connections, name) as (session, collection):
            return change_token(session, collection.table)

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        with self.connections.reading() as session:
            return fitted(session, spec)

    def check(self, batch: Batch, spec: CollectionSpec) -> Iterable[Problem]:
        return chain(value_problems(batch, spec), kept_problems(batch, spec))

    def refuse(self, rows: pa.Table, spec: CollectionSpec) -> None:
        """Nothing that `check` takes."""

    def create(self, spec: CollectionSpec) -> None:
        """The extension is made where the database lacks it and this user may."""
        try:
            with self.connections.writing() as session:
                self._create(session, spec)
        except Conflict as error:  # of two who make it at once one may meet this
            if not self.exists(spec.name):
                raise
            raise _is_there(spec) from error

    def _create(self, session: Session, spec: CollectionSpec) -> None:
        if spec.name in aliases(session, alias=spec.name):
            raise AlreadyExists(f"{spec.name!r} is an alias; choose another name")
        if find_table(session, spec.name) is not None:
            raise _is_there(spec)
        require_extension(session)
        self._consents.require_same(session, spec)
        with as_described(spec.name):
            analyse(session, spec, accepted=True)  # each is what it should be
        make_table(session, spec)
        _require_made(session, spec)
        self._consents.require_made(session, spec.name)

    def drop(self, name: str, *, unless_served: Callable[[], None]) -> None:
        self.remove(name, unless_served=unless_served)

    def remove(self, name: str, *, unless_served: Callable[[], None]) -> tuple[str, ...]:
        """Like `drop`; gives the roles that were made for the collection and that stay."""
        with self.connections.writing() as session:
            table = find_table(session, name)
            if table is None:
                return ()
            # a view is made of it by whoever has a lock of it
            session.run(ALONE.format(rows_of(session, table)))
            unless_served()
            return remove(session, table)

    def point(self, alias: str, name: str) -> None:
        """With the foreign keys that a copy beside what is served gets now."""
        with self.connections.writing() as session:
            collection = lookup.physical(session, name)
            if not aliases(session, alias=alias) and taken(session, alias):
                raise AlreadyExists(f"{alias!r} is a table or view; choose another alias")
            if (label := collection.table.label) is not None:
                parts = frozenset([*AS_MADE, FOREIGN_KEYS])
                self._consents.require_believed(session, collection.table, parts=parts)
                add_foreign_keys(session, collection.table, section_of(label.spec))
                self._consents.require_made(session, name)
            alias_views.point(session, alias, collection)
            forget_roles(session, collection.table)
        self._consents.forget(name)

    def definitions(self, spec: CollectionSpec, *, with_roles: bool) -> Definitions:
        """As `Definer` has it: analysed and rehearsed in a transaction that is undone."""
        self._consents.forget(spec.name)
        with self.connections.writing() as session:
            extension = session.extension
            try:
                definitions = rehearsed(session, spec, with_roles=with_roles)
            finally:
                session.extension = extension  # one that the rehearsal made is gone
        self._consents.show(spec.name, definitions)
        return definitions

    def open_up(self, name: str) -> None:
        """As `Definer` has it: in one transaction, with the roles that are made for it."""
        with self.connections.writing() as session, as_described(name):
            collection = lookup.physical(session, name)
            self._consents.require_believed(session, collection.table)
            open_up(session, collection)
            self._consents.require_made(session, name)
        if not is_beside(collection.table.name):
            self._consents.forget(name)


def _is_there(spec: CollectionSpec) -> AlreadyExists:
    return AlreadyExists(
        f"{spec.name!r} is a collection with another spec; choose another name or drop it"
    )


def _require_made(session: Session, spec: CollectionSpec) -> None:
    """A section that says other columns than the contract makes nothing."""
    table = find_table(session, spec.name)
    made = collection_of(session, table) if table else None
    if made is None or not made.spec.same_contract(spec):
        raise InvalidRequest(
            f"{spec.name!r}: its section {ENGINE!r} is of a table with other columns; leave it out"
        )
