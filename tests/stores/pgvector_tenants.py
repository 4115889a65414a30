"""A tenant of a database with traps, the store of a superuser and that of a role which may write
into tables of the tenant, and the moment right before a statement of theirs.

Fixtures of several test modules; each takes them by its own names.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from dr_pipelines.model.query import Query
from dr_pipelines.stores.pgvector import open_store
from dr_pipelines.stores.pgvector.store import PgvectorStore
from dr_pipelines.testing.store_samples import vector
from tests.servers.pgvector import Server

RAN = "code of a tenant ran"
TRAPS = f"""
    CREATE FUNCTION trap(int) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
        IF current_user <> 'tenant' THEN RAISE WARNING '{RAN} in %', current_database(); END IF;
        RETURN 'x'; END $$;
    CREATE FUNCTION plain(text) RETURNS text IMMUTABLE LANGUAGE plpgsql
        AS $$ BEGIN RETURN $1; END $$;
    CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE WARNING '{RAN} in %', current_database(); RETURN NEW; END $$;
"""
READS: dict[str, Callable[[PgvectorStore], object]] = {
    "describe": lambda store: store.describe("t"),
    "status": lambda store: store.status("t"),
    "scan": lambda store: list(store.scan("t")),
    "scan of documents": lambda store: list(store.scan("t", documents=["1"])),
    "search": lambda store: store.search("t", Query(vector=vector(1, 2), vector_name="e"), limit=1),
    "approximate search": lambda store: store.search(
        "t", Query(vector=vector(1, 2), vector_name="e", exact=False), limit=1
    ),
}
READING = r'\s*(SELECT|COPY|DELETE|INSERT|WITH)\b.*"public"\."t'


@pytest.fixture(
    params=["postgres", pytest.param("postgres16", marks=pytest.mark.long)], scope="module"
)
def server(request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture(scope="module")
def database(server: Server) -> str:
    return server.create_database()


@pytest.fixture
def native(server: Server, database: str) -> Iterator[psycopg.Connection]:
    """The tenant's own connection, which waits for no lock for long."""
    with psycopg.connect(server.conninfo(database), autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS tenant; CREATE ROLE tenant LOGIN")
        connection.execute("GRANT CREATE ON SCHEMA public TO tenant")
        connection.execute("SET ROLE tenant; SET lock_timeout = '50ms'")
        connection.execute(TRAPS.encode())
        yield connection
        connection.execute("RESET ROLE; RESET lock_timeout")
        connection.execute("DROP OWNED BY tenant CASCADE; DROP ROLE tenant")


@pytest.fixture
def store(server: Server, native: psycopg.Connection) -> PgvectorStore:
    opened = open_store(server.url(native.info.dbname), base=Path())
    assert isinstance(opened, PgvectorStore)
    return opened


@pytest.fixture
def ran(server: Server, native: psycopg.Connection) -> Callable[[], bool]:
    """A function that is true once the server's log says that a trap was sprung in this test."""
    log = server.directory / "log"
    size = log.stat().st_size
    return lambda: f"{RAN} in {native.info.dbname}".encode() in log.read_bytes()[size:]


@contextmanager
def just_before(action: Callable[[], object], *, statement: str = READING) -> Iterator[list[str]]:
    """Do something once, right before a statement that begins so; without one, before the first
    that reads the table or writes into it."""
    done, pattern = list[str](), re.compile(statement, re.DOTALL)

    def acting(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(cursor: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
            text = query.as_string(cursor) if isinstance(query, sql.Composable) else str(query)
            if pattern.match(text) and not done:
                done.append(text)
                action()
            return call(cursor, query, *args, **kwargs)

        return wrapped

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(psycopg.Cursor, "execute", acting(psycopg.Cursor.execute))
        patched.setattr(psycopg.Cursor, "copy", acting(psycopg.Cursor.copy))
        yield done


def added(native: psycopg.Connection, what: str) -> Callable[[], None]:
    """An action of the tenant's."""

    def add() -> None:
        # a lock that keeps the tenant out is as good an answer as a reader whom it does not concern
        with suppress(psycopg.errors.LockNotAvailable):
            native.execute(what.encode())

    return add


@pytest.fixture
def writer(server: Server, native: psycopg.Connection) -> Iterator[PgvectorStore]:
    """A role that may write into tables of the tenant, and no more."""
    native.execute("RESET ROLE; DROP ROLE IF EXISTS scribe; CREATE ROLE scribe LOGIN")
    native.execute(
        "ALTER DEFAULT PRIVILEGES FOR ROLE tenant GRANT SELECT, INSERT, DELETE "
        "ON TABLES TO scribe; SET ROLE tenant"
    )
    opened = open_store(server.url(native.info.dbname, user="scribe"), base=Path())
    assert isinstance(opened, PgvectorStore)
    yield opened
    native.execute("RESET ROLE; DROP OWNED BY scribe CASCADE; DROP ROLE scribe")
