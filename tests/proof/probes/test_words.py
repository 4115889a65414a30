"""A keyword index without some of the texts is found by rare words."""

from collections.abc import Iterator

import pyarrow as pa
import pytest

from dr_pipelines.model.query import Hit, Mode, Query
from dr_pipelines.model.verdict import CheckName
from dr_pipelines.proof.probes.words import HYBRID_WORDS
from dr_pipelines.repository.state import State
from dr_pipelines.testing.memory_store import MemoryVectorStore
from tests.engines import OpenStore
from tests.proof.probes import points

ROWS = points.records(80)
ONLY: tuple[CheckName, ...] = ("keyword", "hybrid")


@pytest.fixture(scope="module")
def state() -> Iterator[State]:
    with points.point(ROWS) as folded:
        yield folded


class Stale(MemoryVectorStore):
    """An engine whose keyword index has not the newest texts."""

    without: frozenset[str] = frozenset()

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        hits = super().search(name, query, limit=limit)
        return hits if query.mode is Mode.VECTOR else [h for h in hits if h.id not in self.without]


def test_a_keyword_index_without_some_texts_is_a_finding(state: State) -> None:
    store = Stale()
    store.without = frozenset(ROWS["id"].to_pylist()[::8])
    probes = points.probed(state, points.restored(store, ROWS), only=ONLY)
    assert probes.ids() == ["keyword:rare-words", "hybrid:rare-words"]


def shortened(rows: pa.Table) -> pa.Table:
    return points.replaced(rows, "text", [text[:12] for text in rows["text"].to_pylist()])


@pytest.mark.parametrize("engine", ["lancedb"])
def test_texts_that_were_cut_are_a_finding(
    state: State, open_store: OpenStore, engine: str
) -> None:
    target = points.restored(open_store(engine), shortened(ROWS))
    assert "keyword:rare-words" in points.probed(state, target, only=ONLY).ids()


@pytest.mark.parametrize("engine", ["memory", "lancedb"])
def test_a_sound_keyword_index_raises_no_alarm(
    state: State, open_store: OpenStore, engine: str
) -> None:
    probes = points.probed(state, points.restored(open_store(engine), ROWS), only=ONLY)
    assert probes.ids() == []
    assert probes.named("keyword").looked_at == len(ROWS)
    assert probes.named("keyword").figures["others"] == 0
    assert probes.named("hybrid").looked_at == HYBRID_WORDS


def test_without_rare_words_or_an_index_nothing_is_shown_and_it_is_said(state: State) -> None:
    rows = points.replaced(ROWS, "text", ["the same words"] * len(ROWS))
    with points.point(rows) as folded:
        check = points.probed(folded, points.restored(MemoryVectorStore(), rows), only=ONLY).named(
            "keyword"
        )
    assert check.skipped == "no sampled record has a rare word"
    spec = points.SPEC.model_copy(update={"keyword_index": False})
    target = points.restored(MemoryVectorStore(), ROWS, spec=spec)
    probes = points.probed(state, target, only=ONLY)
    assert {check.skipped for check in probes.checks} == {"the collection has no keyword index"}


def test_an_engine_that_reads_every_record_is_asked_less_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    monkeypatch.setattr("dr_pipelines.proof.probes.subject.READ", 20 * len(ROWS))
    target = points.restored(MemoryVectorStore(), ROWS)
    probes = points.probed(state, target, only=("coverage", "recall", *ONLY))
    assert [check.looked_at for check in probes.checks] == [20, 20, 20, 20]
    assert all("this engine reads every record" in check.limits[-1] for check in probes.checks)


def test_an_engine_that_answers_itself_is_asked_all(
    monkeypatch: pytest.MonkeyPatch, state: State, open_store: OpenStore
) -> None:
    monkeypatch.setattr("dr_pipelines.proof.probes.subject.READ", 20 * len(ROWS))
    target = points.restored(open_store("lancedb"), ROWS)
    (check,) = points.probed(state, target, only=("coverage",)).checks
    assert (check.looked_at, check.limits) == (len(ROWS), ())


class Stemming(MemoryVectorStore):
    """An engine to which a word is part of many others: of as many hits as it may list, those that
    are due are not among the best."""

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        hits = super().search(name, query, limit=limit)
        if query.mode is not Mode.KEYWORD:
            return hits
        return [Hit(f"other-{n}", "other", 1.0) for n in range(limit)]


def test_a_word_that_is_not_rare_to_the_engine_is_no_damage_and_is_said(state: State) -> None:
    probes = points.probed(state, points.restored(Stemming(), ROWS), only=("keyword",))
    check = probes.named("keyword")
    assert f"{len(ROWS)} words are not rare to the engine, and were not compared" in check.limits
    assert [finding.place for finding in check.every_finding] == ["nothing-looked-at"]
