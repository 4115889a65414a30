"""A full backup and a restore, beside copying the same table through Parquet."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import sample
from benchmarks.harness import Figure, Laps, Ratio, Scale
from dr_pipelines.model.recovery import Recovery, Request, Route
from dr_pipelines.protocols import NativeFiles, VectorStore
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.recovery.run import recover
from dr_pipelines.repository.repository import Repository
from dr_pipelines.stores.duckdb.store import duckdb_store

WHAT = """\
`backup` of a DuckDB collection that no log knows yet: scan, digests, segments (encoded, decoded
again and compared, hashed, synced), commit. `restore` by load into a new collection: fold,
read, write, scan what was written and compare every record. No keyword index is built, except in
the last case. `copy` is `pyarrow.parquet.write_table` of the same table from memory and
`read_table` back into memory, with pyarrow's defaults: not synced, not compared, no store.
`copy, zstd` is the same with the compression of segments. `store to store` reads the collection
from the store into a Parquet file batch by batch and writes it to a new collection, unproven."""


def run(scale: Scale, directory: Path) -> Figure:
    """Time each in turn; what is restored must be equal, bit for bit."""
    store = sample.filled_store(directory, scale.rows)
    table = pa.Table.from_batches(list(store.scan(sample.PHYSICAL)))
    laps, size = Laps(), 0
    for number in laps.turns(scale.repeats):
        _copy(table, directory / "copy.parquet", laps)
        _store_to_store(store, directory / "through.parquet", laps)
        place = directory / f"full-{number}"
        repository = sample.new_repository(place)
        with laps.lap("backup"):
            taken = sample.backed_up(store, repository, place)
        assert taken.counts.records == scale.rows
        size = taken.size_bytes
        with laps.lap("restore"):
            recovery = restored(repository, store, place, into=f"sample@back{number}")
        assert recovery.bit_identical
        assert recovery.records == scale.rows
        store.drop(recovery.plan.physical)
        shutil.rmtree(place)
    indexed = _keyword_index(scale, directory)
    return Figure(
        "full",
        f"{scale.rows:,} records. {WHAT}",
        sample.WARM,
        laps,
        {
            "table_bytes": table.nbytes,
            "backup_bytes": size,
            "copy_bytes": (directory / "copy.parquet").stat().st_size,
            "keyword_index_seconds": round(indexed, 2),
        },
        (
            Ratio("size, backup : table", size / table.nbytes, 0.95),
            laps.ratio("backup : copy", of=("backup",), to="copy", aim=0.8),
            laps.ratio("restore : copy", of=("restore",), to="copy", aim=1.0),
            laps.ratio(
                "backup and restore : store to store",
                of=("backup", "restore"),
                to="store to store",
                aim=2.0,
            ),
            laps.ratio("backup : copy, zstd", of=("backup",), to="copy, zstd"),
            laps.ratio("restore : copy, zstd", of=("restore",), to="copy, zstd"),
        ),
    )


def restored(
    repository: Repository,
    store: VectorStore,
    place: Path,
    *,
    into: str,
    route: Route = Route.LOAD,
    native: NativeFiles | None = None,
) -> Recovery:
    """The newest recovery point, brought into a new collection."""
    request = Request(collection=sample.COLLECTION, store=sample.STORE, route=route, into=into)
    resources = Resources(repository, store, sample.STORE, sample.lease(place), native=native)
    return recover(request, resources)


def _copy(table: pa.Table, path: Path, laps: Laps) -> None:
    for case, compression in (("copy, zstd", "zstd"), ("copy", "snappy")):  # snappy: the default
        with laps.lap(case):
            pq.write_table(table, path, compression=compression)
            back = pq.read_table(path)
        assert back.num_rows == table.num_rows


def _store_to_store(store: VectorStore, path: Path, laps: Laps) -> None:
    target = sample.spec("sample@through")
    with laps.lap("store to store"):
        scanned = store.scan(sample.PHYSICAL)
        first = next(scanned)
        with pq.ParquetWriter(path, first.schema) as writer:
            writer.write_batch(first)
            for batch in scanned:
                writer.write_batch(batch)
        store.create(target)
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(sample.BATCH_ROWS):
                store.write(target.name, pa.Table.from_batches([batch]))
    store.drop(target.name)


def _keyword_index(scale: Scale, directory: Path) -> float:
    """Seconds that building the keyword index takes: all of what a restore leaves out above."""
    store = duckdb_store(directory / "indexed")
    name = sample.spec("sample@indexed", keyword_index=True)
    store.create(name)
    for batch in sample.batches(scale.rows):
        store.write(name.name, batch)
    laps = Laps()
    with laps.lap("index"):
        store.build_index(name.name)
    shutil.rmtree(directory / "indexed")
    return laps.median("index")
