"""Rows of small segments lie packed beside their page: the same rows, in few requests."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import Damaged
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery_point import (
    Manifest,
    PackedRef,
    SegmentPageRef,
    SegmentRef,
    SourcePosition,
)
from dr_pipelines.repository import packed
from dr_pipelines.repository.codec import decode_table, encode_table
from dr_pipelines.repository.fold import fold
from dr_pipelines.repository.joined import packed_schema
from dr_pipelines.repository.manifests import read_manifest, write_manifest
from dr_pipelines.repository.packed import check_page, packed_records
from dr_pipelines.repository.record_places import record_places
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.rows import newest_rows
from dr_pipelines.repository.segments import write_segment
from dr_pipelines.testing.blob_faults import Recording, remove
from tests.repository.builders import SPEC, Version, gone, manifest, repository, rows_of


def written(home: Repository, versions: Sequence[Version], **more: object) -> SegmentRef:
    ref = write_segment(home, "books", rows_of(versions), spec=SPEC, kind="ingest", entry=9)
    return ref.model_copy(update=more)


def day_of_feed(number: int, *, documents: int = 1_000) -> list[Version]:
    """A day of a feed: a document with one or two records, sometimes a deletion beside it."""
    texts = tuple(f"text {number}.{piece}" for piece in range(1 + number % 2))
    one = Version(f"document {number % documents:03d}", number, texts, vector=(number, 1.0))
    return [one, gone(Version("deleted", number))] if number % 5 == 0 else [one]


def grown(home: Repository, refs: Sequence[SegmentRef]) -> Manifest:
    """A manifest that was written after each of some segments."""
    state = manifest()
    for ref in refs:
        state = state.model_copy(update={"segments": state.segments.plus([ref])})
        state = read_manifest(home, write_manifest(home, state), collection="books")
    return state


def recorded() -> Repository:
    return repository(Recording(MemoryBlobStore()))


def reads(home: Repository) -> int:
    """Requests that read since the last look."""
    assert isinstance(home.blobs, Recording)
    count = home.blobs.count("read")
    home.blobs.calls.clear()
    return count


def records(home: Repository, state: Manifest, until: SourcePosition | None = None) -> pa.Table:
    with fold(home, state, until=until) as folded:
        tables = list(newest_rows(folded))
    rows = pa.concat_tables(tables) if tables else store_schema(SPEC).empty_table()
    return rows.sort_by("id")


def first_page(state: Manifest) -> tuple[SegmentPageRef, PackedRef]:
    page = state.segments.pages[0]
    assert page.packed is not None
    return page, page.packed


@pytest.mark.parametrize("documents", [7, 1_000])
def test_packed_rows_are_those_of_the_segments(documents: int) -> None:
    home = recorded()
    refs = [written(home, day_of_feed(n, documents=documents)) for n in range(1, 78)]
    refs[3] = written(
        home,
        [Version("cut", 1, ("early", "late")), Version("cut", 8, ("beyond", "it", "all"))],
        until=SourcePosition(epoch=1, position=5),
    )
    state = grown(home, refs)
    assert [page.count for page in state.segments.pages] == [64, 8]
    assert records(home, state).equals(records(home, manifest(segments=refs)))
    half = SourcePosition(epoch=1, position=40)
    assert records(home, state, half).equals(records(home, manifest(segments=refs), half))
    for page in state.segments.pages:
        check_page(home, page, spec=SPEC)


def test_a_state_in_many_segments_is_read_in_few_requests() -> None:
    home = recorded()
    refs = [written(home, day_of_feed(n)) for n in range(1, 194)]
    costs = []
    for count in (65, 193):
        state = grown(home, refs[:count])
        with fold(home, state) as folded:
            reads(home)
            places = list(record_places(folded))
            for place in places:
                place.read(store_schema(SPEC).names)
        costs.append(reads(home))
        assert len(places) == count // 64 + 1  # pages of 64, and a segment
    assert costs == [2 * 2, 4 * 2]  # of each its rows and its vectors


def test_rows_are_read_without_vectors_where_no_column_of_theirs_is_asked_for() -> None:
    home = recorded()
    with fold(home, grown(home, [written(home, day_of_feed(n)) for n in range(8)])) as folded:
        reads(home)
        (place,) = record_places(folded)
        assert place.read(["document_id", "text"]).column_names == ["document_id", "text"]
    assert reads(home) == 1


def test_long_segments_are_stored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    home = repository()
    refs = [written(home, day_of_feed(n)) for n in range(8)]
    monkeypatch.setattr(packed, "PACKED_BYTES", sum(ref.stored_bytes for ref in refs) - 1)
    page = grown(home, refs).segments.pages[0]
    assert page.packed is None
    assert page.index is not None  # what is short of them still is


@pytest.mark.parametrize("which", ["rows", "vectors"])
def test_packed_rows_that_are_missing_are_damage(which: str) -> None:
    home = repository()
    state = grown(home, [written(home, day_of_feed(n)) for n in range(8)])
    _, beside = first_page(state)
    remove(home.blobs, beside.key if which == "rows" else beside.vectors[0].key)
    with pytest.raises(Damaged, match="is missing"):
        records(home, state)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda rows: rows.slice(0, rows.num_rows - 1), id="a row less"),
        pytest.param(lambda rows: pa.concat_tables([rows.slice(2), rows.slice(0, 2)]), id="order"),
        pytest.param(
            lambda rows: rows.set_column(
                rows.column_names.index("row"),
                "row",
                pa.array([1 << 62] * rows.num_rows, pa.int64()),
            ),
            id="places beyond any",
        ),
        pytest.param(
            lambda rows: rows.set_column(
                rows.column_names.index("text"),
                "text",
                pa.array(["another"] * rows.num_rows, pa.string()),
            ),
            id="another text",
        ),
    ],
)
def test_packed_rows_that_are_not_those_of_the_segments_are_found(change: object) -> None:
    home = repository()
    state = grown(home, [written(home, day_of_feed(n)) for n in range(8)])
    page, beside = first_page(state)
    rows = decode_table(home.fetch(beside), packed_schema(SPEC), what="packed")
    assert callable(change)
    forged = home.put("books/manifests/forger/0.parquet", encode_table(change(rows)))
    update = {**forged.model_dump(include={"key", "sha256", "size_bytes"})}
    other = page.model_copy(update={"packed": beside.model_copy(update=update)})
    with pytest.raises(Damaged):
        check_page(home, other, spec=SPEC)


@pytest.mark.parametrize("count", [0, 3])
def test_a_read_of_rows_that_are_not_packed_is_damage(count: int) -> None:
    home = repository()
    page, beside = first_page(grown(home, [written(home, day_of_feed(n)) for n in range(8)]))
    rows = decode_table(home.fetch(beside), packed_schema(SPEC), what="packed").slice(0, count)
    forged = home.put("books/manifests/forger/0.parquet", encode_table(rows))
    update = {**forged.model_dump(include={"key", "sha256", "size_bytes"})}
    other = page.model_copy(update={"packed": beside.model_copy(update=update)})
    numbers = np.array([7], np.int64), np.array([1], np.int64)
    with pytest.raises(Damaged, match="lacks rows"):
        packed_records(home, other, *numbers, spec=SPEC, columns=["text"])
