"""A record that an engine refuses stops neither the days that follow nor the backups."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import NotFound
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.misfit import Misfits
from dr_pipelines.repository.log import Log
from dr_pipelines.stores.shared.batches import checked_batch
from dr_pipelines.stores.shared.misfits import (
    Batch,
    Problem,
    misfits_of,
    problem,
    value_problems,
)
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import (
    START,
    ListedSource,
    Process,
    World,
    contents,
    table_of,
)


def limits(batch: Batch, spec: CollectionSpec) -> Iterator[Problem]:
    """No record whose text has an exclamation mark is taken."""
    yield from value_problems(batch, spec)
    yield problem("text", pc.match_substring(batch.column("text"), "!"), "its text has a !")


class Quiet(MemoryVectorStore):
    def misfits(self, spec: CollectionSpec, batch: pa.Table | pa.RecordBatch) -> Misfits:
        return misfits_of(batch, limits(batch, spec))

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        checked_batch(batch, self.describe(name), check=limits)
        super().write(name, batch, replaces=replaces)


def world() -> Process:
    ids = iter(f"{n:032x}" for n in range(10_000))
    return World(
        ListedSource(), MemoryBlobStore(), Quiet(), MemoryWitness(), lambda: next(ids)
    ).process()


def wrote(process: Process, document: str, text: str) -> None:
    source = process.lineage.source
    assert isinstance(source, ListedSource)
    source.upsert(document, text, at=START)


def started() -> Process:
    process = world()
    wrote(process, "a", "one two three four")
    wrote(process, "b", "one two! three four")
    return process


def shown(process: Process) -> set[str]:
    return {str(row[0]) for rows in contents(process.store, "notes").values() for row in rows}


def logged(process: Process) -> set[str]:
    return {str(row[0]) for rows in process.folded().values() for row in rows}


ALL = {f"{document}#00000{n}" for document in "ab" for n in range(3)}
ODD = "b#000000"


def test_it_is_left_out_named_and_in_the_log() -> None:
    process = started()
    applied = process.ingest().applied
    assert (applied.left_out, [m.record for m in applied.refused]) == (1, [ODD])
    assert (shown(process), logged(process)) == (ALL - {ODD}, ALL)
    assert process.repository.log("notes").head().entry.body.pending == ()  # type: ignore[union-attr]


def test_backups_go_on_and_say_it() -> None:
    process = started()
    process.ingest()
    for _ in range(2):
        taken = process.backup()
        assert (taken.equal, taken.omitted, taken.findings.recorded) == (True, 1, [])
        assert [loss.part for loss in taken.unaccepted] == ["records"]
    assert logged(process) == ALL
    assert process.verify(level=3).sound


def test_later_days_go_on_and_a_version_that_is_taken_comes() -> None:
    process = started()
    process.ingest()
    wrote(process, "c", "five")
    assert process.ingest().applied.left_out == 0
    wrote(process, "b", "one two! three and more")
    assert process.ingest().applied.left_out == 0  # it is the same record as before
    assert process.backup().omitted == 1
    wrote(process, "b", "one two. three four")
    process.ingest()
    taken = process.backup()
    assert (taken.equal, taken.omitted, taken.unaccepted) == (True, 0, ())
    assert process.point().manifest.left_out is None
    assert shown(process) == logged(process) >= ALL


def test_a_version_that_is_refused_too_is_left_out_again() -> None:
    process = started()
    process.ingest()
    process.backup()
    wrote(process, "b", "one! two three four")
    assert process.ingest().applied.left_out == 1
    left = process.point().manifest.left_out
    assert left is not None
    assert (left.total, [m.record for m in left.named]) == (1, [ODD])
    assert process.backup().omitted == 1
    assert logged(process) == ALL


def test_a_kill_before_it_is_marked_repeats_it() -> None:
    process = started()

    class Killed(BaseException):
        pass

    log = process.repository.log("notes")
    append, kinds = type(log).append, list[str]()

    def appends(self: Log, kind: str, build: Any) -> Any:
        kinds.append(kind)
        if kind == "applied" and kinds.count("applied") == 1:
            raise Killed
        return append(self, kind, build)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(log), "append", appends)
        with pytest.raises(Killed):
            process.ingest()
        assert process.ingest().applied.left_out == 1
    assert process.backup().omitted == 1
    assert logged(process) == ALL


def test_a_snapshot_of_another_host_meanwhile_does_not_forget_it() -> None:
    """Its scan began before there was anything to leave out."""
    process = world()
    wrote(process, "a", "one two three four")
    process.ingest()
    process.backup()
    store, once = process.store, [True]
    assert isinstance(store, Quiet)
    scan = store.scan

    def scans(name: str, **more: Any) -> Iterator[pa.RecordBatch]:
        if once and "documents" not in more:
            once.clear()
            wrote(process, "b", "one two! three four")
            assert process.ingest().applied.left_out == 1
        return scan(name, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "scan", scans)
        process.backup()
    assert not once
    taken = process.backup()
    assert (taken.omitted, taken.findings.recorded) == (1, [])
    assert logged(process) == ALL


def test_a_replay_says_it_too() -> None:
    process = started()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Quiet, "misfits", MemoryVectorStore.misfits)
        patch.setattr(Quiet, "write", MemoryVectorStore.write)
        process.ingest()
        name = process.store.aliases()["notes"]
        process.store.write(name, table_of(()), replaces=["b"])
    done = process.replay(START.date(), START.date()).applied
    assert (done.left_out, [m.record for m in done.refused]) == (1, [ODD])
    assert shown(process) == ALL - {ODD}


def test_a_collection_that_vanishes_has_refused_nothing() -> None:
    process = started()
    store = process.store
    assert isinstance(store, Quiet)

    def gone(name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        raise NotFound(f"{name!r} is not there any more")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "write", gone)
        done = process.ingest()
    assert (done.unapplied is None, done.applied.left_out) == (False, 0)
    assert process.ingest().applied.left_out == 1
