"""A backup's plan is a value, decided from facts alone, and one sequence carries it out."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dr_pipelines.backup.plan import gather, plan_backup
from dr_pipelines.backup.resources import Resources
from dr_pipelines.backup.run import CHECKS, back_up, run_backup
from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import InvalidRequest
from dr_pipelines.ingestion.binding import bind
from dr_pipelines.ingestion.commit import append_days, prepare_day
from dr_pipelines.ingestion.days import Reading, plan_days
from dr_pipelines.model.backup import BackupFacts, BackupPlan, BackupRequest
from dr_pipelines.model.details import ProofEvidence
from dr_pipelines.model.recovery_point import Timeline
from dr_pipelines.model.unread import Quarantined, Unread
from dr_pipelines.planning.backup import decide_backup
from dr_pipelines.proof import restorable
from dr_pipelines.proof.points import newest_proof
from dr_pipelines.repository.history import History
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import COLLECTION, START, STORE_NAME, ListedSource, Process, World

UNREAD = Unread(1, (Quarantined("line 7", "invalid JSON", 6, "ab" * 32, START),))


class Quiet(MemoryVectorStore):
    """Tells without a scan that nothing changed."""

    def change_token(self, name: str) -> str | None:
        return f"{name}: the same"


@pytest.fixture
def process() -> Process:
    source = ListedSource()
    source.upsert("a", "first of all", at=START)
    ids = iter(f"{n:032x}" for n in range(100_000))
    store = Quiet()
    world = World(source, MemoryBlobStore(), store, MemoryWitness(), lambda: next(ids))
    process = world.process()
    process.ingest()
    return process


def resources(process: Process) -> Resources:
    return Resources(process.history, process.live, STORE_NAME)


def logged_only(process: Process, document: str) -> None:
    """A day of the source that the store has not followed yet."""
    source, when = process.lineage.source, START + timedelta(days=1)
    assert isinstance(source, ListedSource)
    source.upsert(document, "said meanwhile", at=when)
    bound = bind(process.lineage, history=process.history, live=process.live)
    reading, days = Reading.of(process.history, process.history.manifest()), source.partitions()
    names = [when.date().isoformat()]
    (day,) = plan_days(process.lineage, reading, names, source=days)
    commit = prepare_day(process.lineage, day, history=process.history)
    append_days(process.lineage, [commit], history=process.history, bound=bound)


def facts(**more: Any) -> BackupFacts:
    return BackupFacts(store="s", physical="p", has_source=True, begun=True, **more)


@pytest.mark.parametrize(
    ("request_", "unchanged", "steps"),
    [
        ({}, None, ("snapshot", "prove")),
        ({"prove": False}, None, ("snapshot",)),
        ({"files": True}, None, ("snapshot", "prove", "files")),
        ({"if_changed": True}, 7, ()),
        ({"if_changed": True, "files": True}, 7, ("files",)),
        ({"if_changed": True, "accept_losses": ("records",)}, 7, ("snapshot", "prove")),
    ],
)
def test_the_steps_follow_from_what_is_asked_and_known(
    request_: dict[str, Any], unchanged: int | None, steps: tuple[str, ...]
) -> None:
    request = BackupRequest(collection="c", **request_)
    plan = decide_backup(request, facts(unchanged=unchanged, unfit=("records",)))
    assert plan.steps == steps
    assert (plan.unchanged is None) == ("snapshot" in steps)
    assert plan.unfit == (() if plan.unchanged is None else ("records",))


def test_a_log_begins_with_what_the_store_serves_where_the_store_is_the_authority() -> None:
    request, first = BackupRequest(collection="c"), facts().model_copy
    begins = decide_backup(request, first(update={"has_source": False, "begun": False}))
    assert begins.adopt == Timeline(id=1, physical="p", store="s")
    assert decide_backup(request, first(update={"has_source": False})).adopt is None
    assert decide_backup(request, first(update={"begun": False})).adopt is None


def test_equal_facts_give_equal_bytes(process: Process) -> None:
    request = BackupRequest(collection=COLLECTION, if_changed=True)
    gathered = gather(request, resources(process), unread=UNREAD)
    saved = BackupFacts.model_validate_json(gathered.model_dump_json())
    assert saved == gathered
    plan = decide_backup(request, saved)
    assert plan.model_dump_json() == decide_backup(request, gathered).model_dump_json()
    assert BackupPlan.model_validate_json(plan.model_dump_json()) == plan


def test_a_backup_is_proven_and_the_next_one_finds_nothing_changed(process: Process) -> None:
    done = back_up(BackupRequest(collection=COLLECTION), resources(process))
    assert done.taken.equal
    assert done.proof is not None
    assert newest_proof(process.history).number == done.taken.number
    again = BackupRequest(collection=COLLECTION, if_changed=True)
    plan = plan_backup(again, resources(process))
    assert (plan.unchanged, plan.steps) == (done.taken.number, ())
    head = process.history.head().number
    assert run_backup(plan, resources(process)).snapshot is None
    assert process.history.head().number == head


def test_the_proof_is_of_the_snapshot_that_was_read_not_of_a_newer_one(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process takes a snapshot while this one proves its own."""
    from dr_pipelines.backup import run

    checked = list[int]()

    def overtaken(history: Any, point: Any, *, proven: int) -> Any:
        checked.append(point.number)
        verification = restorable.check_restorable(history, point, proven=proven)
        process.backup()
        return verification

    monkeypatch.setattr(run, "check_restorable", overtaken)
    done = back_up(BackupRequest(collection=COLLECTION), resources(process))
    entry = process.history.head().entry
    assert entry is not None
    assert isinstance(entry.body.detail, ProofEvidence)
    assert [entry.body.detail.number] == checked == [done.taken.number]
    assert entry.body.detail.checks == CHECKS


def test_a_snapshot_that_another_process_takes_before_the_proof_is_not_proven(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one is not equal: an entry was logged, and is not applied yet."""
    from dr_pipelines.backup import snapshot

    usual, taken = snapshot.backup, list[int]()

    def overtaken(*args: Any, **keywords: Any) -> Any:
        ours = usual(*args, **keywords)
        logged_only(process, "b")
        other = snapshot.take_snapshot(process.history, store=process.store)
        assert not other.equal
        taken.append(other.number)
        return ours

    monkeypatch.setattr(snapshot, "backup", overtaken)
    done = back_up(BackupRequest(collection=COLLECTION), resources(process))
    assert done.proof is not None
    assert done.proof.sound
    assert newest_proof(process.history).number == done.taken.number < taken[0]


@pytest.mark.parametrize("other", ["store", "collection"])
def test_a_plan_is_not_carried_out_on_another_store_or_log(process: Process, other: str) -> None:
    plan = plan_backup(BackupRequest(collection=COLLECTION), resources(process))
    with_others = {
        "store": replace(resources(process), store_name="another"),
        "collection": replace(resources(process), history=History(process.repository, "another")),
    }
    with pytest.raises(InvalidRequest, match=f"the plan is for {COLLECTION} in store"):
        run_backup(plan, with_others[other])
    assert newest_proof(process.history).number == 0


def test_what_is_not_equal_is_neither_proven_nor_kept(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dr_pipelines.backup import snapshot

    usual = snapshot.backup
    monkeypatch.setattr(snapshot, "backup", lambda *a, **k: replace(usual(*a, **k), equal=False))
    request = BackupRequest(collection=COLLECTION, files=True)
    done = back_up(request, resources(process))
    assert (done.proof, done.files, done.unkept) == (None, None, True)
    assert newest_proof(process.history).number == 0
