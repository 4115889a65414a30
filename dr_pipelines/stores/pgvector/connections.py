"""Connections to a server, kept for the next operation, and the two kinds of transaction.

Every statement that goes through them is written by the rules of `statements`.
"""

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from dr_pipelines.errors import Refused
from dr_pipelines.stores.pgvector.address import Address
from dr_pipelines.stores.pgvector.errors import translated
from dr_pipelines.stores.pgvector.statements import qualified

KEPT = 4
"""Idle connections that are kept; more than these are closed after use."""
LOCK_WAIT = "30s"

SETTINGS = {
    "search_path": "",  # nobody's names but those of the engine: see `statements`
    "client_encoding": "UTF8",
    "statement_timeout": "0",  # a scan takes as long as it takes
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": LOCK_WAIT,
    "row_security": "off",  # an error instead of an answer with records missing
    # as pg_dump does, so that what a type's output function writes its input function reads
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "lc_monetary": "C",
    "xmloption": "content",
    # a database's owner may have set these for whoever connects
    "array_nulls": "on",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    # or the planner would compute what the conditions of partitions say of constants, by functions
    # of whoever wrote them
    "constraint_exclusion": "off",
    # rows come in the order in which they lie, each time from the first: see `streams`
    "synchronize_seqscans": "off",
}
NO_VIEWS = {"restrict_nonsystem_relation_kind": "view, foreign-table"}
"""What takes a table's place in the moment before it is locked is not read. Minor versions since
August 2024 know the setting."""
SINCE_MINOR = {120000: 20, 130000: 16, 140000: 13, 150000: 8, 160000: 4}
EXTENSION = qualified("""
    SELECT n.nspname, e.extversion, t.oid::int8, ARRAY(
        SELECT pg_catalog.format('%s', p.oid::regprocedure)
        FROM pg_type a, pg_proc p JOIN pg_language l ON l.oid = p.prolang AND l.lanpltrusted
        WHERE (a.typname IN ('vector', 'halfvec', 'sparsevec') AND a.typnamespace = n.oid
            OR a.oid = 'pg_catalog.bit'::regtype::oid)
        AND (p.pronamespace = n.oid AND p.pronargs = 1 AND p.proargtypes[0] = a.oid
                AND p.proname IN ('vector_dims', 'sparsevec_send')
            OR EXISTS (SELECT FROM pg_operator o
                WHERE o.oprnamespace = n.oid AND o.oprcode::oid = p.oid
                AND o.oprleft = a.oid AND o.oprright = a.oid
                AND o.oprname IN ('<->', '<#>', '<=>', '<+>', '<~>', '<%>', '=')))
    )
    FROM pg_extension e
    JOIN pg_namespace n ON n.oid = e.extnamespace
    JOIN pg_type t ON t.typnamespace = n.oid AND t.typname = 'vector' AND t.typtype = 'b'
    WHERE e.extname = 'vector'
""")
"""Where pgvector is, and which of its functions and operators, as far as statements here name them,
are written in a language for everybody: its own are not."""

Row = tuple[Any, ...]
Statement = sql.SQL | sql.Composed


@dataclass(frozen=True, slots=True)
class Extension:
    """pgvector as a database has it: the schema of its types, and the number of the type vector."""

    schema: str
    version: tuple[int, ...]
    vector: int


@dataclass
class Session:
    """A connection within a transaction, in one schema."""

    connection: psycopg.Connection[Row]
    schema: str
    extension: Extension | None = None
    defining: bool = False
    """True while the long path is set."""
    dimensions: dict[tuple[int, str], tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    """Table and column → a state of the table, and the dimensions of vectors in it then."""
    locked: frozenset[int] = frozenset()
    """Tables that this transaction has locked: their names stand for nothing else until its end."""
    guarded: frozenset[int] = frozenset()
    """Those of them to which nobody can add code of his, and that were looked at since."""
    bound: dict[int, sql.Identifier] = field(default_factory=dict)
    """What names a table by its number, where its name may come to mean another (`binding`)."""

    def rows(self, query: Statement) -> list[Row]:
        """The answer to one query, values and all: a second statement in it is refused."""
        return self.connection.execute(query, binary=True).fetchall()

    def one(self, query: Statement) -> Any:
        """The first value of the first row; None without one."""
        row = self.connection.execute(query, binary=True).fetchone()
        return None if row is None else row[0]

    def run(self, command: Statement) -> None:
        """Do one thing. Binary results keep the protocol to a single statement: a definition that
        was kept cannot bring a second one along."""
        self.connection.execute(command, binary=True)

    def table(self, name: str) -> sql.Identifier:
        """A table's name as SQL."""
        return sql.Identifier(self.schema, name)

    def printed(self, query: Statement) -> list[Row]:
        """The answer to a query that has definitions printed."""
        with self.definitions():
            return self.rows(query)

    def define(self, command: Statement) -> None:
        """Execute a definition."""
        with self.definitions():
            self.run(command)

    @contextmanager
    def definitions(self) -> Iterator[None]:
        """While definitions are printed or executed: one path for both, so that they are the same
        text in both, and name neither the extension's schema nor the collection's, which may be
        others in another database."""
        if self.defining:
            yield
            return
        extra = [self.extension.schema] if self.extension else []
        path = list(dict.fromkeys(["pg_catalog", *extra, self.schema]))
        self._set_path(", ".join(sql.Identifier(name).as_string() for name in path))
        self.defining = True
        try:
            yield
        finally:
            self.defining = False
            # what failed is undone, and this setting with it
            if self.connection.info.transaction_status is TransactionStatus.INTRANS:
                self._set_path("")

    def _set_path(self, path: str) -> None:
        self.run(qualified("SELECT set_config('search_path', {}, true)").format(sql.Literal(path)))

    def load_extension(self) -> Extension | None:
        """Look for pgvector.

        Raises:
            Refused: somebody put functions of his own in the place of its functions: the owner of
                an extension and of its schema may.
        """
        if self.extension is None and (rows := self.rows(EXTENSION)):
            schema, version, vector, strange = rows[0]
            if strange:
                raise Refused(
                    f"{', '.join(strange)}: not pgvector's own, but written by somebody in its "
                    "place; nothing is read here before the extension is made anew"
                )
            numbers = tuple(int(part) for part in version.split(".") if part.isdigit())
            self.extension = Extension(schema, numbers, vector)
        return self.extension

    @property
    def vectors(self) -> sql.Identifier:
        """The schema of the extension's types and operators."""
        return sql.Identifier(self.extension.schema if self.extension else self.schema)


class Connections:
    """Sessions with one database; any number of threads may have one each."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[Session] = []
        self._lock = threading.Lock()
        self._process = os.getpid()
        weakref.finalize(self, _close, self._idle)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that is committed at the end, or undone where something is raised."""
        with self._session(sql.SQL("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")) as session:
            yield session

    @contextmanager
    def reading(self, *, locks: Statement | None = None) -> Iterator[Session]:
        """A transaction that sees one moment and changes nothing. That is the moment after `locks`:
        a table that was rewritten or emptied since a transaction began to see has no rows for it,
        and waiting for a lock may be waiting for just that."""
        begin = sql.SQL("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        with self._session(begin, locks=locks) as session:
            yield session

    @contextmanager
    def alone(self) -> Iterator[Session]:
        """A connection of its own without a transaction: each statement is one."""
        with translated(self._address.shown):
            session = self._connect()
            try:
                yield session
            finally:
                session.connection.close()

    @contextmanager
    def _session(self, begin: sql.SQL, *, locks: Statement | None = None) -> Iterator[Session]:
        with translated(self._address.shown):
            session = self._begun(begin)
            session.locked = session.guarded = frozenset()
            session.bound = {}
            try:
                if locks is not None:
                    session.run(locks)  # the first statement, and one that looks at nothing else
                session.load_extension()
                yield session
                session.run(sql.SQL("COMMIT"))
            except BaseException:
                session.connection.close()  # undoes, also where the answer never comes
                raise
            self._give_back(session)

    def _begun(self, begin: sql.SQL) -> Session:
        """A session in a new transaction; an idle one may have died, of which it learns now."""
        while (session := self._take()) is not None:
            try:
                session.run(begin)
            except psycopg.OperationalError:
                session.connection.close()
            else:
                return session
        session = self._connect()
        session.run(begin)
        return session

    def _take(self) -> Session | None:
        with self._lock:
            if self._process != os.getpid():  # a connection belongs to the process that made it
                self._idle.clear()
                self._process = os.getpid()
            return self._idle.pop() if self._idle else None

    def _give_back(self, session: Session) -> None:
        with self._lock:
            if len(self._idle) < KEPT:
                self._idle.append(session)
                return
        session.connection.close()

    def _connect(self) -> Session:
        connection = psycopg.connect(**self._address.options, autocommit=True)  # type: ignore[arg-type]
        session = Session(connection, self._address.schema)
        chosen = SETTINGS | (NO_VIEWS if restricts(connection.info.server_version) else {})
        settings = sql.SQL(", ").join(
            qualified("set_config({}, {}, false)").format(sql.Literal(key), sql.Literal(value))
            for key, value in chosen.items()
        )
        session.run(sql.SQL("SELECT {}").format(settings))
        try:
            session.load_extension()
        except BaseException:
            connection.close()
            raise
        return session


def restricts(version: int) -> bool:
    """True if a server knows the setting of `NO_VIEWS`."""
    major, minor = version // 10_000 * 10_000, version % 10_000
    return minor >= SINCE_MINOR.get(major, 0 if major >= 170_000 else 10_000)


def _close(idle: list[Session]) -> None:
    with suppress(psycopg.Error):
        for session in idle:
            session.connection.close()
