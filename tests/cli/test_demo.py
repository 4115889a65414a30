"""The demo proves what it says, and says so when it cannot."""

import re
from dataclasses import replace
from typing import Any

import pytest

from dr_pipelines.cli.demo import acts, sight
from dr_pipelines.cli.demo.corpus import EXAMPLE, open_corpus, policies_text
from tests.cli.workplace import Workplace, feed_lines

HASHING = ("--embedder", "hashing")


def test_a_feed_of_ones_own_is_lost_and_comes_back(fresh: Workplace) -> None:
    result = fresh.dr("demo", "--feed", "feed.jsonl", "--keep", "kept", "--json", *HASHING)
    assert result.code == 0, result.err
    answer = result.json
    assert (answer["failed"], answer["checks"]) == ([], 16)
    assert [act["title"] for act in answer["acts"]][2:6] == [
        "Disaster: the store's file is deleted",
        "Way back 1: load the vectors that were kept",
        "Disaster again",
        "Way back 2: replay, embed the kept chunks again",
    ]
    assert "Lost: 2 records" in result.err
    policies = ("--policies", "kept/policies.yaml")
    name = answer["collection"]
    assert fresh.dr("backup", name, "--json", *policies).json["equal"] is True
    assert fresh.dr("status", *policies).code == 0
    healthy = fresh.dr("plan", "--check", *policies)
    assert (healthy.code, healthy.out) == (0, f"Nothing stands in the way of a recovery: {name}\n")


def test_the_example_corpus_is_the_default_and_days_may_be_few(fresh: Workplace) -> None:
    result = fresh.dr("demo", "--days", "2", *HASHING)
    assert result.code == 0, result.out
    assert "days      2 of 25, 2026-01-05 to 2026-01-06" in result.out
    assert "Only the first 2 days are ingested" in result.out
    assert re.search(r"\[ok\] the documents kept at position \d+ are those of states", result.out)
    assert max(len(line) for line in result.out.splitlines() if "$ " not in line) <= 80
    assert sorted(path.name for path in fresh.directory.iterdir()) == [
        "feed.jsonl",
        "policies.yaml",
    ]


def test_what_comes_back_otherwise_is_a_failure(
    fresh: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another(*words: Any) -> sight.Sight:
        seen = sight.look(*words)
        sights.append(seen)
        return replace(seen, vectors="0" * 64) if len(sights) > 1 else seen

    sights: list[sight.Sight] = []
    monkeypatch.setattr(acts, "look", another)
    result = fresh.dr("demo", "--feed", "feed.jsonl", *HASHING)
    assert result.code == 1
    assert "[NO] vectors: the vector digest of a scan is the same" in result.out


def test_fields_of_any_feed_are_inferred(fresh: Workplace) -> None:
    first = {"team": "red", "rank": 1, "mixed": "a", "tags": ["t"], "id": "no", "nil": None}
    second = {"team": None, "mixed": 2, "odd key": "no"}
    changes = [
        {"ts": "2026-01-05T08:00:00Z", "op": "upsert", "id": id_, "text": id_, "metadata": metadata}
        for id_, metadata in (("a", first), ("b", second))
    ]
    fresh.write_feed(feed_lines(changes) + "not json\n")
    corpus = open_corpus(fresh.directory / "feed.jsonl")
    policies = policies_text(corpus, "hashing")
    assert "\n    fields: {team: {type: string}, nil: {type: string}}\n" in policies


def test_a_feed_that_holds_nothing_is_refused(fresh: Workplace) -> None:
    fresh.write_feed("")
    result = fresh.dr("demo", "--feed", "feed.jsonl", *HASHING)
    message = f"{fresh.directory / 'feed.jsonl'} holds no change that can be read\n"
    assert (result.code, result.err) == (1, message)


def test_the_example_corpus_has_all_that_the_demo_uses() -> None:
    corpus = open_corpus(None)
    assert corpus.feed == EXAMPLE.resolve()
    assert (corpus.name, len(corpus.days)) == ("handbook", 25)
    assert (len(corpus.golden), len(corpus.states)) == (31, 106)
