"""The reference store keeps the contract, with a recording layer around it too."""

import pytest

from dr_pipelines.protocols import VectorStore
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.store_contract import VectorStoreContract
from dr_pipelines.testing.store_samples import CONFIGURED


class TestMemory(VectorStoreContract):
    engine = "memory"
    tuned = (CONFIGURED,)

    @pytest.fixture
    def store(self) -> VectorStore:
        return MemoryVectorStore()
