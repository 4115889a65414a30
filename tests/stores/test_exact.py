"""Exact answers from a scan are those of a plain computation, in whatever batches records come."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Metric,
    Vector,
)
from dr_pipelines.model.query import (
    Equals,
    Filter,
    Hit,
    Mode,
    Not,
    Query,
    Range,
    reciprocal_rank_fusion,
)
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.duckdb.store import duckdb_store
from dr_pipelines.stores.shared.exact import search_exactly, vector_scores
from dr_pipelines.stores.shared.requests import FUSED, checked_query
from dr_pipelines.testing.memory_store import MemoryVectorStore
from tests.stores.naive_filter import keeps

WIDTH = 3
SPEC = CollectionSpec(
    name="exact",
    vectors=tuple(Vector(name=metric.value, dimension=WIDTH, metric=metric) for metric in Metric),
    fields=(
        Field(name="product", type=FieldType.STRING),
        Field(name="year", type=FieldType.INTEGER),
    ),
)
SCHEMA = store_schema(SPEC)
Row = dict[str, Any]

COMPONENTS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0])
"""Few values: ties, zero vectors and equal components are common."""
VECTORS = st.lists(COMPONENTS, min_size=WIDTH, max_size=WIDTH)
WORDS = st.lists(st.sampled_from(["wolf", "Fox", "über", "42"]), max_size=4).map(" ".join)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.text(alphabet="ab#é\uffff\U0001f511", max_size=3),
            "text": st.none() | WORDS,
            "product": st.none() | st.sampled_from(["a", "b"]),
            "year": st.none() | st.integers(0, 2),
            "vector": st.none() | VECTORS,
        }
    ),
    unique_by=lambda row: row["id"],  # type: ignore[arg-type, return-value]
    max_size=12,
)
FILTERS: st.SearchStrategy[Filter | None] = st.sampled_from(
    [None, Equals("product", "a"), Not(Equals("product", "a")), Range("year", gte=1)]
)


def table(rows: Sequence[Row]) -> pa.Table:
    whole = [
        {
            "document_id": f"document of {row['id']}",
            "chunk_index": 0,
            **{name: row[name] for name in ("id", "text", "product", "year")},
            **{metric.value: row["vector"] for metric in Metric},
        }
        for row in rows
    ]
    return pa.Table.from_pylist(whole, schema=SCHEMA)


def naive_score(row: list[float], query: list[float], metric: Metric) -> float:
    pairs = list(zip(row, query, strict=True))
    dot = math.fsum(a * b for a, b in pairs)
    match metric:
        case Metric.DOT:
            return dot
        case Metric.COSINE:
            norms = math.hypot(*row) * math.hypot(*query)
            return dot / norms if norms else 0.0
        case Metric.L2:
            return -math.dist(row, query)
        case Metric.L1:
            return -math.fsum(abs(a - b) for a, b in pairs)
        case Metric.HAMMING:
            return -float(sum(a != b for a, b in pairs))
        case Metric.JACCARD:
            either = sum(a != 0 or b != 0 for a, b in pairs)
            return sum(a != 0 and b != 0 for a, b in pairs) / either - 1.0 if either else 0.0


def naive_nearest(rows: list[Row], query: list[float], metric: Metric) -> list[tuple[str, float]]:
    scored = [
        (row["id"], naive_score(row["vector"], query, metric)) for row in rows if row["vector"]
    ]
    return ranked(scored)


def naive_matching(
    rows: list[Row], terms: list[str], selected: list[Row]
) -> list[tuple[str, float]]:
    """Okapi BM25 by the book; statistics are those of the whole collection."""
    texts = {row["id"]: (row["text"] or "").lower().split() for row in rows}
    having = {key: words for key, words in texts.items() if words}
    if not having:
        return []
    average = sum(map(len, having.values())) / len(having)
    scores: dict[str, float] = {}
    for term in sorted(set(terms)):
        matching = [key for key, words in having.items() if term in words]
        weight = math.log(1 + (len(having) - len(matching) + 0.5) / (len(matching) + 0.5))
        for key in matching:
            often, length = having[key].count(term), len(having[key])
            norm = 1.2 * (1 - 0.75 + 0.75 * length / average)
            scores[key] = scores.get(key, 0.0) + weight * often * 2.2 / (often + norm)
    return ranked([(row["id"], scores[row["id"]]) for row in selected if row["id"] in scores])


def ranked(scored: list[tuple[str, float]]) -> list[tuple[str, float]]:
    return sorted(scored, key=lambda hit: (-hit[1], hit[0].encode()))


def pieces(rows: list[Row], places: list[int], columns: Sequence[str]) -> list[pa.RecordBatch]:
    """The records in consecutive batches, slices of one, some of them empty."""
    (whole,) = table(rows).combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], SCHEMA)]
    ends = [0, *sorted(place % (len(rows) + 1) for place in places), len(rows)]
    cut = [whole.slice(a, b - a) for a, b in itertools.pairwise(ends)]
    return [batch.select(columns) for batch in cut]


def same(actual: list[Hit], expected: list[tuple[str, float]], rows: list[Row], limit: int) -> None:
    """The same scores within rounding: records whose scores hardly differ may change places, and
    those whose scores are equal stand in order of id."""
    truth = dict(expected)
    best = [score for _, score in expected[:limit]]
    assert [hit.score for hit in actual] == pytest.approx(best, abs=1e-9)
    assert [hit.score for hit in actual] == pytest.approx([truth[h.id] for h in actual], abs=1e-9)
    assert actual == sorted(actual, key=lambda hit: (-hit.score, hit.id.encode()))
    texts = {row["id"]: row["text"] for row in rows}
    shown = {(hit.id, hit.document_id, hit.text) for hit in actual}
    assert shown == {(h.id, f"document of {h.id}", texts[h.id]) for h in actual}
    assert len(shown) == len(actual)


@settings(max_examples=60, deadline=None)
@given(
    rows=ROWS,
    order=st.randoms(use_true_random=False),
    places=st.lists(st.integers(0, 12), max_size=4),
    query=VECTORS,
    words=WORDS,
    metric=st.sampled_from(Metric),
    condition=FILTERS,
    limit=st.sampled_from([1, 2, 5, 100]),
)
def test_however_records_are_read_the_answer_is_the_naive_one(
    rows: list[Row],
    order: Any,
    places: list[int],
    query: list[float],
    words: str,
    metric: Metric,
    condition: Filter | None,
    limit: int,
) -> None:
    shown = [row for row in rows if condition is None or keeps(condition, row)]
    nearest = naive_nearest(shown, query, metric)
    matching = naive_matching(rows, words.lower().split(), shown)
    vector = np.array(query, np.float32)
    question = Query(Mode.VECTOR, words, vector, vector_name=metric.value, filter=condition)
    shuffled = list(rows)
    order.shuffle(shuffled)

    def hits(mode: Mode, limit: int) -> list[Hit]:
        request = checked_query(replace(question, mode=mode), SPEC, limit=limit, indexed=True)
        return search_exactly(lambda names: pieces(shuffled, places, names), request, limit=limit)

    same(hits(Mode.VECTOR, limit), nearest, rows, limit)
    same(hits(Mode.KEYWORD, limit), matching, rows, limit)
    rankings = [[hit.id for hit in hits(mode, FUSED)] for mode in (Mode.VECTOR, Mode.KEYWORD)]
    assert [(hit.id, hit.score) for hit in hits(Mode.HYBRID, limit)] == (
        reciprocal_rank_fusion(rankings)[:limit]
    )


@settings(max_examples=30, deadline=None)
@given(rows=ROWS, places=st.lists(st.integers(0, 12), max_size=4), words=WORDS, query=VECTORS)
def test_cuts_between_batches_change_no_bit_of_a_score(
    rows: list[Row], places: list[int], words: str, query: list[float]
) -> None:
    queries = Query(mode=Mode.KEYWORD, text=words), Query(vector=np.array(query, np.float32))
    for request in (checked_query(q, SPEC, limit=9, indexed=True) for q in queries):
        whole = search_exactly(lambda columns: pieces(rows, [], columns), request, limit=9)
        parts = search_exactly(lambda columns: pieces(rows, places, columns), request, limit=9)
        assert [(hit.id, hit.score.hex()) for hit in whole] == [
            (hit.id, hit.score.hex()) for hit in parts
        ]


def test_a_batch_without_any_word_is_no_hindrance() -> None:
    texts = [None, "", "wolf", "!", "a wolf"]
    rows = [
        {"id": f"{n}", "text": text, "product": None, "year": None, "vector": None}
        for n, text in enumerate(texts)
    ]
    query = checked_query(Query(mode=Mode.KEYWORD, text="Wolf"), SPEC, limit=9, indexed=True)
    hits = search_exactly(lambda columns: pieces(rows, [1, 2, 3, 4], columns), query, limit=9)
    assert [hit.id for hit in hits] == ["2", "4"]


@pytest.mark.parametrize("metric", Metric)
def test_scores_are_computed_in_double_precision(metric: Metric) -> None:
    matrix = np.random.default_rng(3).normal(0, 1e3, (50, 64)).astype(np.float32)
    matrix[0], matrix[1] = 0.0, np.float32(3e38)
    query = matrix[7]
    expected = [naive_score(row, query.tolist(), metric) for row in matrix.tolist()]
    assert vector_scores(matrix, query, metric).tolist() == pytest.approx(expected, rel=1e-12)


# The other exact stores

FIXED: list[Row] = [
    {
        "id": f"{number * 7919 % 60:02d}",
        "text": None,
        "product": [None, "a", "b"][number % 3],
        "year": [None, 0, 1, 2][number % 4],
        "vector": vector and list(vector),
    }
    for number, vector in enumerate(
        [None, *itertools.islice(itertools.product([0.0, -0.0, 1.0, -2.5], repeat=WIDTH), 59)]
    )
]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[VectorStore]:
    made: list[VectorStore] = [
        MemoryVectorStore(),
        duckdb_store(tmp_path_factory.mktemp("store")),
    ]
    for store in made:
        store.create(SPEC)
        store.write(SPEC.name, table(FIXED))
    return made


@settings(max_examples=5, deadline=None)
@given(query=VECTORS, condition=FILTERS, limit=st.sampled_from([3, 100]))
def test_the_embedded_store_gives_the_same_answers_for_every_metric(
    stores: list[VectorStore], query: list[float], condition: Filter | None, limit: int
) -> None:
    shown = [row for row in FIXED if condition is None or keeps(condition, row)]
    for metric, store in itertools.product(Metric, stores):
        question = Query(
            vector=np.array(query, np.float32), vector_name=metric.value, filter=condition
        )
        hits = store.search(SPEC.name, question, limit=limit)
        same(hits, naive_nearest(shown, query, metric), FIXED, limit)
