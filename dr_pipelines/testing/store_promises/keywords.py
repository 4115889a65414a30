"""Keywords rank by BM25, and a hybrid search fuses them with what is near."""

# ruff: noqa: S101 - a suite is made of assertions

from dataclasses import replace

import pytest

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.query import Mode, Query, reciprocal_rank_fusion
from dr_pipelines.protocols import VectorStore
from dr_pipelines.testing.store_promises.given import BM25, NAME, filled
from dr_pipelines.testing.store_samples import (
    SPEC,
    record,
    table,
    texts,
    vector,
)


class Keywords:
    """The promises of keyword search, alone and combined with a vector."""

    def test_keywords_rank_by_bm25(self, store: VectorStore) -> None:
        filled(store, *texts())
        store.build_index(NAME)
        hits = store.search(NAME, Query(mode=Mode.KEYWORD, text="Wolf, fox"), limit=10)
        assert [(int(hit.id[-6:]), round(hit.score, 6)) for hit in hits] == BM25
        assert store.search(NAME, Query(mode=Mode.KEYWORD, text="zebra !"), limit=10) == []
        best = store.search(NAME, Query(mode=Mode.KEYWORD, text="über 42"), limit=1)
        assert [int(hit.id[-6:]) for hit in best] == [2]

    def test_keywords_follow_later_writes(self, store: VectorStore) -> None:
        filled(store, record("t", 6, text="wolf"), record("u", text="fox"))
        store.build_index(NAME)
        store.write(NAME, table(*texts()), replaces=["u"])
        hits = store.search(NAME, Query(mode=Mode.KEYWORD, text="Wolf, fox"), limit=10)
        assert [(int(hit.id[-6:]), round(hit.score, 6)) for hit in hits] == BM25

    def test_hybrid_fuses_both_rankings(self, store: VectorStore) -> None:
        filled(store, *texts())
        store.build_index(NAME)
        both = Query(mode=Mode.HYBRID, text="wolf", vector=vector(0, 1, 0))
        rankings = [
            [hit.id for hit in store.search(NAME, replace(both, mode=mode), limit=100)]
            for mode in (Mode.VECTOR, Mode.KEYWORD)
        ]
        fused = store.search(NAME, both, limit=2)
        assert [(hit.id, hit.score) for hit in fused] == reciprocal_rank_fusion(rankings)[:2]

    def test_keywords_without_an_index_are_refused(self, store: VectorStore) -> None:
        bare = SPEC.physical("bare").model_copy(update={"keyword_index": False})
        store.create(SPEC)
        store.create(bare)
        store.build_index("bare")
        for name in (NAME, "bare"):
            with pytest.raises(InvalidRequest, match=name):
                store.search(name, Query(mode=Mode.KEYWORD, text="wolf"), limit=1)
