"""Connections to a server, kept for the next operation, and the two kinds of transaction."""

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from dr_pipelines.stores.pgvector.address import Address
from dr_pipelines.stores.pgvector.errors import translated

KEPT = 4
"""Idle connections that are kept; more than these are closed after use."""
LOCK_WAIT = "30s"

SETTINGS = {
    "search_path": "pg_catalog",  # until the extension is known
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
}
EXTENSION = sql.SQL(
    "SELECT n.nspname, e.extversion, t.oid::int8 FROM pg_extension e "
    "JOIN pg_namespace n ON n.oid = e.extnamespace "
    "JOIN pg_type t ON t.typnamespace = n.oid AND t.typname = 'vector' WHERE e.extname = 'vector'"
)

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

    def rows(self, query: Statement) -> list[Row]:
        """The answer to one query, values and all: a second statement in it is refused."""
        return self.connection.execute(query, binary=True).fetchall()

    def one(self, query: Statement) -> Any:
        """The first value of the first row; None without one."""
        found = self.connection.execute(query, binary=True).fetchone()
        return None if found is None else found[0]

    def run(self, command: Statement) -> None:
        """Do one thing. Binary results keep the protocol to a single statement: a definition that
        was kept cannot bring a second one along."""
        self.connection.execute(command, binary=True)

    def table(self, name: str) -> sql.Identifier:
        """A table's name as SQL."""
        return sql.Identifier(self.schema, name)

    def load_extension(self) -> Extension | None:
        """Look for pgvector, and find its types and operators from now on."""
        if self.extension is None:
            found = self.rows(EXTENSION)
            if found:
                schema, version, vector = found[0]
                numbers = tuple(int(part) for part in version.split(".") if part.isdigit())
                self.extension = Extension(schema, numbers, vector)
            self._set_path()
        return self.extension

    def _set_path(self) -> None:
        """One path for what is read and what is made, so that definitions are the same text in
        both. Whoever may make functions in the schema must not be able to put one before the
        engine's: so the engine's names and the extension's come first, functions are called by
        their schemas, and operators and casts get operands of exactly the types that the engine has
        them for (those of the first schema win among exact ones, not among others)."""
        extra = [self.extension.schema] if self.extension else []
        path = list(dict.fromkeys(["pg_catalog", *extra, self.schema]))
        self.run(
            sql.SQL("SELECT pg_catalog.set_config('search_path', {}, false)").format(
                sql.Literal(", ".join(sql.Identifier(name).as_string() for name in path))
            )
        )


def verbatim(text: str) -> sql.SQL:
    """SQL that the server itself wrote, as it is: a definition from its catalogs."""
    return sql.SQL(text)


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
        settings = sql.SQL(", ").join(
            sql.SQL("pg_catalog.set_config({}, {}, false)").format(
                sql.Literal(key), sql.Literal(value)
            )
            for key, value in SETTINGS.items()
        )
        session.run(sql.SQL("SELECT {}").format(settings))
        session.load_extension()
        return session


def _close(idle: list[Session]) -> None:
    with suppress(psycopg.Error):
        for session in idle:
            session.connection.close()
