"""PostgreSQL with pgvector: beside pg_dump, pg_restore and plain COPY, on one server."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa

from benchmarks import sample
from benchmarks.full import restored
from benchmarks.harness import Figure, Laps, Ratio, Scale, peaks_of, tell_peak
from benchmarks.processors import seconds_of_ours
from dr_pipelines.live.observe import observe_store
from dr_pipelines.model.collection import VectorIndex
from dr_pipelines.protocols import VectorStore
from dr_pipelines.repository.codec import encode_table
from dr_pipelines.repository.history import History
from dr_pipelines.repository.rows import newest_rows, observed_rows
from dr_pipelines.repository.segments import BASE_ROWS
from dr_pipelines.repository.vector_codec import encode_vectors
from dr_pipelines.stores.pgvector import open_store
from tests.servers.pgvector import Server, running_postgres

WHAT = """\
A table of our layout with five fields beside text and vector, on PostgreSQL 18 that syncs.
`backup` is a first full backup into a local repository: scan, digests, segments, commit.
`restore` loads it into a new table, builds its plain indexes, scans it and compares every record.
`pg_dump -Fc` writes the same table to a file and `pg_restore -j2` brings it back into an empty
database, neither compared with anything. `copy out` and `copy in` are the client library's binary
COPY to and from a file. `scan` and `write` are the adapter's alone. `index` builds HNSW (m = 16,
ef_construction = 64) for a quarter of the records as `build_index` does, `index, defaults` the same
with the server's settings."""
SETTINGS = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
HNSW = VectorIndex(kind="hnsw", parameters={"m": 16, "ef_construction": 64})
INDEXED = 4
"""One in so many records is in the table whose index is built."""
ENOUGH = 768.0


def run(scale: Scale, directory: Path) -> Figure:
    """Time each in turn; what is restored must be equal, bit for bit."""
    laps, facts = Laps(), dict[str, object]()
    with running_postgres(18, **SETTINGS) as server:
        database = server.create_database()
        store = open_store(server.url(database), base=directory)
        store.create(sample.described_spec())
        for batch in sample.described_batches(np.arange(scale.rows)):
            store.write(sample.PHYSICAL, batch)
        store.build_index(sample.PHYSICAL)
        for number in laps.turns(scale.repeats):
            _copies(server, database, directory, laps)
            _adapter(store, scale.rows, laps)
            facts |= _dumps(server, database, directory, laps)
            facts |= _ours(store, directory / f"lap-{number}", scale.rows, number, laps)
        facts["cpu_seconds_by_step"] = _steps(store, directory / "steps")
        facts["restore_cpu_seconds"] = _restore_steps(store, directory / "restored")
        _indexes(server, database, store, scale.rows // INDEXED, laps)
        peaks = {
            action: peaks_of(
                "benchmarks.pgvector",
                action,
                str(directory),
                str(scale.rows),
                server.url(database),
            ).resident_mib
            for action in ("backup", "restore")
        }
    facts["peak_mib"] = {action: round(peak, 1) for action, peak in peaks.items()}
    peak = max(peaks.values())
    return Figure(
        "pgvector",
        f"{scale.rows:,} records. {WHAT}",
        sample.WARM,
        laps,
        facts,
        (*_ratios(laps, facts), Ratio("largest peak : 0.75 GiB", peak / ENOUGH, 1.0)),
    )


def _ratios(laps: Laps, facts: dict[str, object]) -> Iterator[Ratio]:
    def faster(what: str, of: str, to: str, aim: float) -> Ratio:
        return Ratio(what, laps.median(of) / laps.median(to), aim, at_least=True)

    def size(name: str) -> int:
        return int(str(facts[f"{name}_bytes"]))

    yield faster("pg_dump -Z1 : backup", "pg_dump -Z1", "backup", 4.0)
    yield Ratio("size: backup : pg_dump -Z1", size("backup") / size("dump_z1"), 1.0)
    yield faster("pg_dump -Z0 : backup", "pg_dump -Z0", "backup", 2.2)
    yield Ratio("size: backup : pg_dump -Z0", size("backup") / size("dump_z0"), 0.5)
    yield faster("pg_restore -j2 : restore", "pg_restore -j2", "restore", 3.0)
    yield laps.ratio("backup : copy out", of=("backup",), to="copy out", aim=1.6)
    yield laps.ratio("restore : copy in", of=("restore",), to="copy in", aim=1.6)
    yield laps.ratio("scan : copy out", of=("scan",), to="copy out")
    yield laps.ratio("write : copy in", of=("write",), to="copy in")
    yield laps.ratio("index : index, defaults", of=("index",), to="index, defaults", aim=1.0)


def _copies(server: Server, database: str, directory: Path, laps: Laps) -> None:
    path, table = directory / "copy.bin", f'"{sample.PHYSICAL}"'
    with psycopg.connect(server.conninfo(database), autocommit=True) as connection:
        copy_out = f"COPY {table} TO STDOUT (FORMAT BINARY)"
        with (
            laps.lap("copy out"),
            path.open("wb") as file,
            connection.cursor().copy(copy_out) as copy,
        ):
            for data in copy:
                file.write(data)
        connection.execute(
            f"CREATE TABLE copied (LIKE {table} INCLUDING CONSTRAINTS, PRIMARY KEY (id))"
        )
        copy_in = "COPY copied FROM STDIN (FORMAT BINARY)"
        with (
            laps.lap("copy in"),
            path.open("rb") as file,
            connection.cursor().copy(copy_in) as copy,
        ):
            while data := file.read(2**20):
                copy.write(data)
        connection.execute("DROP TABLE copied")
    path.unlink()


def _adapter(store: VectorStore, rows: int, laps: Laps) -> None:
    batches = list[pa.RecordBatch]()
    with laps.lap("scan"):
        for batch in store.scan(sample.PHYSICAL):
            batches.append(batch)
    assert sum(batch.num_rows for batch in batches) == rows
    whole = pa.Table.from_batches(batches)
    store.create(sample.described_spec("sample@written"))
    with laps.lap("write"):
        for start in range(0, rows, 50_000):
            store.write("sample@written", whole.slice(start, 50_000))
    store.drop("sample@written")


def _dumps(server: Server, database: str, directory: Path, laps: Laps) -> dict[str, object]:
    facts = dict[str, object]()
    for level in (0, 1):
        path = directory / f"z{level}.dump"
        command = [server.program("pg_dump"), "-Fc", f"-Z{level}", "-f", str(path)]
        command += ["-t", f'"{sample.PHYSICAL}"', server.conninfo(database)]
        with laps.lap(f"pg_dump -Z{level}"):
            subprocess.run(command, check=True)
        facts[f"dump_z{level}_bytes"] = path.stat().st_size
    empty = server.create_database()
    command = [server.program("pg_restore"), "-j2", "-d", server.conninfo(empty)]
    with laps.lap("pg_restore -j2"):
        subprocess.run([*command, str(directory / "z1.dump")], check=True)
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{empty}"')
    for level in (0, 1):
        (directory / f"z{level}.dump").unlink()
    return facts


def _ours(store: VectorStore, place: Path, rows: int, number: int, laps: Laps) -> dict[str, object]:
    repository = sample.new_repository(place)
    with laps.lap("backup"):
        taken = sample.backed_up(store, repository, place)
    assert taken.counts.records == rows
    with laps.lap("restore"):
        recovery = restored(repository, store, place, into=f"sample@back{number}")
    assert recovery.bit_identical
    assert recovery.records == rows
    phases = {phase.name: round(phase.seconds, 2) for phase in recovery.phases}
    store.drop(recovery.plan.physical)
    shutil.rmtree(place)
    return {"backup_bytes": taken.size_bytes, "restore_phases_seconds": phases}


def _steps(store: VectorStore, place: Path) -> dict[str, float]:
    """Processor seconds of this program for each step of a backup, one step at a time; the server's
    own are not in it. A backup does several at once."""
    steps = _Steps()
    repository, spec = sample.new_repository(place), store.describe(sample.PHYSICAL)
    with steps.step("scan and decode"):
        batches = list(store.scan(sample.PHYSICAL))
    whole = pa.Table.from_batches(batches)
    for start in range(0, whole.num_rows, BASE_ROWS):
        with steps.step("digests"):
            rows = observed_rows(whole.slice(start, BASE_ROWS), spec=spec)
        with steps.step("segments: encode, decode again, compare"):
            data = encode_table(rows.narrow)
            vectors = encode_vectors(rows.vectors)
        with steps.step("segments: hash, write, sync"):
            repository.put(f"{sample.COLLECTION}/segments/{start}.parquet", data)
            repository.put(f"{sample.COLLECTION}/segments/{start}.vectors.arrow", vectors)
    shutil.rmtree(place)
    return {name: here for name, (here, _) in steps.spent.items()}


def _restore_steps(store: VectorStore, place: Path) -> dict[str, dict[str, float]]:
    """Processor seconds for each step of a restore, one step at a time, of this program and of the
    server. A restore does several at once."""
    steps, name, repository = _Steps(), "sample@steps", sample.new_repository(place)
    sample.backed_up(store, repository, place)
    history = History(repository, sample.COLLECTION)
    with ExitStack() as stack:
        with steps.step("fold"):
            state = stack.enter_context(history.fold(history.latest().manifest))
        store.create(sample.described_spec(name))
        tables = newest_rows(state)
        while True:
            with steps.step("segments: read, decode, put together"):
                table = next(tables, None)
            if table is None:
                break
            with steps.step("encode and write"):
                store.write(name, table)
        with steps.step("plain indexes"):
            store.build_index(name)
        with steps.step("read back, digests, compare"):
            scan = store.scan(name, ordered=False)
            observed = observe_store(state, scan, store=store, physical=name)
            assert not observed.differences().num_rows
    store.drop(name)
    shutil.rmtree(place)
    return {step: {"here": here, "server": there} for step, (here, there) in steps.spent.items()}


class _Steps:
    """Processor seconds by step: of this process, and of those that it started, which are the
    server's."""

    def __init__(self) -> None:
        self.spent = dict[str, tuple[float, float]]()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count what is done in the context."""
        here, all_of_ours = time.process_time(), seconds_of_ours()
        yield
        here = time.process_time() - here
        there = max(0.0, seconds_of_ours() - all_of_ours - here)
        before = self.spent.get(name, (0.0, 0.0))
        self.spent[name] = (round(before[0] + here, 2), round(before[1] + there, 2))


def _indexes(server: Server, database: str, store: VectorStore, rows: int, laps: Laps) -> None:
    name = "sample@indexed"
    store.create(sample.described_spec(name, index=HNSW))
    for batch in sample.described_batches(np.arange(rows)):
        store.write(name, batch)
    with psycopg.connect(server.conninfo(database), autocommit=True) as connection:
        with laps.lap("index, defaults"):
            connection.execute(
                f'CREATE INDEX plain ON "{name}" USING hnsw (embedding vector_cosine_ops) '
                "WITH (m = 16, ef_construction = 64)"
            )
        connection.execute("DROP INDEX plain")
    with laps.lap("index"):
        store.build_index(name)
    store.drop(name)


def _do(action: str, place: Path, rows: int, url: str) -> None:
    store, repository = open_store(url, base=place), sample.new_repository(place)
    if action == "restore":
        recovery = restored(repository, store, place, into="sample@peak")
        assert recovery.records == rows
        return
    taken = sample.backed_up(store, repository, place)
    assert taken.rows == rows


if __name__ == "__main__":
    _do(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    tell_peak()
