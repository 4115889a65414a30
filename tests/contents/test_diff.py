"""A diff names every document that differs between two points, and what of it."""

import itertools
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.contents.diff import (
    Diff,
    DocumentChange,
    FieldChange,
    diff,
)
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import ListedSource, Process, World

MONDAY = datetime(2026, 1, 5, 8, tzinfo=UTC)
TUESDAY = datetime(2026, 1, 6, 8, tzinfo=UTC)


def process_of(source: ListedSource) -> Process:
    numbers = itertools.count()
    world = World(
        source=source,
        blobs=MemoryBlobStore(),
        store=MemoryVectorStore(),
        witness=MemoryWitness(),
        new_id=lambda: f"id{next(numbers)}",
    )
    return world.process()


@pytest.fixture
def process() -> Process:
    source = ListedSource()
    source.upsert("text", "one", at=MONDAY, title="t", team="red")
    source.upsert("team", "same", at=MONDAY, title="t", team="red")
    source.upsert("same", "same", at=MONDAY, title="t", team="red")
    source.upsert("gone", "soon", at=MONDAY)
    source.upsert("emptied", "full", at=MONDAY)
    source.upsert("empty", "", at=MONDAY)
    source.upsert("text", "one, and two more chunks", at=TUESDAY, title="t", team="red")
    source.upsert("team", "same", at=TUESDAY, title="t", team="blue")
    source.upsert("same", "same", at=TUESDAY, title="t", team="red")
    source.delete("gone", at=TUESDAY)
    source.upsert("emptied", "", at=TUESDAY)
    source.delete("empty", at=TUESDAY)
    source.upsert("new", "new", at=TUESDAY)
    source.upsert("new and empty", "", at=TUESDAY)
    made = process_of(source)
    made.ingest()
    return made


def between(process: Process, a: str, b: str, *, limit: int = 100) -> Diff:
    return diff(process.history, process.point(a), process.point(b), limit=limit)


def test_a_diff_names_everything_once(process: Process) -> None:
    difference = between(process, "seq:6", "latest")
    assert difference.added == ("new", "new and empty")
    assert difference.removed == ("empty", "gone")
    assert difference.changed == (
        DocumentChange("emptied", text=True, vectors=True, fields=()),
        DocumentChange("team", False, False, (FieldChange("team", "red", "blue"),)),
        DocumentChange("text", text=True, vectors=True, fields=()),
    )
    assert (difference.added_total, difference.removed_total, difference.changed_total) == (2, 2, 3)
    assert (difference.unchanged, difference.equal) == (1, False)


def test_the_other_direction_is_the_mirror_image(process: Process) -> None:
    forth, back = between(process, "seq:6", "latest"), between(process, "latest", "seq:6")
    assert (back.added, back.removed) == (forth.removed, forth.added)
    assert [c.id for c in back.changed] == [c.id for c in forth.changed]
    assert back.changed[1].fields == (FieldChange("team", "blue", "red"),)
    assert (back.a, back.b) == (forth.b, forth.a)


def test_a_point_is_equal_to_itself_and_to_its_replay(process: Process) -> None:
    before = process.point()
    process.replay(MONDAY.date(), TUESDAY.date())
    difference = diff(process.history, before, process.point())
    assert difference.equal
    assert difference.unchanged == 6


def test_totals_are_exact_where_names_are_limited(process: Process) -> None:
    difference = between(process, "seq:6", "latest", limit=1)
    assert (difference.added, difference.removed) == (("new",), ("empty",))
    assert [c.id for c in difference.changed] == ["emptied"]
    assert (difference.added_total, difference.removed_total, difference.changed_total) == (2, 2, 3)


def test_vectors_alone_may_differ(process: Process) -> None:
    before = process.point()
    physical = process.store.aliases()[process.collection]
    (batch,) = process.store.scan(physical, documents=["same"])
    rows = pa.Table.from_batches([batch])
    place = rows.column_names.index("embedding")
    kind = rows.schema.field("embedding")
    rows = rows.set_column(place, kind, pa.array([[1.0, 0.0, 0.0, 0.0]], kind.type))
    process.store.write(physical, rows)
    process.backup()
    difference = diff(process.history, before, process.point())
    assert difference.changed == (DocumentChange("same", text=False, vectors=True, fields=()),)


@settings(max_examples=6, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["", "x", "yy", None])),
        min_size=2,
        max_size=10,
    )
)
def test_a_diff_agrees_with_a_dictionary(changes: list[tuple[str, str | None]]) -> None:
    source, states, documents = ListedSource(), list[dict[str, str]](), dict[str, str]()
    for id_, text in changes:
        if text is None:
            source.delete(id_, at=MONDAY)
            documents = {key: value for key, value in documents.items() if key != id_}
        else:
            source.upsert(id_, text, at=MONDAY)
            documents = documents | {id_: text}
        states.append(documents)
    process = process_of(source)
    process.ingest()
    middle = len(states) // 2
    before, after = states[middle - 1], states[-1]
    difference = between(process, f"seq:{middle}", "latest")
    assert set(difference.added) == set(after) - set(before)
    assert set(difference.removed) == set(before) - set(after)
    both = set(before) & set(after)
    assert {c.id for c in difference.changed} == {d for d in both if before[d] != after[d]}
    assert difference.unchanged == sum(before[d] == after[d] for d in both)
