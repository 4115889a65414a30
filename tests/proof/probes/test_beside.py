"""Golden queries, models, indexes, names and speed, beside the point."""

import base64
import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.embedders.hashing import HashingEmbedder
from dr_pipelines.model.canaries import Canaries
from dr_pipelines.model.collection import CollectionSpec, Metric, VectorIndex
from dr_pipelines.model.golden import GoldenQuery, GoldenSet
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.verdict import CheckName
from dr_pipelines.planning.verdict import judge
from dr_pipelines.proof.probes import Beside, Model, Target
from dr_pipelines.proof.probes.configuration import check_aliases, check_index
from dr_pipelines.proof.probes.latency import check_latency
from dr_pipelines.proof.probes.sample import Sample
from dr_pipelines.repository.state import State
from dr_pipelines.testing.memory_store import MemoryVectorStore
from tests.proof.probes import points

ROWS = points.records()


@pytest.fixture(scope="module")
def state() -> Iterator[State]:
    with points.point(ROWS) as folded:
        yield folded


@pytest.fixture(scope="module")
def target() -> Target:
    return points.restored(MemoryVectorStore(), ROWS)


def of(state: State, target: Target, name: CheckName, **beside: Any) -> points.Probed:
    return points.probed(state, target, only=(name,), beside=Beside(**beside))


def query(name: str, **changes: Any) -> GoldenQuery:
    usual = {"like": "d00003#000000", "must": ("d00009",), "limit": 100}
    return GoldenQuery.model_validate({"id": name, **usual, **changes})


def test_a_golden_query_that_fails_refuses_where_it_must_hold_and_warns_otherwise(
    state: State, target: Target
) -> None:
    golden = GoldenSet(
        v=1,
        queries=(
            query("fails", must=("d99999",), must_hold=True),
            query("warns", must=("d99999",)),
            query("holds", must=("d00009",), limit=100),
        ),
    )
    probes = of(state, target, "golden", golden=golden)
    assert [(f.id, f.gate) for f in probes.named("golden").findings] == [
        ("golden:fails", "refuses"),
        ("golden:warns", "warns"),
        ("golden:gone", "warns"),
    ]
    assert judge(probes.checks).outcome == "refused"


def test_golden_queries_whose_texts_nobody_embedded_are_said(state: State, target: Target) -> None:
    text = GoldenQuery(id="text", text="a river", must=("d00001",))
    check = of(state, target, "golden", golden=GoldenSet(v=1, queries=(query("holds"), text)))
    assert check.named("golden").limits == (
        "1 queries were not asked: there is no model to embed the queries with",
    )
    alone = of(state, target, "golden", golden=GoldenSet(v=1, queries=(text,)))
    assert alone.named("golden").skipped == "there is no model to embed the queries with"


def test_a_golden_query_that_fits_no_longer_is_a_finding_and_the_others_are_asked(
    state: State, target: Target
) -> None:
    unfit, gone = query("unfit", filter="nothing = 1"), query("gone", must_hold=True)
    gone = gone.model_copy(update={"like": "no such record"})
    golden = GoldenSet(v=1, queries=(query("holds"), unfit, gone))
    check = of(state, target, "golden", golden=golden).named("golden")
    gates = [(finding.id, finding.gate) for finding in check.findings]
    assert gates == [("golden:unfit", "warns"), ("golden:gone", "refuses")]
    assert check.looked_at == 3


TEXTS, QUERIES = ("a river bends", "the old mill"), ("where is the mill?",)


def recorded(embedder: HashingEmbedder) -> Canaries:
    def encoded(matrix: FloatArray) -> str:
        return base64.b64encode(matrix.astype("<f4").tobytes()).decode()

    return Canaries(
        embedder=embedder.provenance,
        environment=embedder.environment,
        at=datetime(2026, 1, 1, tzinfo=UTC),
        texts=TEXTS,
        queries=QUERIES,
        vectors=encoded(embedder.embed(TEXTS)),
        query_vectors=encoded(embedder.embed_queries(QUERIES)),
    )


class Turned(HashingEmbedder):
    """Another model of the same dimension."""

    def embed(self, texts: Sequence[str], **options: Any) -> FloatArray:
        return np.roll(super().embed(texts, **options), 1, axis=1)


class Unprompted(HashingEmbedder):
    """A model that reads queries after the prompt of documents."""

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        return np.roll(super().embed_queries(texts), 1, axis=1)


def embedded(*, half: bool = False) -> pa.Table:
    """The records with vectors of their texts, every other one by another model."""
    texts = ROWS["text"].to_pylist()
    vectors = HashingEmbedder(points.DIMENSION).embed(texts).copy()
    if half:
        vectors[::2] = Turned(points.DIMENSION).embed(texts[::2])
    return points.with_vectors(ROWS, vectors)


MODELS = [
    (HashingEmbedder, []),
    (Turned, ["canaries:texts", "canaries:queries"]),
    (Unprompted, ["canaries:queries"]),
]


@pytest.mark.parametrize(("kind", "findings"), MODELS)
def test_another_model_or_prompt_is_a_finding(
    kind: type[HashingEmbedder], findings: list[str]
) -> None:
    model = Model(kind(points.DIMENSION), recorded(HashingEmbedder(points.DIMENSION)))
    rows = embedded()
    with points.point(rows) as folded:
        target = points.restored(MemoryVectorStore(), rows)
        probes = of(folded, target, "canaries", model=model)
    assert probes.ids() == findings


def test_half_a_batch_by_another_model_is_a_finding() -> None:
    rows = embedded(half=True)
    with points.point(rows) as folded:
        target = points.restored(MemoryVectorStore(), rows)
        model = Model(HashingEmbedder(points.DIMENSION))
        probes = of(folded, target, "canaries", model=model)
    assert probes.ids() == ["canaries:stored"]
    assert probes.named("canaries").limits == ("no canaries were recorded for this model",)


def test_without_a_model_and_with_texts_that_were_embedded_after_others_it_is_said(
    state: State, target: Target
) -> None:
    assert of(state, target, "canaries").named("canaries").skipped is not None
    check = of(state, target, "canaries", model=Model(HashingEmbedder(points.DIMENSION)))
    words = "texts were embedded with something before them, which is not stored"
    assert words in check.named("canaries").limits


class Defaults(MemoryVectorStore):
    """An engine that builds its indexes by its own parameters."""

    def describe(self, name: str) -> CollectionSpec:
        spec = super().describe(name)
        index = VectorIndex(kind="hnsw", parameters={"m": 16, "ef_construction": 8})
        vectors = tuple(v.model_copy(update={"index": index}) for v in spec.vectors)
        return spec.model_copy(update={"vectors": vectors})


def test_other_parameters_of_an_index_are_a_finding(state: State, target: Target) -> None:
    assert of(state, target, "index").ids() == []
    assert of(state, target, "index").named("index").looked_at >= 4
    other = points.restored(Defaults(), ROWS)
    assert of(state, other, "index").ids() == ["index:vectors.embedding.index.ef_construction"]


def test_another_metric_refuses_and_other_parameters_warn(target: Target) -> None:
    vector = points.SPEC.vectors[0].model_copy(
        update={"metric": Metric.L2, "index": VectorIndex(kind="ivf_flat")}
    )
    check = check_index(points.SPEC.model_copy(update={"vectors": (vector,)}), target)
    assert [(finding.place, finding.gate) for finding in check.findings] == [
        ("vectors.embedding.metric", "refuses"),
        ("vectors.embedding.index", "warns"),
    ]


def test_an_index_that_was_not_built_is_a_finding() -> None:
    store = MemoryVectorStore()
    spec = points.SPEC.physical("notes@1")
    store.create(spec)
    check = check_index(spec, Target.of(store, "notes@1"))
    assert [finding.id for finding in check.findings] == ["index:not-built"]


def test_a_name_that_stands_for_something_else_is_a_finding() -> None:
    store = MemoryVectorStore()
    first = points.restored(store, ROWS.slice(0, 2))
    store.create(points.SPEC.physical("notes@2"))
    store.promote("notes@2", alias="notes")
    store.promote("notes@1", alias="others")
    store.targets["lost"] = "notes@0"
    check = check_aliases(("notes", "others", "missing"), first)
    assert [(finding.place, finding.gate) for finding in check.findings] == [
        ("missing", "refuses"),
        ("notes", "refuses"),
        ("lost", "warns"),
    ]
    assert check_aliases((), first).skipped == "the collection is not served under a name yet"


def timed(*, ours: float, theirs: float) -> Any:
    """A timer of two collections that are asked in turns, each beginning every other time."""
    first, second = itertools.cycle([theirs, ours, ours, theirs]), itertools.count()
    now = 0.0

    def read() -> float:
        nonlocal now
        now += next(first) if next(second) % 2 else 0.0
        return now

    return read


@pytest.mark.parametrize(
    ("ours", "most", "gates"),
    [(1.0, None, []), (3.0, None, ["warns"]), (3.0, 2.5, ["refuses"]), (3.0, 4.0, [])],
)
def test_a_collection_that_is_slower_than_the_served_one_warns_or_refuses_by_a_bound(
    target: Target, ours: float, most: float | None, gates: list[str]
) -> None:
    sample = Sample(ROWS, len(ROWS), len(ROWS))
    check = check_latency(sample, target, target, most=most, timer=timed(ours=ours, theirs=1.0))
    assert [finding.gate for finding in check.findings] == gates
    assert check.figures["ratio"] == pytest.approx(ours)
    assert check.looked_at == 50


def test_without_a_served_collection_there_is_no_ratio(state: State, target: Target) -> None:
    check = of(state, target, "latency").named("latency")
    assert check.skipped == "no served collection to compare with"
