"""Every kind of vector index that an engine has: backed up, lost, built again, and searched by the
engine as well as before; where the engine's files were kept, by the same index as before."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.backup.native import keep_native
from dr_pipelines.backup.result import Terms
from dr_pipelines.backup.snapshot import backup
from dr_pipelines.live.live import Live
from dr_pipelines.model.collection import (
    CollectionSpec,
    Metric,
    Vector,
    VectorIndex,
)
from dr_pipelines.model.query import FloatArray, Query
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery import Recovery, Request, Route
from dr_pipelines.model.recovery_point import Timeline
from dr_pipelines.project import adapters
from dr_pipelines.protocols import VectorStore
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.recovery.run import recover
from dr_pipelines.repository.history import History
from dr_pipelines.repository.repository import Repository
from dr_pipelines.stores.shared.exact import vector_scores
from dr_pipelines.testing.world import OneAtATime
from tests.campaigns.graphs import SECTION, require_graph
from tests.campaigns.results import CAMPAIGN, record_result
from tests.engines import OpenStore
from tests.repository.builders import repository as new_repository

DIMENSION, DEPTH = 64, 10
RECORDS = CAMPAIGN.pick(short=1_000, long=20_000)
PROBES = CAMPAIGN.pick(short=50, long=500)
POINTS = CAMPAIGN.pick(short=0.05, long=0.005)  # of 500 neighbours, or of 5,000
GRAPH = {"m": 16, "ef_construction": 100}
LISTS = {"lists": 8}
ASKED: dict[str, dict[str, dict[str, Any]]] = {
    "pgvector": {"hnsw": GRAPH | {"ef_search": 80}, "ivf_flat": LISTS | {"probes": 4}},
    "qdrant": {"hnsw": GRAPH},
    "lancedb": {
        "ivf_flat": LISTS,
        "ivf_sq": LISTS,
        "ivf_pq": LISTS | {"sub_vectors": 32},
        "ivf_rq": LISTS,
        "ivf_hnsw_flat": LISTS | GRAPH,
        "ivf_hnsw_sq": LISTS | GRAPH,
        "ivf_hnsw_pq": LISTS | GRAPH | {"sub_vectors": 32},
    },
    "milvus": {
        "hnsw": GRAPH | {"ef_search": 80},
        "hnsw_sq": GRAPH | {"ef_search": 80, "sq_type": "SQ8"},
        "ivf_flat": LISTS | {"probes": 4},
        "ivf_sq8": LISTS | {"probes": 4},
    },
    "chroma": {"hnsw": GRAPH | {"ef_search": 80}},
}
"""Parameters that are not the engine's own defaults, by engine and kind."""
CLEARLY_WORSE = 0.9
TINY = {"m": 2, "ef_construction": 4}
WORST: dict[tuple[str, str], dict[str, Any]] = {
    ("pgvector", "hnsw"): TINY | {"ef_search": 1},
    ("qdrant", "hnsw"): TINY,
    ("lancedb", "ivf_hnsw_flat"): {"m": 4, "ef_construction": 4, "lists": 1},  # it takes no less
    ("milvus", "hnsw"): TINY | {"ef_search": 1},
    ("chroma", "hnsw"): TINY | {"ef_search": 1},
}
"""Graphs that hardly connect: answers that stay right do not come from them."""
LEAST = 0.6
"""Of every kind: equally bad before and after is no recovery."""
TRAINED = ("ivf_pq", "ivf_rq", "ivf_hnsw_pq")
"""Kinds whose codes are trained by chance: built anew they are another index, of other recall."""
CASES = [(engine, kind) for engine, kinds in ASKED.items() for kind in kinds]
SHORT = {("pgvector", "ivf_flat"), ("lancedb", "ivf_pq"), ("milvus", "hnsw"), ("qdrant", "hnsw")}


def spec_of(engine: str, kind: str, parameters: dict[str, Any]) -> CollectionSpec:
    index = VectorIndex(kind=kind, parameters=parameters)
    vector = Vector(dimension=DIMENSION, metric=Metric.L2, index=index)
    section = SECTION if engine in SECTION else {}
    return CollectionSpec(name="near@1", vectors=(vector,), keyword_index=False, engine=section)


def clustered(count: int, *, seed: int) -> FloatArray:
    centres = np.random.default_rng(1).normal(size=(100, DIMENSION))
    random = np.random.default_rng(seed)
    near = centres[random.integers(0, len(centres), count)]
    return (near + random.normal(0, 0.5, near.shape)).astype(np.float32)


def records_of(points: FloatArray, spec: CollectionSpec) -> pa.Table:
    ids = pa.array([f"{n:06d}" for n in range(len(points))])
    columns = {
        "id": ids,
        "document_id": ids,
        "chunk_index": pa.array(np.zeros(len(ids), np.int32)),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(points.ravel()), DIMENSION),
    }
    schema = store_schema(spec)
    rows = [columns.get(field.name, pa.nulls(len(ids), field.type)) for field in schema]
    return pa.table(rows, schema=schema)


def recall_of(store: VectorStore, name: str, points: FloatArray) -> float:
    """recall@10 of the engine's own search; the truth is computed here."""
    shared = 0
    for probe in clustered(PROBES, seed=3):
        truth = np.argsort(-vector_scores(points, probe, Metric.L2))[:DEPTH]
        hits = store.search(name, Query(vector=probe, exact=False), limit=DEPTH)
        shared += len({hit.id for hit in hits} & {f"{n:06d}" for n in truth})
    return shared / (PROBES * DEPTH)


def brought_back(repository: Repository, store: VectorStore, route: Route) -> Recovery:
    request = Request(
        collection="near",
        store="engine",
        route=route,
        into=f"near@{route}",
        accept_loss=True,
    )
    files = adapters.open_native(store)
    return recover(request, Resources(repository, store, "engine", OneAtATime(), native=files))


@pytest.mark.parametrize(
    ("engine", "kind"),
    [pytest.param(*c, marks=[] if c in SHORT else [pytest.mark.long]) for c in CASES],
)
def test_an_index_answers_as_well_as_before(engine: str, kind: str, open_store: OpenStore) -> None:
    first, repository = open_store(engine), new_repository()
    points = clustered(RECORDS, seed=2)
    spec = spec_of(engine, kind, ASKED[engine][kind])
    first.create(spec)
    first.write(spec.name, records_of(points, spec))
    first.build_index(spec.name)
    require_graph(first, spec.name, vectors=RECORDS)
    before = recall_of(first, spec.name, points)
    described = first.describe(spec.name)
    taken = backup(
        History(repository, "near"),
        live=Live(first, OneAtATime(), "near"),
        terms=Terms(adopt=Timeline(id=1, physical=spec.name, store="engine")),
    )
    assert taken.equal
    native = adapters.open_native(first)
    assert (native is not None) == (engine == "lancedb")
    if native is not None:
        keep_native(History(repository, "near"), store=first, native=native)

    again = open_store(engine)
    done = brought_back(repository, again, Route.LOAD)
    require_graph(again, done.plan.physical, vectors=RECORDS)
    after = recall_of(again, done.plan.physical, points)
    assert done.missing == ()
    index = again.describe(done.plan.physical).vectors[0].index
    assert index == described.vectors[0].index
    assert index is not None
    assert index.kind == kind
    assert min(before, after) >= LEAST
    if kind not in TRAINED:
        assert abs(before - after) <= POINTS
    figures = {"parameters": index.parameters, "before": before, "after": after}
    if native is not None:
        index_after = brought_back(repository, again, Route.NATIVE)
        figures["after_native"] = recall_of(again, index_after.plan.physical, points)
        assert figures["after_native"] == before
    unreported = [finding.part for finding in done.findings]
    record_result(
        f"engine-recall-{engine}-{kind}", records=RECORDS, unreported=unreported, **figures
    )


@pytest.mark.parametrize(("engine", "kind"), WORST)
def test_a_graph_that_hardly_connects_answers_badly(
    engine: str, kind: str, open_store: OpenStore
) -> None:
    """The control: the recall above is that of the graph, and falls with it."""
    store, points = open_store(engine), clustered(RECORDS, seed=2)
    spec = spec_of(engine, kind, WORST[engine, kind])
    store.create(spec)
    store.write(spec.name, records_of(points, spec))
    store.build_index(spec.name)
    require_graph(store, spec.name, vectors=RECORDS)
    recall = recall_of(store, spec.name, points)
    assert recall < CLEARLY_WORSE
    record_result(f"graph-control-{engine}", records=RECORDS, recall=recall)


def test_every_kind_is_asked_for() -> None:
    """A kind that an adapter learns is measured here as well."""
    from dr_pipelines.stores.lancedb.index import VECTOR_INDEXES
    from dr_pipelines.stores.milvus.index import SEARCHED_BY_LITE
    from dr_pipelines.stores.pgvector.vector_indexes import DEFAULTS

    all_kinds = {"pgvector": DEFAULTS, "lancedb": VECTOR_INDEXES, "milvus": SEARCHED_BY_LITE}
    without_parameters = {"autoindex", "sparse_inverted_index"}
    for engine, kinds in all_kinds.items():
        assert set(kinds) - without_parameters == set(ASKED[engine])
