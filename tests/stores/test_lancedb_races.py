"""Two users of one LanceDB store at the same time: writers, a compaction, a switch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.model.query import Mode, Query
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.lancedb import open_store, writes
from dr_pipelines.stores.lancedb.store import LanceDriver
from dr_pipelines.testing.store_samples import (
    SPEC,
    contents,
    document,
    expected,
    table,
)
from tests.stores.lancedb_samples import INDEXED, indexed_rows


@pytest.fixture
def store(tmp_path: Path) -> VectorStore:
    return open_store("lance:tables", base=tmp_path)


def before_first(
    patch: pytest.MonkeyPatch, owner: object, name: str, other: Callable[[], object]
) -> None:
    """Let `other` happen when a function is first called, before it does anything."""
    called, real = list[str](), getattr(owner, name)

    def late(*args: Any, **options: Any) -> Any:
        if not called:
            called.append(name)
            other()
        return real(*args, **options)

    patch.setattr(owner, name, late)


def unmarked(store: VectorStore, directory: Path) -> None:
    """A table of ours whose key is not marked, as those of users are."""
    store.create(SPEC)
    (path,) = directory.glob("tables/*.lance")
    schema = lance.dataset(path).schema
    for file in path.rglob("*"):
        if file.is_file():
            file.unlink()
    bare = pa.schema([f.with_metadata(None) for f in schema], metadata=schema.metadata)
    lance.write_dataset(bare.empty_table(), path)


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("build", [True, False])
@pytest.mark.parametrize("before", [0, 1])
def test_two_writers_of_one_document_leave_that_of_the_last(
    store: VectorStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    marked: bool,
    build: bool,
    before: int,
) -> None:
    if marked:
        store.create(SPEC)
    else:
        unmarked(store, tmp_path)
    rows_kept = document("kept", chunks=before)
    store.write(SPEC.name, table(*rows_kept))
    if build:
        store.build_index(SPEC.name)
    first, last = document("a", chunks=5), document("a", chunks=3)

    def other() -> None:
        open_store("lance:tables", base=tmp_path).write(SPEC.name, table(*first), replaces=["a"])

    before_first(monkeypatch, writes, "merge", other)
    store.write(SPEC.name, table(*last), replaces=["a"])
    rows = contents(store)
    ids = [row["id"] for row in rows]
    assert len(ids) == len(set(ids))
    if marked:
        assert rows == expected(*last, *rows_kept)
    store.write(SPEC.name, table(*last), replaces=["a"])
    assert contents(store) == expected(*last, *rows_kept)


def test_a_write_mends_an_id_that_is_there_twice(store: VectorStore, tmp_path: Path) -> None:
    unmarked(store, tmp_path)
    rows = document("a", chunks=2)
    store.write(SPEC.name, table(*rows))
    (path,) = tmp_path.glob("tables/*.lance")
    lance.write_dataset(lance.dataset(path).to_table(), path, mode="append")
    store.write(SPEC.name, table(*rows))
    assert contents(store) == expected(*rows)


def test_a_row_that_a_compaction_moves_is_removed(
    store: VectorStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tables" / "theirs.lance"
    for number in range(4):
        vector = pa.array([[number, 2]], pa.list_(pa.float32(), 2))
        row = pa.table({"item": [str(number)], "v": vector})
        lance.write_dataset(row, path, mode="append" if number else "create")
    near = Query(vector=np.array([2, 2], np.float32))
    doomed = store.search("theirs", near, limit=1)[0].id
    read = pa.Table.from_batches(store.scan("theirs"))

    def compact() -> None:
        lance.dataset(path).optimize.compact_files()

    before_first(monkeypatch, writes, "delete_rows", compact)
    store.write("theirs", read.slice(0, 0), replaces=[doomed])
    assert lance.dataset(path).to_table().column("item").to_pylist() == ["0", "1", "3"]


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.search("served", Query(vector=np.ones(32, np.float32)), limit=9),
        lambda store: store.search(
            "served", Query(mode=Mode.KEYWORD, text="word", exact=False), limit=9
        ),
        lambda store: [row for batch in store.scan("served") for row in batch.to_pylist()],
        lambda store: store.describe("served").origin,
        lambda store: store.status("served").records,
        lambda store: store.change_token("served"),
    ],
    ids=["exact", "keyword", "scan", "describe", "status", "change_token"],
)
@pytest.mark.parametrize("moment", ["opening", "reading"])
def test_a_reader_follows_an_alias_that_moves(
    store: VectorStore,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    call: Callable[[VectorStore], Any],
) -> None:
    switch = switching(store)
    if moment == "opening":
        before_first(monkeypatch, LanceDriver, "newest", switch)
    else:
        opened = LanceDriver.open_dataset
        calls = list[str]()

        def early(self: LanceDriver, name: str, **options: Any) -> Any:
            answer = opened(self, name, **options)
            if not calls:
                calls.append(name)
                switch()
            return answer

        monkeypatch.setattr(LanceDriver, "open_dataset", early)
    answer = call(store)
    assert store.collections() == ["clustered@2"]
    if moment == "opening":  # else the old one may have answered
        assert answer == call(store)


def test_a_scan_that_has_not_begun_follows_an_alias(store: VectorStore) -> None:
    switch = switching(store)
    batches = store.scan("served", batch_rows=2)
    switch()
    assert sum(batch.num_rows for batch in batches) == 7
    assert store.status("served").records == 7


def switching(store: VectorStore) -> Callable[[], None]:
    """Two collections, of 5 records and of 7: what moves the alias to the second, and drops the
    first."""
    for number, count in ((1, 5), (2, 7)):
        spec = INDEXED.physical(f"clustered@{number}", origin=f"origin-{number}")
        store.create(spec)
        store.write(spec.name, indexed_rows(count))
        store.build_index(spec.name)
    store.promote("clustered@1", alias="served")

    def switch() -> None:
        store.promote("clustered@2", alias="served")
        store.drop("clustered@1")

    return switch
