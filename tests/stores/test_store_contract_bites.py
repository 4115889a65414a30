"""Each broken store fails the suite, and at the test that is about its fault."""

import pytest

from dr_pipelines.stores.memory import MemoryVectorStore
from dr_pipelines.testing import broken_stores
from dr_pipelines.testing.broken_stores import BROKEN
from dr_pipelines.testing.store_contract import VectorStoreContract
from dr_pipelines.testing.suites import failing


def test_every_broken_store_is_listed() -> None:
    stores = {
        store
        for name, store in vars(broken_stores).items()
        if isinstance(store, type) and issubclass(store, MemoryVectorStore) and name[0] != "_"
    }
    assert stores - {MemoryVectorStore} == set(BROKEN)


def test_a_good_store_fails_nowhere() -> None:
    assert failing(VectorStoreContract, store=MemoryVectorStore) == set()


@pytest.mark.parametrize("store", BROKEN, ids=lambda store: store.__name__)
def test_a_broken_store_fails_where_it_breaks_its_promise(store: type[MemoryVectorStore]) -> None:
    caught = BROKEN[store]
    suite = type("Only", (), {caught: getattr(VectorStoreContract, caught)})
    assert failing(suite, store=store) == {caught}
