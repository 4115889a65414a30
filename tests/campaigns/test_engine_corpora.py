"""Real corpora through every engine: served from it, backed up from it, lost, brought back and
switched to; documents, specification, filters, tenants, principals and the quality of answers are
as before.

Short: the first days of the rustsec feed and hashed vectors. Long: all of it and all of SciFact
with its judged queries, by the real model, embedded once.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from benchmarks import scifact
from benchmarks.corpora import MODEL
from dr_pipelines.chunkers.simple import CharacterChunker, WholeDocumentChunker
from dr_pipelines.contents.documents import live_documents, states_digest
from dr_pipelines.embedders.hashing import HashingEmbedder
from dr_pipelines.embedders.sentence_transformer import SentenceTransformerEmbedder
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Metric,
    Vector,
    VectorIndex,
)
from dr_pipelines.model.query import (
    Contains,
    Equals,
    Filter,
    FloatArray,
    Hit,
    Query,
)
from dr_pipelines.model.recovery import Recovery, Request
from dr_pipelines.protocols import Embedder, VectorStore
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.recovery.run import recover
from dr_pipelines.repository.repository import Repository
from dr_pipelines.sources.jsonl import JsonlSource
from dr_pipelines.stores.shared.exact import vector_scores
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.world import OneAtATime, Process
from tests.campaigns.graphs import SECTION, require_graph
from tests.campaigns.results import CAMPAIGN, record_result
from tests.campaigns.test_real_feed import SHARED, read_truths, sampled
from tests.engines import ENGINES, OpenStore
from tests.repository.builders import repository as new_repository

DATA = Path(os.environ.get("DR_SHARED", "../shared")) / "data"
DEPTH = 10
CLOSE = 1e-5
RECALL_POINTS = CAMPAIGN.pick(short=0.02, long=0.005)
PROBES = CAMPAIGN.pick(short=50, long=200)
EXACT = 20
"""Questions that are also answered exactly: in most engines by reading every record."""
INDEX = VectorIndex(kind="hnsw", parameters={"m": 24, "ef_construction": 120, "ef_search": 100})
FIELDS = (
    Field(name="package", type=FieldType.STRING, role="tenant"),
    Field(name="categories", type=FieldType.STRINGS, role="principals"),
)
pytestmark = pytest.mark.shared_data


@dataclass(frozen=True)
class Corpus:
    """A collection in a log, ingested once, and questions to ask of it."""

    process: Process
    documents: int
    digest: str
    questions: dict[str, FloatArray]
    filters: tuple[Filter | None, ...]
    judgements: scifact.Judgements


def ingested(feed: Path, spec: CollectionSpec, embedder: Embedder, chunker: Any) -> Process:
    repository: Repository = new_repository()
    lineage = Lineage(spec.name, spec, JsonlSource(feed), chunker, embedder, "first")
    process = Process(repository, MemoryVectorStore(), lineage, OneAtATime())
    assert process.ingest().unapplied is None
    return process


def spec_of(name: str, embedder: Embedder, fields: tuple[Field, ...] = ()) -> CollectionSpec:
    dimension = embedder.provenance.dimension
    vector = Vector(dimension=dimension, index=INDEX)
    return CollectionSpec(name=name, vectors=(vector,), fields=fields, engine=SECTION)


@pytest.fixture(scope="module")
def rustsec(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    if not (SHARED / "feed.jsonl").is_file():
        pytest.skip(f"the rustsec feed is not at {SHARED}: set DR_SHARED")
    truths = read_truths(SHARED / "states.tsv")
    days = CAMPAIGN.pick(short=4, long=len({truth.day for truth in truths}))
    text, truths = sampled(SHARED / "feed.jsonl", truths, days=days)
    feed = tmp_path_factory.mktemp("rustsec") / "feed.jsonl"
    feed.write_text(text)
    model: Embedder = (
        SentenceTransformerEmbedder(MODEL, profile="reproducible")
        if CAMPAIGN.long
        else HashingEmbedder(64)
    )
    chunker = WholeDocumentChunker(title=True) if CAMPAIGN.long else CharacterChunker(4000)
    process = ingested(feed, spec_of("rustsec", model, FIELDS), model, chunker)
    queries = ["a memory leak", "use after free in a crate", "denial of service by a parser"]
    questions = dict(zip(queries, model.embed(queries), strict=True))
    filters = (None, Equals("package", "tokio"), Contains("categories", "memory-corruption"))
    last = truths[-1]
    return Corpus(process, last.documents, last.digest, questions, filters, {})


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    data = DATA / "scifact"
    if not (data / "feed.jsonl").is_file():
        pytest.skip(f"SciFact is not at {data}: set DR_SHARED")
    del tmp_path_factory
    model = SentenceTransformerEmbedder(MODEL, profile="reproducible")
    process = ingested(
        data / "feed.jsonl", spec_of("scifact", model), model, WholeDocumentChunker(title=True)
    )
    judgements = scifact.read_judgements(data / "qrels.tsv")
    queries = {k: text for k, text in scifact.read_queries(data).items() if k in judgements}
    questions = dict(zip(queries, model.embed(list(queries.values())), strict=True))
    rows = list(live_documents(process.store, "scifact"))
    return Corpus(process, len(rows), states_digest(rows), questions, (None,), judgements)


def brought_into(process: Process, store: VectorStore) -> tuple[Process, Recovery]:
    """The newest point, served from a store."""
    request = Request(collection=process.collection, store="engine", switch=True, accept_loss=True)
    done = recover(request, Resources(process.repository, store, "engine", process.lease))
    lineage = replace(process.lineage, store_name="engine")
    return replace(process, store=store, lineage=lineage), done


def answers(corpus: Corpus, store: VectorStore, *, exact: bool) -> list[list[Hit]]:
    return [
        store.search(corpus.process.collection, Query(vector=v, filter=f, exact=exact), limit=DEPTH)
        for v in list(corpus.questions.values())[: EXACT if exact else None]
        for f in corpus.filters
    ]


def recall_of(store: VectorStore, name: str) -> float:
    """recall@10 of the engine's own search, over vectors between two records drawn by a seed."""
    records = pa.Table.from_batches(store.scan(name, columns=["id", "embedding"]))
    values = records["embedding"].combine_chunks().flatten().to_numpy()
    matrix = values.reshape(records.num_rows, -1)
    random = np.random.default_rng(20261124)
    pairs = random.integers(0, len(matrix), (PROBES, 2))
    probes = matrix[pairs[:, 0]] + matrix[pairs[:, 1]] / 2
    ids, shared = np.array(records["id"].to_pylist()), 0
    for probe in probes:
        scores = vector_scores(matrix, probe, Metric.COSINE)
        least = np.sort(scores)[-DEPTH] - CLOSE  # whatever ties with the tenth is as good
        hits = store.search(name, Query(vector=probe, exact=False), limit=DEPTH)
        shared += len({hit.id for hit in hits} & set(ids[scores >= least].tolist()))
    return shared / (PROBES * min(DEPTH, len(matrix)))


def require_alike(rankings: list[list[Hit]], before: list[list[Hit]]) -> None:
    assert any(before)
    for ours, theirs in zip(rankings, before, strict=True):
        assert [h.score for h in ours] == pytest.approx([h.score for h in theirs], abs=CLOSE)


def lost_and_found(corpus: Corpus, engine: str, open_store: OpenStore) -> dict[str, Any]:
    """Serve a corpus from an engine, lose it, bring it back; what was measured on the way."""
    first = open_store(engine)
    process, served = brought_into(corpus.process, first)
    assert process.backup().equal
    exact = answers(corpus, first, exact=True)
    require_graph(first, process.collection, vectors=served.records)
    recalls = [recall_of(first, process.collection)]
    before = first.describe(process.collection)
    again = open_store(engine)
    process, done = brought_into(process, again)
    assert done.missing == ()
    assert done.bit_identical or again.vector_tolerance > 0
    after = again.describe(process.collection)
    assert after.same_contract(before)
    assert (after.vectors, after.engine) == (before.vectors, before.engine)
    rows = list(live_documents(again, process.collection))
    assert (len(rows), states_digest(rows)) == (corpus.documents, corpus.digest)
    require_alike(answers(corpus, again, exact=True), exact)
    require_graph(again, process.collection, vectors=done.records)
    recalls.append(recall_of(again, process.collection))
    assert min(recalls) > 0.9
    assert abs(recalls[0] - recalls[1]) <= RECALL_POINTS
    return {
        "records": done.records,
        "index": after.vectors[0].index and after.vectors[0].index.model_dump(),
        "bit_identical": done.bit_identical,
        "recall_before": recalls[0],
        "recall_after": recalls[1],
        "seconds": {phase.name: round(phase.seconds, 2) for phase in done.phases},
        "unreported": [f.part for f in done.findings],
        **({"ndcg@10": ndcg_of(corpus, first, again)} if corpus.judgements else {}),
    }


def ndcg_of(corpus: Corpus, *stores: VectorStore) -> list[float]:
    """nDCG@10 by the engine's own search, before and after: within half a point, and equal to the
    last digit where answers are exact."""
    judged = [corpus.judgements[query] for query in corpus.questions]
    means = []
    for store in stores:
        rankings = [
            [hit.document_id for hit in hits] for hits in answers(corpus, store, exact=False)
        ]
        scores = [scifact.ndcg(r, j) for r, j in zip(rankings, judged, strict=True)]
        means.append(float(np.mean(scores)))
    assert min(means) > 0.5
    assert abs(means[0] - means[1]) <= RECALL_POINTS
    return means


@pytest.mark.parametrize("engine", ENGINES)
def test_a_real_feed_is_served_lost_and_brought_back(
    engine: str, rustsec: Corpus, open_store: OpenStore
) -> None:
    record_result(f"engine-rustsec-{engine}", **lost_and_found(rustsec, engine, open_store))


@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
def test_judged_queries_are_answered_as_well_as_before(
    engine: str, judged: Corpus, open_store: OpenStore
) -> None:
    results = lost_and_found(judged, engine, open_store)
    if engine in ("memory", "duckdb"):
        assert results["ndcg@10"][0] == results["ndcg@10"][1]
    record_result(f"engine-scifact-{engine}", **results)
