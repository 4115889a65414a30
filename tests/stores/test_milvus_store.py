"""Milvus collections keep the contract, in milvus-lite within this process and as a server.

No Milvus server can be had where these tests run: what is shown here is shown of milvus-lite, which
speaks the same protocol.
"""

from pathlib import Path

import pytest

from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.milvus import open_store
from dr_pipelines.testing.store_contract import VectorStoreContract
from tests.servers.milvus import MilvusServer
from tests.stores.milvus_samples import NATIVE, OWN

UNREPORTED = {
    OWN.name: frozenset(
        [
            "engine.milvus.consistency",
            "engine.milvus.grants",
            "engine.milvus.roles",
            "replicas",
            "vectors.embedding.index.ef_search",
            "vectors.picture.index.probes",
            "vectors.taxi.metric",
            "vectors.tokens.metric",
        ]
    ),
    NATIVE.name: frozenset(["engine.milvus.comments", "engine.milvus.consistency"]),
}
"""What milvus-lite forgets, parameters of searches, and metrics that only this package has."""


class TestMilvusLite(VectorStoreContract):
    engine = "milvus"
    scans_one_moment = False  # each page is read as of then
    tuned = (OWN, NATIVE)
    unreported = UNREPORTED
    many = 3_000

    @pytest.fixture
    def store(self, tmp_path: Path) -> VectorStore:
        return open_store(f"milvus+lite:{tmp_path / 'store'}", base=tmp_path)


@pytest.mark.long  # the same code over another channel
class TestMilvusServer(VectorStoreContract):
    engine = "milvus"
    scans_one_moment = False
    tuned = (OWN, NATIVE)
    unreported = UNREPORTED
    many = 3_000

    @pytest.fixture
    def store(self, milvus_server: MilvusServer) -> VectorStore:
        return open_store(milvus_server.url(milvus_server.new_database()), base=Path())
