"""Embedding kept chunks again, beside the library it is done with."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from benchmarks import sample
from benchmarks.corpora import HANDBOOK, MODEL
from benchmarks.harness import Figure, Laps, Ratio, Scale
from dr_pipelines.chunkers.token import TokenChunker
from dr_pipelines.embedders.hashing import HashingEmbedder
from dr_pipelines.embedders.model_files import locate
from dr_pipelines.embedders.sentence_transformer import SentenceTransformerEmbedder
from dr_pipelines.ingestion.ingest import (
    ingest,
)
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.ingestion.rows import embedding_inputs
from dr_pipelines.live.live import Live
from dr_pipelines.model.recovery_point import RecoveryPoint
from dr_pipelines.protocols import Embedder
from dr_pipelines.recovery.reembed import Reembedded, reembed
from dr_pipelines.repository.checkpoints import read_chunks
from dr_pipelines.repository.history import History
from dr_pipelines.repository.manifests import covered_days
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segments import read_segment, records_only
from dr_pipelines.sources.jsonl import JsonlSource
from dr_pipelines.testing.memory_store import MemoryVectorStore

WHAT = """\
Chunks of the example corpus, at most 200 tokens each. `encode` is `SentenceTransformer.encode` of
what the embedder reads (title, overlap, text), with its defaults, in the order in which the chunks
were kept. `fast` and `reproducible` are the step of a replay that embeds: read the chunks
checkpoints, recompute their digests, embed, hash, write segments that are decoded again and synced;
by the profile that computes padded batches, and by the one whose vectors depend on nothing but the
text. The model is loaded before."""
COLLECTION = "handbook"
TOLERANCE = 1e-6
PROFILES: tuple[Literal["fast", "reproducible"], ...] = ("fast", "reproducible")


def run(scale: Scale, directory: Path) -> Figure:
    """Time each in turn; the vectors must agree with those of `encode`."""
    from sentence_transformers import SentenceTransformer

    embedders = {p: SentenceTransformerEmbedder(MODEL, profile=p) for p in PROFILES}
    for embedder in embedders.values():
        embedder.embed(["loads the model"])
    model = SentenceTransformer(str(locate(MODEL)), device="cpu")
    laps, count = Laps(), 0
    for number in laps.turns(scale.repeats):
        ids, expected = list[str](), np.empty(0, np.float32)
        for profile, embedder in embedders.items():
            place = directory / f"{profile}-{number}"  # each its own: what one left, another adopts
            repository, point = _ingested(place, scale.documents)
            ids, texts = _ids_and_texts(repository, point)
            if profile == PROFILES[0]:
                with laps.lap("encode"):
                    expected = model.encode(texts, show_progress_bar=False)
            lineage = _lineage(place / "feed.jsonl", embedder)
            with laps.lap(profile):
                made = reembed(point, lineage, repository=repository)
            assert made.embedded == len(texts)
            vectors = _vectors(repository, lineage, made)
            assert np.abs(np.stack([vectors[key] for key in ids]) - expected).max() <= TOLERANCE
            shutil.rmtree(place)
        count = len(ids)
    encode = laps.median("encode")
    rates = [
        Ratio(f"rate, {p} : encode", encode / laps.median(p), 1.0, at_least=True) for p in PROFILES
    ]
    cost = laps.median("reproducible") / laps.median("fast")
    return Figure(
        "embedding",
        WHAT,
        sample.WARM,
        laps,
        {"chunks": count, "encode_chunks_per_second": round(count / encode, 1)},
        (*rates, Ratio("reproducible : fast", cost)),
    )


def _ingested(place: Path, documents: int) -> tuple[Repository, RecoveryPoint]:
    """Chunks of the first documents of the corpus, kept in a repository."""
    place.mkdir(parents=True)
    feed = place / "feed.jsonl"
    feed.write_text("".join(_first_versions(documents)))
    repository = sample.new_repository(place)
    lineage = _lineage(feed, HashingEmbedder(sample.DIMENSION))
    store = MemoryVectorStore()
    ingest(
        lineage,
        history=History(repository, lineage.collection),
        live=Live(store, sample.lease(place), lineage.collection),
    )
    return repository, History(repository, COLLECTION).latest()


def _first_versions(documents: int) -> Iterator[str]:
    """Lines of a feed that brings each of some documents once."""
    seen = set[str]()
    with HANDBOOK.open() as file:
        for change in map(json.loads, file):
            if change["op"] == "upsert" and change["id"] not in seen and len(seen) < documents:
                seen.add(change["id"])
                yield json.dumps({**change, "seq": len(seen), "metadata": {}}) + "\n"


def _lineage(feed: Path, embedder: Embedder) -> Lineage:
    return Lineage(
        collection=COLLECTION,
        spec=sample.spec(COLLECTION),
        source=JsonlSource(feed),
        chunker=TokenChunker(MODEL, max_tokens=200, overlap_tokens=20, title=True),
        embedder=embedder,
        store_name=sample.STORE,
    )


def _ids_and_texts(repository: Repository, point: RecoveryPoint) -> tuple[list[str], list[str]]:
    """Ids of all chunks, and what an embedder reads of each."""
    ids, texts = list[str](), list[str]()
    for partition in covered_days(repository, point.manifest).values():
        for ref in partition.chunks:
            rows = read_chunks(repository, ref, spec=point.manifest.spec)
            ids += records_only(rows)["id"].to_pylist()
            texts += embedding_inputs(rows)
    return ids, texts


def _vectors(
    repository: Repository, lineage: Lineage, made: Reembedded
) -> dict[str, npt.NDArray[np.float32]]:
    vectors: dict[str, npt.NDArray[np.float32]] = {}
    for ref in made.segments:
        rows = records_only(read_segment(repository, ref, spec=lineage.spec))
        matrix = rows["embedding"].combine_chunks().flatten().to_numpy()
        vectors |= zip(rows["id"].to_pylist(), matrix.reshape(rows.num_rows, -1), strict=True)
    return vectors
