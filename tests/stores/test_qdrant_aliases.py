"""Readers follow an alias that moves under them; a damaged one keeps nobody from the rest."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dr_pipelines.errors import Damaged, NotFound, Unavailable
from dr_pipelines.model.query import Query
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.qdrant import open_store
from dr_pipelines.stores.qdrant.edge_shards import Shards, _Slot
from dr_pipelines.stores.qdrant.store import QdrantDriver
from dr_pipelines.stores.shared.driver_store import DriverStore
from dr_pipelines.testing.store_samples import (
    SPEC,
    contents,
    document,
    expected,
    record,
    table,
    vector,
)

OLD, NEW = SPEC.physical("handbook@1", origin="1"), SPEC.physical("handbook@2", origin="2")
ROWS = {OLD.name: document("old", chunks=2), NEW.name: document("new", chunks=3)}
QUERY = Query(vector=vector(1, 0, 0))


@pytest.fixture(params=["edge", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> DriverStore[QdrantDriver]:
    store = open_store(f"qdrant+{request.param}:{tmp_path}", base=tmp_path)
    for spec in (OLD, NEW):
        store.create(spec)
        store.write(spec.name, table(*ROWS[spec.name], spec=spec))
        store.build_index(spec.name)
    store.promote(OLD.name, alias="handbook")
    assert isinstance(store, DriverStore)
    return store


def switch(store: VectorStore) -> None:
    store.promote(NEW.name, alias="handbook")
    store.drop(OLD.name)


READS: dict[str, Callable[[VectorStore], Any]] = {
    "describe": lambda store: store.describe("handbook").name == NEW.name,
    "status": lambda store: store.status("handbook").records == 3,
    "change_token": lambda store: store.change_token("handbook") is None,
    "scan": lambda store: contents(store, "handbook") == expected(*ROWS[NEW.name]),
    "search": lambda store: (
        {h.document_id for h in store.search("handbook", QUERY, limit=9)} == {"new"}
    ),
}


def test_who_asks_for_what_is_not_there_is_told_what_is(store: VectorStore) -> None:
    for call in (lambda: store.describe("lost"), lambda: store.promote("lost", alias="other")):
        with pytest.raises(NotFound, match="no collection 'lost'; there are: handbook@1, hand"):
            call()


def test_one_alias_is_followed_without_reading_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    assert isinstance(store, DriverStore)
    store.create(OLD)
    for alias in ("handbook", "other", "third"):
        store.promote(OLD.name, alias=alias)
    read, read_bytes = list[str](), Path.read_bytes

    def seen(path: Path) -> bytes:
        read.append(path.name)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", seen)
    assert store.driver.aliases.target("handbook") == OLD.name
    assert read == ["handbook.alias"]


@pytest.mark.parametrize("read", READS)
def test_a_reader_follows_an_alias_whose_old_collection_goes(
    store: DriverStore[QdrantDriver], monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    driver = store.driver.variant
    opened = driver.opened

    def late(name: str) -> Any:
        if name == OLD.name:  # it was resolved; now it moves
            monkeypatch.setattr(driver, "opened", opened)
            switch(store)
        return opened(name)

    monkeypatch.setattr(driver, "opened", late)
    assert READS[read](store)
    assert store.collections() == [NEW.name]


def test_a_scan_follows_an_alias_until_its_first_batch(store: DriverStore[QdrantDriver]) -> None:
    batches = store.scan("handbook", columns=["id"])
    switch(store)
    ids = [row["id"] for batch in batches for row in batch.to_pylist()]
    assert ids == [row["id"] for row in expected(*ROWS[NEW.name])]
    gone = store.scan(NEW.name)
    store.create(OLD)
    store.promote(OLD.name, alias="handbook")
    store.drop(NEW.name)
    with pytest.raises(NotFound):
        next(gone)  # a collection is no other collection


@pytest.mark.parametrize("damage", [b"", b"no/name", b"\xff\xfe"])
def test_a_damaged_alias_stands_in_nobody_s_way(tmp_path: Path, damage: bytes) -> None:
    store = open_store(f"qdrant+edge:{tmp_path}", base=tmp_path)
    store.create(OLD)
    store.promote(OLD.name, alias="handbook")
    store.promote(OLD.name, alias="broken")
    (tmp_path / "broken.alias").write_bytes(damage)
    assert store.describe("handbook").aliases == ("handbook",)
    store.create(NEW)
    store.write(NEW.name, table(record("new", 0), spec=NEW))
    store.build_index(NEW.name)
    store.promote(NEW.name, alias="handbook")
    assert store.status("handbook").records == 1
    for call in (store.aliases, lambda: store.status("broken"), lambda: store.drop(OLD.name)):
        with pytest.raises(Damaged, match=r"broken\.alias"):  # it may stand for what is dropped
            call()
    assert OLD.name in store.collections()
    store.promote(NEW.name, alias="broken")
    assert store.aliases() == {"broken": NEW.name, "handbook": NEW.name}
    store.drop(OLD.name)
    assert store.collections() == [NEW.name]


class _TooLate:
    """A lock whose waiter's time is up just before its holder hands over."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._leave = leave
        self.release = self._lock.release

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if blocking and self._lock.locked():
            self._leave()
            return False
        return self._lock.acquire(blocking, timeout)


def test_a_shard_that_nobody_waits_for_any_more_is_closed(tmp_path: Path) -> None:
    open_store(f"qdrant+edge:{tmp_path}", base=tmp_path).create(SPEC)
    shards, opened, left = Shards(tmp_path, wait_seconds=5), threading.Event(), threading.Event()

    def hold() -> None:
        with shards.opened(SPEC.name):
            opened.set()
            left.wait()

    holder = threading.Thread(target=hold)

    def leave() -> None:
        left.set()
        holder.join()

    slot: Any = _Slot()
    slot.lock = _TooLate(leave)
    shards._slots[SPEC.name] = slot
    holder.start()
    opened.wait()
    try:
        with shards.opened(SPEC.name):
            pass
    except Unavailable:
        pass
    assert (slot.shard, slot.descriptor) == (None, None)
    with Shards(tmp_path, wait_seconds=0).opened(SPEC.name):
        pass
