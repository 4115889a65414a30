"""A search gives the nearest, exactly or as the engine's own index finds them."""

# ruff: noqa: S101 - a suite is made of assertions

from dataclasses import replace
from typing import Any

import pytest

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import CollectionSpec, Metric, Vector
from dr_pipelines.model.query import Mode, Query
from dr_pipelines.protocols import VectorStore
from dr_pipelines.testing.store_promises.given import (
    NAME,
    ODD_IDS,
    filled,
    of_vectors,
    usual,
)
from dr_pipelines.testing.store_samples import (
    document,
    record,
    table,
    vector,
)


class Searching:
    """Which hits come, with which scores, in which order."""

    def test_nearest_by_cosine(self, store: VectorStore) -> None:
        rows = {"same": [2, 0, 0], "near": [1, 1, 0], "far": [0, 1, 0], "against": [-3, 0, 0]}
        vectors = rows | {"zero": [0, 0, 0], "none": None}
        filled(store, *(record(name, embedding=v) for name, v in vectors.items()))
        hits = store.search(NAME, Query(vector=vector(5, 0, 0)), limit=10)
        assert [hit.document_id for hit in hits] == ["same", "near", "far", "zero", "against"]
        assert [hit.score for hit in hits] == pytest.approx([1, 0.5**0.5, 0, 0, -1], abs=1e-6)
        zero = store.search(NAME, Query(vector=vector(0, 0, 0)), limit=2)
        assert [(hit.document_id, hit.score) for hit in zero] == [("against", 0), ("far", 0)]

    @pytest.mark.parametrize("metric", [Metric.DOT, Metric.L2])
    def test_nearest_by_dot_product_and_by_distance(
        self, store: VectorStore, metric: Metric
    ) -> None:
        name = "raw" if metric is Metric.DOT else "picture"
        points: dict[str, Any] = {
            "a": [3.0, 4.0],
            "b": [6.0, 8.0],
            "c": [0.0, 0.0],
            "d": [3.0, 4.0],
            "e": None,
        }
        filled(store, *(record(key) | {name: point} for key, point in points.items()))
        query = Query(vector=vector(3, 4), vector_name=name)
        hits = [(hit.document_id, hit.score) for hit in store.search(NAME, query, limit=9)]
        if metric is Metric.DOT:
            assert hits == [("b", 50), ("a", 25), ("d", 25), ("c", 0)]
        else:
            assert hits == [("a", 0), ("d", 0), ("b", -5), ("c", -5)]

    def test_a_search_gives_the_best_and_no_more_than_asked(self, store: VectorStore) -> None:
        filled(store, *document("a", chunks=20))
        query = Query(vector=vector(1, 7), vector_name="raw")
        hits = store.search(NAME, query, limit=3)
        assert [hit.id for hit in hits] == ["a#000019", "a#000018", "a#000017"]
        assert [hit.text for hit in hits] == [f"chunk {n} of a" for n in (19, 18, 17)]
        assert len(store.search(NAME, query, limit=100)) == 20

    def test_ties_are_broken_by_id(self, store: VectorStore) -> None:
        filled(store, *(record("d", n, id=odd, raw=[1, 1]) for n, odd in enumerate(ODD_IDS)))
        query = Query(vector=vector(1, 1), vector_name="raw")
        ordered = sorted(ODD_IDS, key=str.encode)
        for limit in (4, 100):
            hits = store.search(NAME, query, limit=limit)
            assert [hit.id for hit in hits] == ordered[:limit]

    def test_an_empty_collection_answers_nothing(self, store: VectorStore) -> None:
        filled(store)
        store.build_index(NAME)
        for mode in Mode:
            query = Query(mode=mode, text="wolf", vector=vector(1, 0, 0))
            assert store.search(NAME, query, limit=5) == []
        assert list(store.scan(NAME)) == []

    def test_a_search_that_cannot_be_is_refused(self, store: VectorStore) -> None:
        filled(store, record())
        good = vector(1, 0, 0)
        for query, limit in (
            (Query(), 1),
            (Query(vector=good), 0),
            (Query(vector=vector(1, 0)), 1),
            (Query(vector=vector(1, float("nan"), 0)), 1),
            (Query(vector=good, vector_name="unknown"), 1),
            (Query(mode=Mode.KEYWORD), 1),
            (Query(mode=Mode.HYBRID, text="a"), 1),
        ):
            with pytest.raises(InvalidRequest):
                store.search(NAME, query, limit=limit)

    @pytest.mark.parametrize("metric", list(Metric)[:3])
    def test_the_engine_finds_what_is_near(self, store: VectorStore, metric: Metric) -> None:
        points = usual(300)
        spec = CollectionSpec(name="near", vectors=(Vector(dimension=3, metric=metric),))
        filled(store, spec=spec)
        store.write("near", of_vectors(spec, points))
        store.build_index("near")
        recalled = 0
        for point in usual(20, seed=5):
            exact = Query(vector=point)
            truth = {hit.id: hit for hit in store.search("near", exact, limit=10)}
            hits = store.search("near", replace(exact, exact=False), limit=10)
            scores = [hit.score for hit in hits]
            assert scores == sorted(scores, reverse=True)
            right = [hit for hit in hits if hit.id in truth]
            assert [hit.score for hit in right] == pytest.approx(
                [truth[hit.id].score for hit in right], rel=0.02, abs=0.02
            )
            assert {(hit.document_id, hit.text) for hit in hits} == {("d", None)}
            recalled += len(right)
        assert recalled >= 0.9 * 200

    def test_the_engine_follows_later_writes(self, store: VectorStore) -> None:
        filled(store, *document("a", chunks=3), *document("b", chunks=2))
        store.build_index(NAME)
        store.write(NAME, table(record("b", 1, text="other"), record("c")), replaces=["a"])
        for mode in Mode:
            query = Query(mode=mode, text="chunk other", vector=vector(1, 0, 0), exact=False)
            hits = store.search(NAME, query, limit=10)
            assert {(hit.id, hit.text) for hit in hits} == {
                ("b#000000", "chunk 0 of b"),
                ("b#000001", "other"),
                ("c#000000", "chunk 0 of c"),
            }, mode
