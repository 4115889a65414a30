"""The recording layer says what happens, and lets a test happen in between."""

import pytest

from dr_pipelines.protocols import VectorStore
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.store_contract import VectorStoreContract
from dr_pipelines.testing.store_faults import CallName, Moment, RecordingStore
from dr_pipelines.testing.store_samples import (
    CONFIGURED,
    SPEC,
    contents,
    document,
    record,
    table,
)


class TestRecording(VectorStoreContract):
    engine = "memory"
    tuned = (CONFIGURED,)

    @pytest.fixture
    def store(self) -> VectorStore:
        return RecordingStore(MemoryVectorStore(), lambda *_: None)


def test_every_call_and_every_batch_is_announced() -> None:
    seen: list[tuple[CallName, str, Moment, int]] = []
    store = RecordingStore(MemoryVectorStore(), lambda *call: seen.append(call))
    store.create(SPEC)
    store.write(SPEC.name, table(*document("a", chunks=3)))
    assert len(list(store.scan(SPEC.name, batch_rows=2))) == 2
    name = SPEC.name
    assert seen == [
        ("create", name, "before", 1),
        ("create", name, "after", 1),
        ("write", name, "before", 2),
        ("write", name, "after", 2),
        ("scan", name, "before", 3),
        ("scan", name, "after", 3),
        ("batch", name, "before", 4),
        ("batch", name, "after", 4),
        ("batch", name, "before", 5),
        ("batch", name, "after", 5),
        ("batch", name, "before", 6),
    ]


def test_a_hook_can_write_between_two_batches() -> None:
    inner = MemoryVectorStore()

    def hook(call: CallName, name: str, moment: Moment, number: int) -> None:
        if (call, moment) == ("batch", "after"):
            inner.write(name, table(record(f"new{number}")))

    store = RecordingStore(inner, hook)
    store.create(SPEC)
    store.write(SPEC.name, table(*document("a", chunks=4)))
    scanned = contents(store, batch_rows=2)
    assert [row["document_id"] for row in scanned] == ["a"] * 4
    assert inner.status(SPEC.name).records == 6


def test_what_a_hook_raises_fails_the_call() -> None:
    def hook(call: CallName, name: str, moment: Moment, number: int) -> None:
        if (call, moment) == ("write", "after"):
            raise ConnectionError(name)

    store = RecordingStore(MemoryVectorStore(), hook)
    store.create(SPEC)
    with pytest.raises(ConnectionError):
        store.write(SPEC.name, table(record()))
    assert store.status(SPEC.name).records == 1
