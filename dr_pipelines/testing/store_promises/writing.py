"""A write replaces by id and by document, is refused whole, and can be repeated."""

# ruff: noqa: S101 - a suite is made of assertions

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.query import Mode, Query
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import VectorStore
from dr_pipelines.testing.store_promises.given import NAME, as_kept, filled
from dr_pipelines.testing.store_samples import (
    SPEC,
    contents,
    document,
    record,
    table,
)


def _changed(column: str, value: Any) -> Callable[[], pa.Table]:
    return lambda: table(record(), record("b", **{column: value}))


def _recast(column: str, type: pa.DataType) -> Callable[[], pa.Table]:
    def make() -> pa.Table:
        good = table(record())
        index = good.schema.get_field_index(column)
        return good.set_column(index, column, good.column(column).cast(type))

    return make


WRONG_BATCHES: tuple[Callable[[], pa.Table], ...] = (
    lambda: table(record()).drop_columns(["uri"]),
    lambda: table(record()).append_column("more", pa.array([1])),
    lambda: table(record()).select(list(reversed(store_schema(SPEC).names))),
    _recast("chunk_index", pa.int64()),
    _recast("year", pa.int32()),
    _recast("text", pa.large_string()),
    _recast("seen", pa.timestamp("us")),
    _recast("embedding", pa.list_(pa.float64(), 3)),
    _changed("id", None),
    _changed("document_id", None),
    _changed("chunk_index", None),
    _changed("id", record()["id"]),
    _changed("embedding", [1.0, None, 0.0]),
)


class Writing:
    """Which records are there after a write, and which are gone."""

    def test_an_empty_batch_changes_nothing(self, store: VectorStore) -> None:
        filled(store, record())
        store.write(NAME, table())
        assert contents(store) == as_kept(store, record())

    def test_a_write_replaces_by_id_and_leaves_the_rest(self, store: VectorStore) -> None:
        filled(store, *document("a", chunks=3), *document("b", chunks=2))
        store.write(NAME, table(record("a", 1, text="new"), record("c")))
        left = [record("a", 0), record("a", 1, text="new"), record("a", 2)]
        assert contents(store) == as_kept(store, *left, *document("b", chunks=2), record("c"))

    def test_other_records_of_replaced_documents_are_gone(self, store: VectorStore) -> None:
        filled(store, *document("a", chunks=3), *document("b", chunks=2), *document("c", chunks=1))
        store.write(NAME, table(record("a", 1, text="new")), replaces=["a", "b", "unknown"])
        assert contents(store) == as_kept(
            store, record("a", 1, text="new"), *document("c", chunks=1)
        )

    def test_an_empty_batch_that_replaces_is_a_deletion(self, store: VectorStore) -> None:
        filled(store, *document("a", chunks=3), *document("a#000001", chunks=1))
        store.write(NAME, table(), replaces=["a"])
        assert contents(store) == as_kept(store, *document("a#000001", chunks=1))
        assert store.status(NAME).records == 1

    def test_a_repeated_write_changes_nothing(self, store: VectorStore) -> None:
        filled(store, *document("a", chunks=3))
        store.build_index(NAME)
        for _ in range(2):
            store.write(NAME, table(*document("a", chunks=2)), replaces=["a"])
        assert contents(store) == as_kept(store, *document("a", chunks=2))
        assert store.status(NAME).records == 2
        hits = store.search(NAME, Query(mode=Mode.KEYWORD, text="chunk"), limit=9)
        assert [hit.id for hit in hits] == ["a#000000", "a#000001"]

    @pytest.mark.parametrize("number", range(len(WRONG_BATCHES)))
    def test_a_wrong_batch_is_refused_whole(self, store: VectorStore, number: int) -> None:
        filled(store, record("kept"))
        with pytest.raises(InvalidRequest, match=NAME):
            store.write(NAME, WRONG_BATCHES[number](), replaces=["kept"])
        assert contents(store) == as_kept(store, record("kept"))
