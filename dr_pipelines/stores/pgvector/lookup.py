"""Finding the table of a collection, and holding it while it is read.

The catalogs are read without locks, so that what they say may be of a moment ago: what is read
afterwards is locked, looked up again, and locked again where it has become another.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TypeVar

from psycopg import sql

from dr_pipelines.errors import Conflict, NotFound, Refused, Unavailable
from dr_pipelines.stores.pgvector.absence import unknown
from dr_pipelines.stores.pgvector.alias_names import served
from dr_pipelines.stores.pgvector.catalog import (
    Table,
    find_table,
    held_tables,
    rows_of,
    tables,
)
from dr_pipelines.stores.pgvector.connections import Connections, Session
from dr_pipelines.stores.pgvector.description import Collection, collection_of

Seen = TypeVar("Seen")
PATIENCE = 30.0
"""Seconds after which no new try begins; a try may wait for a lock as long."""
LOCK = sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE")


class ViewAliases:
    """Aliases are views."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def all(self) -> dict[str, str]:
        return looked(self._connections, served)

    def target(self, alias: str) -> str | None:
        return looked(self._connections, partial(served, alias=alias)).get(alias)


def looked(connections: Connections, look: Callable[[Session], Seen]) -> Seen:
    """The result of reading the catalogs. Without locks it may meet an object that is just being
    dropped: then it reads again."""
    for _ in _tries():
        with suppress(Conflict), connections.reading() as session:
            return look(session)
    with connections.reading() as session:
        return look(session)


@contextmanager
def holding(connections: Connections, name: str) -> Iterator[tuple[Session, Collection]]:
    """A transaction that sees one moment, and a collection in it, by its physical name, which
    nobody can drop, empty or rewrite meanwhile. The moment comes after the locks, so what to lock
    is looked for in a transaction before; where the name stands for something else by then, that is
    locked the next time.

    Raises:
        NotFound: there is no such collection.
        Unavailable: it is replaced again and again.
    """
    with ExitStack() as stack:
        for _ in _tries():
            table, rows, tree = looked(connections, partial(_tree, name=name))
            try:
                session = stack.enter_context(connections.reading(locks=LOCK.format(rows)))
            except NotFound:  # dropped in between
                continue
            again = table_of(session, name)
            session.locked = held_tables(session, again)
            if again.name == table.name and session.locked <= tree:
                yield session, collection_in(session, again, name)
                return
            stack.close()
        raise Unavailable(f"{name!r} is replaced again and again; try again later")


def _tries() -> Iterator[None]:
    """One, and more until a deadline: a writer that is faster than a reader would outrun any number
    of them."""
    end = time.monotonic() + PATIENCE
    yield
    while time.monotonic() < end:
        yield


def _tree(session: Session, name: str) -> tuple[Table, sql.Composed, frozenset[int]]:
    """The table; it as SQL, with all partitions, but without tables that inherit, which are not
    read; and the numbers of all of these."""
    table = table_of(session, name)
    return table, rows_of(session, table), held_tables(session, table)


def table_of(session: Session, name: str) -> Table:
    """The table of a physical name, as this transaction sees it.

    Raises:
        NotFound: says what is there instead.
    """
    table = find_table(session, name)
    if table is None:
        raise unknown(session, name)
    return table


def collection_in(session: Session, table: Table, name: str) -> Collection:
    """A table as a collection.

    Raises:
        Damaged: its label cannot be read.
        NotFound: it is none; says why.
    """
    if table.damage is not None:
        raise table.damage
    collection = collection_of(session, table)
    if collection is None:
        raise unknown(session, name)
    return collection


def physical(session: Session, name: str) -> Collection:
    """The collection of a physical name, held by nothing."""
    return collection_in(session, table_of(session, name), name)


def all_collections(connections: Connections) -> Iterator[str]:
    """Names of collections, also of those whose label cannot be read: they are damage only to who
    opens them."""
    certain, undecided = looked(connections, lambda session: _sorted_out(session, tables(session)))
    yield from certain
    yield from (name for name in undecided if _is_collection(connections, name))


def is_there(connections: Connections, name: str) -> bool:
    """True if there is such a collection."""

    def look(session: Session) -> tuple[list[str], list[str]]:
        table = find_table(session, name)
        return _sorted_out(session, [] if table is None else [table])

    certain, undecided = looked(connections, look)
    return bool(certain) or any(_is_collection(connections, each) for each in undecided)


def _sorted_out(session: Session, candidates: list[Table]) -> tuple[list[str], list[str]]:
    """Collections, and tables that may be some: the rows of a table say the dimension, and of one
    that was being rewritten none are seen here."""
    certain, undecided = list[str](), list[str]()
    for table in candidates:
        if table.damage is not None or _holds_vectors(session, table):
            certain.append(table.collection)
        elif any(attribute.origin == "pgvector" for attribute in table.attributes):
            undecided.append(table.collection)
    return certain, undecided


def _is_collection(connections: Connections, name: str) -> bool:
    try:
        with holding(connections, name):
            return True
    except NotFound:
        return False


def _holds_vectors(session: Session, table: Table) -> bool:
    try:
        return collection_of(session, table, whole=False) is not None
    except Refused:  # its rows may not be looked at: for whoever opens it
        return True
