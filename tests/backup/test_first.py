"""A first backup: one pass over the store, on several threads, whose sums are those of a fold."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.backup import first
from dr_pipelines.backup.result import Snapshot, Terms
from dr_pipelines.backup.snapshot import backup
from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import Damaged, NotFound, Unavailable
from dr_pipelines.live.live import Live
from dr_pipelines.model.collection import CollectionSpec, Field, FieldType, Vector
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery_point import Timeline
from dr_pipelines.protocols import BlobStore, VectorStore
from dr_pipelines.repository.history import History
from dr_pipelines.testing.blob_faults import Recording
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.store_faults import RecordingStore
from dr_pipelines.testing.world import OneAtATime
from tests.repository import builders

DOCUMENTS, SEGMENT_ROWS, BATCH_ROWS = 48, 16, 4
SEGMENTS = 7
"""Two records a document, in batches: each but the last ends before a document that goes on."""


def spec(**roles: str) -> CollectionSpec:
    fields = tuple(Field(name=name, type=FieldType.STRING, role=r) for name, r in roles.items())
    return CollectionSpec(
        name="items@1", vectors=(Vector(dimension=2),), fields=fields, keyword_index=False
    )


class Closing(MemoryVectorStore):
    """Gives a few records at a time, and notes when a scan was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = list[str]()

    def scan(self, name: str, **more: Any) -> Iterator[pa.RecordBatch]:
        try:
            yield from super().scan(name, **{**more, "batch_rows": BATCH_ROWS})
        finally:
            self.closed.append(name)


def filled(of: CollectionSpec, documents: int = DOCUMENTS) -> Closing:
    store, count = Closing(), 2 * documents
    store.create(of)
    names = [f"d{number // 2:03d}" for number in range(count)]
    columns = {
        "id": pa.array([f"{name}#{n % 2}" for n, name in enumerate(names)]),
        "document_id": pa.array(names),
        "chunk_index": pa.array([n % 2 for n in range(count)], pa.int32()),
        "text": pa.array([f"text {n}" if n % 5 else None for n in range(count)]),
        "team": pa.array([("red", "blue", None)[n % 3] for n in range(count)]),
        "embedding": pa.FixedSizeListArray.from_arrays(
            pa.array(np.arange(2 * count, dtype=np.float32)), 2
        ),
    }
    schema = store_schema(of)
    arrays = [columns.get(field.name, pa.nulls(count, field.type)) for field in schema]
    store.write(of.name, pa.table(arrays, schema=schema))
    return store


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first, "BASE_ROWS", SEGMENT_ROWS)


def taken(history: History, store: VectorStore) -> Snapshot:
    timeline = Timeline(id=1, physical="items@1", store="here")
    terms = Terms(adopt=timeline)
    return backup(history, live=Live(store, OneAtATime(), "items"), terms=terms)


def history_in(blobs: BlobStore) -> History:
    return History(builders.repository(blobs), "items")


@pytest.mark.parametrize("role", ["tenant", None])
def test_its_sums_are_those_of_a_fold(role: str | None) -> None:
    of = spec(team=role) if role else spec()
    history = history_in(MemoryBlobStore())
    assert taken(history, filled(of)).equal
    manifest = history.latest().manifest
    assert len(history.segments(manifest)) == SEGMENTS
    with history.fold(manifest) as state:
        assert (manifest.counts, manifest.digests) == (state.counts(), state.digests())
    assert manifest.counts.tenants == ({"": 32, "blue": 32, "red": 32} if role else {})
    assert (manifest.counts.documents, manifest.counts.records) == (DOCUMENTS, 2 * DOCUMENTS)


def test_it_reads_nothing_of_what_it_wrote() -> None:
    blobs = Recording(MemoryBlobStore())
    taken(history_in(blobs), filled(spec(team="tenant")))
    assert [
        call.key for call in blobs.calls if call.name == "read" and ".parquet" in call.key
    ] == []


@pytest.mark.parametrize("role", ["tenant", None])
def test_sums_of_later_ones_are_those_of_a_fold_that_is_made_once(
    role: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = spec(team=role) if role else spec()
    history, store = history_in(MemoryBlobStore()), filled(of)
    taken(history, store)
    changed = pa.Table.from_batches(store.scan("items@1", documents=["d003", "d040"]))
    texts = pa.array([f"edited {n}" for n in range(changed.num_rows)])
    changed = changed.set_column(changed.schema.get_field_index("text"), "text", texts)
    store.write("items@1", changed)
    store.write("items@1", changed.slice(0, 0), replaces=["d007", "d020"])
    new = filled(of, DOCUMENTS + 3).scan("items@1", documents=[f"d{DOCUMENTS + 1:03d}"])
    store.write("items@1", pa.Table.from_batches(new))

    with monkeypatch.context() as patch:
        patch.setattr("dr_pipelines.repository.accounting.fold", None)  # no other
        findings = taken(history, store).findings
    kinds = (findings.changed, findings.absent, findings.added)
    assert kinds == (("d003", "d040"), ("d007", "d020"), ("d049",))
    manifest = history.latest().manifest
    with history.fold(manifest) as state:
        assert (manifest.counts, manifest.digests) == (state.counts(), state.digests())
    assert (manifest.counts.documents, manifest.counts.deleted) == (DOCUMENTS - 1, 2)


def test_segments_come_in_order_whichever_is_written_first() -> None:
    started, both = list[str](), threading.Barrier(2, timeout=30)

    def hook(call: str, key: str, moment: str, n: int) -> None:
        if call == "create" and moment == "before" and key.endswith("vectors.arrow"):
            started.append(key)
            if len(started) <= SEGMENTS // 2 * 2:
                both.wait()  # two are written at a time

    history = history_in(Recording(MemoryBlobStore(), hook=hook))
    taken(history, filled(spec()))
    refs = list(history.segments(history.latest().manifest))
    documents = [name for ref in refs for name in (ref.first_document, ref.last_document)]
    assert documents == sorted(documents)
    assert len(started) == SEGMENTS


def test_few_segments_are_in_memory_at_a_time() -> None:
    read, written, most = [0], [0], [0]

    def reading(call: str, name: str, moment: str, n: int) -> None:
        if call == "batch" and moment == "after":
            read[0] += 1
            most[0] = max(most[0], read[0] * BATCH_ROWS - written[0] * SEGMENT_ROWS)

    def writing(call: str, key: str, moment: str, n: int) -> None:
        if call == "create" and moment == "after" and key.endswith("vectors.arrow"):
            written[0] += 1

    history = history_in(Recording(MemoryBlobStore(), hook=writing))
    taken(history, RecordingStore(filled(spec(), 400), reading))
    assert written[0] > 30
    assert most[0] <= 5 * SEGMENT_ROWS


Hook = Callable[[str, str, str, int], None]


def failing(call: str, number: int, ending: str = "") -> Hook:
    """Fails one of the calls of a name, by its number."""
    seen = [0]

    def hook(name: str, key: str, moment: str, n: int) -> None:
        if name == call and moment == "before" and key.endswith(ending):
            seen[0] += 1
            if seen[0] == number:
                raise Unavailable("out of order")

    return hook


@pytest.mark.parametrize("number", [1, 2, SEGMENTS])
@pytest.mark.parametrize("ending", ["vectors.arrow", ".parquet"])
def test_a_writer_that_fails_leaves_no_entry_and_no_thread(number: int, ending: str) -> None:
    before, store = set(threading.enumerate()), filled(spec())
    history = history_in(Recording(MemoryBlobStore(), hook=failing("create", number, ending)))
    with pytest.raises(Unavailable, match="out of order"):
        taken(history, store)
    require_nothing_left(history, before)
    assert store.closed == ["items@1"]
    assert taken(history, filled(spec())).equal


@pytest.mark.parametrize("number", [1, 2, 9, 24])
def test_a_scan_that_fails_leaves_no_entry_and_no_thread(number: int) -> None:
    before = set(threading.enumerate())
    history = history_in(MemoryBlobStore())
    with pytest.raises(Unavailable, match="out of order"):
        taken(history, RecordingStore(filled(spec()), failing("batch", number)))
    require_nothing_left(history, before)
    assert taken(history, filled(spec())).equal


def require_nothing_left(history: History, before: set[threading.Thread]) -> None:
    with pytest.raises(NotFound):
        history.latest()
    assert set(threading.enumerate()) == before


def test_a_scan_of_a_known_collection_that_cannot_be_digested_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history, store = history_in(MemoryBlobStore()), filled(spec())
    taken(history, store)
    store.closed.clear()
    before = set(threading.enumerate())

    def broken(*_: object) -> pa.Array:
        raise Damaged("no such vectors")

    monkeypatch.setattr("dr_pipelines.repository.digest.vector_digests", broken)
    with pytest.raises(Damaged, match="no such vectors"):
        taken(history, store)
    assert store.closed == ["items@1"]
    assert set(threading.enumerate()) == before


def test_a_scan_of_a_known_collection_that_cannot_be_compared_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history, store = history_in(MemoryBlobStore()), filled(spec(), 400)
    taken(history, store)
    store.closed.clear()
    before = set(threading.enumerate())

    def broken(*_: object) -> None:
        raise Unavailable("no room")

    monkeypatch.setattr("dr_pipelines.repository.observation.insert", broken)
    with pytest.raises(Unavailable, match="no room"):
        taken(history, store)
    assert store.closed == ["items@1"]
    assert set(threading.enumerate()) == before
