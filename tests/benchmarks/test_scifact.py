"""The measures of SciFact by hand, and its campaign over a handful of documents."""

import json
import math
from pathlib import Path

import pytest

from benchmarks import scifact
from dr_pipelines.chunkers.simple import CharacterChunker
from dr_pipelines.embedders.hashing import HashingEmbedder

TEXTS = {
    "1": "white matter of the newborn brain, measured by magnetic resonance",
    "2": "a vaccine against malaria, tried in children",
    "3": "bone marrow cells that grow old",
    "4": "the brain of the newborn and the brain of the old",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    lines = [
        {"seq": seq, "ts": "2026-01-01T00:00:00Z", "op": "upsert", "id": key, "text": text}
        for seq, (key, text) in enumerate(TEXTS.items(), start=1)
    ]
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "feed.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    queries = [{"id": "q1", "text": "newborn brain"}, {"id": "q2", "text": "malaria vaccine"}]
    (folder / "queries.jsonl").write_text("".join(json.dumps(q) + "\n" for q in queries))
    (folder / "qrels.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\t1\t1\nq1\t4\t1\nq2\t2\t1\nq2\t3\t0\n"
    )
    return folder


def test_gains_are_discounted_by_their_place() -> None:
    gain = scifact.ndcg(["a", "x", "b"], {"a": 1, "b": 1})
    assert gain == pytest.approx((1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3)))
    assert scifact.ndcg(["a", "b"], {"a": 1, "b": 1}) == 1
    assert scifact.ndcg([*"0123456789", "a"], {"a": 1}) == 0


def test_recall_counts_what_is_among_the_first_ten() -> None:
    assert scifact.recall(["a", "x"], {"a": 1, "b": 1}) == 0.5
    assert scifact.recall([*"0123456789", "a"], {"a": 1}) == 0


def test_a_judgement_of_zero_is_none(data: Path) -> None:
    judgements = scifact.read_judgements(data / "qrels.tsv")
    assert judgements == {"q1": {"1": 1, "4": 1}, "q2": {"2": 1}}


def test_answers_after_both_ways_back_are_those_before_the_loss(data: Path, tmp_path: Path) -> None:
    figures = scifact.campaign(
        data,
        tmp_path / "work",
        embedder=HashingEmbedder(256),
        chunker=CharacterChunker(30),
        lose=True,
    )

    assert figures["before"]["recall@10"] == 1.0
    assert 0.9 < figures["before"]["ndcg@10"] < 1
    for route in ("load", "replay"):
        assert {name: figures[route][name] for name in figures["before"]} == figures["before"]
        assert figures[route]["bit_identical"]


def test_other_answers_after_the_loss_are_not_overlooked(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quality, calls = scifact.quality, list[int]()

    def worse(*args: object) -> scifact.Quality:
        calls.append(1)
        figures = quality(*args)  # type: ignore[arg-type]
        return figures if len(calls) == 1 else scifact.Quality(figures.ndcg, figures.recall, ())

    monkeypatch.setattr(scifact, "quality", worse)
    with pytest.raises(AssertionError, match="load"):
        scifact.campaign(
            data,
            tmp_path / "work",
            embedder=HashingEmbedder(256),
            chunker=CharacterChunker(30),
            lose=True,
        )
