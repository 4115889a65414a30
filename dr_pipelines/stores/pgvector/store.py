"""A schema of a PostgreSQL database as a store: its tables with vectors are the collections."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TypeVar

import psycopg
import pyarrow as pa
from psycopg import sql

from dr_pipelines.errors import (
    AlreadyExists,
    Conflict,
    InvalidRequest,
    NotFound,
    Refused,
    Unavailable,
)
from dr_pipelines.model.collection import CollectionSpec, CollectionStatus
from dr_pipelines.model.compatibility import CompatibilityReport, Note
from dr_pipelines.model.definitions import Definitions
from dr_pipelines.model.misfit import Misfits
from dr_pipelines.model.query import Hit, Query
from dr_pipelines.planning.parts import OWN_NAME
from dr_pipelines.protocols import Listed, Progress
from dr_pipelines.stores.pgvector import (
    alias_views,
    bulk,
    contents,
    indexing,
    reading,
    searching,
    writing,
)
from dr_pipelines.stores.pgvector.absence import listed, unknown
from dr_pipelines.stores.pgvector.address import Address
from dr_pipelines.stores.pgvector.analysis import analyse
from dr_pipelines.stores.pgvector.called import code_notes
from dr_pipelines.stores.pgvector.catalog import (
    Table,
    aliases,
    find_table,
    held_tables,
    rows_of,
    tables,
    taken,
)
from dr_pipelines.stores.pgvector.change_tokens import change_token
from dr_pipelines.stores.pgvector.connections import Connections, Session
from dr_pipelines.stores.pgvector.consents import (
    BUILT,
    MADE_BY_OTHERS,
    NOTHING_RAN,
    WAS_THERE,
    Consents,
)
from dr_pipelines.stores.pgvector.description import (
    FOREIGN_KEYS,
    Collection,
    collection_of,
    described,
)
from dr_pipelines.stores.pgvector.fitted import fitted, key_notes, restorable_notes
from dr_pipelines.stores.pgvector.foreign_keys import add_foreign_keys, is_beside
from dr_pipelines.stores.pgvector.guarding import held_for_writing, require_guarded
from dr_pipelines.stores.pgvector.keeping import kept_problems
from dr_pipelines.stores.pgvector.making import (
    ENGINE,
    as_described,
    make_table,
    require_extension,
    section_of,
    write_key_label,
)
from dr_pipelines.stores.pgvector.opening import open_up, without_rights
from dr_pipelines.stores.pgvector.rehearsal import rehearsed, remove
from dr_pipelines.stores.pgvector.rights import owner_of
from dr_pipelines.stores.pgvector.role import role_warnings
from dr_pipelines.stores.pgvector.statements import oid, qualified
from dr_pipelines.stores.shared.batches import checked_batch
from dr_pipelines.stores.shared.fitting import comes_back
from dr_pipelines.stores.shared.misfits import misfits_of, value_problems
from dr_pipelines.stores.shared.requests import (
    checked_alias,
    checked_batch_rows,
    checked_columns,
    checked_query,
)

Seen = TypeVar("Seen")
AS_MADE = ("columns", "layout", OWN_NAME)
PATIENCE = 30.0
"""Seconds after which no new try begins; a try may wait for a lock as long."""
SERVER = qualified("SELECT pg_catalog.current_setting('server_version')")


class PgvectorStore:
    """Safe for any number of threads and processes. Every call is one transaction, except
    `build_index`, which is one for each index."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connections = Connections(address)
        self._made = dict[str, CollectionSpec]()
        """Collections of definitions that somebody accepted: until others have rights in them, what
        is in these runs as rows come."""
        self._consents = Consents()
        self._chosen = dict[str, dict[str, str]]()
        """The settings under which indexes were built."""
        self._filled = dict[str, str]()
        """Of those without a key, the highest id: to ask for it takes a look at every row."""

    @property
    def engine(self) -> str:
        with self._connections.reading() as session:
            version = str(session.one(SERVER)).partition(" ")[0]
            extension = session.extension
        numbers = ".".join(map(str, extension.version)) if extension else "none"
        return f"pgvector {numbers} on PostgreSQL {version}"

    @property
    def vector_tolerance(self) -> float:
        return 0.0

    def collections(self) -> list[str]:
        """Also those whose label cannot be read: they are damage only to who opens them."""
        found, undecided = self._looked(_listed)
        # its rows say the dimension: of a table that was being rewritten none are seen here
        return sorted([*found, *(name for name in undecided if self._is_collection(name))])

    def inventory(self) -> tuple[Listed, ...]:
        """Every table and view of the schema, by its own name, but for what an extension made,
        partitions, and views that are aliases."""
        found = set(self.collections())
        return self._looked(lambda session: listed(session, found))

    def _is_collection(self, name: str) -> bool:
        try:
            with self._holding(name):
                return True
        except NotFound:
            return False

    def aliases(self) -> dict[str, str]:
        return self._looked(_aliases)

    def warnings(self) -> tuple[str, ...]:
        with self._connections.reading() as session:
            return role_warnings(session)

    def describe(self, name: str) -> CollectionSpec:
        with self._holding(name) as (session, found):
            pointing = [a for a, to in aliases(session).items() if to == found.table.name]
            return described(session, found, aliases=tuple(sorted(pointing)))

    def change_token(self, name: str) -> str | None:
        with self._holding(name) as (session, found):
            return change_token(session, found.table)

    def status(self, name: str) -> CollectionStatus:
        with self._holding(name) as (session, found):
            return CollectionStatus(
                records=reading.counted(session, found),
                indexed=found.built,
                size_bytes=_size(session, found),
            )

    def scan(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
        ordered: bool = True,
    ) -> Iterator[pa.RecordBatch]:
        """The state at the first `next`: a transaction is open until the end or `close`."""
        rows = checked_batch_rows(batch_rows)
        with self._holding(name) as (session, found):
            asked = checked_columns(columns, found.spec)
            yield from reading.scanned(
                session, found, asked, documents=documents, batch_rows=rows, ordered=ordered
            )

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        with self._holding(name) as (session, found):
            request = checked_query(query, found.spec, limit=limit, indexed=found.built)
            return searching.search(session, found, request, exact=query.exact, limit=limit)

    @contextmanager
    def _holding(self, name: str) -> Iterator[tuple[Session, Collection]]:
        """A transaction that sees one moment, and the collection of a name or an alias in it, which
        nobody can drop, empty or rewrite meanwhile. The moment comes after the locks, so what to
        lock is looked for in a transaction before; where the name stands for something else by
        then, both are locked the next time: an alias may go to and fro without pause."""
        targets, held = dict[str, sql.Composed](), frozenset[int]()
        with ExitStack() as stack:
            for _ in _tries():
                table, rows, tree = self._looked(partial(_tree, name=name))
                held |= tree
                targets[table.name] = rows
                locks = sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(
                    sql.SQL(", ").join(targets.values())
                )
                try:
                    session = stack.enter_context(self._connections.reading(locks=locks))
                except NotFound:  # dropped in between
                    targets.clear()
                    continue
                table = _table(session, name)
                tables = held_tables(session, table)
                if tables <= held and table.name in targets:
                    session.held = tables
                    yield session, _collection(session, table, name)
                    return
                stack.close()
            raise Unavailable(f"{name!r} is replaced again and again; try again later")

    def _looked(self, look: Callable[[Session], Seen]) -> Seen:
        """The result of reading the catalogs. Without locks it may meet an object that is just
        being dropped: then it reads again."""
        for _ in _tries():
            with suppress(Conflict), self._connections.reading() as session:
                return look(session)
        with self._connections.reading() as session:
            return look(session)

    def compatibility(self, name: str) -> tuple[Note, ...]:
        spec = self.describe(name)
        with self._holding(name) as (session, found):
            notes = (
                *key_notes(found),
                *restorable_notes(session, spec),
                *code_notes(session, found.table),
            )
        return (*comes_back(spec, self), *notes)

    def misfits(self, spec: CollectionSpec, batch: pa.Table | pa.RecordBatch) -> Misfits:
        return misfits_of(batch, chain(value_problems(batch, spec), kept_problems(batch, spec)))

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        with self._connections.reading() as session:
            return fitted(session, spec)

    def create(self, spec: CollectionSpec) -> None:
        """The extension is made where the database lacks it and this user may."""
        self._made[spec.name] = spec
        self._filled.pop(spec.name, None)
        try:
            with self._connections.writing() as session:
                if self._is_there(session, spec):
                    self._consents.require_made(session, spec.name, outcome=WAS_THERE)
                    return
                require_extension(session)
                self._consents.require_same(session, spec)
                with as_described(spec.name):
                    analyse(session, spec, accepted=True)  # each is what it should be
                make_table(session, spec)
                _require_made(session, spec)
                self._consents.require_made(session, spec.name)
        except (AlreadyExists, Conflict):
            with self._connections.reading() as session:  # made meanwhile by somebody else
                if not self._is_there(session, spec):
                    raise
                self._consents.require_made(session, spec.name, outcome=MADE_BY_OTHERS)

    def _is_there(self, session: Session, spec: CollectionSpec) -> bool:
        if spec.name in aliases(session):
            raise AlreadyExists(f"{spec.name!r} is an alias; choose another name")
        table = find_table(session, spec.name)
        if table is not None and (table.label is None or table.label.spec != spec):
            raise AlreadyExists(
                f"{spec.name!r} is a collection with another spec; choose another name or drop it"
            )
        if table is not None:
            _require_ours(session, table, spec)
        return table is not None

    def drop(self, name: str) -> None:
        self.remove(name)

    def remove(self, name: str) -> tuple[str, ...]:
        with self._connections.writing() as session:
            _require_no_alias(session, name)
            table = find_table(session, name)
            if table is None:
                return ()
            pointing = sorted(a for a, to in aliases(session).items() if to == table.name)
            if pointing:
                raise Refused(f"{name!r} is served as {pointing}; promote another collection first")
            return remove(session, table)

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        if name in self._made and not replaces:
            try:
                self._write(name, batch, replaces=(), adding=True)
            except Conflict as error:
                if not isinstance(error.__cause__, psycopg.errors.UniqueViolation):
                    raise
            else:
                return
        self._write(name, batch, replaces=replaces, adding=False)

    def _write(self, name: str, batch: pa.Table, *, replaces: Sequence[str], adding: bool) -> None:
        """With `adding`, a table that is being filled gets rows without a look for what they
        replace: a key that is there already undoes it."""
        below = self._filled.pop(name, None)  # back only when it is known what was written
        with (
            self._connections.writing() as session,
            held_for_writing(session, partial(_own_table, session, name)) as table,
        ):
            if not self._is_consented(session, table, name):
                require_guarded(session, table)
            found = _collection(session, table, name)
            new = checked_batch(batch, found.spec)
            filling = name in self._made and not found.built
            if found.table.key or not filling:
                below = None
            elif below is None:
                below = contents.last(session, found.table, found.rows(session))
            adding = adding and filling and bulk.refuses_at_once(session, table)
            writing.write(session, found, new, replaces=replaces, below=below, adding=adding)
        if below is not None:
            self._filled[name] = max(below, *new.column("id").to_pylist(), key=str.encode)

    def takes_two_writers(self, name: str) -> bool:
        with self._connections.reading() as session:
            return bulk.takes_two_writers(session, _own_table(session, name))

    def _is_consented(self, session: Session, table: Table, name: str) -> bool:
        """True if the code that a write runs was consented to: by whoever had the table created,
        also if a killed process began it, while the table is this role's own and nobody else has
        rights in it."""
        begun = table.label is not None and not table.label.opened
        return name in self._made and begun and owner_of(session, table.id)[1]

    def build_beside_readers(self, name: str, *, progress: Progress | None = None) -> None:
        self._build(name, progress=progress)

    def chosen(self, name: str) -> dict[str, str]:
        return dict(self._chosen.get(name, {}))

    def _build(self, name: str, *, progress: Progress | None) -> Collection:
        with self._connections.reading() as session:
            found = _physical(session, name)
        settings = indexing.build(
            self._connections,
            found,
            dict(self._address.build),
            look=partial(self._require_believed, table=found.table, outcome=BUILT),
            progress=progress,
        )
        if settings:
            self._chosen[name] = settings
        return found

    def build_index(self, name: str, *, progress: Progress | None = None) -> None:
        found = self._build(name, progress=progress)
        look = partial(self._require_believed, table=found.table, outcome=BUILT)
        indexing.finish(self._connections, found, look=look)
        label = found.table.label
        if label is None:
            return
        with (
            self._connections.writing() as session,
            held_for_writing(session, partial(_own_table, session, name)) as table,
        ):
            self._consents.require_made(session, name, outcome=BUILT)
            writing.move_sequences(session, _collection(session, table, name))
            write_key_label(session, found.table.name, replace(label, indexed=True))

    def _require_believed(
        self,
        session: Session,
        table: Table,
        *,
        parts: frozenset[str] | None = None,
        outcome: str = NOTHING_RAN,
    ) -> None:
        """Look at definitions of a label right before they are executed. Refuse those that its
        table's owner may have forged, where they call code: whoever owns a table may comment on its
        key's index.

        Raises:
            Refused: names what would run.
        """
        label = table.label
        if label is None:
            return
        section = section_of(label.spec)
        kept = {key: part for key, part in section.items() if parts is None or key in parts}
        if not kept.keys() - set(AS_MADE):
            return
        spec = label.spec.model_copy(update={"engine": {**label.spec.engine, ENGINE: kept}})
        if label.spec == self._made.get(table.collection):
            self._consents.require_same(session, spec, outcome=outcome)
            return
        owner, ours = owner_of(session, table.id)
        if ours:
            return
        if calls := analyse(session, spec).calls:
            raise Refused(
                f"table {table.name!r} belongs to {owner!r}, and its label has it made with what "
                f"nobody consented to: {calls[0]}. Restore it from a recovery point"
            )

    def definitions(self, spec: CollectionSpec, *, with_roles: bool) -> Definitions:
        """Analysed and rehearsed in a transaction that is undone."""
        self._consents.forget(spec.name)
        with self._connections.writing() as session:
            known = session.extension
            try:
                found = rehearsed(session, spec, with_roles=with_roles)
            finally:
                session.extension = known  # one that the rehearsal made is gone
        self._consents.show(spec.name, found)
        return found

    def before_rights(self, spec: CollectionSpec) -> CollectionSpec:
        return without_rights(spec)

    def open_up(self, name: str) -> None:
        """In one transaction, with the roles that are made for it."""
        with self._connections.writing() as session, as_described(name):
            found = _physical(session, name)
            self._require_believed(session, found.table)
            open_up(session, found)
            self._consents.require_made(session, name)
        if not is_beside(found.table.name):
            self._consents.forget(name)

    def promote(self, name: str, *, alias: str) -> None:
        with self._connections.writing() as session:
            found = _physical(session, name)
            if checked_alias(alias) not in aliases(session) and taken(session, alias):
                raise AlreadyExists(f"{alias!r} is a table or view; choose another alias")
            if (label := found.table.label) is not None:
                parts = frozenset([*AS_MADE, FOREIGN_KEYS])
                self._require_believed(session, found.table, parts=parts)
                add_foreign_keys(session, found.table, section_of(label.spec))
                self._consents.require_made(session, name)
            alias_views.point(session, alias, found)
            if found.table.label is not None and found.table.label.made:
                # it is served: its roles are somebody's from now on
                write_key_label(session, found.table.name, replace(found.table.label, made={}))
        self._consents.forget(name)


def _tries() -> Iterator[None]:
    """One, and more until a deadline: a writer that is faster than a reader would outrun any number
    of them."""
    end = time.monotonic() + PATIENCE
    yield
    while time.monotonic() < end:
        yield


def _listed(session: Session) -> tuple[list[str], list[str]]:
    """Collections, and tables that may be some."""
    found, undecided = list[str](), list[str]()
    for table in tables(session):
        if table.damage is not None or _holds_vectors(session, table):
            found.append(table.collection)
        elif any(attribute.origin == "pgvector" for attribute in table.attributes):
            undecided.append(table.collection)
    return found, undecided


def _holds_vectors(session: Session, table: Table) -> bool:
    try:
        return collection_of(session, table, whole=False) is not None
    except Refused:  # its rows may not be looked at: for whoever opens it
        return True


def _tree(session: Session, name: str) -> tuple[Table, sql.Composed, frozenset[int]]:
    """The table of a name or an alias; it as SQL, with all partitions, but without tables that
    inherit, which are not read; and the numbers of all of these."""
    table = _table(session, name)
    return table, rows_of(session, table), held_tables(session, table)


def _aliases(session: Session) -> dict[str, str]:
    names = aliases(session)
    physical = {t.name: t.collection for t in tables(session, names=list(names.values()))}
    return {alias: physical[table] for alias, table in names.items() if table in physical}


def _table(session: Session, name: str) -> Table:
    """The table of a name or an alias, as this transaction sees it."""
    alias = aliases(session).get(name)
    if alias is None:
        found = find_table(session, name)
    else:
        found = next(iter(tables(session, names=[alias])), None)
    if found is None:
        raise unknown(session, name)
    return found


def _collection(session: Session, table: Table, name: str) -> Collection:
    if table.damage is not None:
        raise table.damage
    collection = collection_of(session, table)
    if collection is None:
        raise unknown(session, name)
    return collection


def _physical(session: Session, name: str) -> Collection:
    return _collection(session, _own_table(session, name), name)


def _own_table(session: Session, name: str) -> Table:
    _require_no_alias(session, name)
    table = find_table(session, name)
    if table is None:
        raise unknown(session, name)
    return table


def _require_no_alias(session: Session, name: str) -> None:
    if name in aliases(session) and (to := _aliases(session).get(name)):
        raise NotFound(f"{name!r} is an alias; name the collection {to!r}")


def _require_ours(session: Session, table: Table, spec: CollectionSpec) -> None:
    """Whoever may create in the schema may write a label: what another role owns, and would not own
    after a restore, is no beginning of one."""
    owner, ours = owner_of(session, table.id)
    if not ours and owner != section_of(spec).get("owner"):
        raise AlreadyExists(
            f"{spec.name!r} is there and belongs to {owner!r}, who is neither this user nor whose "
            "it was: choose another name, or drop it"
        )


def _require_made(session: Session, spec: CollectionSpec) -> None:
    """A section that says other columns than the contract makes nothing."""
    table = find_table(session, spec.name)
    made = collection_of(session, table) if table else None
    if made is None or not made.spec.same_contract(spec):
        raise InvalidRequest(
            f"{spec.name!r}: its section {ENGINE!r} is of a table with other columns; leave it out"
        )


def _size(session: Session, found: Collection) -> int:
    """Bytes on disk: rows, what is kept beside them, indexes; of all partitions."""
    query = qualified("SELECT sum(pg_total_relation_size(relid))::int8 FROM pg_partition_tree({})")
    plain = qualified("SELECT pg_total_relation_size({})")
    chosen = query if found.table.partitioned else plain
    return int(session.one(chosen.format(oid(found.table.id))) or 0)
