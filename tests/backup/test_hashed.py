"""A collection whose files never change is proven by their hashes: what is in files that were read
before is not read again, and whatever is not certain is."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.backup import hashed
from dr_pipelines.backup.hashed import Hashing, facts_of, hashed_scan, misfits_of
from dr_pipelines.backup.passing import Passing
from dr_pipelines.backup.piece_cache import PieceCache
from dr_pipelines.backup.plan import plan_backup
from dr_pipelines.backup.resources import Resources
from dr_pipelines.backup.result import Snapshot
from dr_pipelines.backup.run import run_backup
from dr_pipelines.backup.served import live_spec
from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import DrError
from dr_pipelines.model.assurance import Assurance, Required
from dr_pipelines.model.backup import BackupRequest
from dr_pipelines.model.misfit import Misfit, Misfits
from dr_pipelines.protocols import HashedPiece, VectorStore
from dr_pipelines.stores.lancedb.connect import open_store
from dr_pipelines.stores.lancedb.hashed import LanceHashedFiles, hashed_files_of
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import COLLECTION, START, STORE_NAME, ListedSource, Process, World

DAY = timedelta(days=1)
DOCUMENTS = 40


class CountingFiles:
    """Counts the pieces whose records are read."""

    def __init__(self, files: LanceHashedFiles) -> None:
        self._files = files
        self.seen = self.read = 0

    def pieces(self, name: str) -> Iterator[HashedPiece] | None:
        pieces = self._files.pieces(name)
        return None if pieces is None else map(self._counted, pieces)

    def _counted(self, piece: HashedPiece) -> HashedPiece:
        self.seen += 1

        def read() -> Iterator[pa.RecordBatch]:
            self.read += 1
            return piece.read()

        return replace(piece, read=read)

    def counts(self) -> tuple[int, int]:
        """Pieces seen and read since the last look."""
        counts, self.seen, self.read = (self.seen, self.read), 0, 0
        return counts


class Bench:
    """A collection in LanceDB, and backups of it that accept hashed files."""

    def __init__(self, directory: Path, source: ListedSource, ids: Iterator[str]) -> None:
        self.directory = directory
        self.store: VectorStore = open_store(f"lance:{directory / 'store'}", base=directory)
        world = World(source, MemoryBlobStore(), self.store, MemoryWitness(), lambda: next(ids))
        self.process: Process = world.process()
        self.files = CountingFiles(hashed_files_of(self.store))
        self.cache = directory / "pieces"

    @property
    def physical(self) -> str:
        return self.store.aliases()[COLLECTION]

    def data_files(self) -> list[Path]:
        """Those of the newest version."""
        dataset = lance.dataset(str(next((self.directory / "store").glob("*.lance"))))
        files = [f.path for each in dataset.get_fragments() for f in each.data_files()]
        return [Path(dataset.uri) / "data" / path for path in files]

    def backup(self, **more: Any) -> Snapshot:
        hashing = Hashing(self.files, PieceCache(self.cache))
        required = Required(Assurance.FILES, 7 * DAY)
        process = self.process
        resources = Resources(
            process.history, process.live, STORE_NAME, required=required, hashing=hashing
        )
        plan = plan_backup(BackupRequest(collection=COLLECTION, **more), resources)
        return run_backup(plan, resources).taken

    def documents(self, *names: str) -> pa.Table:
        return pa.Table.from_batches(self.store.scan(self.physical, documents=list(names)))

    def edit(self, *names: str, text: str = "edited by hand") -> None:
        rows = self.documents(*names)
        place = rows.schema.get_field_index("text")
        texts = pa.array([text] * rows.num_rows)
        self.store.write(self.physical, rows.set_column(place, rows.schema.field(place), texts))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    source = ListedSource()
    for number in range(DOCUMENTS):
        source.upsert(f"d{number:02d}", f"text {number}, some words of it", at=START)
    bench = Bench(tmp_path, source, iter(f"{n:032x}" for n in range(100_000)))
    bench.process.ingest()
    assert bench.backup().assurance is Assurance.EVERY_VALUE
    bench.files.counts()
    return bench


def test_files_that_were_hashed_are_hashed_again_and_not_read(bench: Bench) -> None:
    taken = bench.backup()
    assert (taken.assurance, taken.equal, taken.findings.recorded) == (Assurance.FILES, True, [])
    assert taken.rows == taken.counts.records
    assert taken.whole_at < taken.began
    seen, read = bench.files.counts()
    assert (seen > 0, read) == (True, 0)


def test_only_new_files_are_read_and_all_changes_are_found(bench: Bench) -> None:
    bench.edit("d03", "d07")
    bench.store.write(bench.physical, bench.documents("d00").slice(0, 0), replaces=["d05"])
    taken = bench.backup()
    assert taken.assurance is Assurance.FILES
    assert (taken.findings.changed, taken.findings.absent) == (("d03", "d07"), ("d05",))
    seen, read = bench.files.counts()
    assert 0 < read < seen
    again = bench.backup()
    assert (again.findings.recorded, bench.files.counts()[1]) == ([], 0)
    whole = bench.backup(every_value=True)
    assert (whole.assurance, whole.findings.recorded) == (Assurance.EVERY_VALUE, [])
    assert whole.counts == again.counts


def test_what_is_counted_is_the_same_as_by_reading_all(bench: Bench) -> None:
    bench.edit("d03", "d04", text="a much longer text than all the others have, and by far so")
    bench.backup()
    taken = [bench.backup(), bench.backup(every_value=True)]
    assert [s.assurance for s in taken] == [Assurance.FILES, Assurance.EVERY_VALUE]
    manifests = [bench.process.history.point(s.number).manifest for s in taken]
    assert manifests[0].vectors == manifests[1].vectors
    assert manifests[0].digests == manifests[1].digests
    assert taken[0].fitness.misfits == taken[1].fitness.misfits


def test_a_flipped_bit_in_a_file_is_found(bench: Bench) -> None:
    path = max(bench.data_files(), key=lambda each: each.stat().st_size)
    data = bytearray(path.read_bytes())
    vectors = bench.documents(*(f"d{n:02d}" for n in range(DOCUMENTS)))["embedding"]
    values = vectors.combine_chunks().flatten().to_numpy()
    place = bytes(data).find(values[:8].tobytes())
    assert place > 0
    data[place] ^= 1
    path.write_bytes(data)
    taken = bench.backup()
    assert len(taken.findings.changed) == 1
    assert bench.files.counts()[1] == 1


def test_a_file_that_is_cut_is_an_error_and_not_taken_for_what_it_was(bench: Bench) -> None:
    path = bench.data_files()[0]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DrError):
        bench.backup()


@pytest.mark.parametrize("how", ["lost", "damaged", "of another version"])
def test_without_what_was_remembered_every_value_is_read(
    bench: Bench, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "lost":
        shutil.rmtree(bench.cache)
    elif how == "damaged":
        for path in bench.cache.iterdir():
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
    else:
        monkeypatch.setattr(hashed, "__version__", "another")
    taken = bench.backup()
    assert (taken.assurance, taken.findings.recorded) == (Assurance.EVERY_VALUE, [])
    seen, read = bench.files.counts()
    assert read == seen
    assert bench.backup().assurance is Assurance.FILES


def test_a_machine_that_can_remember_nothing_reads_every_value(bench: Bench) -> None:
    shutil.rmtree(bench.cache)
    bench.cache.write_text("a file, and no directory")
    assert [bench.backup().assurance for _ in range(2)] == [Assurance.EVERY_VALUE] * 2


def test_rows_that_are_back_from_an_older_version_are_read(bench: Bench) -> None:
    """They were deleted when the facts about their file were made."""
    dataset = lance.dataset(str(next((bench.directory / "store").glob("*.lance"))))
    before = dataset.version
    bench.store.write(bench.physical, bench.documents("d00").slice(0, 0), replaces=["d05"])
    shutil.rmtree(bench.cache)
    bench.backup()
    lance.dataset(dataset.uri).checkout_version(before).restore()
    taken = bench.backup()
    assert taken.findings.recorded == ["d05"]


def test_edges_of_records_that_are_gone_are_tried_all_the_same(bench: Bench) -> None:
    def scanned() -> tuple[set[str], set[str]]:
        """Documents that are there, and those of the sample."""
        history = bench.process.history
        manifest = history.latest().manifest
        passing = Passing(live_spec(manifest, bench.store, history), bench.store)
        hashing = Hashing(bench.files, PieceCache(bench.cache))
        scan = hashed_scan(hashing, bench.physical, passing, about=bench.store.engine, whole=False)
        assert scan is not None
        there = {name for rows in scan.digests() for name in rows["document_id"].to_pylist()}
        assert scan.assurance is Assurance.FILES
        return there, set(passing.sample.table()["document_id"].to_pylist())

    there, sample = scanned()
    assert sample < there
    gone = min(sample)
    bench.store.write(bench.physical, bench.documents(gone).slice(0, 0), replaces=[gone])
    assert scanned() == (there - {gone}, sample)


def test_what_is_about_files_that_are_gone_is_removed(bench: Bench) -> None:
    before = {path.name for path in bench.cache.iterdir()}
    lance.dataset(str(next((bench.directory / "store").glob("*.lance")))).optimize.compact_files(
        target_rows_per_fragment=10
    )
    bench.edit(*(f"d{n:02d}" for n in range(DOCUMENTS)))
    bench.backup()
    after = {path.name for path in bench.cache.iterdir()}
    assert len(after) == bench.files.counts()[0]
    assert not before & after or len(before) > len(after)


def test_misfits_of_remembered_records_are_counted_and_named() -> None:
    misfits = Misfits(np.array([1, 2]), (Misfit(record="b", column="text", reason="too long"),))
    digests = pa.table(
        {
            "id": ["a", "b", "c"],
            "document_id": ["a", "b", "c"],
            "content_digest": pa.array([b"x" * 32] * 3, pa.binary(32)),
            "vector_digest": pa.array([b"y" * 32] * 3, pa.binary(32)),
        }
    )
    facts = facts_of(pa.array([0, 4, 9], pa.uint32()), digests, pa.nulls(3, pa.float64()), misfits)
    recalled = misfits_of(facts.slice(1))
    assert (recalled.rows.tolist(), recalled.named) == ([0, 1], misfits.named)
