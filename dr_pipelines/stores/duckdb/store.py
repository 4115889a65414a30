"""The embedded engine: one DuckDB file for each collection, no server."""

# names come from a CollectionSpec, whose patterns allow identifiers only;
# values are parameters.

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa

from dr_pipelines.errors import Damaged, NotFound, Unavailable
from dr_pipelines.host.permissions import make_directory
from dr_pipelines.model.collection import CollectionSpec, CollectionStatus
from dr_pipelines.model.compatibility import CompatibilityReport, Note
from dr_pipelines.model.query import Filter, Hit
from dr_pipelines.protocols import Listed, Progress
from dr_pipelines.stores.duckdb import index, schema
from dr_pipelines.stores.duckdb.connect import ROW_GROUP, CollectionFiles, transaction
from dr_pipelines.stores.duckdb.filters import condition
from dr_pipelines.stores.duckdb.foreign import others
from dr_pipelines.stores.duckdb.memory import (
    Connection,
    OutOfMemory,
    begin_again,
    in_enough_memory,
)
from dr_pipelines.stores.duckdb.records import all_records, as_they_lie, records_of
from dr_pipelines.stores.duckdb.search import answered
from dr_pipelines.stores.shared.batches import in_order_of_id
from dr_pipelines.stores.shared.driver import Use, absent
from dr_pipelines.stores.shared.driver_store import DriverStore
from dr_pipelines.stores.shared.fitting import fit_exact
from dr_pipelines.stores.shared.label import Label, decoded, encoded
from dr_pipelines.stores.shared.misfits import Batch, Problem, value_problems
from dr_pipelines.stores.shared.pointers import (
    Pointers,
    locked,
    sync_directory,
    sync_file,
)
from dr_pipelines.stores.shared.requests import Request

DOOMED = """
    SELECT id FROM records WHERE id IN (SELECT id FROM incoming)
    UNION SELECT id FROM records WHERE document_id IN (SELECT document_id FROM replaced)
"""


def duckdb_store(
    directory: str | Path, *, wait_seconds: float = 30, memory_limit_mb: int = 256
) -> "DriverStore[DuckDBDriver]":
    """Collections in a directory on a local disk (file locks must work there).

    Safe for any number of threads and processes: an operation that cannot have a collection's file
    waits for it and raises `Unavailable` after `wait_seconds`. Short reads run side by side; a scan
    that has begun keeps other processes out until it is exhausted or closed, but not this store: a
    loop over a scan may write, and does not see what it wrote. `drop` waits for every scan.
    """
    return DriverStore(
        DuckDBDriver(Path(directory), wait_seconds=wait_seconds, memory_limit_mb=memory_limit_mb)
    )


class DuckDBDriver:
    """The files of one directory, and the aliases beside them."""

    engine: str = f"duckdb {duckdb.__version__}"
    vector_tolerance: float = 0.0

    def __init__(self, directory: Path, *, wait_seconds: float, memory_limit_mb: int) -> None:
        self.directory = directory
        self._wait_seconds = wait_seconds
        self.files = CollectionFiles(
            directory, wait_seconds=wait_seconds, memory_limit_mb=memory_limit_mb
        )
        self.aliases: Pointers = Pointers(directory)

    def names(self) -> Iterable[str]:
        return self.files.names()

    def inventory(self) -> tuple[Listed, ...]:
        return tuple(map(Listed, sorted(self.names())))

    def exists(self, name: str) -> bool:
        return self.files.path(name).exists()

    def warnings(self) -> tuple[str, ...]:
        return ()

    @contextmanager
    def opened(self, name: str, use: Use) -> "Iterator[DuckDBCollection]":
        ways = {
            Use.SCAN: self.files.holding,
            Use.WRITE: self.files.writing,
            Use.BUILD: self.files.writing,
        }
        with ways.get(use, self.files.reading)(name) as connection:
            collection = DuckDBCollection(self, connection, name)
            one_moment = use in (Use.SCAN, Use.SEARCH)
            with transaction(connection) if one_moment else nullcontext():
                yield collection

    def change_token(self, name: str) -> str | None:
        """Opens nothing, and so never waits."""
        stamp = self.stamp(name)
        if not stamp:
            raise absent(name, self.names())
        return stamp

    def stamp(self, name: str) -> str:
        """Another after every write; empty where the files are gone."""
        states = self._states(name)
        return " ".join(f"{state.st_ino}:{state.st_size}:{state.st_mtime_ns}" for state in states)

    def size_bytes(self, name: str) -> int:
        return sum(state.st_size for state in self._states(name))

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        return fit_exact(spec, engine="duckdb")

    def check(self, batch: Batch, spec: CollectionSpec) -> Iterable[Problem]:
        """NaN and infinities are kept as they are, like any other bits."""
        return value_problems(batch, spec, finite=False)

    def refuse(self, rows: pa.Table, spec: CollectionSpec) -> None:
        """Nothing that `check` takes."""

    def create(self, spec: CollectionSpec) -> None:
        make_directory(self.directory)
        path = self.files.path(spec.name)
        temporary = self.directory / f".{spec.name}.{uuid.uuid4().hex}"
        try:
            with self.files.creating(temporary) as connection:
                with transaction(connection):
                    for statement in schema.create_tables(spec):
                        connection.execute(statement)
                    label = encoded(Label(spec=spec))
                    connection.execute("INSERT INTO collection_label VALUES (?)", [label])
                # closing would do it too, and say nothing where it fails: on a full disk the file
                # would be published without what only its write-ahead log has
                connection.execute("CHECKPOINT collection")
            sync_file(temporary)
            with locked(self.directory, wait_seconds=self._wait_seconds):
                if not path.exists():
                    _log_of(path).unlink(missing_ok=True)
                    temporary.rename(path)
                    sync_directory(self.directory)
        finally:
            temporary.unlink(missing_ok=True)
            _log_of(temporary).unlink(missing_ok=True)

    def drop(self, name: str, *, unless_served: Callable[[], None]) -> None:
        path = self.files.path(name)
        if not path.exists():
            return
        with suppress(NotFound), self.files.alone(name) as connection:
            connection.execute("CHECKPOINT collection")  # or closing would, in a namesake's log
            with locked(self.directory, wait_seconds=self._wait_seconds):
                unless_served()
                _log_of(path).unlink(missing_ok=True)
                path.unlink()
                sync_directory(self.directory)

    def point(self, alias: str, name: str) -> None:
        with locked(self.directory, wait_seconds=self._wait_seconds):
            if not self.exists(name):  # dropped meanwhile
                raise absent(name, self.names())
            self.aliases.point(alias, name)

    def _states(self, name: str) -> Iterator[os.stat_result]:
        """Those of its files that are there: a log may go at any moment, with its writer."""
        path = self.files.path(name)
        for each in (path, _log_of(path)):
            with suppress(FileNotFoundError):
                yield each.stat()


class DuckDBCollection:
    """A collection whose file this connection has."""

    def __init__(self, driver: DuckDBDriver, connection: Connection, name: str) -> None:
        self._driver = driver
        self._connection = connection
        self._name = name
        self._stamp = driver.stamp(name)  # before a transaction: what comes later is not in it
        self.label = _label(connection, name)
        # a copied file has the label of another
        self.contract = self.label.spec.model_copy(update={"name": name})

    def described(self) -> CollectionSpec:
        return self.contract

    def status(self) -> CollectionStatus:
        return CollectionStatus(
            records=self._count(),
            indexed=self.label.indexed,
            size_bytes=self._driver.size_bytes(self._name),
        )

    def notes(self) -> Iterable[Note]:
        return others(self._connection)

    def scan(
        self, columns: Sequence[str], *, documents: Sequence[str] | None, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        """The file is held until the end, or `close`."""
        if documents is None:
            size = self._driver.size_bytes(self._name)
            pieces = all_records(self._connection, columns, size_bytes=size, again=self._again)
        else:
            pieces = records_of(
                self._connection,
                columns,
                documents,
                row_bytes=self._row_bytes(),
                again=self._again,
            )
        for piece in pieces:
            yield from schema.from_stored(piece, self.contract).to_batches(max_chunksize=batch_rows)

    def unordered(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        pieces = as_they_lie(
            self._connection, columns, row_bytes=self._row_bytes(), again=self._again
        )
        for piece in pieces:
            yield from schema.from_stored(piece, self.contract).to_batches()

    def hits(self, request: Request) -> list[Hit] | None:
        """Exact, whatever is asked for: there is no index of vectors."""
        return in_enough_memory(self._connection, partial(answered, self._connection, request))

    def counted(self, filter: Filter) -> int:
        where, values = condition(filter)
        query = f"SELECT count(*) FROM records WHERE {where}"  # noqa: S608 - of names of columns
        return int(self._connection.execute(query, values).fetchall()[0][0])

    def write(self, rows: pa.Table, *, replaces: Sequence[str]) -> None:
        connection, new = self._connection, in_order_of_id(rows)  # a scan reads ranges of ids
        connection.register("incoming", _in_pieces(schema.to_stored(new)))
        connection.register("replaced", schema.strings("document_id", replaces))
        doomed = connection.sql(DOOMED).to_arrow_table()
        if len(doomed):
            connection.register("doomed", doomed)
            connection.execute("DELETE FROM records WHERE id IN (SELECT id FROM doomed)")
            index.remove(connection, doomed)
        connection.execute("INSERT INTO records SELECT * FROM incoming")
        if self.label.indexed:
            index.add(connection, new.select(["id", "text"]))

    def build(self, progress: Progress | None) -> None:
        del progress  # a few statements, which say nothing while they run
        if self.contract.keyword_index and not self.label.indexed:
            in_enough_memory(self._connection, partial(index.build, self._connection))

    def relabel(self, label: Label) -> None:
        self._connection.execute("UPDATE collection_label SET label = ?", [encoded(label)])

    def complete(self, spec: CollectionSpec) -> None:
        """Nothing is left out: a file is published whole."""

    def _again(self, error: OutOfMemory) -> None:
        begin_again(self._connection, error)
        if self._driver.stamp(self._name) != self._stamp:
            raise Unavailable(f"{self._name!r} was written to meanwhile; scan again")

    def _row_bytes(self) -> float:
        return self._driver.size_bytes(self._name) / max(1, self._count())

    def _count(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM records").fetchall()[0][0])


def _label(connection: Connection, name: str) -> Label:
    rows = connection.execute("SELECT label FROM collection_label").fetchall()
    if len(rows) != 1:
        raise Damaged(f"{name!r} has {len(rows)} labels; restore it from a recovery point")
    return decoded(rows[0][0], of=repr(name))


def _in_pieces(batch: pa.Table) -> pa.Table:
    """In chunks of a row group: DuckDB's threads take a chunk each, so one keeps one busy."""
    return pa.Table.from_batches(batch.to_batches(max_chunksize=ROW_GROUP), batch.schema)


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + ".wal")
