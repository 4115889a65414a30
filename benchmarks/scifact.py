"""Answers before a loss and after it: SciFact's judged queries over a collection that is ingested,
lost, and brought back by both routes. `python -m benchmarks.scifact` leaves a result file."""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import sample
from benchmarks.corpora import MODEL, ROOT, shared
from benchmarks.harness import machine
from dr_pipelines.chunkers.simple import WholeDocumentChunker
from dr_pipelines.chunkers.token import TokenChunker
from dr_pipelines.embedders.sentence_transformer import SentenceTransformerEmbedder
from dr_pipelines.ingestion.ingest import (
    ingest,
)
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.live.live import Live
from dr_pipelines.model.collection import CollectionSpec, Vector
from dr_pipelines.model.query import FloatArray, Query
from dr_pipelines.model.recovery import Recovery, Request, Route
from dr_pipelines.protocols import Chunker, Embedder, VectorReader
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.recovery.run import recover
from dr_pipelines.repository.history import History
from dr_pipelines.repository.repository import Repository
from dr_pipelines.sources.jsonl import JsonlSource
from dr_pipelines.stores.duckdb.store import duckdb_store

COLLECTION = "scifact"
PUBLISHED_NDCG = 0.645
DEPTH = 10
CHUNKS = 100
"""Chunks that are asked for, so that ten documents are among them."""

Judgements = Mapping[str, Mapping[str, int]]
Ranking = list[str]


@dataclass(frozen=True)
class Quality:
    """Means over the judged queries, and all that was answered, with its scores."""

    ndcg: float
    recall: float
    answers: tuple[tuple[tuple[str, float], ...], ...]

    def value(self) -> dict[str, float]:
        """As JSON; Python writes as many digits as make the number unique."""
        return {"ndcg@10": self.ndcg, "recall@10": self.recall}


def campaign(
    data: Path, directory: Path, *, embedder: Embedder, chunker: Chunker, lose: bool
) -> dict[str, Any]:
    """Ingest, answer, and with `lose`: lose store and source, restore by both routes, answer again.

    Raises `AssertionError` where an answer, a score or a figure is not the same to the last bit.
    """
    judgements = read_judgements(data / "qrels.tsv")
    queries = {key: text for key, text in read_queries(data).items() if key in judgements}
    vectors = dict(zip(queries, embedder.embed_queries(list(queries.values())), strict=True))
    directory.mkdir(parents=True)
    feed = Path(shutil.copy(data / "feed.jsonl", directory / "feed.jsonl"))
    made = lineage(feed, embedder, chunker)
    repository, store = sample.new_repository(directory), duckdb_store(directory / "store")
    lease = sample.lease(directory)
    started = time.perf_counter()
    ingested = ingest(
        made, history=History(repository, made.collection), live=Live(store, lease, made.collection)
    )
    figures: dict[str, Any] = {
        "chunks": ingested.records,
        "ingest_seconds": round(time.perf_counter() - started, 1),
    }
    before = quality(store, COLLECTION, vectors, judgements)
    figures["before"] = before.value()
    if not lose:
        return figures
    shutil.rmtree(directory / "store")
    feed.unlink()
    for route in (Route.LOAD, Route.REPLAY):
        back = _restored(made, repository, directory, route)
        assert back.bit_identical
        store = duckdb_store(directory / f"store-{route}")
        after = quality(store, back.plan.physical, vectors, judgements)
        assert after == before, f"{route}: {after.value()} instead of {before.value()}"
        seconds = {phase.name: round(phase.seconds, 1) for phase in back.phases}
        figures[route] = after.value() | {"bit_identical": back.bit_identical, "seconds": seconds}
    return figures


def lineage(feed: Path, embedder: Embedder, chunker: Chunker) -> Lineage:
    """From the feed to vectors."""
    dimension = embedder.provenance.dimension
    spec = CollectionSpec(name=COLLECTION, vectors=(Vector(dimension=dimension),))
    return Lineage(COLLECTION, spec, JsonlSource(feed), chunker, embedder, sample.STORE)


def quality(
    store: VectorReader, name: str, vectors: Mapping[str, FloatArray], judgements: Judgements
) -> Quality:
    """nDCG@10 and recall@10 of exact vector search; a document counts by its best chunk."""
    answers = [
        tuple((h.id, h.score) for h in store.search(name, Query(vector=vector), limit=CHUNKS))
        for vector in vectors.values()
    ]
    rankings = [_documents(hits) for hits in answers]
    judged = [judgements[query] for query in vectors]
    pairs = list(zip(rankings, judged, strict=True))
    return Quality(_mean(ndcg, pairs), _mean(recall, pairs), tuple(answers))


def ndcg(ranking: Sequence[str], relevant: Mapping[str, int]) -> float:
    """Normalised discounted cumulative gain at 10, gain 2^relevance - 1 (Burges et al., 2005)."""
    gains = [2 ** relevant.get(document, 0) - 1 for document in ranking[:DEPTH]]
    best = sorted((2**grade - 1 for grade in relevant.values()), reverse=True)[:DEPTH]
    return _discounted(gains) / _discounted(best)


def recall(ranking: Sequence[str], relevant: Mapping[str, int]) -> float:
    """The part of the relevant documents that is among the first 10."""
    relevant_ids = {document for document, grade in relevant.items() if grade > 0}
    return len(relevant_ids & set(ranking[:DEPTH])) / len(relevant_ids)


def read_judgements(path: Path) -> dict[str, dict[str, int]]:
    """Relevant documents by query, of queries that have any."""
    judgements: dict[str, dict[str, int]] = {}
    for line in path.read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        if int(grade) > 0:
            judgements.setdefault(query, {})[document] = int(grade)
    return judgements


def read_queries(data: Path) -> dict[str, str]:
    """Texts of all queries, judged or not."""
    lines = (data / "queries.jsonl").read_text().splitlines()
    return {query["id"]: query["text"] for query in map(json.loads, lines)}


def _documents(hits: Sequence[tuple[str, float]]) -> Ranking:
    return list(dict.fromkeys(key.rpartition("#")[0] for key, _ in hits))


def _discounted(gains: Sequence[int]) -> float:
    return float(sum(gain / np.log2(place + 2) for place, gain in enumerate(gains)))


def _mean(
    measure: Callable[[Ranking, Mapping[str, int]], float],
    pairs: Sequence[tuple[Ranking, Mapping[str, int]]],
) -> float:
    return sum(measure(ranking, judged) for ranking, judged in pairs) / len(pairs)


def _restored(made: Lineage, repository: Repository, directory: Path, route: Route) -> Recovery:
    """The newest point, brought back into a store of its own."""
    store = duckdb_store(directory / f"store-{route}")
    (directory / f"store-{route}").mkdir()
    request = Request(collection=COLLECTION, store=sample.STORE, route=route)
    lease = sample.lease(directory)
    return recover(request, Resources(repository, store, sample.STORE, lease, lineage=made))


def main() -> None:
    """Both figures with the real model, which takes about ten minutes on two cores."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scifact", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "scifact.json")
    arguments = parser.parse_args()
    data = shared() / "data" / "scifact"
    embedder = SentenceTransformerEmbedder(MODEL, profile="reproducible")
    tokens = TokenChunker(MODEL, max_tokens=200, overlap_tokens=20, title=True)
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        chunked = campaign(data, place / "tokens", embedder=embedder, chunker=tokens, lose=True)
        whole = campaign(
            data, place / "whole", embedder=embedder, chunker=WholeDocumentChunker(), lose=False
        )
    git = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    result = {
        "command": "python -m benchmarks.scifact",
        "commit": commit.stdout.strip(),
        "machine": machine(),
        "environment": embedder.environment.model_dump(mode="json"),
        "judged_queries": len(read_judgements(data / "qrels.tsv")),
        "chunks_of_200_tokens": chunked,
        "one_chunk_a_document": {**whole, "published_ndcg@10": PUBLISHED_NDCG},
    }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(arguments.out.read_text())


if __name__ == "__main__":
    main()
