"""Memory for an operation on a collection's file: more where records are long, and more again where
that did not suffice."""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import duckdb

Connection = Any  # duckdb ships no types
OutOfMemory: TypeAlias = duckdb.OutOfMemoryException
T = TypeVar("T")
MOST_MEMORY_MIB = 4096
UNPACKED_ROWS = 2048
ROOM = 16
"""Times what records take packed: two threads, twice the memory, four times the length."""
RECORDS = """
    SELECT estimated_size FROM duckdb_tables()
    WHERE database_name = 'collection' AND table_name = 'records'
"""


def memory_mib(connection: Connection, size_bytes: int, *, usual: int) -> int:
    """More than usual where records are long: DuckDB unpacks the texts of 2,048 at once, in each
    thread, into twice the memory that they take, which is several times what they take packed."""
    if size_bytes * ROOM <= usual * 2**20:
        return usual  # of however many records
    row = connection.execute(RECORDS).fetchone()
    if not row or not row[0]:
        return usual
    unpacked = size_bytes / row[0] * min(UNPACKED_ROWS, row[0]) * ROOM
    return max(usual, min(MOST_MEMORY_MIB, int(unpacked / 2**20)))


def in_enough_memory(connection: Connection, do: Callable[[], T]) -> T:
    """Do all that a transaction does, again with more memory where it did not suffice."""
    while True:
        try:
            return do()
        except OutOfMemory as error:
            begin_again(connection, error)


def begin_again(connection: Connection, error: OutOfMemory) -> None:
    """Start the transaction again, with twice the memory; the error itself where that is enough for
    anything. Want of memory is known only when it is there, and then the transaction is lost."""
    connection.execute("ROLLBACK")
    limit = _limit_mib(connection)
    if limit < MOST_MEMORY_MIB:
        connection.execute(f"SET memory_limit = '{min(MOST_MEMORY_MIB, 2 * limit)}MiB'")
    connection.execute("BEGIN TRANSACTION")
    if limit >= MOST_MEMORY_MIB:
        raise error


def _limit_mib(connection: Connection) -> int:
    """DuckDB says it as `256.0 MiB`."""
    ((text,),) = connection.execute("SELECT current_setting('memory_limit')").fetchall()
    number, _, unit = str(text).partition(" ")
    return round(float(number) * {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024}[unit])
