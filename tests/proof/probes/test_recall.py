"""An index that answers otherwise than exact search is found; the exact answers are right."""

from collections.abc import Iterator

import numpy as np
import pytest

from dr_pipelines.model.collection import Metric
from dr_pipelines.model.query import Hit, Query
from dr_pipelines.model.verdict import CheckName
from dr_pipelines.planning.recall import Null
from dr_pipelines.proof.probes import Beside
from dr_pipelines.proof.probes.nearest import Ranking, nearest
from dr_pipelines.proof.probes.recall import jaccard, rank_biased_overlap
from dr_pipelines.repository.state import State
from dr_pipelines.stores.shared.exact import vector_scores
from dr_pipelines.testing.memory_store import MemoryVectorStore
from tests.engines import OpenStore
from tests.proof.probes import points

ROWS = points.records()
ONLY: tuple[CheckName, ...] = ("recall", "overlap")


@pytest.fixture(scope="module")
def state() -> Iterator[State]:
    with points.point(ROWS) as folded:
        yield folded


@pytest.mark.parametrize("metric", list(Metric))
def test_the_exact_answers_to_many_queries_are_those_of_one_query_at_a_time(metric: Metric) -> None:
    vector = points.SPEC.vectors[0].model_copy(update={"metric": metric})
    stored = points.matrix(ROWS)
    stored[7] = 0
    queries = points.matrix(points.records(6, seed=2))
    batches = points.with_vectors(ROWS, stored).to_batches(max_chunksize=50)
    for ranking, query in zip(nearest(batches, queries, vector, limit=12), queries, strict=True):
        scores = vector_scores(stored, query, metric)
        assert ranking.scores == pytest.approx(np.sort(scores)[::-1][:12])
        places = [ROWS["id"].to_pylist().index(key) for key in ranking.ids]
        assert scores[places] == pytest.approx(ranking.scores)


@pytest.mark.parametrize("engine", ["lancedb", "memory"])
def test_a_sound_index_raises_no_alarm(state: State, open_store: OpenStore, engine: str) -> None:
    probes = points.probed(state, points.restored(open_store(engine), ROWS), only=ONLY)
    assert probes.ids() == []
    assert probes.named("recall").looked_at == 2 * len(ROWS)
    assert probes.named("recall").figures["embedding.recall"] > 0.99
    assert probes.named("overlap").figures["embedding.rbo"] > 0.98


class Coarse(MemoryVectorStore):
    """An engine whose index misses some of the nearest records."""

    every = 4

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        hits = super().search(name, query, limit=2 * limit)
        return [hit for n, hit in enumerate(hits, start=1) if n % self.every][:limit]


def test_an_index_that_misses_neighbours_is_a_finding(state: State) -> None:
    probes = points.probed(state, points.restored(Coarse(), ROWS), only=ONLY)
    assert probes.ids() == ["recall:embedding"]
    assert probes.named("recall").figures["embedding.recall"] == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(
    ("null", "gate"),
    [(Null(), "warns"), (Null(recall=0.99, tolerance=0.02, measured=20), "refuses")],
)
def test_recall_refuses_only_where_sound_rebuilds_were_measured(
    state: State, null: Null, gate: str
) -> None:
    """A sound index of rounded vectors has a recall of 0.8: nobody may be kept from such a one."""
    target = points.restored(Coarse(), ROWS)
    probes = points.probed(state, target, only=("recall",), beside=Beside(null=null))
    assert [finding.gate for finding in probes.named("recall").findings] == [gate]


def test_recall_refuses_where_every_search_is_exact() -> None:
    vector = points.SPEC.vectors[0].model_copy(update={"index": None})
    spec = points.SPEC.model_copy(update={"vectors": (vector,)})
    with points.point(ROWS, spec=spec) as state:
        target = points.restored(Coarse(), ROWS, spec=spec)
        check = points.probed(state, target, only=("recall",)).named("recall")
    assert [finding.gate for finding in check.findings] == ["refuses"]


class Uneven(MemoryVectorStore):
    """An engine that misses one neighbour in ten, here more and there fewer."""

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        assert query.vector is not None
        fewer = int(abs(float(query.vector[0])) * 1000) % 3
        return super().search(name, query, limit=limit)[: limit - fewer]


def test_a_recall_that_cannot_be_told_from_too_little_is_a_finding(state: State) -> None:
    null = Null(recall=0.9 + 1e-9, tolerance=1e-9, measured=20)
    probes = points.probed(
        state, points.restored(Uneven(), ROWS), only=("recall",), beside=Beside(null=null)
    )
    assert probes.ids() == ["recall:embedding/undecided"]
    assert null.source in probes.named("recall").limits[0]


class Scaled(MemoryVectorStore):
    """An engine that scores by another metric."""

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        hits = super().search(name, query, limit=limit)
        return [Hit(h.id, h.document_id, 2 * h.score, h.text) for h in hits]


def test_scores_of_another_metric_are_a_finding(state: State) -> None:
    probes = points.probed(state, points.restored(Scaled(), ROWS), only=ONLY)
    assert probes.ids() == ["overlap:embedding/drift"]


def ranking(*ids: str) -> Ranking:
    return Ranking(ids, np.arange(len(ids), 0, -1).astype(np.float64))


def hits(*ids: str) -> list[Hit]:
    return [Hit(key, key, 0.0) for key in ids]


@pytest.mark.parametrize(
    ("theirs", "overlap", "order"),
    [
        ("abcd", 1.0, 1.0),
        ("abce", 0.6, 0.9475 * 0.75 / 0.75),
        ("wxyz", 0.0, 0.0),
    ],
)
def test_overlap_of_rankings(theirs: str, overlap: float, order: float) -> None:
    assert jaccard(ranking(*"abcd"), hits(*theirs)) == pytest.approx(overlap)
    measured = rank_biased_overlap(ranking(*"abcd"), hits(*theirs))
    assert measured == pytest.approx(order, abs=0.13)


def test_order_counts_in_rank_biased_overlap() -> None:
    exact = ranking(*"abcdefghij")
    top, bottom = hits(*"bacdefghij"), hits(*"abcdefghji")
    assert rank_biased_overlap(exact, top) < rank_biased_overlap(exact, bottom) < 1.0


def test_more_equal_vectors_than_a_ranking_holds_are_no_damage() -> None:
    """Sixty records at one place: whichever ten come are right, and others are not."""
    vectors = points.matrix(ROWS)
    vectors[:60] = vectors[0]
    rows = points.with_vectors(ROWS, vectors)
    with points.point(rows) as state:
        sound = points.restored(MemoryVectorStore(), rows.sort_by([("id", "descending")]))
        assert points.probed(state, sound, only=ONLY).ids() == []
        moved = points.with_vectors(rows, np.roll(vectors, 60, axis=0))
        damaged = points.restored(MemoryVectorStore(), moved)
        assert "recall:embedding" in points.probed(state, damaged, only=ONLY).ids()


def test_a_hit_beyond_a_ranking_of_equals_counts_by_its_score() -> None:
    equals = Ranking(("a", "b", "c"), np.array([1.0, 1.0, 1.0]))
    hits = [Hit("x", "x", 1.0), Hit("y", "y", 0.5), Hit("a", "a", 1.0)]
    assert equals.right(hits, 2, tolerance=1e-4) == {"x", "a"}
    apart = Ranking(("a", "b", "c"), np.array([1.0, 0.9, 0.5]))
    assert apart.right(hits, 2, tolerance=1e-4) == {"a"}
