"""An engine's own files are kept beside the segments, incrementally, and come back with their
indexes; what was altered is never served."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dr_pipelines.backup.native import Kept, keep_native
from dr_pipelines.blobs.local import LocalBlobStore
from dr_pipelines.errors import Damaged, Refused
from dr_pipelines.model.collection import CollectionSpec, VectorIndex
from dr_pipelines.model.components import StorePolicy
from dr_pipelines.model.misfit import Misfits
from dr_pipelines.model.query import Query
from dr_pipelines.model.recovery import Recovery, Route
from dr_pipelines.project import adapters
from dr_pipelines.protocols import NativeFiles, VectorStore
from dr_pipelines.repository.history import History
from dr_pipelines.stores.shared.misfits import (
    Batch,
    Problem,
    misfits_of,
    problem,
)
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import (
    START,
    ListedSource,
    Process,
    World,
    contents,
)

INDEX = VectorIndex(kind="ivf_flat", parameters={"lists": 2})


@pytest.fixture
def process(tmp_path: Path) -> Process:
    source = ListedSource()
    for number in range(300):
        source.upsert(f"d{number:03d}", f"some words {number}", at=START)
    ids = iter(f"{n:032x}" for n in range(100_000))
    store = adapters.open_store(StorePolicy(url="lance:store"), adapters.PolicyContext(tmp_path))
    blobs = LocalBlobStore(tmp_path / "repository")
    process = World(source, blobs, store, MemoryWitness(), lambda: next(ids)).process()
    vectors = (process.lineage.spec.vectors[0].model_copy(update={"index": INDEX}),)
    spec = process.lineage.spec.model_copy(update={"vectors": vectors})
    process = replace(process, lineage=replace(process.lineage, spec=spec))
    process.ingest()
    process.store.build_index(process.store.aliases()["notes"])
    process.backup()
    return process


def files_of(store: VectorStore) -> NativeFiles:
    files = adapters.open_native(store)
    assert files is not None
    return files


def keep(process: Process) -> Kept:
    return keep_native(
        History(process.repository, "notes"),
        store=process.store,
        native=files_of(process.store),
    )


def brought_back(process: Process, at: str = "latest") -> Recovery:
    files = files_of(process.store)
    return process.restore(at, route=Route.NATIVE, switch=True, native=files)


def test_a_collection_comes_back_as_its_files_with_its_indexes(process: Process) -> None:
    files = keep(process)
    assert (files.new_files, files.new_bytes) == (files.files, files.size_bytes)
    assert files.files > 2
    query = Query(vector=process.lineage.embedder.embed(["some words 7"])[0], exact=False)
    before, served = process.store.search("notes", query, limit=5), contents(process.store, "notes")
    done = brought_back(process)
    phases = [phase.name for phase in done.phases]
    assert phases[:5] == ["access", "fold", "files", "index", "prove"]
    assert (done.bit_identical, done.missing) == (True, ())
    assert process.store.aliases()["notes"] == done.plan.physical
    assert process.store.search("notes", query, limit=5) == before
    assert contents(process.store, "notes") == served
    assert process.verify(level=2).sound


def test_only_new_files_are_kept_again(process: Process) -> None:
    first, again = keep(process), keep(process)
    assert (again.new_files, again.files) == (1, first.files)  # the manifest, named by a number
    assert again.new_bytes < 2**14
    source = process.lineage.source
    assert isinstance(source, ListedSource)
    source.upsert("d007", "other words", at=START)
    process.ingest()
    process.backup()
    later = keep(process)
    assert 0 < later.new_bytes < later.size_bytes
    assert brought_back(process).bit_identical
    assert process.verify(level=2).sound


def test_files_that_no_snapshot_has_proven_are_not_kept(process: Process) -> None:
    source = process.lineage.source
    assert isinstance(source, ListedSource)
    source.upsert("new", "words", at=START)
    process.ingest()
    with pytest.raises(Refused, match="dr backup notes"):
        keep(process)


def test_without_files_of_that_state_the_route_is_refused(process: Process) -> None:
    with pytest.raises(Refused, match="--route load"):
        brought_back(process)
    keep(process)
    source = process.lineage.source
    assert isinstance(source, ListedSource)
    source.delete("d003", at=START)
    process.ingest()
    with pytest.raises(Refused, match="--route load"):
        brought_back(process)


def test_an_altered_file_is_found_and_not_served(process: Process, tmp_path: Path) -> None:
    keep(process)
    objects = sorted((tmp_path / "repository" / "notes" / "native").rglob("*"))
    largest = max((p for p in objects if p.is_file()), key=lambda p: p.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.chmod(0o600)
    largest.write_bytes(bytes(data))
    served = process.store.aliases()
    assert [f.key for f in process.verify(level=2).findings] == [
        largest.relative_to(tmp_path / "repository").as_posix()
    ]
    with pytest.raises(Damaged, match="altered"):
        brought_back(process)
    assert process.store.aliases() == served


def test_files_of_another_collection_are_not_taken_for_ones_of_the_same_name(
    process: Process,
) -> None:
    for _ in range(2):
        keep(process)
        done = brought_back(process)
        assert done.bit_identical
        process.backup()
    assert keep(process).files > 2
    assert brought_back(process).bit_identical
    assert process.verify(level=2).sound


def test_files_without_what_a_restore_left_out_come_back_without_it(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the log all the same, and no deletion."""
    refused = pa.array([f"d00{n}" for n in range(3)])

    def problems(batch: Batch) -> Problem:
        return problem("text", pc.is_in(batch["document_id"], value_set=refused), "not taken here")

    def misfits(spec: CollectionSpec, batch: Batch) -> Misfits:
        return misfits_of(batch, [problems(batch)])

    monkeypatch.setattr(process.store, "misfits", misfits)
    point = process.point("latest")
    left = process.restore(switch=True).left_out
    assert left > 2
    assert process.backup().omitted == left
    assert len(contents(process.store, "notes")) == 297
    keep(process)
    done = brought_back(process)
    assert (done.left_out, len(done.refused), done.records) == (
        left,
        left,
        point.manifest.counts.records,
    )
    after = process.backup()
    assert (after.equal, after.omitted, after.findings.recorded) == (True, left, [])
    assert after.counts.records == point.manifest.counts.records
