"""Records of an engine in any order come back in order of id, whatever has to be spilled."""

import gc
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Vector,
    VectorKind,
)
from dr_pipelines.model.record import store_schema
from dr_pipelines.stores.shared import sorting
from dr_pipelines.stores.shared.sorting import ascending, spooled

SPEC = CollectionSpec(
    name="sorted",
    vectors=(
        Vector(dimension=2),
        Vector(name="words", dimension=9, kind=VectorKind.SPARSE),
        Vector(name="tokens", dimension=2, kind=VectorKind.MULTI),
    ),
    fields=(Field(name="groups", type=FieldType.STRINGS),),
)
SCHEMA = store_schema(SPEC)
IDS = st.text(alphabet="ab#\u0301é\uffff\U0001f511", max_size=4)
MANY = st.lists(IDS, unique=True, max_size=40)
TINY = 1
"""A run for each batch."""


def batch(ids: list[str]) -> pa.RecordBatch:
    """Each record tells its id again in every kind of column."""
    rows = [
        {
            "id": key,
            "document_id": key,
            "chunk_index": len(key),
            "text": key or None,
            "groups": list(key),
            "embedding": [float(len(key)), -0.0],
            "words": {"indices": [len(key)], "values": [0.5]} if key else None,
            "tokens": [[float(n), 0.0] for n in range(len(key))],
        }
        for key in ids
    ]
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)


def cut(ids: list[str], places: list[int]) -> list[list[str]]:
    """The ids in consecutive pieces, some of them empty."""
    ends = [0, *sorted(place % (len(ids) + 1) for place in places), len(ids)]
    return [ids[a:b] for a, b in itertools.pairwise(ends)]


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@settings(max_examples=60, deadline=None)
@given(
    ids=MANY,
    places=st.lists(st.integers(0, 40), max_size=5),
    batch_rows=st.integers(1, 12),
    run_bytes=st.sampled_from([TINY, 3000, 2**20]),
    piece_bytes=st.sampled_from([1, 2**20]),
)
def test_any_batches_come_back_ascending_whole_and_of_the_asked_size(
    ids: list[str], places: list[int], batch_rows: int, run_bytes: int, piece_bytes: int
) -> None:
    given_ = [batch(piece) for piece in cut(ids, places)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sorting, "PIECE_BYTES", piece_bytes)
        batches = list(ascending(given_, schema=SCHEMA, batch_rows=batch_rows, run_bytes=run_bytes))
    whole, rest = divmod(len(ids), batch_rows)
    assert [len(piece) for piece in batches] == [batch_rows] * whole + [rest] * (rest > 0)
    ordered = batch(sorted(ids, key=str.encode))
    assert pa.Table.from_batches(batches, SCHEMA).equals(pa.Table.from_batches([ordered], SCHEMA))


def test_order_is_that_of_bytes_not_of_utf_16_or_of_a_language() -> None:
    ids = ["z", "é", "e\u0301", "A", "a", "\uffff", "🗝", "日本", "", "~", "a#10", "a#2", "a\0"]
    halves = [batch(ids[::2]), batch(ids[1::2])]
    (batches,) = ascending(halves, schema=SCHEMA, batch_rows=99, run_bytes=TINY)
    assert batches["id"].to_pylist() == [
        "", "A", "a", "a\0", "a#10", "a#2", "e\u0301", "z", "~", "é", "日本", "\uffff", "🗝",
    ]  # fmt: skip


def test_runs_are_merged_in_that_order_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """In UTF-16 the key comes before the last character of two bytes."""
    monkeypatch.setattr(sorting, "PIECE_BYTES", 1)
    runs = [batch(["\uffff", "\uffffa"]), batch(["🗝", "🗝a"])]
    batches = ascending(runs, schema=SCHEMA, batch_rows=99, run_bytes=TINY)
    assert [key for piece in batches for key in piece["id"].to_pylist()] == [
        "\uffff", "\uffffa", "🗝", "🗝a",
    ]  # fmt: skip


@pytest.mark.parametrize("batches", [[], [[]], [[], []]])
def test_nothing_gives_no_batch(batches: list[list[str]]) -> None:
    for run_bytes in (TINY, 2**20):
        given_ = [batch(piece) for piece in batches]
        assert list(ascending(given_, schema=SCHEMA, batch_rows=5, run_bytes=run_bytes)) == []


def test_slices_of_a_large_batch_are_sorted_as_what_they_show() -> None:
    whole = batch([f"{number:02d}" for number in range(20, 0, -1)])
    (batches,) = ascending([whole.slice(5, 3)], schema=SCHEMA, batch_rows=99)
    assert batches["id"].to_pylist() == ["13", "14", "15"]
    assert batches["tokens"].to_pylist() == [[[0.0, 0.0], [1.0, 0.0]]] * 3


def test_slices_of_a_large_batch_do_not_each_make_a_run(scratch: Path) -> None:
    whole = batch([f"{number:03d}" for number in range(200, 0, -1)])
    slices = [whole.slice(start, 1) for start in range(200)]
    batches = ascending(slices, schema=SCHEMA, batch_rows=1, run_bytes=whole.nbytes // 2)
    assert next(batches)["id"].to_pylist() == ["001"]
    assert 1 <= len(list(scratch.rglob("*.arrow"))) <= 2
    assert len(list(batches)) == 199


def test_what_was_spilled_is_gone_at_the_end(scratch: Path) -> None:
    spilled = []

    def batches() -> Iterator[pa.RecordBatch]:
        for number in range(4):
            yield batch([f"{number}"])
            spilled.append(sorted(path.name for path in scratch.rglob("*.arrow")))

    sorted_batches = ascending(batches(), schema=SCHEMA, batch_rows=1, run_bytes=TINY)
    assert list(scratch.iterdir()) == []
    assert len(list(sorted_batches)) == 4
    assert spilled[-1] == ["0.arrow", "1.arrow", "2.arrow", "3.arrow"]
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("how", ["closed", "forgotten"])
def test_what_was_spilled_is_gone_when_nobody_reads_on(scratch: Path, how: str) -> None:
    batches = [batch([f"{number}"]) for number in range(4)]
    sorted_batches = ascending(batches, schema=SCHEMA, batch_rows=1, run_bytes=TINY)
    assert next(sorted_batches)["id"].to_pylist() == ["0"]
    assert len(list(scratch.rglob("*.arrow"))) == 4
    if how == "closed":
        sorted_batches.close()  # type: ignore[attr-defined]
    del sorted_batches
    gc.collect()
    assert list(scratch.iterdir()) == []


def test_what_was_spilled_is_gone_when_the_engine_fails(scratch: Path) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield batch(["b"])
        yield batch(["a"])
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        list(ascending(batches(), schema=SCHEMA, batch_rows=1, run_bytes=TINY))
    assert list(scratch.iterdir()) == []


def test_a_collection_of_one_run_is_never_written(scratch: Path) -> None:
    batches = ascending([batch(["b", "a"])], schema=SCHEMA, batch_rows=1)
    assert next(batches)["id"].to_pylist() == ["a"]
    assert list(scratch.rglob("*.arrow")) == []
    batches.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("run_bytes", [TINY, 600, 2**20])
def test_a_spool_gives_the_same_batches_when_all_are_read(scratch: Path, run_bytes: int) -> None:
    given_, read = [batch([f"{n}", "a"]) for n in range(4, 0, -1)], list[int]()

    def batches() -> Iterator[pa.RecordBatch]:
        for number, each in enumerate(given_):
            read.append(number)
            yield each

    waiting = spooled(batches(), schema=SCHEMA, run_bytes=run_bytes)
    first = next(waiting)
    assert read == [0, 1, 2, 3]
    assert [first, *waiting] == given_
    assert list(scratch.iterdir()) == []


def test_a_spool_that_nobody_reads_on_leaves_nothing(scratch: Path) -> None:
    waiting = spooled([batch([f"{n}"]) for n in range(4)], schema=SCHEMA, run_bytes=TINY)
    next(waiting)
    assert len(list(scratch.rglob("*.arrow"))) == 1
    waiting.close()  # type: ignore[attr-defined]
    assert list(scratch.iterdir()) == []
