"""Servers of the stores under test, each started once, on loopback, on first use."""

from collections.abc import Iterator

import pytest

from tests.servers.chroma import ChromaServer, running_chroma
from tests.servers.milvus import MilvusServer, running_milvus
from tests.servers.pgvector import Server, running_postgres


@pytest.fixture(scope="session")
def chroma_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaServer]:
    """A real Chroma server; tests keep apart by their databases."""
    with running_chroma(tmp_path_factory.mktemp("chroma")) as server:
        yield server


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    """milvus-lite as a server; tests keep apart by their databases."""
    with running_milvus(tmp_path_factory.mktemp("milvus")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres16() -> Iterator[Server]:
    """PostgreSQL 16 with pgvector; tests keep apart by their schemas."""
    with running_postgres(16) as server:
        yield server
