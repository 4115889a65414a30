"""Collections as DuckDB files, each opened for an operation and closed after it, by an engine that
then waits for the next file.

DuckDB lets one process at a time hold a file for writing, or any number for reading. So short reads
(`reading`) share a file between processes; writes and scans (`holding`) take it alone, but within
one store any number of threads and scans share what is open, each on its own connection: a loop
over a scan may write. Two stores on one directory in one process wait for each other as two
processes do.

Files are attached to an in-memory database because only ATTACH takes a row group size: DuckDB
rewrites the last row group at every append, with its default of 122,880 rows three quarters of
the loading time.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from dr_pipelines.errors import Unavailable
from dr_pipelines.stores.duckdb.errors import translated, translation
from dr_pipelines.stores.duckdb.idle import ENGINES
from dr_pipelines.stores.duckdb.memory import Connection, memory_mib
from dr_pipelines.stores.duckdb.names import collection_file, collection_names
from dr_pipelines.stores.shared.driver import absent
from dr_pipelines.stores.shared.pointers import locked

ROW_GROUP = 8192
POLL_SECONDS = 0.05
BUSY = ("Could not set lock on file", "Unique file handle conflict")


@dataclass
class _Open:
    connection: Connection
    read_only: bool
    users: int = 0


class CollectionFiles:
    """Every open file of one directory; thread-safe."""

    def __init__(self, directory: Path, *, wait_seconds: float, memory_limit_mb: int) -> None:
        self._directory = directory
        self._wait_seconds = wait_seconds
        self._memory_mib = memory_limit_mb
        self._changed = threading.Condition()
        self._open: dict[str, _Open] = {}
        self._writers: dict[str, threading.Lock] = {}
        self._writers_waiting: dict[str, int] = {}  # by name; new readers stand back

    def path(self, name: str) -> Path:
        return collection_file(self._directory, name)

    def names(self) -> list[str]:
        """The collections that exist, ascending."""
        return collection_names(self._directory)

    @contextmanager
    def reading(self, name: str) -> Iterator[Connection]:
        """A connection for a short read."""
        with self._connected(name, self._try_reading) as connection:
            yield connection

    @contextmanager
    def holding(self, name: str) -> Iterator[Connection]:
        """A connection that can write beside the other holders of this store."""
        with self._wanting(name), self._connected(name, self._try_holding) as connection:
            yield connection

    @contextmanager
    def writing(self, name: str) -> Iterator[Connection]:
        """A connection in a transaction that commits on success; one at a time."""
        with self._changed:
            lock = self._writers.setdefault(name, threading.Lock())
        if not lock.acquire(timeout=self._wait_seconds):
            raise self._unavailable(name, "another thread is writing")
        try:
            with self.holding(name) as connection, transaction(connection):
                yield connection
        finally:
            lock.release()

    @contextmanager
    def alone(self, name: str) -> Iterator[Connection]:
        """The only connection to the file, in this process or another."""
        with self._wanting(name), self._connected(name, self._try_alone) as connection:
            yield connection

    @contextmanager
    def creating(self, path: Path) -> Iterator[Connection]:
        """A connection to a new file that nobody else knows of."""
        with translated(path.name, path):
            opened = self._attached(path, read_only=False)
            try:
                yield opened.connection
            finally:
                ENGINES.give_back(opened.connection)

    @contextmanager
    def _connected(self, name: str, attempt: Callable[[str], _Open | str]) -> Iterator[Connection]:
        opened = self._acquired(name, attempt)
        connection = opened.connection.cursor()
        try:
            with translated(name, self.path(name)):
                connection.execute("USE collection")
                yield connection
        finally:
            connection.close()
            self._release(name, opened)

    def _acquired(self, name: str, attempt: Callable[[str], _Open | str]) -> _Open:
        deadline = time.monotonic() + self._wait_seconds
        while True:
            with self._changed:
                opened = attempt(name)
                if isinstance(opened, _Open):
                    opened.users += 1
                    return opened
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise self._unavailable(name, opened)
                self._changed.wait(min(POLL_SECONDS, remaining))

    def _release(self, name: str, opened: _Open) -> None:
        with self._changed:
            opened.users -= 1
            try:
                if opened.users == 0:
                    del self._open[name]
                    ENGINES.give_back(opened.connection)
            finally:
                self._changed.notify_all()

    def _try_reading(self, name: str) -> _Open | str:
        opened = self._open.get(name)
        if opened is None:
            return self._try_open(name, read_only=True)
        if opened.read_only and self._writers_waiting.get(name):
            return "a writer of this process waits for it"
        return opened

    def _try_holding(self, name: str) -> _Open | str:
        opened = self._open.get(name)
        if opened is None:
            return self._try_open(name, read_only=False)
        return "a search of this process reads it" if opened.read_only else opened

    def _try_alone(self, name: str) -> _Open | str:
        if name in self._open:
            return "a scan, search or write of this process uses it"
        return self._try_open(name, read_only=False)

    def _try_open(self, name: str, *, read_only: bool) -> _Open | str:
        path = self.path(name)
        if read_only:
            return self._opened(name, path, read_only=True)
        with locked(self._directory, wait_seconds=self._wait_seconds):  # ATTACH makes missing files
            return self._opened(name, path, read_only=False)

    def _opened(self, name: str, path: Path, *, read_only: bool) -> _Open | str:
        if not path.exists():
            raise absent(name, self.names())
        try:
            opened = self._attached(path, read_only=read_only)
        except duckdb.Error as error:
            if any(sign in str(error) for sign in BUSY):
                return str(error).split("See also")[0].strip()
            raise translation(error, name, path) from error
        self._open[name] = opened
        return opened

    def _attached(self, path: Path, *, read_only: bool) -> _Open:
        spill = self._directory / ".spill"
        connection = ENGINES.take(memory_mib=self._memory_mib, spill=spill)
        options = "READ_ONLY" if read_only else f"ROW_GROUP_SIZE {ROW_GROUP}"
        quoted = str(path).replace("'", "''")
        try:
            connection.execute(f"ATTACH '{quoted}' AS collection ({options})")
            connection.execute("USE collection")
            memory = memory_mib(connection, path.stat().st_size, usual=self._memory_mib)
            if memory != self._memory_mib:
                connection.execute(f"SET memory_limit = '{memory}MiB'")
        except BaseException:
            ENGINES.give_back(connection)
            raise
        return _Open(connection, read_only)

    @contextmanager
    def _wanting(self, name: str) -> Iterator[None]:
        with self._changed:
            self._writers_waiting[name] = self._writers_waiting.get(name, 0) + 1
        try:
            yield
        finally:
            with self._changed:
                self._writers_waiting[name] -= 1
                self._changed.notify_all()

    def _unavailable(self, name: str, reason: str) -> Unavailable:
        return Unavailable(
            f"collection {name!r}: {self.path(name)} was in use for {self._wait_seconds:g} s "
            f"({reason}); try again later, or wait longer with wait_seconds"
        )


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Commit on success, undo everything on any failure."""
    connection.execute("BEGIN TRANSACTION")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
