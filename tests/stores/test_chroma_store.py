"""Embedded Chroma keeps the contract."""

from pathlib import Path

import pytest

from dr_pipelines.model.collection import (
    CollectionSpec,
    Metric,
    Vector,
    VectorIndex,
)
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.chroma import open_store
from dr_pipelines.testing.store_contract import VectorStoreContract
from dr_pipelines.testing.store_samples import SPEC

TUNED = CollectionSpec(
    name="tuned",
    vectors=(
        Vector(
            dimension=3,
            metric=Metric.DOT,
            index=VectorIndex(
                kind="hnsw", parameters={"m": 24, "ef_construction": 77, "ef_search": 55}
            ),
        ),
    ),
    engine={
        "chroma": {
            "configuration": {
                "num_threads": 1,
                "batch_size": 33,
                "sync_threshold": 66,
                "resize_factor": 1.5,
            },
            "functions": {
                "embedding": {"type": "known", "name": "unheard-of", "config": {"model": "é"}}
            },
            "properties": {"owner": "é", "hot": True, "level": 3, "share": 0.25},
        }
    },
)

FIRST, *OTHERS = SPEC.vectors
UNREPORTED = {
    SPEC.name: frozenset(
        [
            f"vectors.{FIRST.name}",  # its dimension, until there is a record
            *(f"vectors.{v.name}{part}" for v in OTHERS for part in ("", ".metric", ".dtype")),
            *(f"fields.{field.name}" for field in SPEC.fields),
            "keyword_index",
        ]
    ),
    TUNED.name: frozenset(["vectors.embedding", "keyword_index"]),
}
"""Chroma has one vector a record and declares no columns."""


class TestEmbeddedChroma(VectorStoreContract):
    engine = "chroma"
    scans_one_moment = False
    tuned = (TUNED,)
    unreported = UNREPORTED
    many = 2500

    @pytest.fixture
    def store(self, tmp_path: Path) -> VectorStore:
        self._base = tmp_path
        return open_store("chroma+local:store", base=tmp_path)

    def reopened(self, store: VectorStore) -> VectorStore:
        return open_store("chroma+local:store", base=self._base)
