"""The fault layers do what they say, once each."""

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import (
    Conflict,
    NotFound,
    OutcomeUnknown,
    Unavailable,
)
from dr_pipelines.protocols import BlobStore
from dr_pipelines.testing.blob_faults import (
    Call,
    Lost,
    LostAnswers,
    Recording,
    flip_bit,
    remove,
    swap,
    truncate,
)


@pytest.fixture
def blobs() -> MemoryBlobStore:
    return MemoryBlobStore()


def state(blobs: BlobStore) -> dict[str, bytes]:
    return {key: blobs.read(key) for key in blobs.keys("")}


def test_every_call_is_recorded_with_its_number_before_and_after(blobs: MemoryBlobStore) -> None:
    seen: list[tuple[str, str, str, int]] = []
    recording = Recording(blobs, hook=lambda *call: seen.append(call))
    recording.create("a", b"12")
    recording.read("a", (0, 1))
    recording.size("a")
    assert list(recording.keys("")) == ["a"]
    recording.delete("a")
    with pytest.raises(NotFound):
        recording.read("a")
    names = [("create", "a"), ("read", "a"), ("size", "a"), ("keys", ""), ("delete", "a")]
    assert recording.calls == [Call(name, key) for name, key in [*names, ("read", "a")]]  # type: ignore[arg-type]
    assert seen == [
        (name, key, moment, n)
        for n, (name, key) in enumerate(names, start=1)
        for moment in ("before", "after")
    ] + [("read", "a", "before", 6)]
    assert (recording.count(), recording.count("read"), recording.count("create")) == (6, 2, 1)


@pytest.mark.parametrize(("moment", "left"), [("before", {}), ("after", {"a": b"1"})])
def test_a_hook_fails_a_call_before_or_after_it_is_done(
    blobs: MemoryBlobStore, moment: str, left: dict[str, bytes]
) -> None:
    def hook(name: str, key: str, when: str, n: int) -> None:
        if when == moment:
            raise Unavailable("gone")

    with pytest.raises(Unavailable, match="gone"):
        Recording(blobs, hook=hook).create("a", b"1")
    assert state(blobs) == left


@pytest.mark.parametrize(
    ("how", "raised", "left"),
    [
        (Lost.DONE, OutcomeUnknown, {"log/1": b"1"}),
        (Lost.DROPPED, OutcomeUnknown, {}),
        (Lost.RETRIED, Conflict, {"log/1": b"1"}),
    ],
)
def test_an_answer_is_lost_in_three_ways(
    blobs: MemoryBlobStore, how: Lost, raised: type[Exception], left: dict[str, bytes]
) -> None:
    losing = LostAnswers(blobs, keys=lambda key: key.startswith("log/"), how=how)
    losing.create("other", b"")
    blobs.delete("other")
    with pytest.raises(raised):
        losing.create("log/1", b"1")
    assert state(blobs) == left


def test_only_so_many_answers_are_lost(blobs: MemoryBlobStore) -> None:
    losing = LostAnswers(blobs, times=2)
    for key in ("a", "b"):
        with pytest.raises(OutcomeUnknown):
            losing.create(key, b"")
    losing.create("c", b"")
    assert list(losing.keys("")) == ["a", "b", "c"]


def test_damage_changes_what_it_says_and_nothing_else(blobs: MemoryBlobStore) -> None:
    for key in ("bit", "cut", "gone", "one", "two"):
        blobs.create(key, key.encode())
    flip_bit(blobs, "bit", offset=-1, bit=7)
    truncate(blobs, "cut", size=-1)
    remove(blobs, "gone")
    swap(blobs, "one", "two")
    assert state(blobs) == {"bit": b"bi\xf4", "cut": b"cu", "one": b"two", "two": b"one"}
