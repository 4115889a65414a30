"""A collection's history: heads, manifests, points, entries, and the states they describe."""

from typing import Any

import pytest

from dr_pipelines.errors import Conflict, Damaged, NotFound, Refused, TimelineClosed
from dr_pipelines.model.details import Mentioned
from dr_pipelines.model.recovery_point import Body, Head, Manifest, SegmentRef, Timeline
from dr_pipelines.repository.history import History, NextEntry, Tip, require_timeline
from dr_pipelines.repository.log import Draft
from dr_pipelines.repository.manifests import write_manifest
from dr_pipelines.repository.segments import write_segment
from dr_pipelines.testing.blob_faults import remove
from tests.repository.builders import (
    REFUSED,
    SPEC,
    TIMELINE,
    Version,
    manifest,
    repository,
    rows_of,
)
from tests.repository.details import example_detail


def books() -> History:
    return History(repository(), "books")


def commit(history: History, state: Manifest, *, pending: tuple[int, ...] = ()) -> Head:
    body = Body(
        manifest=write_manifest(history.repository, state),
        pending=pending,
        detail=example_detail("ingest"),
    )
    return history.log.append("ingest", lambda head: Draft(state.timeline, body))


def segment(history: History, *versions: Version, entry: int) -> SegmentRef:
    rows = rows_of(versions)
    return write_segment(
        history.repository, history.collection, rows, spec=SPEC, kind="ingest", entry=entry
    )


def test_an_empty_log_has_a_head_and_nothing_else() -> None:
    history = books()
    head = history.head()
    assert (head.number, head.entry, head.pending) == (0, None, ())
    assert history.manifest() is None
    assert history.manifest_at(head) is None
    assert list(history.entries_back(head)) == []
    with pytest.raises(NotFound, match=r"books: nothing is backed up yet\. Run: dr ingest books"):
        history.latest()


def test_a_manifest_is_that_of_the_head_that_was_read() -> None:
    history = books()
    first = commit(history, manifest(engine="first"), pending=(1,))
    second = commit(history, manifest(engine="second"))
    assert history.manifest_at(first) == manifest(engine="first")
    assert history.manifest_at(second) == history.manifest() == manifest(engine="second")
    assert (first.pending, second.pending) == ((1,), ())


def test_every_entry_is_a_point_and_the_newest_is_the_latest() -> None:
    history = books()
    heads = [commit(history, manifest(engine=f"test {n}")) for n in range(3)]
    for head in heads:
        point = history.point(head.number)
        assert (point.collection, point.head) == ("books", head)
        assert point.manifest == history.manifest_at(head)
    assert history.latest() == history.point(3)
    with pytest.raises(NotFound, match="books: no log entry 4"):
        history.point(4)


@pytest.mark.parametrize(("limit", "numbers"), [(None, [3, 2, 1]), (2, [3, 2]), (9, [3, 2, 1])])
def test_entries_are_read_back_from_a_head(limit: int | None, numbers: list[int]) -> None:
    history = books()
    heads = [commit(history, manifest(engine=f"test {n}")) for n in range(4)]
    assert [entry.i for entry in history.entries_back(heads[2], limit=limit)] == numbers


def test_a_manifest_of_another_collection_is_damage() -> None:
    history = books()
    commit(history, manifest().model_copy(update={"collection": "films"}))
    for read in (history.manifest, history.latest, lambda: history.point(1)):
        with pytest.raises(Damaged, match="belongs to 'films', not 'books'"):
            read()


def test_documents_that_entries_touched_are_named_once_in_order() -> None:
    history = books()
    refs = (
        segment(history, Version("b", 1), Version("c", 2), entry=1),
        segment(history, Version("a", 3), Version("b", 4), entry=2),
    )
    state = manifest(segments=refs)
    assert history.touched_documents(state, entries=(1, 2)).to_pylist() == ["a", "b", "c"]
    assert history.touched_documents(state, entries=(1,)).to_pylist() == ["b", "c"]
    assert history.touched_documents(state, entries=()).to_pylist() == []


def test_a_name_that_a_restore_is_building_is_refused_until_it_is_done() -> None:
    history = books()
    commit(history, manifest())
    point = history.latest().id
    for own in (f"restore:{point}:load::2", f"restore:{point}.7:load::2"):
        with pytest.raises(NotFound, match=r"'books' is being restored.*--into books --at log:1"):
            history.require_finished(manifest(), own, physical="books")
    done = f"restore:{point}:load::1"  # what the timeline is bound to
    elsewhere = ("restore:1-00000000:load::2", "restore:9-00000000:load::2")
    for origin in (None, "someone's", done, *elsewhere):
        history.require_finished(manifest(), origin, physical="books")


def test_nobody_writes_for_a_line_of_history_that_has_ended() -> None:
    first = Timeline(id=1, physical="books@1", store="default")
    second = Timeline(id=2, parent=1, fork=1, physical="books@2", store="default")
    now = manifest().model_copy(update={"timeline": 2, "timelines": (first, second)})
    require_timeline(now, second)
    with pytest.raises(TimelineClosed, match=r"switched from 'books@1' to 'books@2'"):
        require_timeline(now, first)


def test_what_a_log_entry_mentions_is_short() -> None:
    documents = [f"{n}" * 300 for n in range(12)]
    mention = Mentioned.of(documents)
    assert (len(mention.names), mention.total) == (10, 12)
    assert {len(name) for name in mention.names} == {200}


# Appending


def next_entry(state: Manifest | None = None, **more: Any) -> NextEntry:
    return NextEntry(detail=REFUSED, manifest=state, **more)


def test_the_first_entry_brings_a_state() -> None:
    history = books()
    committed = history.append(
        "evidence", lambda tip: next_entry(manifest(), pending=(tip.number,))
    )
    assert committed.head == history.head()
    assert (committed.head.number, committed.head.pending) == (1, (1,))
    assert history.manifest() == committed.entry.manifest == manifest()


def test_an_empty_log_has_no_state_that_could_stay() -> None:
    history = books()
    with pytest.raises(NotFound, match="books: there is nothing to give evidence of"):
        history.append("evidence", lambda _: next_entry())
    assert history.head().number == 0


def test_what_an_entry_does_not_change_stays_and_is_not_read() -> None:
    history = books()
    first = commit(history, manifest(), pending=(1,))
    assert first.entry is not None
    remove(history.repository.blobs, first.entry.body.manifest.key)
    history.append("evidence", lambda _: next_entry())
    head = history.head()
    assert head.entry is not None
    assert (head.entry.body.manifest, head.entry.timeline, head.pending) == (
        first.entry.body.manifest,
        first.entry.timeline,
        (1,),
    )


def test_an_entry_is_built_again_after_a_lost_race_and_the_last_one_counts() -> None:
    history = books()
    commit(history, manifest(engine="before"))
    engines = []

    def build(tip: Tip) -> NextEntry:
        before = tip.existing().engine
        engines.append(before)
        if len(engines) == 1:
            commit(history, manifest(engine="a rival's"))
        return next_entry(manifest(engine=f"after {before}"))

    committed = history.append("evidence", build)
    assert engines == ["before", "a rival's"]
    assert committed.head.number == 3
    assert committed.entry.manifest == history.manifest() == manifest(engine="after a rival's")


def test_what_a_builder_raises_ends_the_append() -> None:
    history = books()
    head = commit(history, manifest())

    def build(tip: Tip) -> NextEntry:
        raise Refused(f"not at {tip.number}")

    with pytest.raises(Refused, match="not at 2"):
        history.append("evidence", build)
    assert history.head() == head


def test_a_tip_knows_the_state_that_its_writer_goes_on_from() -> None:
    history = books()
    empty = history.tip()
    assert (empty.number, empty.pending, empty.manifest) == (1, (), None)
    for go_on in (empty.existing, lambda: empty.of_timeline(TIMELINE)):
        with pytest.raises(Conflict, match="books: the log became empty"):
            go_on()
    commit(history, manifest(), pending=(1,))
    tip = history.tip()
    assert (tip.number, tip.pending) == (2, (1,))
    assert tip.of_timeline(TIMELINE) == tip.existing() == tip.manifest == manifest()
    with pytest.raises(TimelineClosed):
        tip.of_timeline(TIMELINE.model_copy(update={"id": 2}))


def test_two_tips_have_the_same_state_while_only_evidence_lies_between() -> None:
    history = books()
    empty = history.tip()
    assert not empty.same_state_as(empty)
    commit(history, manifest())
    before = history.tip()
    history.append("evidence", lambda _: next_entry())
    assert history.tip().same_state_as(before)
    commit(history, manifest())  # the same, written again: nobody can tell
    assert not history.tip().same_state_as(before)
