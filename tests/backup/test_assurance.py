"""A point says what it rests on; an objective counts those that rest on enough, and backups read
every value again once that was long ago."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from dr_pipelines.backup import confirm
from dr_pipelines.backup.plan import plan_backup
from dr_pipelines.backup.resources import Resources
from dr_pipelines.backup.run import Backup, run_backup
from dr_pipelines.backup.unchanged import unchanged_since
from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import Conflict
from dr_pipelines.model.assurance import USUAL_REQUIREMENT, Assurance, Required
from dr_pipelines.model.backup import BackupFacts, BackupRequest
from dr_pipelines.monitoring.exposure import cached_status, protection_status
from dr_pipelines.planning.backup import decide_backup
from dr_pipelines.planning.freshness import Protection, ProtectionStatus, protection
from dr_pipelines.proof.points import equality_problems, newest_proof, snapshot_detail
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import (
    COLLECTION,
    START,
    STORE_NAME,
    ListedSource,
    Process,
    World,
)

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SIGNS = Required(Assurance.SIGNS, DAY)
FILES = Required(Assurance.FILES, DAY)


class Clock:
    """A second later at every look, and further when it is told to."""

    now = START

    def __call__(self) -> datetime:
        self.forward(timedelta(seconds=1))
        return self.now

    def forward(self, by: timedelta) -> None:
        self.now += by


class Telling(MemoryVectorStore):
    """Has a sign of change, and counts scans of everything."""

    sign = "the same"
    scans = 0

    def change_token(self, name: str) -> str | None:
        return f"{name}: {self.sign}"

    def scan(self, name: str, **more: Any) -> Any:
        self.scans += more.get("documents") is None
        return super().scan(name, **more)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def process(clock: Clock) -> Process:
    source = ListedSource()
    source.upsert("a", "first of all", at=START)
    ids = iter(f"{n:032x}" for n in range(100_000))
    store = Telling()
    world = World(source, MemoryBlobStore(), store, MemoryWitness(), lambda: next(ids), clock=clock)
    process = world.process()
    process.ingest()
    return process


def backed_up(process: Process, required: Required = USUAL_REQUIREMENT, **more: Any) -> Backup:
    resources = replace(opened(process), required=required)
    request = BackupRequest(collection=COLLECTION, **more)
    return run_backup(plan_backup(request, resources), resources)


def opened(process: Process) -> Resources:
    return Resources(process.history, process.live, STORE_NAME)


def store_of(process: Process) -> Telling:
    assert isinstance(process.store, Telling)
    return process.store


def stands(process: Process, required: Required) -> ProtectionStatus:
    return protection_status(process.history, feed=None, edited=True, required=required)


def verdict(process: Process, required: Required, clock: Clock) -> Protection:
    return protection(stands(process, required), rpo=HOUR, now=clock.now)


def test_a_scan_reads_every_value_and_says_so(process: Process) -> None:
    taken = backed_up(process).taken
    assert (taken.assurance, taken.whole_at) == (Assurance.EVERY_VALUE, taken.began)
    detail = snapshot_detail(process.history.point(taken.number).entry)
    assert (detail.assurance, detail.whole_at) == (Assurance.EVERY_VALUE, detail.began)


def test_signs_of_change_make_a_point_that_reads_nothing_and_says_so(
    process: Process, clock: Clock
) -> None:
    first = backed_up(process, SIGNS).taken
    scans = store_of(process).scans
    clock.forward(HOUR)
    done = backed_up(process, SIGNS)
    assert store_of(process).scans == scans
    assert done.plan.steps == ("confirm", "prove")
    taken = done.taken
    assert (taken.assurance, taken.whole_at) == (Assurance.SIGNS, first.began)
    assert (taken.equal, taken.counts, taken.rows) == (True, first.counts, 0)
    assert taken.began > first.began
    point = process.history.point(taken.number)
    assert point.manifest == process.history.point(first.number).manifest
    assert equality_problems(point) == []
    assert newest_proof(process.history).number == taken.number


def test_a_point_by_signs_of_change_does_not_meet_an_objective_that_wants_every_value(
    process: Process, clock: Clock
) -> None:
    first = backed_up(process, SIGNS).taken
    clock.forward(2 * HOUR)
    second = backed_up(process, SIGNS).taken
    assert verdict(process, SIGNS, clock) is Protection.WITHIN
    for required in (USUAL_REQUIREMENT, FILES):
        assert verdict(process, required, clock) is Protection.BREACHED
        status = stands(process, required)
        assert (status.proven, status.assurance) == (first.number, Assurance.EVERY_VALUE)
        assert status.uncounted == second.number
    status = stands(process, SIGNS)
    assert (status.proven, status.assurance) == (second.number, Assurance.SIGNS)
    assert status.uncounted is None


def test_a_point_by_signs_counts_no_longer_than_every_value_was_to_be_read(
    process: Process, clock: Clock
) -> None:
    backed_up(process, SIGNS)
    clock.forward(2 * HOUR)
    backed_up(process, SIGNS)
    assert verdict(process, replace(SIGNS, read_every=HOUR), clock) is Protection.BREACHED


def test_the_age_makes_the_next_scan_whole(process: Process, clock: Clock) -> None:
    backed_up(process, SIGNS)
    seen = list[tuple[Assurance, int]]()
    for _ in range(5):
        clock.forward(9 * HOUR)
        seen.append((backed_up(process, SIGNS).taken.assurance, store_of(process).scans))
    signs, whole = Assurance.SIGNS, Assurance.EVERY_VALUE
    assert seen == [(signs, 1), (signs, 1), (whole, 2), (signs, 2), (signs, 2)]


def test_the_age_makes_a_scan_that_would_be_skipped_whole(process: Process, clock: Clock) -> None:
    backed_up(process)
    assert backed_up(process, if_changed=True).snapshot is None
    clock.forward(8 * DAY)
    assert backed_up(process, if_changed=True).taken.assurance is Assurance.EVERY_VALUE


def test_whoever_wants_every_value_gets_it(process: Process) -> None:
    backed_up(process, SIGNS)
    done = backed_up(process, SIGNS, every_value=True)
    assert (done.taken.assurance, store_of(process).scans) == (Assurance.EVERY_VALUE, 2)


def test_a_change_after_the_plan_is_scanned_all_the_same(process: Process) -> None:
    backed_up(process, SIGNS)
    resources = replace(opened(process), required=SIGNS)
    plan = plan_backup(BackupRequest(collection=COLLECTION), resources)
    store_of(process).sign = "another"
    done = run_backup(plan, resources)
    assert (plan.steps[0], done.taken.assurance) == ("confirm", Assurance.EVERY_VALUE)


def test_an_entry_that_comes_in_between_is_not_confirmed(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    backed_up(process, SIGNS)
    source = process.lineage.source
    assert isinstance(source, ListedSource)

    def meanwhile(*args: Any, **named: Any) -> Any:
        seen = unchanged_since(*args, **named)
        source.upsert("b", "another one", at=START + DAY)
        process.ingest()
        return seen

    resources = replace(opened(process), required=SIGNS)
    plan = plan_backup(BackupRequest(collection=COLLECTION), resources)
    monkeypatch.setattr(confirm, "unchanged_since", meanwhile)
    with pytest.raises(Conflict, match="somebody wrote to the log meanwhile"):
        run_backup(plan, resources)


def test_what_was_seen_of_a_collection_is_not_used_for_another_objective(
    process: Process, clock: Clock
) -> None:
    backed_up(process, SIGNS)
    clock.forward(HOUR)
    backed_up(process, SIGNS)
    last, proven = None, list[int]()
    for required in (SIGNS, USUAL_REQUIREMENT, SIGNS):
        last = cached_status(process.history, feed=None, edited=True, last=last, required=required)
        proven.append(last.protection_status.proven)
    assert proven[0] == proven[2] > proven[1]


@pytest.mark.parametrize(
    ("owed", "unchanged", "steps", "assured"),
    [
        (Assurance.EVERY_VALUE, None, "snapshot", Assurance.EVERY_VALUE),
        (Assurance.FILES, None, "snapshot", Assurance.FILES),
        (Assurance.SIGNS, None, "snapshot", Assurance.FILES),
        (Assurance.SIGNS, 7, "confirm", Assurance.SIGNS),
        (Assurance.FILES, 7, "", Assurance.SIGNS),
        (Assurance.EVERY_VALUE, 7, "", Assurance.SIGNS),
    ],
)
def test_a_plan_says_what_a_point_will_rest_on(
    owed: Assurance, unchanged: int | None, steps: str, assured: Assurance
) -> None:
    facts = BackupFacts(
        store="s", physical="p", has_source=True, begun=True, owed=owed, unchanged=unchanged
    )
    plan = decide_backup(BackupRequest(collection="c", prove=False), facts)
    assert (" ".join(plan.steps), plan.assurance) == (steps, assured)


@pytest.mark.parametrize("least", list(Assurance))
def test_an_assurance_meets_itself_and_what_is_less(least: Assurance) -> None:
    meeting = [assurance for assurance in Assurance if assurance.meets(least)]
    assert meeting == list(Assurance)[: list(Assurance).index(least) + 1]


def test_nothing_read_yet_is_read_whole() -> None:
    now = datetime.fromisoformat("2026-01-05T12:00:00+00:00")
    assert SIGNS.owed(None, now=now) is Assurance.EVERY_VALUE
    assert SIGNS.owed(now - DAY, now=now) is Assurance.EVERY_VALUE
    assert SIGNS.owed(now - HOUR, now=now) is Assurance.SIGNS
