"""The embedded store keeps the contract."""

from pathlib import Path

import pytest

from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.duckdb import DuckDBVectorStore
from dr_pipelines.testing.store_contract import VectorStoreContract


class TestDuckDB(VectorStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> VectorStore:
        return DuckDBVectorStore(tmp_path / "store", wait_seconds=5)
