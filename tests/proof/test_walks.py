"""Verification reads a manifest and its pages once for all entries that name it."""

from collections import Counter

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.model.recovery_point import Manifest, ObjectRef
from dr_pipelines.proof.verify import Verification, verify
from dr_pipelines.repository.history import History, NextEntry
from dr_pipelines.testing.blob_faults import Recording
from tests.repository.builders import REFUSED, manifest, repository

ENTRIES = 5


@pytest.fixture
def history() -> History:
    """Two states that share a page, and several entries of each, which keep an object."""
    history = History(repository(Recording(MemoryBlobStore())), "books")
    page = history.repository.put("books/manifests/page/0.json", b"[]")
    for frontier in (1, 2):
        state = manifest(pages=(page,), since=frontier)
        for number in range(ENTRIES):
            ref = history.repository.put(f"books/evidence/{frontier}/{number}", b"{}")
            append(history, None if number else state, ref)
    return history


def append(history: History, state: Manifest | None, ref: ObjectRef) -> None:
    entry = NextEntry(detail=REFUSED, manifest=state, objects=(ref,))
    history.append("evidence", lambda _: entry)


def reads(history: History, level: int) -> tuple[Verification, Counter[str]]:
    blobs = history.repository.blobs
    assert isinstance(blobs, Recording)
    blobs.calls.clear()
    verification = verify(history, level=level)
    keys = Counter(call.key for call in blobs.calls if call.name == "read")
    return verification, Counter({k: n for k, n in keys.items() if "/manifests/" in k})


def test_they_are_read_once_for_each_state(history: History) -> None:
    verification, counted = reads(history, 0)
    assert verification.sound
    assert (verification.points, verification.objects) == (2 * ENTRIES, 3 + 2 * ENTRIES)
    page = counted.pop("books/manifests/page/0.json")
    assert (page, sorted(counted.values())) == (2, [1, 1])


def test_one_that_cannot_be_read_is_a_finding_of_each_entry_that_names_it(
    history: History,
) -> None:
    key = history.point(ENTRIES + 1).entry.body.manifest.key
    history.repository.blobs.delete(key)
    verification, _ = reads(history, 0)
    assert [finding.key for finding in verification.findings] == [key] * ENTRIES
    history.repository.blobs.delete("books/manifests/page/0.json")
    verification, _ = reads(history, 0)
    assert len(verification.findings) == 2 * ENTRIES + 1
