"""The in-memory store keeps the contract, with every harmless layer around it too."""

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.protocols import BlobStore
from dr_pipelines.testing.blob_contract import BlobStoreContract
from dr_pipelines.testing.blob_faults import LostAnswers, Recording


class TestMemory(BlobStoreContract):
    @pytest.fixture
    def blobs(self) -> BlobStore:
        return MemoryBlobStore()


class TestLayers(BlobStoreContract):
    """A recording, and lost answers with none left to lose."""

    @pytest.fixture
    def blobs(self) -> BlobStore:
        return Recording(LostAnswers(MemoryBlobStore(), times=0))
