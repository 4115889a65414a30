"""An alias reads like its collection, and switches in one step."""

# ruff: noqa: S101 - a suite is made of assertions

import threading
import time
from collections.abc import Callable
from typing import ClassVar

import pytest

from dr_pipelines.errors import (
    AlreadyExists,
    InvalidRequest,
    NotFound,
    Refused,
)
from dr_pipelines.model.query import Query
from dr_pipelines.protocols import VectorStore
from dr_pipelines.testing.store_promises.given import (
    NAME,
    OTHER,
    as_kept,
    filled,
)
from dr_pipelines.testing.store_samples import (
    SPEC,
    contents,
    document,
    record,
    table,
    vector,
)

SWITCHES = 100
PATIENCE_SECONDS = 30.0
"""How long an alias is switched while it is read: so often, and until readers saw both
collections."""


class Aliases:
    """The promises of `promote`, above all to readers that do not wait for it."""

    scans_one_moment: ClassVar[bool]

    def test_an_alias_reads_like_its_collection(self, store: VectorStore) -> None:
        filled(store, record())
        store.promote(NAME, alias="handbook")
        assert store.aliases() == {"handbook": NAME}
        assert store.collections() == [NAME]
        assert store.describe("handbook") == store.describe(NAME)
        assert store.describe("handbook").name == NAME
        assert store.status("handbook").records == 1
        assert contents(store, "handbook") == as_kept(store, record())
        assert len(store.search("handbook", Query(vector=vector(1, 0, 0)), limit=3)) == 1

    def test_writes_name_the_collection_not_the_alias(self, store: VectorStore) -> None:
        filled(store, record())
        store.promote(NAME, alias="handbook")
        calls: tuple[Callable[[], object], ...] = (
            lambda: store.write("handbook", table(record("b"))),
            lambda: store.drop("handbook"),
            lambda: store.build_index("handbook"),
            lambda: store.promote("handbook", alias="other"),
        )
        for call in calls:
            with pytest.raises(NotFound):
                call()
        assert contents(store) == as_kept(store, record())

    def test_a_collection_that_is_served_is_not_dropped(self, store: VectorStore) -> None:
        filled(store, record())
        store.create(OTHER)
        store.promote(NAME, alias="handbook")
        with pytest.raises(Refused, match="handbook"):
            store.drop(NAME)
        assert contents(store, "handbook") == as_kept(store, record())
        store.promote(OTHER.name, alias="handbook")
        store.drop(NAME)
        assert store.collections() == [OTHER.name]

    def test_a_name_is_an_alias_or_a_collection(self, store: VectorStore) -> None:
        plain = SPEC.physical("plain")
        store.create(SPEC)
        store.create(plain)
        with pytest.raises(AlreadyExists):
            store.promote(NAME, alias="plain")
        store.promote(NAME, alias="handbook")
        with pytest.raises(AlreadyExists):
            store.create(SPEC.physical("handbook"))
        with pytest.raises(InvalidRequest):
            store.promote(NAME, alias="../handbook")
        assert store.aliases() == {"handbook": NAME}

    def test_a_reader_never_sees_an_alias_absent_or_half_switched(self, store: VectorStore) -> None:
        filled(store, *document("old", chunks=3))
        filled(store, *document("new", chunks=3), spec=OTHER)
        for name in (NAME, OTHER.name):
            store.build_index(name)
        store.promote(NAME, alias="handbook")
        done, seen = threading.Event(), set[tuple[str | None, frozenset[str]]]()
        old, new = frozenset(["old"]), frozenset(["new"])
        query = Query(vector=vector(1, 0, 0), exact=False)

        def read() -> None:
            while not done.is_set():
                try:
                    hits = store.search("handbook", query, limit=3)
                    documents = frozenset(hit.document_id for hit in hits)
                    seen.add((store.aliases().get("handbook"), documents))
                except NotFound as error:
                    seen.add((str(error), frozenset()))

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        switched, deadline = 0, time.monotonic() + PATIENCE_SECONDS
        while switched < SWITCHES or {documents for _, documents in seen.copy()} < {old, new}:
            store.promote((OTHER.name, NAME)[switched % 2], alias="handbook")
            switched += 1
            if switched >= SWITCHES and time.monotonic() > deadline:
                break
        done.set()
        for reader in readers:
            reader.join()
        wrong = [s for s in seen if s[0] not in (NAME, OTHER.name) or s[1] not in (old, new)]
        assert wrong == []
        assert {documents for _, documents in seen} == {old, new}, (
            "readers were to see both collections"
        )

    def test_an_alias_outlives_what_it_stood_for(self, store: VectorStore) -> None:
        filled(store, record("old"))
        store.build_index(NAME)
        store.promote(NAME, alias="handbook")
        done, wrong, seen = threading.Event(), list[str](), set[str]()
        query = Query(vector=vector(1, 0, 0))

        def read() -> None:
            while not done.is_set():
                try:
                    seen.update(hit.document_id for hit in store.search("handbook", query, limit=1))
                    if self.scans_one_moment:  # else what is dropped in the middle is gone
                        seen.update(row["document_id"] for row in contents(store, "handbook"))
                    store.describe("handbook")
                    store.status("handbook")
                except NotFound as error:
                    wrong.append(str(error))

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for number in range(1000):
            if number >= 6 and seen == {"old", "new"}:
                break
            old, new = ((NAME, OTHER.name), (OTHER.name, NAME))[number % 2]
            filled(store, record("new" if new == OTHER.name else "old"), spec=SPEC.physical(new))
            store.build_index(new)
            store.promote(new, alias="handbook")
            store.drop(old)
        done.set()
        for reader in readers:
            reader.join()
        assert wrong == []
        assert seen == {"old", "new"}
