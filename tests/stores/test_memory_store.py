"""The reference store keeps the contract, with a recording layer around it too."""

import pytest

from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.memory import MemoryVectorStore
from dr_pipelines.testing.store_contract import VectorStoreContract


class TestMemory(VectorStoreContract):
    @pytest.fixture
    def store(self) -> VectorStore:
        return MemoryVectorStore()
