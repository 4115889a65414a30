"""Databases that live as long as a question: in memory, spilling to disk past a limit."""

import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import duckdb
import pyarrow as pa

from dr_pipelines.host.permissions import prefix_of, remove_abandoned, temporary_parent

MEMORY_LIMIT = "192MB"


@contextmanager
def scratch_database() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database of its own in memory that spills to a temporary directory and is gone afterwards.

    All of a process share one engine and its memory limit: to start one takes 35 ms of CPU, which
    is more than most folds; to attach a database takes 1 ms.
    """
    with _ENGINE.used() as connection, connection.cursor() as sql:
        name = f"fold_{next(_ENGINE.numbers)}"
        sql.execute(f"ATTACH ':memory:' AS {name}; USE {name}")
        try:
            yield sql
        finally:
            sql.execute(f"USE memory; DETACH {name}")


@contextmanager
def beside(sql: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> Iterator[None]:
    """Rows that queries find under a name while this lasts; nothing is copied."""
    sql.register(name, rows)
    try:
        yield
    finally:
        sql.unregister(name)


def insert(sql: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    """Append rows to a table, whose columns they have in its order."""
    sql.from_arrow(rows).insert_into(table)


class _Engine:
    """The engine of this process, started when it is wanted. Thread-safe.

    A forked process has none of the threads of an engine that it inherits: it could neither use nor
    end it. So an engine that nobody uses is closed before a fork.
    """

    def __init__(self) -> None:
        self.numbers = itertools.count()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._inherited: duckdb.DuckDBPyConnection | None = None
        self._process = 0
        self._users = 0
        self._lock = threading.Lock()

    @contextmanager
    def used(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The engine, which stays as long as this lasts."""
        with self._lock:
            if self._connection is None or self._process != os.getpid():
                self._inherited = self._connection  # in use at the fork: not to be ended here
                self._connection, self._process = _started(), os.getpid()
            connection = self._connection
            self._users += 1
        try:
            yield connection
        finally:
            with self._lock:
                self._users -= 1

    def close_if_idle(self) -> None:
        """Nothing where somebody uses it."""
        with self._lock:
            if self._connection is not None and not self._users:
                self._connection.close()
                self._connection = None


def _started() -> duckdb.DuckDBPyConnection:
    # the directory is made by the first spill, removed when the process ends
    parent = temporary_parent()
    remove_abandoned(parent)
    directory = parent / f"{prefix_of('fold')}{uuid4().hex}"
    config = {
        "memory_limit": MEMORY_LIMIT,
        "temp_directory": str(directory),
        "threads": 2,
        "preserve_insertion_order": False,
    }
    return duckdb.connect(":memory:", config=config)


_ENGINE = _Engine()
os.register_at_fork(before=_ENGINE.close_if_idle)
