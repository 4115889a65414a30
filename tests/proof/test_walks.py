"""Verification reads a manifest and its pages once for all entries that name it."""

from collections import Counter

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.model.recovery_point import Manifest, SegmentList, SegmentRef
from dr_pipelines.proof.verify import Verification, verify
from dr_pipelines.repository import segments
from dr_pipelines.repository.history import History, NextEntry
from dr_pipelines.repository.segments import write_segment
from dr_pipelines.testing.blob_faults import Recording, flip_bit
from tests.repository.builders import REFUSED, SPEC, Version, manifest, repository, rows_of

ENTRIES = 5
SEGMENTS = 9
"""One page of them, and one more."""


@pytest.fixture
def history() -> History:
    """Two states that share a page, and several entries of each, which keep an object."""
    history = History(repository(Recording(MemoryBlobStore())), "books")
    listed = SegmentList.of(segment(history, number) for number in range(SEGMENTS - 1))
    for since in (1, 2):
        for number in range(ENTRIES):
            ref = history.repository.put(f"books/evidence/{since}/{number}", b"{}")
            entry = None if number else manifest(segments=(), since=since)
            if entry is not None:
                entry = entry.model_copy(update={"segments": listed})
            append(history, entry, ref=ref)
        newest = history.manifest()
        assert newest is not None
        listed = newest.segments.plus([segment(history, SEGMENTS)])
    return history


def segment(history: History, number: int) -> SegmentRef:
    rows = rows_of([Version(f"document {number}", number + 1)])
    return write_segment(history.repository, "books", rows, spec=SPEC, kind="ingest", entry=1)


def append(history: History, state: Manifest | None, **keeps: object) -> None:
    entry = NextEntry(detail=REFUSED, manifest=state, objects=(keeps["ref"],))  # type: ignore[arg-type]
    history.append("evidence", lambda _: entry)


def page_key(history: History) -> str:
    newest = history.manifest()
    assert newest is not None
    (page,) = newest.segments.pages
    return page.key


def reads(history: History, level: int) -> tuple[Verification, Counter[str]]:
    blobs = history.repository.blobs
    assert isinstance(blobs, Recording)
    blobs.calls.clear()
    verification = verify(history, level=level)
    keys = Counter(call.key for call in blobs.calls if call.name == "read")
    return verification, Counter({k: n for k, n in keys.items() if "/manifests/" in k})


def test_they_are_read_once_for_each_state(history: History) -> None:
    key = page_key(history)
    verification, counted = reads(history, 0)
    assert verification.sound
    objects = 2 * ENTRIES + 2 * SEGMENTS  # evidence, segments with their vectors
    beside = 2 + 3  # manifests; the page, its packed rows and their vectors
    assert (verification.points, verification.objects) == (2 * ENTRIES, objects + beside)
    assert counted.pop(key) == 1
    assert sorted(counted.values()) == [1, 1]


def test_one_that_cannot_be_read_is_a_finding_of_each_entry_that_names_it(
    history: History,
) -> None:
    key, page = history.point(ENTRIES + 1).entry.body.manifest.key, page_key(history)
    history.repository.blobs.delete(key)
    verification, _ = reads(history, 0)
    assert [finding.key for finding in verification.findings] == [key] * ENTRIES
    history.repository.blobs.delete(page)
    verification, _ = reads(history, 0)
    assert len(verification.findings) == 2 * ENTRIES + 1


def test_every_object_is_read_once_where_rows_are_proven(setting: History) -> None:
    """Those beside a segment with it, and not again on their own."""
    blobs = setting.repository.blobs
    assert isinstance(blobs, Recording)
    blobs.calls.clear()
    verify(setting, level=3)
    counted = Counter(call.key for call in blobs.calls if call.name == "read")
    vectors = {key: n for key, n in counted.items() if key.endswith(".arrow")}
    rows = {key: counted[key.replace(".vectors.arrow", ".parquet")] for key in vectors}
    assert list(vectors.values()) == list(rows.values()) == [1, 1]


def test_packed_rows_are_read_once_for_the_page_that_they_belong_to(history: History) -> None:
    """And once more by the fold, which needs no vectors."""
    _, counted = reads(history, 3)
    packed = {key: n for key, n in counted.items() if key.endswith((".parquet", ".arrow"))}
    assert sorted(packed.values()) == [1, 2]


def test_damage_to_packed_rows_is_named_for_each_object(history: History) -> None:
    blobs = history.repository.blobs
    keys = [k for k in blobs.keys("books/manifests/") if k.endswith((".parquet", ".arrow"))]
    for key in keys:
        flip_bit(blobs, key, offset=blobs.size(key) // 2, bit=1)
    findings = verify(history, level=3).findings
    assert {*keys, page_key(history)} <= {finding.key for finding in findings}


@pytest.mark.parametrize("end", [".parquet", ".vectors.arrow", ".index.parquet"])
def test_what_lies_beside_a_damaged_segment_is_checked_too(setting: History, end: str) -> None:
    blobs = setting.repository.blobs
    keys = sorted(key for key in blobs.keys("books/segments/") if key.endswith(".vectors.arrow"))
    vectors = keys[0]
    broken = vectors.removesuffix(".vectors.arrow") + end
    flip_bit(blobs, vectors, offset=blobs.size(vectors) // 2, bit=1)
    if broken != vectors:
        flip_bit(blobs, broken, offset=blobs.size(broken) // 2, bit=1)
    findings = verify(setting, level=3).findings
    assert {broken, vectors} <= {finding.key for finding in findings}


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> History:
    """Two segments with their vectors, and an index although they are small."""
    monkeypatch.setattr(segments, "has_index", lambda size_bytes: size_bytes > 0)
    history = History(repository(Recording(MemoryBlobStore())), "books")
    rows = [rows_of([Version(name)]) for name in ("a", "b")]
    refs = [
        write_segment(history.repository, "books", each, spec=SPEC, kind="base") for each in rows
    ]
    entry = NextEntry(detail=REFUSED, manifest=manifest(segments=tuple(refs)))
    history.append("evidence", lambda _: entry)
    return history
