"""The embedded VectorStore: one DuckDB file for each collection, no server."""

# ruff: noqa: S608  # names come from a CollectionSpec, whose patterns allow identifiers only;
# values are parameters.

import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa

from dr_pipelines.errors import (
    AlreadyExists,
    Damaged,
    NotFound,
    Refused,
    Unavailable,
)
from dr_pipelines.host.permissions import make_directory
from dr_pipelines.model.collection import CollectionSpec, CollectionStatus
from dr_pipelines.model.compatibility import CompatibilityReport, Note
from dr_pipelines.model.misfit import Misfits
from dr_pipelines.model.query import Hit, Query, reciprocal_rank_fusion
from dr_pipelines.protocols import Progress
from dr_pipelines.stores.duckdb import keywords, sql
from dr_pipelines.stores.duckdb.files import (
    ROW_GROUP,
    CollectionFiles,
    Connection,
    OutOfMemory,
    begin_again,
    in_enough_memory,
    transaction,
)
from dr_pipelines.stores.duckdb.others import others
from dr_pipelines.stores.duckdb.scan import all_records, records_of
from dr_pipelines.stores.shared.batches import checked_batch, in_order_of_id
from dr_pipelines.stores.shared.fitting import fit_exact
from dr_pipelines.stores.shared.misfits import misfits_of, value_problems
from dr_pipelines.stores.shared.pointers import (
    Pointers,
    followed,
    locked,
    sync_directory,
    sync_file,
)
from dr_pipelines.stores.shared.requests import (
    VectorRequest,
    checked_alias,
    checked_batch_rows,
    checked_columns,
    checked_query,
)

DOOMED = """
    SELECT id FROM records WHERE id IN (SELECT id FROM incoming)
    UNION SELECT id FROM records WHERE document_id IN (SELECT document_id FROM replaced)
"""

KEPT = partial(value_problems, finite=False)
"""NaN and infinities are kept as they are, like any other bits."""

Ranking = list[tuple[str, float]]


class DuckDBVectorStore:
    """Collections in a directory on a local disk (file locks must work there).

    Safe for any number of threads and processes: an operation that cannot have a collection's file
    waits for it and raises `Unavailable` after `wait_seconds`. Short reads run side by side; a scan
    that has begun keeps other processes out until it is exhausted or closed, but not this store: a
    loop over a scan may write, and does not see what it wrote. `drop` waits for every scan.
    """

    def __init__(
        self, directory: str | Path, *, wait_seconds: float = 30, memory_limit_mb: int = 256
    ) -> None:
        self._directory = Path(directory)
        self._wait_seconds = wait_seconds
        self._files = CollectionFiles(
            self._directory, wait_seconds=wait_seconds, memory_limit_mb=memory_limit_mb
        )
        self._pointers = Pointers(self._directory)

    @property
    def engine(self) -> str:
        return f"duckdb {duckdb.__version__}"

    @property
    def vector_tolerance(self) -> float:
        return 0.0

    def collections(self) -> list[str]:
        return self._files.names()

    def aliases(self) -> dict[str, str]:
        return self._pointers.all()

    def warnings(self) -> tuple[str, ...]:
        return ()

    def describe(self, name: str) -> CollectionSpec:
        return followed(name, self._pointers.target, self._described)

    def status(self, name: str) -> CollectionStatus:
        return followed(name, self._pointers.target, self._status)

    def _described(self, physical: str) -> CollectionSpec:
        with self._files.reading(physical) as connection:
            return _state(connection, physical)[0]

    def _others(self, physical: str) -> tuple[Note, ...]:
        with self._files.reading(physical) as connection:
            _state(connection, physical)
            return others(connection)

    def _status(self, physical: str) -> CollectionStatus:
        with self._files.reading(physical) as connection:
            _, indexed = _state(connection, physical)
            records = _one(connection, "SELECT count(*) FROM records")
        return CollectionStatus(records=records, indexed=indexed, size_bytes=self._size(physical))

    def scan(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
    ) -> Iterator[pa.RecordBatch]:
        """The state at the first `next`; the file is held from then until the end or `close`."""
        rows, asked = checked_batch_rows(batch_rows), checked_columns(columns, self.describe(name))
        return self._scanned(name, asked, None if documents is None else list(documents), rows)

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        search = partial(self._searched, query=query, limit=limit)
        return followed(name, self._pointers.target, search)

    def _searched(self, physical: str, *, query: Query, limit: int) -> list[Hit]:
        with self._files.reading(physical) as connection, transaction(connection):
            answer = partial(_answered, connection, physical, query, limit=limit)
            return in_enough_memory(connection, answer)

    def compatibility(self, name: str) -> tuple[Note, ...]:
        return followed(name, self._pointers.target, self._others)

    def misfits(self, spec: CollectionSpec, batch: pa.Table | pa.RecordBatch) -> Misfits:
        return misfits_of(batch, KEPT(batch, spec))

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        return fit_exact(spec)

    def change_token(self, name: str) -> str | None:
        stamp = self._stamp(self._pointers.target(name) or name)
        if not stamp:
            raise self._unknown(name)
        return stamp

    def _stamp(self, physical: str) -> str:
        """Another after every write; empty where the files are gone."""
        path = self._files.path(physical)
        found = [(p, p.stat()) for p in (path, _log_of(path)) if p.exists()]
        return " ".join(f"{state.st_ino}:{state.st_size}:{state.st_mtime_ns}" for _, state in found)

    def create(self, spec: CollectionSpec) -> None:
        make_directory(self._directory)
        if self._pointers.target(spec.name) is not None:
            raise AlreadyExists(f"{spec.name!r} is an alias; choose another name")
        if not self._files.path(spec.name).exists():
            self._publish(spec)
        if self.describe(spec.name) != spec:
            raise AlreadyExists(
                f"{spec.name!r} is a collection with another spec; choose another name or drop it"
            )

    def drop(self, name: str) -> None:
        physical = self._physical(name)
        if not self._files.path(physical).exists():
            return
        with suppress(NotFound), self._files.alone(physical) as connection:
            connection.execute("CHECKPOINT collection")  # or closing would, in a namesake's log
            with locked(self._directory, wait_seconds=self._wait_seconds):
                self._remove(physical)

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        physical = self._physical(name)
        with self._files.writing(physical) as connection:
            spec, indexed = _state(connection, physical)
            new = in_order_of_id(
                checked_batch(batch, spec, check=KEPT)
            )  # a scan reads ranges of ids
            connection.register("incoming", _in_pieces(sql.to_stored(new)))
            connection.register("replaced", _strings("document_id", replaces))
            doomed = connection.sql(DOOMED).to_arrow_table()
            if len(doomed):
                connection.register("doomed", doomed)
                connection.execute("DELETE FROM records WHERE id IN (SELECT id FROM doomed)")
                keywords.remove(connection, doomed)
            connection.execute("INSERT INTO records SELECT * FROM incoming")
            if indexed:
                keywords.add(connection, new.select(["id", "text"]))

    def build_index(self, name: str, *, progress: Progress | None = None) -> None:
        del progress  # a few statements, which say nothing while they run
        physical = self._physical(name)
        with self._files.writing(physical) as connection:
            spec, indexed = _state(connection, physical)
            if indexed:
                return
            if spec.keyword_index:
                in_enough_memory(connection, lambda: keywords.build(connection))
            connection.execute("UPDATE collection_state SET indexed = TRUE")

    def promote(self, name: str, *, alias: str) -> None:
        physical = self._physical(name)
        if checked_alias(alias) in self.collections():
            raise AlreadyExists(f"{alias!r} is a collection; choose another alias")
        if physical not in self.collections():
            raise self._unknown(physical)
        with locked(self._directory, wait_seconds=self._wait_seconds):
            if not self._files.path(physical).exists():  # dropped meanwhile
                raise self._unknown(physical)
            self._pointers.point(alias, physical)

    def _publish(self, spec: CollectionSpec) -> None:
        path = self._files.path(spec.name)
        temporary = self._directory / f".{spec.name}.{uuid.uuid4().hex}"
        try:
            with self._files.creating(temporary) as connection:
                with transaction(connection):
                    for statement in sql.create_tables(spec):
                        connection.execute(statement)
                    state = [spec.model_dump_json(), False]
                    connection.execute("INSERT INTO collection_state VALUES (?, ?)", state)
                # closing would do it too, and say nothing where it fails: on a full disk the file
                # would be published without what only its write-ahead log has
                connection.execute("CHECKPOINT collection")
            sync_file(temporary)
            with locked(self._directory, wait_seconds=self._wait_seconds):
                if not path.exists():
                    _log_of(path).unlink(missing_ok=True)
                    temporary.rename(path)
                    sync_directory(self._directory)
        finally:
            temporary.unlink(missing_ok=True)
            _log_of(temporary).unlink(missing_ok=True)

    def _remove(self, physical: str) -> None:
        pointing = sorted(a for a, to in self._pointers.all().items() if to == physical)
        if pointing:
            raise Refused(f"{physical!r} is served as {pointing}; promote another collection first")
        path = self._files.path(physical)
        _log_of(path).unlink(missing_ok=True)
        path.unlink()
        sync_directory(self._directory)

    def _scanned(
        self, name: str, columns: list[str], documents: list[str] | None, rows: int
    ) -> Iterator[pa.RecordBatch]:
        with ExitStack() as held:
            hold = partial(_entered, held, self._files)
            physical, connection = followed(name, self._pointers.target, hold)
            stamp = self._stamp(physical)  # before the transaction: what comes later is not in it
            held.enter_context(transaction(connection))
            spec, _ = _state(connection, name)
            size = self._size(physical)

            def again(error: OutOfMemory) -> None:
                begin_again(connection, error)
                if self._stamp(physical) != stamp:
                    raise Unavailable(f"{physical!r} was written to meanwhile; scan again")

            if documents is None:
                pieces = all_records(connection, columns, size_bytes=size, again=again)
            else:
                records = max(1, _one(connection, "SELECT count(*) FROM records"))
                pieces = records_of(
                    connection, columns, documents, row_bytes=size / records, again=again
                )
            for piece in pieces:
                yield from sql.from_stored(piece, spec).to_batches(max_chunksize=rows)

    def _size(self, physical: str) -> int:
        path = self._files.path(physical)
        return sum(p.stat().st_size for p in (path, _log_of(path)) if p.exists())

    def _physical(self, name: str) -> str:
        target = self._pointers.target(name)
        if target is not None:
            raise NotFound(f"{name!r} is an alias; name the collection {target!r}")
        return name

    def _unknown(self, name: str) -> NotFound:
        return NotFound(
            f"no collection {name!r}; there are: {', '.join(self.collections()) or 'none'}"
        )


def _answered(connection: Connection, physical: str, query: Query, *, limit: int) -> list[Hit]:
    spec, indexed = _state(connection, physical)
    request = checked_query(query, spec, limit=limit, indexed=indexed)
    where, depth = sql.condition(request.filter), request.depth
    rankings: list[Ranking] = []
    if request.nearest is not None:
        rankings.append(_nearest(connection, request.nearest, where, limit=depth))
    if request.terms is not None:
        rankings.append(keywords.ranking(connection, request.terms, where, limit=depth))
    best = rankings[0]
    if len(rankings) > 1:
        best = reciprocal_rank_fusion([[found for found, _ in rank] for rank in rankings])
    return _hits(connection, best[:limit])


def _entered(held: ExitStack, files: CollectionFiles, physical: str) -> tuple[str, Connection]:
    return physical, held.enter_context(files.holding(physical))


def _state(connection: Connection, name: str) -> tuple[CollectionSpec, bool]:
    rows = connection.execute("SELECT spec, indexed FROM collection_state").fetchall()
    try:
        ((spec, indexed),) = rows
        return CollectionSpec.model_validate_json(spec), indexed
    except ValueError as error:  # pydantic's is one
        raise Damaged(
            f"the specification of {name!r} is unreadable; restore it from a recovery point"
        ) from error


def _nearest(
    connection: Connection, request: VectorRequest, where: sql.Condition, *, limit: int
) -> Ranking:
    score, query = sql.score(request)
    kept, values = where
    present = f"{sql.name(request.column.name)} IS NOT NULL"
    rows = connection.execute(
        f"SELECT id, {score} AS score FROM records WHERE {present} AND {kept} AND isfinite(score) "
        f"ORDER BY score DESC, id LIMIT {limit}",
        [*query, *values],
    )
    return [(found, float(scored)) for found, scored in rows.fetchall()]


def _hits(connection: Connection, best: Ranking) -> list[Hit]:
    connection.register("best", _strings("id", [key for key, _ in best]))
    rows = connection.execute(
        "SELECT id, document_id, text FROM records WHERE id IN (SELECT id FROM best)"
    )
    found = {key: (document, text) for key, document, text in rows.fetchall()}
    return [Hit(key, found[key][0], score, found[key][1]) for key, score in best]


def _in_pieces(batch: pa.Table) -> pa.Table:
    """In chunks of a row group: DuckDB's threads take a chunk each, so one keeps one busy."""
    return pa.Table.from_batches(batch.to_batches(max_chunksize=ROW_GROUP), batch.schema)


def _strings(column: str, values: Sequence[str]) -> pa.Table:
    return pa.table({column: pa.array(list(values), pa.string())})


def _one(connection: Connection, query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0])


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + ".wal")
