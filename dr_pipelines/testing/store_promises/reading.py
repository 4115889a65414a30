"""The promises to a backup: every record in order, their number, and a token that changes with
them."""

# ruff: noqa: S101 - a suite is made of assertions

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from dr_pipelines.errors import InvalidRequest, NotFound
from dr_pipelines.model.collection import CollectionStatus
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import VectorStore
from dr_pipelines.testing.store_promises.given import (
    NAME,
    ODD_IDS,
    as_kept,
    filled,
)
from dr_pipelines.testing.store_samples import (
    SPEC,
    contents,
    document,
    record,
    table,
)

BOTH = pytest.mark.parametrize("ordered", [True, False], ids=["ordered", "in any order"])


class Reading:
    """The promises of `scan`, `status` and `change_token`, under a writer too."""

    scans_one_moment: ClassVar[bool]
    many: ClassVar[int]

    def test_a_scan_ascends_bytewise(self, store: VectorStore) -> None:
        rows = [record("d", n, id=odd) for n, odd in enumerate(ODD_IDS)]
        filled(store, *rows[::2])
        store.write(NAME, table(*rows[1::2]))
        assert contents(store) == as_kept(store, *rows)

    @pytest.mark.parametrize("rows", [1, 2, 7, 8192, 100_000])
    def test_a_scan_is_complete_in_batches_of_any_size(self, store: VectorStore, rows: int) -> None:
        filled(store, *document("a", chunks=7))
        for ordered in (True, False):
            batches = list(store.scan(NAME, batch_rows=rows, ordered=ordered))
            assert pa.Table.from_batches(batches, schema=store_schema(SPEC)).num_rows == 7
            assert all(0 < batch.num_rows <= rows for batch in batches)

    def test_a_scan_in_any_order_gives_the_same_records(self, store: VectorStore) -> None:
        rows = [record("d", n, id=odd) for n, odd in enumerate(ODD_IDS)]
        filled(store, *rows[::2])
        store.write(NAME, table(*rows[1::2], *document("e", chunks=3)), replaces=["d", "e"])
        store.write(NAME, table(rows[3], record("f")), replaces=["e"])
        assert _by_id(contents(store, ordered=False)) == contents(store)
        assert [row["id"] for row in contents(store, columns=["id"])] == sorted(
            [*ODD_IDS[1::2], record("f")["id"]], key=str.encode
        )

    def test_a_scan_of_many_ranges_is_complete_and_ordered(self, store: VectorStore) -> None:
        many = self.many
        rows = [record(f"d{n * 7919 % many:05d}", picture=None, raw=None) for n in range(many)]
        filled(store, *rows[: many // 2 + 1])
        store.write(NAME, table(*rows[many // 2 + 1 :]))
        ids = [row["id"] for row in contents(store, columns=["id"])]
        assert ids == sorted(row["id"] for row in rows)
        lying = [row["id"] for row in contents(store, columns=["id"], ordered=False)]
        assert sorted(lying) == ids

    @BOTH
    def test_a_scan_gives_the_columns_asked_for_in_their_order(
        self, store: VectorStore, ordered: bool
    ) -> None:
        filled(store, *document("a", chunks=3))
        (batch,) = store.scan(NAME, columns=["seen", "id", "embedding"], ordered=ordered)
        schema = store_schema(SPEC)
        assert batch.schema == pa.schema([schema.field(n) for n in ("seen", "id", "embedding")])
        texts_only = [row["text"] for row in contents(store, columns=["text"], ordered=ordered)]
        assert sorted(texts_only) == [f"chunk {n} of a" for n in range(3)]
        assert texts_only == sorted(texts_only) or not ordered

    def test_a_scan_has_the_schema_of_the_collection(self, store: VectorStore) -> None:
        filled(store, record())
        for ordered in (True, False):
            (batch,) = store.scan(NAME, ordered=ordered)
            assert batch.schema == store_schema(SPEC)

    @pytest.mark.parametrize("columns", [[], ["unknown"], ["id", "id"]])
    def test_columns_that_cannot_be_are_refused(
        self, store: VectorStore, columns: list[str]
    ) -> None:
        filled(store, record())
        for ordered in (True, False):
            with pytest.raises(InvalidRequest):
                list(store.scan(NAME, columns=columns, ordered=ordered))

    def test_a_scan_of_documents_gives_only_theirs(self, store: VectorStore) -> None:
        filled(store, *(row for n in range(9) for row in document(f"d{n}", chunks=3)))
        documents = [f"x{n}" for n in range(10_000)] + ["d7", "d2", "d2"]
        rows = contents(store, documents=documents, batch_rows=4)
        assert rows == as_kept(store, *document("d2", chunks=3), *document("d7", chunks=3))
        assert _by_id(contents(store, documents=documents, ordered=False)) == rows
        assert contents(store, documents=[]) == []
        assert contents(store, documents=[], ordered=False) == []

    @BOTH
    def test_a_scan_does_not_see_what_is_written_during_it(
        self, store: VectorStore, ordered: bool
    ) -> None:
        before = [row for n in range(6) for row in document(f"d{n}", chunks=1)]
        filled(store, *before)
        scan = store.scan(NAME, batch_rows=2, ordered=ordered)
        seen = next(scan).to_pylist()
        store.write(NAME, table(record("d1", 0, text="new"), record("d9")), replaces=["d0", "d4"])
        seen += [row for batch in scan for row in batch.to_pylist()]
        texts = [(row["id"], row["text"]) for row in seen]
        untouched = [row for row in before if row["document_id"] not in ("d0", "d1", "d4")]
        after = [record("d1", 0, text="new"), *untouched, record("d9")]
        if self.scans_one_moment:
            assert sorted(texts) == [(row["id"], row["text"]) for row in before]
            assert texts == sorted(texts) or not ordered
        else:
            assert set(texts) >= {(row["id"], row["text"]) for row in untouched}
            assert set(texts) <= {(row["id"], row["text"]) for row in (*before, *after)}
            assert len({key for key, _ in texts}) == len(texts)
        assert contents(store) == as_kept(store, *after)

    def test_a_scan_under_a_writer_gives_whole_records(self, store: VectorStore) -> None:
        filled(store, *document("still", chunks=20), *document("busy", chunks=5))
        done = threading.Event()

        def write() -> None:
            for number in range(1, 10**6):
                if done.is_set():
                    return
                rows = [record("busy", n, text=f"{number}", uri=f"{number}") for n in range(5)]
                store.write(NAME, table(*rows), replaces=["busy"])

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write)
            try:
                scans = [contents(store, batch_rows=3, ordered=n % 2 == 0) for n in range(10)]
            finally:
                done.set()
            writing.result()
        still = as_kept(store, *document("still", chunks=20))
        for seen in scans:
            assert _by_id([row for row in seen if row["document_id"] == "still"]) == still
            busy = [row for row in seen if row["document_id"] == "busy"]
            assert all(row["text"] == row["uri"] or row["uri"] == "file:///busy" for row in busy)
            assert len({row["id"] for row in busy}) == len(busy)
            if self.scans_one_moment:
                assert (len(busy), len({row["uri"] for row in busy})) == (5, 1)

    @BOTH
    def test_a_scan_that_is_closed_lets_go(self, store: VectorStore, ordered: bool) -> None:
        filled(store, *document("a", chunks=5))
        scan = store.scan(NAME, batch_rows=1, ordered=ordered)
        next(scan)
        close = getattr(scan, "close", None)
        if close is not None:
            close()
        store.drop(NAME)
        assert store.collections() == []

    def test_a_status_counts_what_is_there(self, store: VectorStore) -> None:
        store.create(SPEC)
        before = store.status(NAME)
        assert before == CollectionStatus(records=0, indexed=False, size_bytes=before.size_bytes)
        store.write(NAME, table(*document("a", chunks=3)))
        store.build_index(NAME)
        store.build_index(NAME)
        after = store.status(NAME)
        assert after == CollectionStatus(records=3, indexed=True, size_bytes=after.size_bytes)
        assert after.size_bytes > 0

    def test_a_change_token_is_equal_while_nothing_changes(self, store: VectorStore) -> None:
        filled(store, record("a"))
        seen = [store.change_token(NAME)]
        contents(store)
        assert store.change_token(NAME) == seen[0]
        for row in (record("b"), record("b", text="other")):
            store.write(NAME, table(row))
            seen.append(store.change_token(NAME))
        store.drop(NAME)
        filled(store, record("c"))
        store.write(NAME, table(record("d")))
        seen.append(store.change_token(NAME))
        store.write(NAME, table(record("d", text="another")))
        seen.append(store.change_token(NAME))
        assert set(seen) == {None} or len(set(seen)) == len(seen)
        with pytest.raises(NotFound):
            store.change_token("unknown")


def _by_id(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: str(row["id"]).encode())
