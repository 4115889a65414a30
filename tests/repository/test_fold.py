"""The fold against a second one over plain dictionaries."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr_pipelines.errors import Damaged
from dr_pipelines.model.record import DOCUMENT_ROW, Presence
from dr_pipelines.model.recovery_point import (
    Counts,
    Digests,
    SegmentRef,
    SourcePosition,
)
from dr_pipelines.repository import digest
from dr_pipelines.repository.accounting import advance
from dr_pipelines.repository.fold import fold, fold_inputs
from dr_pipelines.repository.joined import segment_rows
from dr_pipelines.repository.manifests import segments
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segments import (
    SORT_COLUMNS,
    documents_only,
    read_segment,
    records_only,
    split_documents,
    write_segment,
)
from dr_pipelines.repository.state import State
from dr_pipelines.repository.take_rows import Numbers
from tests.repository.builders import (
    SPEC,
    Version,
    examples,
    gone,
    index_of,
    manifest,
    repository,
    rows_of,
)

NAMES = ["a", "", "é", "\U0001f4be", "\uffff"]


@dataclass(frozen=True)
class Written:
    """A segment as it will be written: its versions, its entry, and where it is cut."""

    entry: int
    versions: tuple[Version, ...]
    until: SourcePosition | None = None


# The second fold


def order(version: Version, entry: int, place: int) -> tuple[int, ...]:
    sequence = entry if version.sequence is None else version.sequence
    source = (version.epoch, version.position, version.ordinal)
    return (*source, version.edit, version.generation, sequence, place)


def within(version: Version, cut: SourcePosition | None) -> bool:
    if cut is None:
        return True
    return version.edit == 0 and (version.epoch, version.position) <= (cut.epoch, cut.position)


def newest(
    written: Sequence[Written],
    *,
    until: SourcePosition | None = None,
    documents: Sequence[str] | None = None,
    before: int = 1 << 62,
) -> dict[str, tuple[int, Version]]:
    """Document → (segment, its newest version)."""
    versions: dict[str, tuple[tuple[int, ...], int, Version]] = {}
    for place, segment in enumerate(written):
        for version in segment.versions:
            key = order(version, segment.entry, place)
            if not within(version, segment.until) or not within(version, until):
                continue
            if key[-2] >= before or (documents is not None and version.document not in documents):
                continue
            if version.document not in versions or key > versions[version.document][0]:
                versions[version.document] = (key, place, version)
    return {name: (place, version) for name, (_, place, version) in versions.items()}


def expected_counts(state: dict[str, tuple[int, Version]]) -> Counts:
    versions = [version for _, version in state.values()]
    tenants: dict[str, int] = {}
    for version in versions:
        if version.texts:
            name = version.tenant or ""
            tenants[name] = tenants.get(name, 0) + len(version.texts)
    present = sum(version.presence == Presence.PRESENT for version in versions)
    return Counts(
        records=sum(len(version.texts) for version in versions),
        documents=present,
        deleted=len(versions) - present,
        tenants=tenants,
    )


def expected_digests(state: dict[str, tuple[int, Version]]) -> Digests:
    rows = rows_of([version for _, version in state.values()])
    return Digests(
        content=digest.to_hex(digest.total(digest.content_digests(records_only(rows), SPEC))),
        vectors=digest.to_hex(digest.total(digest.vector_digests(records_only(rows), SPEC))),
        documents=digest.to_hex(digest.total(digest.document_digests(documents_only(rows)))),
    )


# What is drawn

POSITIONS = st.builds(SourcePosition, epoch=st.integers(1, 2), position=st.integers(0, 3))
VERSIONS = st.builds(
    Version,
    document=st.sampled_from(NAMES),
    epoch=st.sampled_from([1, 1, 1, 2]),
    position=st.integers(1, 3),
    ordinal=st.sampled_from([0, 0, 0, 1]),
    edit=st.sampled_from([0, 0, 0, 1]),
    generation=st.sampled_from([0, 0, 0, 1]),
    texts=st.lists(st.sampled_from(["", "x", "é", "yy"]), max_size=3).map(tuple),
    tenant=st.sampled_from([None, "", "t1", "t2"]),
    vector=st.sampled_from([(0.0, 1.0), (-0.0, 1.0), (1.0, 0.0)]),
)
ANY_VERSIONS = st.one_of(
    VERSIONS,
    VERSIONS,
    st.builds(gone, VERSIONS, st.sampled_from([Presence.DELETED, Presence.ABSENT])),
)


def distinct(versions: list[Version]) -> tuple[Version, ...]:
    """One version of a document at each place in the order: a segment never has two."""
    by_key = {(v.document, *order(v, 0, 0)): v for v in versions}
    return tuple(by_key.values())


CHUNKS = st.lists(ANY_VERSIONS, min_size=1, max_size=6).map(distinct)
CUTS = st.none() | st.none() | POSITIONS


@st.composite
def histories(draw: st.DrawFn, *, cuts: bool = True) -> list[Written]:
    """Segments of entries 1, 2, …, some entries with two segments; some segments are cut."""
    written: list[Written] = []
    for entry in range(1, draw(st.integers(1, 5)) + 1):
        taken: set[tuple[object, ...]] = set()
        for _ in range(draw(st.integers(1, 2))):
            versions = [v for v in draw(CHUNKS) if (v.document, *order(v, 0, 0)) not in taken]
            taken |= {(v.document, *order(v, 0, 0)) for v in versions}
            until = draw(CUTS) if cuts else None
            if versions:
                written.append(Written(entry, tuple(versions), until))
    return written


def store(home: Repository, written: Sequence[Written]) -> list[SegmentRef]:
    refs = [
        write_segment(home, "books", rows_of(w.versions), spec=SPEC, kind="ingest", entry=w.entry)
        for w in written
    ]
    return [ref.model_copy(update={"until": w.until}) for ref, w in zip(refs, written, strict=True)]


def facts(state: State) -> tuple[Counts, Digests, list[tuple[str, str, int]]]:
    rows = [row for batch in state.documents() for row in batch.to_pylist()]
    documents = [(row["document_id"], row["presence"], row["chunk_count"]) for row in rows]
    return state.counts(), state.digests(), documents


def expected_facts(
    facts: dict[str, tuple[int, Version]],
) -> tuple[Counts, Digests, list[tuple[str, str, int]]]:
    ordered = sorted(facts, key=str.encode)
    documents = [(name, facts[name][1].presence, len(facts[name][1].texts)) for name in ordered]
    return expected_counts(facts), expected_digests(facts), documents


@examples(16)
@given(histories(), CUTS, st.none() | st.lists(st.sampled_from([*NAMES, "none"]), max_size=4))
def test_the_fold_is_that_of_a_second_implementation(
    written: list[Written], until: SourcePosition | None, names: list[str] | None
) -> None:
    home = repository()
    refs = store(home, written)
    selection = None if names is None else pa.array(names, pa.string())
    versions = newest(written, until=until, documents=names)
    with fold(home, manifest(segments=tuple(refs)), until=until, documents=selection) as state:
        assert facts(state) == expected_facts(versions)
        for number, ref in enumerate(state.segments):
            compare_rows(home, state, number, ref, versions, place=refs.index(ref))


def compare_rows(
    home: Repository,
    state: State,
    number: int,
    ref: SegmentRef,
    versions: dict[str, tuple[int, Version]],
    *,
    place: int,
) -> None:
    """The rows named for a segment are its newest versions, whole, and no others."""
    here = [version for at, version in versions.values() if at == place]
    rows = read_segment(home, ref, spec=SPEC)
    expected = rows_of(here)
    assert rows.take(of_segment(state.version_rows_by_segment(), number)).equals(expected)
    newest_rows = of_segment(state.rows_by_segment(), number)
    assert rows.take(newest_rows).equals(records_only(expected))
    for version in here:
        document = pa.array([version.document], pa.string())
        chosen = state.rows_by_segment(documents=document)
        taken = rows.take(of_segment(chosen, number))
        assert taken.equals(records_only(rows_of([version])))


def of_segment(rows: Iterable[tuple[int, Numbers]], number: int) -> pa.Array:
    """The rows of one segment; none where it holds none of them."""
    return pa.array(dict(rows).get(number, []), pa.int64())


@examples(8)
@given(histories(), st.randoms(use_true_random=False))
def test_the_order_of_segments_does_not_matter(
    written: list[Written], shuffling: random.Random
) -> None:
    home = repository()
    refs = store(home, written)
    shuffled = list(refs)
    shuffling.shuffle(shuffled)
    seen = []
    for order in (refs, shuffled):
        with fold(home, manifest(segments=tuple(order))) as state:
            seen.append(facts(state))
    assert seen[0] == seen[1]


@examples(8)
@given(histories(cuts=False), st.integers(0, 6))
def test_an_earlier_state_can_be_asked_for(written: list[Written], before: int) -> None:
    home = repository()
    with fold(home, manifest(segments=tuple(store(home, written)))) as state:
        state.newest(before=before)
        assert facts(state) == expected_facts(newest(written, before=before))
        state.newest()
        assert facts(state) == expected_facts(newest(written))


@examples(8)
@given(histories(cuts=False))
def test_a_compacted_segment_stands_for_those_it_replaces(written: list[Written]) -> None:
    """Every version kept with the log number that brought it: later entries still win or lose."""
    home = repository()
    *old, last = written
    compacted = {
        (v.document, *order(v, w.entry, 0)): replace(v, sequence=w.entry)
        for w in old
        for v in w.versions
    }
    base = [Written(9, tuple(compacted.values()))] if compacted else []
    with fold(home, manifest(segments=tuple(store(home, [*base, last])))) as state:
        assert facts(state) == expected_facts(newest(written))


@examples(8)
@given(histories(cuts=False))
def test_what_an_entry_changes_is_added_up_without_folding_everything(
    written: list[Written],
) -> None:
    home = repository()
    grown = manifest()
    for entry in range(1, max(w.entry for w in written) + 1):
        added = store(home, [w for w in written if w.entry == entry])
        loose = [ref.model_copy(update={"entry": 0}) for ref in added]
        grown = advance(home, grown, loose, entry=entry)
        upto = newest([w for w in written if w.entry <= entry])
        assert (grown.counts, grown.digests) == (expected_counts(upto), expected_digests(upto))
        assert {ref.entry for ref in segments(home, grown)[-len(added) :]} <= {entry}
    with fold(home, grown) as state:
        assert (state.counts(), state.digests()) == (grown.counts, grown.digests)


def test_a_tenant_whose_last_record_is_gone_is_not_counted_any_more() -> None:
    home = repository()
    mine, moved = Version("a", tenant="t1"), Version("a", 2, tenant="t2")
    first = advance(home, manifest(), store(home, [Written(0, (mine,))]), entry=1)
    assert first.counts.tenants == {"t1": 1}
    second = advance(home, first, store(home, [Written(0, (moved,))]), entry=2)
    assert second.counts.tenants == {"t2": 1}


def test_an_entry_without_segments_changes_nothing() -> None:
    assert advance(repository(), manifest(), [], entry=3) == manifest()


# Cases by name


def state_of(*written: Written, **options: Any) -> tuple[Counts, list[tuple[str, str, int]]]:
    home = repository()
    with fold(home, manifest(segments=tuple(store(home, written))), **options) as state:
        counts, _, documents = facts(state)
        return counts, documents


OLD, NEW = Version("a", 1, ("one", "two")), Version("a", 2, ("three",))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (OLD, NEW),
        (NEW, OLD),
        (Version("a", 9, epoch=1), Version("a", 1, ("one", "two"), epoch=2)),
        (Version("a"), Version("a", ordinal=1, texts=())),
        (Version("a"), Version("a", edit=1, texts=("x", "y"))),
        (Version("a", edit=9), Version("a", 2, edit=0, texts=())),
        (Version("a"), Version("a", generation=1, texts=())),
        (Version("a", generation=9), Version("a", edit=1, texts=())),
        (Version("a"), Version("a", texts=())),
        (Version("a"), gone(Version("a", 2))),
        (Version("a"), gone(Version("a", edit=1), Presence.ABSENT)),
    ],
)
def test_the_newest_version_wins_whole(first: Version, second: Version) -> None:
    wins = max([(order(first, 1, 0), first), (order(second, 2, 1), second)])[1]
    counts, documents = state_of(Written(1, (first,)), Written(2, (second,)))
    assert documents == [("a", wins.presence, len(wins.texts))]
    assert counts.records == len(wins.texts)


def test_of_two_equal_places_in_the_order_the_later_entry_wins() -> None:
    one, other = Version("a", texts=("one",)), Version("a", texts=("one", "more"))
    for first, second in ((1, 2), (2, 1)):  # as the segments may stand in a manifest
        written = (Written(first, (one,)), Written(second, (other,)))
        assert state_of(*written)[0].records == (2 if second == 2 else 1)


def test_a_row_that_names_its_entry_counts_as_of_that_entry() -> None:
    """Rows that compaction rewrote in entry 9 are as old as they were."""
    old = Version("a", texts=("one", "more"), sequence=1)
    replayed = Version("a", texts=("one",))
    for written in (
        (Written(9, (old,)), Written(2, (replayed,))),
        (Written(9, (old, replace(replayed, sequence=2))),),
    ):
        assert state_of(*written)[0].records == 1


def test_a_cut_leaves_edits_and_later_positions_out() -> None:
    versions = (
        Version("a", 1),
        Version("a", 2, ("x", "y")),
        Version("b", 1, edit=1),
        Version("c", 2),
        Version("c", 9, epoch=0),
    )
    cut = SourcePosition(epoch=1, position=1)
    expected = [("a", "present", 1), ("c", "present", 1)]
    assert state_of(Written(1, versions), until=cut)[1] == expected
    assert state_of(Written(1, versions, until=cut))[1] == expected
    later = SourcePosition(epoch=1, position=2)
    assert state_of(Written(1, versions, until=cut), until=later)[1] == expected
    assert state_of(Written(1, versions, until=later), until=cut)[1] == expected


def test_a_manifest_without_segments_is_an_empty_state() -> None:
    assert state_of() == (Counts(), [])


@pytest.mark.parametrize("count", [0, 1, 3, None])
def test_a_version_that_is_not_whole_is_damaged(count: int | None) -> None:
    home = repository()
    rows = rows_of([Version("z"), Version("a", texts=("one", "two"))])
    counts = [count if n == 0 else value for n, value in enumerate(rows["chunk_count"].to_pylist())]
    place = rows.column_names.index("chunk_count")
    wrong = rows.set_column(place, rows.schema.field(place), pa.array(counts, pa.int32()))
    ref = write_segment(home, "books", wrong, spec=SPEC, kind="ingest", entry=1)
    message = rf"{ref.key}: document 'a' has 2 records, not {count}"
    with pytest.raises(Damaged, match=message), fold(home, manifest(segments=(ref,))):
        pass
    with fold(home, manifest(segments=(ref,)), documents=pa.array(["z"])) as state:
        assert state.counts().documents == 1


def test_records_without_a_document_row_are_damaged() -> None:
    home = repository()
    rows = rows_of([Version("a"), Version("b")])
    headless = rows.filter(
        pa.array(
            [
                i != DOCUMENT_ROW or d == "a"
                for i, d in zip(
                    rows["chunk_index"].to_pylist(), rows["document_id"].to_pylist(), strict=True
                )
            ]
        )
    )
    ref = write_segment(home, "books", headless, spec=SPEC, kind="ingest", entry=1)
    message = "document 'a' has 2 records, not 1"
    with pytest.raises(Damaged, match=message), fold(home, manifest(segments=(ref,))):
        pass


@pytest.mark.usefixtures("every_index")
def test_a_segment_whose_index_has_other_rows_is_damaged() -> None:
    home = repository()
    one, other = store(home, [Written(1, (OLD,)), Written(1, (Version("b"),))])
    mixed = one.model_copy(update={"index": other.index})
    message = rf"{index_of(other).key}: 2 rows, not 3"
    with pytest.raises(Damaged, match=message), fold(home, manifest(segments=(mixed,))):
        pass


def test_rows_that_are_not_stored_anywhere_can_be_folded() -> None:
    home = repository()
    (ref,) = store(home, [Written(1, (OLD, NEW))])
    unsaved = partial(segment_rows, home, ref, spec=SPEC)
    with fold_inputs(repository(), [unsaved], segments=[ref], spec=SPEC) as state:
        assert state.counts().records == 1


def test_rows_are_sorted_bytewise_and_never_cut_within_a_version() -> None:
    rows = rows_of([Version(name, texts=("x", "y")) for name in NAMES])
    keys = list(zip(*(rows[name].to_pylist() for name in SORT_COLUMNS), strict=True))
    assert [key[0].encode() for key in keys] == sorted(key[0].encode() for key in keys)
    for limit in (1, 3, 4, 7, 100):
        pieces = list(split_documents(rows, limit_rows=limit))
        assert pa.concat_tables(pieces).equals(rows)
        assert all(piece["chunk_index"][0].as_py() == DOCUMENT_ROW for piece in pieces)
        assert all(piece.num_rows >= limit for piece in pieces[:-1])
        assert all(piece.num_rows < limit + 3 for piece in pieces)
