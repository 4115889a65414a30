"""Lists that manifests share: any sequence of changes gives what plain lists and dicts give."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import Damaged
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.recovery_point import (
    CheckpointRef,
    Coverage,
    Manifest,
    ObjectRef,
    Partition,
    SegmentList,
    SegmentRef,
)
from dr_pipelines.repository import manifests, pages
from dr_pipelines.repository.covered_days import CoveredDays
from dr_pipelines.repository.fold import fold
from dr_pipelines.repository.manifests import read_manifest, write_manifest
from dr_pipelines.repository.reachability import reachable
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segment_list import Segments
from dr_pipelines.repository.segments import write_segment
from dr_pipelines.testing.blob_faults import Recording, flip_bit, remove
from tests.repository.builders import SPEC, Version, examples, manifest, repository, rows_of

LARGE_ROWS = 100_000
"""Of a segment that is not joined with others, and so need not be there."""
INDEX = ObjectRef(key="books/segments/w/0.index.parquet", sha256="0" * 64, size_bytes=1)


def ref(number: int, *, entry: int = 0, name: str | None = None) -> SegmentRef:
    name = name or f"document {number % 5}"
    return SegmentRef(
        key=f"books/segments/w/{number}.parquet",
        sha256=f"{number:064x}",
        size_bytes=number,
        index=INDEX,
        kind="ingest",
        entry=entry,
        rows=LARGE_ROWS,
        records=number,
        first_document=name,
        last_document=name,
        partition=f"2026-01-{number % 28 + 1:02d}",
    )


def checkpoint(number: int, day: str, stage: Any) -> CheckpointRef:
    return CheckpointRef(
        key=f"books/checkpoints/{stage}/{number}",
        sha256=f"{number:064x}",
        size_bytes=1,
        stage=stage,
        partition=day,
        epoch=1,
        after=number,
        through=number + 1,
        rows=number % 3,
        provenance=f"{number % 2:064x}",
        empty=number % 4,
    )


def partition(numbers: list[int], day: str, *, entry: int) -> Partition:
    """Coverage by checkpoints; a number is the position that one begins at."""
    return Partition(
        epoch=1,
        after=numbers[0],
        through=numbers[-1] + 1,
        anchor=f"anchor {numbers[-1]}",
        anchored=numbers[-1] + 1,
        entry=entry,
        documents=tuple(checkpoint(n, day, "documents") for n in numbers),
        chunks=tuple(checkpoint(n, day, "chunks") for n in numbers),
        records=len(numbers),
    )


def again(home: Repository, written: Manifest) -> Manifest:
    """Stored, and read back."""
    return read_manifest(home, write_manifest(home, written), collection="books")


# --- against plain lists ---------------------------------------------------------------------

CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 20)),
        st.tuples(st.just("rewrite"), st.integers(0, 5)),
        st.tuples(st.just("day"), st.integers(0, 9)),
        st.tuples(st.just("more of a day"), st.integers(0, 9)),
        st.tuples(st.just("days anew"), st.integers(0, 5)),
    ),
    max_size=40,
)


@examples(30)
@given(CHANGES, st.integers(2, 4), st.integers(2, 4))
def test_a_sequence_of_changes_gives_what_plain_lists_give(
    changes: list[tuple[str, int]], segments: int, days: int
) -> None:
    home, model = repository(), Model()
    state = manifest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifests, "SEGMENTS", replace(pages.SEGMENTS, together=segments))
        patch.setattr(manifests, "DAYS", replace(pages.DAYS, together=days))
        for entry, (what, number) in enumerate(changes, start=1):
            state = again(home, model.changed(home, state, what, number, entry=entry))
            model.require_same(home, state)
    assert len(Segments(home, state.segments).listed.tail) < segments
    assert len(state.coverage.tail) < days


class Model:
    """The lists of a manifest as a list and a dict."""

    def __init__(self) -> None:
        self.segments: list[SegmentRef] = []
        self.days: dict[str, Partition] = {}
        self.next = 1

    def changed(
        self, home: Repository, state: Manifest, what: str, number: int, *, entry: int
    ) -> Manifest:
        """A state after a change, here and in a manifest."""
        if what in ("append", "rewrite"):
            added = [ref(self.take(), entry=entry) for _ in range(number)]
            self.segments = [*(self.segments if what == "append" else []), *added]
            listed = state.segments.plus(added) if what == "append" else SegmentList.of(added)
            return state.model_copy(update={"segments": listed})
        if what == "days anew":
            self.days = dict(list(self.days.items())[:number])
            return state.model_copy(update={"coverage": Coverage.of(self.days)})
        day = f"2026-01-{number + 1:02d}"
        before = self.days.get(day) if what == "more of a day" else None
        earlier = [c.after for c in before.documents] if before else []
        self.days[day] = partition([*earlier, self.take()], day, entry=entry)
        coverage = CoveredDays(home, state.coverage).with_days({day: self.days[day]})
        return state.model_copy(update={"coverage": coverage})

    def take(self) -> int:
        self.next += 1
        return self.next - 1

    def require_same(self, home: Repository, state: Manifest) -> None:
        """Whatever is asked of the lists is what the model says."""
        listed = Segments(home, state.segments)
        assert [listed[n] for n in range(len(listed))] == list(listed) == self.segments
        assert list(Segments(home, state.segments).newest_first()) == self.segments[::-1]
        assert state.segments.records == sum(s.records for s in self.segments)
        for day in ("2026-01-01", "2026-01-07"):
            own = [s for s in self.segments if s.partition == day]
            assert Segments(home, state.segments).of_day(day) == own
        bounds = ("document 1", "document 2")
        named = [group.first for group in Segments(home, state.segments).groups(bounds)]
        assert named == [n for n, s in enumerate(self.segments) if s.first_document in bounds]
        self._require_same_days(home, state.coverage)

    def _require_same_days(self, home: Repository, coverage: Coverage) -> None:
        expected = dict(sorted(self.days.items()))
        for day in (*expected, "2025-01-01"):
            assert CoveredDays(home, coverage).get(day) == expected.get(day)
        days = CoveredDays(home, coverage)
        assert (dict(days), len(days)) == (expected, len(expected))
        newest = max((p.entry for p in expected.values()), default=0)
        brought = CoveredDays(home, coverage).brought_since(newest - 1)
        assert brought == {day: p for day, p in expected.items() if p.entry > newest - 1}
        days.require_sums()
        names = ("days", "frontier", "reached", "empty", "chunks", "read", "cut")
        whole = Coverage.of(expected)
        assert {n: getattr(coverage, n) for n in names} == {n: getattr(whole, n) for n in names}


# --- what an entry costs ---------------------------------------------------------------------


@pytest.mark.parametrize("count", [100, 1_000])
def test_an_entry_writes_and_reads_little_however_long_the_lists_are(count: int) -> None:
    home = repository(Recording(MemoryBlobStore()))
    numbers, days = (
        range(1, count + 1),
        [f"{2000 + n // 28}-01-{n % 28 + 1:02d}" for n in range(count)],
    )
    whole = manifest(
        segments=[ref(n) for n in numbers],
        partitions={day: partition([n], day, entry=n) for n, day in enumerate(days)},
    )
    state, blobs = again(home, whole), home.blobs
    assert isinstance(blobs, Recording)
    objects, longest = list[int](), 0
    for n in range(count, count + 60):
        blobs.calls.clear()
        day = f"{3000 + n}-01-01"
        coverage = CoveredDays(home, state.coverage).with_days({day: partition([n], day, entry=n)})
        update = {"segments": state.segments.plus([ref(n)]), "coverage": coverage}
        state = again(home, state.model_copy(update=update))
        objects.append(blobs.count("create"))
        longest = max(longest, *(len(blobs.read(c.key)) for c in blobs.calls if c.name == "create"))
    assert max(objects) <= 7  # the manifest, and pages at up to three levels of a list
    assert sum(objects) <= 1.5 * len(objects)
    assert longest < 48 << 10
    blobs.calls.clear()
    assert Segments(home, state.segments)[count // 2] == ref(count // 2 + 1)
    assert CoveredDays(home, state.coverage)[days[count // 2]].documents
    assert blobs.count("read") <= 8


def test_long_items_leave_the_manifest_early() -> None:
    home = repository()
    day = partition(list(range(1, 200)), "2026-01-01", entry=1)
    state = again(home, manifest(partitions={"2026-01-01": day}))
    assert (len(state.coverage.pages), dict(state.coverage.tail)) == (1, {})
    more = partition([*range(1, 201)], "2026-01-01", entry=2)
    grown = CoveredDays(home, state.coverage).with_days({"2026-01-01": more})
    assert len(grown.tail["2026-01-01"].documents) == 1
    assert CoveredDays(home, grown)["2026-01-01"] == more


def test_small_segments_are_folded_from_one_index_for_many_of_them() -> None:
    home, versions = repository(Recording(MemoryBlobStore())), list[Version]()
    refs = []
    for n in range(1, 130):
        versions.append(Version(f"document {n % 40}", n, texts=(f"text {n}",), generation=n))
        rows = rows_of(versions[-1:])
        refs.append(
            write_segment(home, "books", rows, spec=SPEC, kind="ingest", entry=n, partition=None)
        )
    plain, state = manifest(segments=refs), manifest()
    for one in refs:
        listed = state.segments.plus([one])
        state = again(home, state.model_copy(update={"segments": listed}))
    assert isinstance(home.blobs, Recording)
    home.blobs.calls.clear()
    with fold(home, state) as joined:
        assert home.blobs.count("read") == 3  # two pages of 64, and one segment
        with fold(home, plain) as each:
            assert joined.digests() == each.digests()
            assert joined.counts() == each.counts()
            for a, b in zip(joined.documents(), each.documents(), strict=True):
                assert a.drop_columns("version").equals(b.drop_columns("version"))


# --- damage ----------------------------------------------------------------------------------


def paged_state(home: Repository) -> Manifest:
    """Pages of two levels in both lists."""
    state = manifest()
    for n in range(1, 70):
        day = f"2026-{n // 28 + 1:02d}-{n % 28 + 1:02d}"
        coverage = CoveredDays(home, state.coverage).with_days(
            {day: partition([n - 1], day, entry=n)}
        )
        update = {"segments": state.segments.plus([ref(n)]), "coverage": coverage}
        state = again(home, state.model_copy(update=update))
    return state


def everything(home: Repository, state: Manifest) -> None:
    list(Segments(home, state.segments))
    CoveredDays(home, state.coverage).require_sums()


def with_page(
    home: Repository, state: Manifest, which: str, change: Callable[[Any], Any], **says: Any
) -> Manifest:
    """The first page of a list replaced by another of true hash; `says` changes its reference."""
    listed = getattr(state, which)
    old = listed.pages[0]
    data = canonical_json(change(json.loads(home.blobs.read(old.key))))
    new = home.put(f"books/manifests/forger/{home.new_name('-')}.json", data)
    page = old.model_copy(
        update={**new.model_dump(include={"key", "sha256", "size_bytes"}), **says}
    )
    return state.model_copy(
        update={which: listed.model_copy(update={"pages": (page, *listed.pages[1:])})}
    )


def first_twice(items: Any) -> Any:
    return [items[0], *items[:-1]]


@pytest.mark.parametrize("which", ["segments", "coverage"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(lambda items: items[:-1], {}, id="an item is missing"),
        pytest.param(lambda items: items[::-1], {"count": 3}, id="another count"),
        pytest.param(lambda items: items, {"level": 0}, id="another level"),
        pytest.param(lambda items: items, {"level": 3}, id="a level too high"),
        pytest.param(first_twice, {}, id="a page twice"),
        pytest.param(lambda items: [], {}, id="nothing"),
        pytest.param(lambda items: {"a": 1}, {}, id="no list"),
        pytest.param(lambda items: [1], {}, id="no references"),
        pytest.param(lambda items: [{**items[0], "key": "../x"}], {}, id="a hostile key"),
    ],
)
def test_a_page_that_is_not_what_is_said_of_it_is_damaged(
    which: str, change: Callable[[Any], Any], says: Mapping[str, Any]
) -> None:
    home = repository()
    state = paged_state(home)
    everything(home, state)
    with pytest.raises(Damaged):
        everything(home, with_page(home, state, which, change, **says))


@pytest.mark.parametrize(
    "says",
    [
        {"records": 1},
        {"rows": 1},
        {"stored_bytes": 1},
        {"first_document": "document 3"},
        {"last_document": "a"},
        {"first_day": "2026-01-09"},
        {"last_day": None},
    ],
    ids=lambda says: next(iter(says)),
)
def test_sums_and_ranges_of_a_page_of_segments_must_be_those_of_its_items(
    says: dict[str, Any],
) -> None:
    home = repository()
    forged = with_page(home, paged_state(home), "segments", lambda items: items, **says)
    with pytest.raises(Damaged, match="does not hold what its reference says"):
        everything(home, forged)


def test_a_list_that_names_a_page_twice_is_damaged() -> None:
    home = repository()
    state = paged_state(home)
    listed = state.segments
    double = listed.model_copy(update={"pages": (listed.pages[0], *listed.pages)})
    with pytest.raises(Damaged, match="names a page that its list has twice"):
        list(Segments(home, double))
    coverage = state.coverage.model_copy(update={"pages": state.coverage.pages * 2})
    with pytest.raises(Damaged, match="names a page that its list has twice"):
        dict(CoveredDays(home, coverage))


@pytest.mark.parametrize(
    "name", ["days", "frontier", "reached", "anchor", "empty", "chunks", "read"]
)
def test_sums_over_days_must_be_those_of_the_days(name: str) -> None:
    home = repository()
    state = paged_state(home)
    coverage = state.coverage.model_copy(update={name: getattr(Coverage(), name)})
    with pytest.raises(Damaged, match="do not add up"):
        CoveredDays(home, coverage).require_sums()


def test_a_day_whose_earlier_checkpoints_are_nowhere_is_damaged() -> None:
    home = repository()
    alone = partition([5], "2026-01-01", entry=1).model_copy(update={"earlier": 2})
    coverage = Coverage.of({}).model_copy(update={"tail": {"2026-01-01": alone}})
    with pytest.raises(Damaged, match="lacks some of its checkpoints"):
        CoveredDays(home, coverage)["2026-01-01"]


@pytest.mark.parametrize("damage", [remove, lambda blobs, key: flip_bit(blobs, key, offset=9)])
@pytest.mark.parametrize("which", ["segments", "coverage"])
def test_a_damaged_or_missing_page_is_found(which: str, damage: Callable[..., None]) -> None:
    home = repository()
    state = paged_state(home)
    damage(home.blobs, getattr(state, which).pages[0].key)
    with pytest.raises(Damaged, match=r"is missing|has been altered"):
        everything(home, state)


def test_every_page_is_reachable_and_walked_once() -> None:
    home = repository()
    state = paged_state(home)
    stored = set(home.blobs.keys("books/manifests/"))
    body = write_manifest(home, state)
    entry = _entry(body)
    walked: set[ObjectRef] = set()
    reached = [r.key for r in reachable(home, entry, state, walked=walked)]
    named = {page.key for page in walked}
    assert named <= stored
    assert len(named) >= 60 // 8 + 60 // 7
    assert {page for page in reached if "/manifests/" in page} == {body.key, *named}
    tails = len(state.segments.tail) * 2 + len(state.coverage.tail) * 2
    assert len(list(reachable(home, entry, state, walked=walked))) == 1 + tails


def _entry(ref: ObjectRef) -> Any:
    from tests.repository.test_details import entry_with

    entry = entry_with(())
    body = entry.body.model_copy(update={"manifest": ref})
    return entry.model_copy(update={"body": body})
