"""The reference store keeps the contract, with a recording layer around it too."""

from contextlib import AbstractContextManager

import pytest

from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.shared.driver import OpenCollection, Use
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.store_contract import VectorStoreContract
from dr_pipelines.testing.store_samples import CONFIGURED, SPEC


class TestMemory(VectorStoreContract):
    engine = "memory"
    tuned = (CONFIGURED,)

    @pytest.fixture
    def store(self) -> VectorStore:
        return MemoryVectorStore()


def test_what_comes_back_is_said_of_one_collection_that_is_opened_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not half of what an alias stood for, and half of what it stands for since."""
    store, opened = MemoryVectorStore(), list[str]()
    store.create(SPEC)
    store.promote(SPEC.name, alias="served")
    open_it = store.driver.opened

    def counting(name: str, use: Use) -> AbstractContextManager[OpenCollection]:
        opened.append(name)
        return open_it(name, use)

    monkeypatch.setattr(store.driver, "opened", counting)
    assert (store.compatibility("served"), opened) == ((), [SPEC.name])
