"""DuckDB engines of this process that wait for a file.

To start one takes 13 ms of CPU, more than most searches take, and to attach a file takes 1 ms. So
an engine serves one file after the other, of whatever store.
"""

import os
import threading
from pathlib import Path

import duckdb

from dr_pipelines.stores.duckdb.memory import Connection

THREADS = 2
IDLE_ENGINES = 2
SETTINGS = {
    "threads": THREADS,
    "async_threads": 1,  # of eight, in an engine that mostly waits
    "python_enable_replacements": False,  # only tables that are registered
}
# Embeddings shrink by 15 % with the first two and take twice as long to write; with the others a
# collection with texts of 500 bytes shrinks by 15 % and takes a quarter more CPU to write. As a
# setting of `connect` this is silently ignored.
SLOW_COMPRESSION = "SET GLOBAL disabled_compression_methods = 'alp,alprd,fsst,dict_fsst'"


class IdleEngines:
    """Engines between two files. Thread-safe.

    What is attached or set for one file must not reach the next: `give_back` lets go of the file
    and `take` sets all that is ever set for a whole engine. A fork would leave a child with engines
    whose threads it does not have, and which it could never end: before one, all are closed.
    """

    def __init__(self) -> None:
        self._idle = list[Connection]()
        self._lock = threading.Lock()

    def take(self, *, memory_mib: int, spill: Path) -> Connection:
        """An engine, for one file, with a limit of memory and a directory to spill to."""
        connection = self._next()
        directory = str(spill).replace("'", "''")
        connection.execute(
            f"SET memory_limit = '{memory_mib}MiB'; SET temp_directory = '{directory}'"
        )
        return connection

    def _next(self) -> Connection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        connection = duckdb.connect(":memory:", config=SETTINGS)
        connection.execute(SLOW_COMPRESSION)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Close the file. An engine that fails to is closed itself, and so is one that has spilled:
        it would take its temporary directory to be there for ever, and refuses to be given one."""
        try:
            connection.execute("USE memory; DETACH DATABASE IF EXISTS collection")
            connection.execute("SET temp_directory = ''")
        except duckdb.Error:
            connection.close()
            return
        except BaseException:  # an interrupt
            connection.close()
            raise
        with self._lock:
            if len(self._idle) < IDLE_ENGINES:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Let go of all that wait."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


ENGINES = IdleEngines()
os.register_at_fork(before=ENGINES.close)
