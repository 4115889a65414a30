"""Collections are made, found again by another process, and dropped."""

# ruff: noqa: S101 - a suite is made of assertions

from collections.abc import Callable
from typing import ClassVar

import pytest

from dr_pipelines.errors import AlreadyExists, NotFound
from dr_pipelines.model.query import Mode, Query
from dr_pipelines.protocols import VectorStore
from dr_pipelines.testing.store_promises.given import (
    BM25,
    NAME,
    OTHER,
    as_kept,
    filled,
)
from dr_pipelines.testing.store_samples import (
    SPEC,
    contents,
    record,
    table,
    texts,
    vector,
)


class Lifecycle:
    """Which collections there are, and what becomes of a name."""

    engine: ClassVar[str]

    def reopened(self, store: VectorStore) -> VectorStore:
        """The same store as another process opens it."""
        raise NotImplementedError

    def test_a_store_says_what_it_is(self, store: VectorStore) -> None:
        name, _, version = store.engine.partition(" ")
        assert (name, bool(version)) == (self.engine, True)

    def test_a_new_store_is_empty(self, store: VectorStore) -> None:
        assert (store.collections(), store.aliases()) == ([], {})

    def test_creating_again_keeps_the_records(self, store: VectorStore) -> None:
        filled(store, record())
        store.create(SPEC)
        assert contents(store) == as_kept(store, record())

    def test_another_specification_under_a_taken_name_is_refused(self, store: VectorStore) -> None:
        filled(store, record())
        other = SPEC.model_copy(update={"origin": None})
        with pytest.raises(AlreadyExists, match=NAME):
            store.create(other)
        assert store.describe(NAME).origin == SPEC.origin
        assert contents(store) == as_kept(store, record())

    def test_a_dropped_collection_is_gone_and_its_name_is_free(self, store: VectorStore) -> None:
        filled(store, record())
        store.create(OTHER)
        store.drop(NAME)
        assert store.collections() == [OTHER.name]
        with pytest.raises(NotFound):
            store.describe(NAME)
        store.create(SPEC)
        assert contents(store) == []

    def test_what_does_not_exist_is_not_found_by_any_call(self, store: VectorStore) -> None:
        store.create(OTHER)
        query = Query(vector=vector(1, 0, 0))
        calls: tuple[Callable[[], object], ...] = (
            lambda: store.describe(NAME),
            lambda: store.status(NAME),
            lambda: list(store.scan(NAME)),
            lambda: store.search(NAME, query, limit=1),
            lambda: store.write(NAME, table(record())),
            lambda: store.build_index(NAME),
            lambda: store.promote(NAME, alias="handbook"),
            lambda: store.describe("../" + OTHER.name),
        )
        for call in calls:
            with pytest.raises(NotFound):
                call()
        store.drop(NAME)
        assert (store.collections(), store.aliases()) == ([OTHER.name], {})

    def test_the_next_process_finds_everything(self, store: VectorStore) -> None:
        filled(store, *texts())
        store.build_index(NAME)
        store.create(OTHER)
        store.promote(NAME, alias="handbook")
        described, token = store.describe(NAME), store.change_token(NAME)
        again = self.reopened(store)
        assert again.collections() == [NAME, OTHER.name]
        assert again.aliases() == {"handbook": NAME}
        assert (again.describe("handbook"), again.change_token("handbook")) == (described, token)
        assert contents(again, "handbook") == as_kept(again, *texts())
        hits = again.search("handbook", Query(mode=Mode.KEYWORD, text="Wolf, fox"), limit=10)
        assert [(int(hit.id[-6:]), round(hit.score, 6)) for hit in hits] == BM25
        again.create(SPEC)
        again.write(NAME, table(), replaces=["t"])
        assert contents(again, "handbook") == []
