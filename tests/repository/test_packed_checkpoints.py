"""Compaction lays small checkpoints of many days into few objects, and every answer stays."""

import itertools
from collections.abc import Mapping
from datetime import timedelta
from functools import partial

import pyarrow as pa
import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import Damaged
from dr_pipelines.ingestion.coverage import counted_chunks, counted_documents
from dr_pipelines.model.recovery import Route
from dr_pipelines.model.recovery_point import CheckpointRef, Partition
from dr_pipelines.proof.verify import verify
from dr_pipelines.repository import packed_checkpoints
from dr_pipelines.repository.checkpoints import read_chunks, read_documents
from dr_pipelines.repository.history import NextEntry
from dr_pipelines.testing.blob_faults import Recording
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import SPEC, START, ListedSource, Process, World
from tests.repository.builders import REFUSED

DAYS = 9


class Feed(ListedSource):
    """A document a day, with a second version of another, and a deletion on the fourth."""

    def add(self, day: int) -> None:
        at = START + timedelta(days=day)
        self.upsert(f"document {day}", f"the text of day {day}", at=at)
        self.upsert("all days", f"{day}", at=at + timedelta(hours=1))
        if day == 4:
            self.delete("document 1", at=at + timedelta(hours=2))


@pytest.fixture
def feed() -> Feed:
    feed = Feed()
    for day in range(DAYS):
        feed.add(day)
    return feed


@pytest.fixture
def process(feed: Feed) -> Process:
    process = world_of(feed).process()
    process.ingest()
    return process


def world_of(feed: Feed) -> World:
    ids = (f"01890000-0000-7000-8000-{number:012d}" for number in itertools.count())
    return World(
        source=feed,
        blobs=Recording(MemoryBlobStore()),
        store=MemoryVectorStore(),
        witness=MemoryWitness(),
        new_id=lambda: next(ids),
    )


def days_of(process: Process) -> Mapping[str, Partition]:
    manifest = process.history.manifest()
    assert manifest is not None
    return dict(process.history.days(manifest))


def checkpoints(process: Process) -> list[CheckpointRef]:
    return [ref for day in days_of(process).values() for ref in (*day.documents, *day.chunks)]


def rows_of_days(process: Process) -> list[pa.Table]:
    """The rows that count of each day, of both stages."""
    repository, tables = process.repository, list[pa.Table]()
    for day in days_of(process).values():
        tables += counted_documents(repository, day)
        chunks = counted_chunks(repository, day.chunks, day.through, spec=SPEC)
        tables += [rows for _, rows in chunks]
    return tables


def test_small_checkpoints_lie_in_two_objects_and_say_the_same(process: Process) -> None:
    before, point = rows_of_days(process), process.point()
    done = process.compact()
    assert done.packed == 2 * DAYS
    assert len({ref.key for ref in checkpoints(process)}) == 2
    assert rows_of_days(process) == before
    assert done.after.objects <= done.before.objects - 2 * DAYS
    assert done.after.size_bytes < done.before.size_bytes / 3
    assert process.folded(f"log:{point.number}") == process.folded()
    assert process.verify(level=3).findings == ()


def test_a_second_compaction_has_nothing_to_pack_until_days_are_new(
    feed: Feed, process: Process
) -> None:
    process.compact()
    again = process.compact()
    assert (again.number, again.packed) == (None, 0)
    assert again.before == again.after
    for day in (DAYS, DAYS + 1):
        feed.add(day)
    process.ingest()
    assert process.compact().packed == 4


def test_objects_of_packed_checkpoints_are_short(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = max(ref.size_bytes for ref in checkpoints(process))
    monkeypatch.setattr(packed_checkpoints, "PACKED_BYTES", 3 * size)
    before = rows_of_days(process)
    process.compact()
    assert len({ref.key for ref in checkpoints(process)}) > 4
    assert rows_of_days(process) == before


def test_long_checkpoints_stay_where_they_are(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checkpoints(process)
    monkeypatch.setattr(packed_checkpoints, "SMALL_BYTES", 0)
    assert process.compact().packed == 0
    assert checkpoints(process) == before


def test_packed_days_are_replayed(feed: Feed, process: Process) -> None:
    process.compact()
    state = process.folded()
    first, last = feed.history[0].day, feed.history[-1].day
    assert process.replay(first, last).days != ()
    assert process.folded() == state
    assert process.verify(level=3).findings == ()
    process.restore(route=Route.REPLAY)


def test_a_packed_day_grows(feed: Feed, process: Process) -> None:
    process.compact()
    feed.upsert("late", "one more of the last day", at=START + timedelta(days=DAYS - 1, hours=3))
    assert process.ingest().records == 3  # pieces of eight characters
    (*_, newest) = days_of(process).values()
    assert [ref.first is None for ref in newest.documents] == [False, True]
    assert "late" in process.folded()
    assert process.verify(level=3).findings == ()
    process.compact()
    assert process.verify(level=3).findings == ()


def test_a_restore_to_the_middle_of_a_packed_day_goes_on_from_there(
    feed: Feed, process: Process
) -> None:
    process.compact()
    middle = next(c.position for c in feed.history if c.document_id == "document 4")
    process.restore(f"seq:{middle}", switch=True)
    assert process.ingest().records > 0
    newest = {c.document_id: c for c in feed.history}
    assert set(process.folded()) == {name for name, c in newest.items() if c.text}
    assert process.verify(level=3).findings == ()


@pytest.mark.parametrize("stage", ["documents", "chunks"])
@pytest.mark.parametrize("first", [1, 2, 1 << 40])
def test_a_reference_to_rows_of_another_day_is_damage(
    process: Process, stage: str, first: int
) -> None:
    process.compact()
    ref = getattr(next(iter(days_of(process).values())), stage)[0]
    moved = ref.model_copy(update={"first": ref.first + first * ref.rows})
    read = read_documents if stage == "documents" else partial(read_chunks, spec=SPEC)
    with pytest.raises(Damaged, match="are not those of"):
        read(process.repository, moved)


def test_verification_looks_at_the_rows_of_each_packed_checkpoint_in_one_reading(
    process: Process,
) -> None:
    process.compact()
    tip = process.history.tip()
    manifest = tip.existing()
    days = days_of(process)
    (last, partition) = list(days.items())[-1]
    (ref,) = partition.documents
    wrong = ref.model_copy(update={"first": 0})
    days = {**days, last: partition.model_copy(update={"documents": (wrong,)})}
    coverage = manifest.coverage.model_copy(update={"tail": days, "pages": ()}).summed(days)
    entry = NextEntry(detail=REFUSED, manifest=manifest.model_copy(update={"coverage": coverage}))
    process.history.append("evidence", lambda _: entry)
    blobs = process.repository.blobs
    assert isinstance(blobs, Recording)
    blobs.calls.clear()
    findings = verify(process.history, level=3).findings
    assert {finding.key for finding in findings} == {ref.key}
    reads = [call.key for call in blobs.calls if call.name == "read"]
    assert reads.count(ref.key) == 1
