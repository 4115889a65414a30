"""Translation of DuckDB's errors: the one place where it is done."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from dr_pipelines.errors import Damaged, DrError, InvalidRequest, Unavailable
from dr_pipelines.stores.duckdb.memory import MOST_MEMORY_MIB

CORRUPT = "Corrupt database file"
"""Begins what a wrong checksum says, which has no class of its own."""
UNREADABLE = (
    duckdb.IOException,
    duckdb.SerializationException,
    duckdb.FatalException,
    duckdb.InternalException,
    duckdb.CatalogException,  # a database without our tables
)


@contextmanager
def translated(name: str, path: Path) -> Iterator[None]:
    """Raise this package's errors in place of DuckDB's."""
    try:
        yield
    except duckdb.Error as error:
        raise translation(error, name, path) from error


def translation(error: duckdb.Error, name: str, path: Path) -> DrError | duckdb.Error:
    """The error of the project for a DuckDB error; the error itself if it is a mistake of this
    package."""
    first = str(error).splitlines()[0]
    where = f"collection {name!r} in {path}"
    if isinstance(error, duckdb.OutOfMemoryException):
        return Unavailable(f"{where}: {first}; its records are too long for {MOST_MEMORY_MIB} MiB")
    if isinstance(error, duckdb.TransactionException):
        return Unavailable(f"{where}: somebody else wrote at the same time ({first}); try again")
    if isinstance(error, duckdb.InvalidInputException | duckdb.ConversionException):
        return InvalidRequest(f"{where}: DuckDB refused a value: {first}")
    if "No space left" in str(error) or (isinstance(error, duckdb.IOException) and _is_full(path)):
        return Unavailable(f"{where}: the disk is full; make room and try again")
    if isinstance(error, UNREADABLE) or first.startswith(CORRUPT):
        return Damaged(f"{where}: {first}; restore the collection from a recovery point")
    return error


def _is_full(path: Path) -> bool:
    free = os.statvfs(path.parent)
    return free.f_bavail * free.f_frsize < 2**20
