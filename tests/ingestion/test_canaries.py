"""A model that makes other vectors than it did is found before it embeds anything."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dr_pipelines.chunkers.simple import CharacterChunker
from dr_pipelines.embedders.hashing import HashingEmbedder
from dr_pipelines.errors import (
    Damaged,
    InvalidRequest,
    ProvenanceChanged,
    Refused,
    TextTooLong,
)
from dr_pipelines.ingestion.by_stage import (
    commit_days,
    cut_days,
    embed_days,
    read_days,
)
from dr_pipelines.ingestion.canaries import TEXTS
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.details import CanaryReading, IngestDetail
from dr_pipelines.model.lineage import EmbedderProvenance, Environment
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.recovery import Route
from dr_pipelines.protocols import Progress
from dr_pipelines.repository.canary_objects import left_canaries, read_canaries
from dr_pipelines.repository.history import History
from dr_pipelines.repository.manifests import read_manifest
from dr_pipelines.testing.world import Process
from tests.ingestion.desk import Desk

CHUNKER = CharacterChunker(40)
DAYS = ["2026-01-01", "2026-01-02"]


class Hosted(HashingEmbedder):
    """A model that answers under one name, whatever it computes."""

    def __init__(
        self,
        alter: Callable[[FloatArray], FloatArray] = lambda v: v,
        *,
        queries: Callable[[FloatArray], FloatArray] | None = None,
        exact: bool = False,
        environment: str = "here",
        name: str = "hosted",
    ) -> None:
        super().__init__(16)
        self.alter, self.queries, self.exact = alter, queries or alter, exact
        self.place, self.name = environment, name
        self.seen: list[str] = []

    @property
    def provenance(self) -> EmbedderProvenance:
        return super().provenance.model_copy(update={"name": self.name, "normalized": False})

    @property
    def environment(self) -> Environment:
        return Environment(instruction_set=self.place)

    @property
    def reproducible(self) -> bool:
        return self.exact

    def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> FloatArray:
        self.seen += texts
        return self.alter(super().embed(texts, progress=progress))

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        self.seen += texts
        return self.queries(super().embed(texts))


def by(amount: float) -> Callable[[FloatArray], FloatArray]:
    """Vectors whose first component is off by so much."""

    def alter(vectors: FloatArray) -> FloatArray:
        moved = vectors.copy()
        moved[:, 0] += np.float32(amount)
        return moved

    return alter


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.say("a", "restore the index")
    return desk


def manifest_of(process: Process) -> Any:
    entry = process.repository.log("notes").head().entry
    assert entry is not None
    return read_manifest(process.repository, entry.body.manifest, collection="notes")


def kinds(process: Process) -> list[str]:
    return [entry.kind for entry, _ in process.repository.log("notes").entries()]


def test_the_first_ingest_keeps_them_and_every_later_state_names_them(desk: Desk) -> None:
    process = desk.process(CHUNKER, Hosted())
    process.ingest()
    ref = manifest_of(process).canaries
    canaries = read_canaries(process.repository, ref)
    assert (canaries.texts, canaries.embedder) == (TEXTS, Hosted().provenance)
    assert canaries.vectors != canaries.query_vectors
    for step in (process.backup, process.compact, lambda: process.restore(switch=True)):
        step()
        assert manifest_of(process).canaries == ref
    assert process.verify(level=3).sound


def test_damaged_canaries_are_found_by_verify(desk: Desk, tmp_path: Path) -> None:
    process = desk.process(CHUNKER, Hosted())
    process.ingest()
    ref = manifest_of(process).canaries
    (path,) = (tmp_path / "repository").glob(f"**/{ref.key.rsplit('/', 1)[1]}")
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"night", b"light"))
    assert [f.key for f in process.verify(level=2).findings] == [ref.key]
    path.unlink()
    assert [f.key for f in process.verify(level=0).findings] == [ref.key]


@pytest.mark.parametrize("gone", [True, False])
def test_without_canaries_there_is_a_way_out(desk: Desk, tmp_path: Path, *, gone: bool) -> None:
    process = desk.process(CHUNKER, Hosted())
    process.ingest()
    process.backup()
    ref = manifest_of(process).canaries
    (path,) = (tmp_path / "repository").glob(f"**/{ref.key.rsplit('/', 1)[1]}")
    path.chmod(0o600)
    if gone:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[::-1])
    desk.say("b", "another text", day=2)
    with pytest.raises(Damaged, match=r"canaries of model 'hosted'.*--route replay --embedder"):
        desk.process(CHUNKER, Hosted()).ingest()
    assert desk.process(CHUNKER, Hosted()).restore(switch=True).switched
    other = desk.process(CHUNKER, Hosted(name="other"))
    assert other.restore(route=Route.REPLAY, switch=True).switched
    assert other.ingest().days == ("2026-01-02",)
    assert other.backup().equal


@pytest.mark.parametrize(
    ("now", "allowed"),
    [
        ({}, True),
        ({"alter": by(1e-7)}, True),
        ({"alter": by(1e-3)}, False),
        ({"alter": lambda v: v[:, ::-1]}, False),
        ({"queries": by(1e-3)}, False),
        ({"exact": True}, True),
        ({"exact": True, "alter": by(1e-7)}, False),
        ({"exact": True, "alter": by(1e-7), "environment": "elsewhere"}, True),
        ({"exact": True, "alter": by(1e-3), "environment": "elsewhere"}, False),
    ],
)
def test_a_model_is_the_same_within_what_was_promised(
    desk: Desk, now: dict[str, Any], allowed: bool
) -> None:
    desk.process(CHUNKER, Hosted(exact=now.get("exact", False))).ingest()
    desk.say("b", "another text", day=2)
    embedder = Hosted(**now)
    process = desk.process(CHUNKER, embedder)
    if allowed:
        assert process.ingest().days == ("2026-01-02",)
        assert "another text" in embedder.seen
        return
    with pytest.raises(ProvenanceChanged, match="is not the one that made the collection's vecto"):
        process.ingest()
    assert "another text" not in embedder.seen
    assert kinds(process)[-1] == "evidence"


def test_vectors_that_are_no_numbers_are_nobodys_canaries(desk: Desk) -> None:
    wrong = Hosted(lambda v: v * np.float32(np.nan))
    with pytest.raises(Damaged, match="is not finite"):
        desk.process(CHUNKER, wrong).ingest()
    desk.process(CHUNKER, Hosted()).ingest()
    desk.say("b", "another text", day=2)
    with pytest.raises(Damaged, match="is not finite"):
        desk.process(CHUNKER, wrong).ingest()


def test_a_refusal_says_how_far_and_what_to_do_and_is_kept_once(desk: Desk) -> None:
    desk.process(CHUNKER, Hosted()).ingest()
    desk.say("b", "another text", day=2)
    for _ in range(3):
        process = desk.process(CHUNKER, Hosted(by(0.5), environment="elsewhere"))
        with pytest.raises(ProvenanceChanged) as caught:
            process.ingest()
    message = str(caught.value)
    assert "differ by up to 5.0e-01 a component and 1 - cos = " in message
    assert "allowed is 1.0e-06 and 1.0e-09" in message
    assert "The environment changed: here → elsewhere." in message
    assert "dr restore notes --route replay --embedder NAME --switch" in message
    assert kinds(process).count("evidence") == 1
    assert process.verify(level=3).sound


def test_a_replay_is_refused_by_another_model_too(desk: Desk) -> None:
    desk.process(CHUNKER, Hosted()).ingest()
    process = desk.process(CHUNKER, Hosted(by(0.1)))
    with pytest.raises(ProvenanceChanged):
        process.replay(date(2026, 1, 1), date(2026, 1, 1))
    with pytest.raises(ProvenanceChanged):
        process.restore(route=Route.REPLAY, switch=True)


def test_another_models_collection_has_canaries_of_its_own(desk: Desk) -> None:
    process = desk.process(CHUNKER, Hosted())
    process.ingest()
    first = manifest_of(process).canaries
    other = desk.process(CHUNKER, Hosted(by(0.1), name="other"))
    other.restore(route=Route.REPLAY, switch=True)
    second = manifest_of(other).canaries
    assert first != second
    assert read_canaries(other.repository, second).embedder.name == "other"
    desk.say("b", "another text", day=2)
    assert desk.process(CHUNKER, Hosted(by(0.1), name="other")).ingest().days == ("2026-01-02",)
    assert other.verify(level=3).sound


def test_an_ingest_of_nothing_new_embeds_nothing(desk: Desk) -> None:
    desk.process(CHUNKER, Hosted()).ingest()
    embedder = Hosted(by(0.5))
    assert desk.process(CHUNKER, embedder).ingest().days == ()
    assert embedder.seen == []


def test_a_process_embeds_them_once(desk: Desk) -> None:
    desk.say("b", "another text", day=2)
    embedder = Hosted(exact=True)
    desk.process(CHUNKER, embedder).ingest()
    assert embedder.seen.count(TEXTS[0]) == 2  # which of them it reads whole; then what is kept


def test_deletions_alone_ask_no_model(desk: Desk) -> None:
    desk.process(CHUNKER, Hosted()).ingest()
    desk.source.delete("a", at=desk.world.clock().replace(year=2026, month=1, day=2))
    embedder = Hosted(by(0.5))
    assert desk.process(CHUNKER, embedder).ingest().days == ("2026-01-02",)
    assert embedder.seen == []


def test_what_a_killed_run_left_is_what_the_next_is_held_against(desk: Desk) -> None:
    killed = desk.process(CHUNKER, Hosted())
    steps: dict[str, Any] = {"history": killed.history, "on_day": lambda _: None}
    read_days(killed.lineage, DAYS[:1], **steps)
    cut_days(killed.lineage, DAYS[:1], **steps)
    embed_days(killed.lineage, DAYS[:1], **steps)
    assert left_canaries(History(killed.repository, "notes"), Hosted().provenance) is not None
    desk.say("b", "another text", day=2)
    with pytest.raises(ProvenanceChanged):
        desk.process(CHUNKER, Hosted(by(0.5))).ingest()


def test_steps_in_processes_of_their_own_name_the_same_canaries(desk: Desk) -> None:
    for step in (read_days, cut_days, embed_days, commit_days):
        embedder = Hosted()
        process = desk.process(CHUNKER, embedder)
        more: dict[str, Any] = {"history": process.history, "on_day": lambda _: None}
        if step is commit_days:
            more["live"] = process.live
        step(process.lineage, DAYS[:1], **more)
        assert bool(embedder.seen) == (step is embed_days)
    assert manifest_of(process).canaries == left_canaries(
        History(process.repository, "notes"), embedder.provenance
    )


def test_the_tolerance_of_a_model_that_varies_is_measured(desk: Desk) -> None:
    noise = np.random.default_rng(1)

    def noisy(vectors: FloatArray) -> FloatArray:
        return vectors + noise.uniform(-1e-4, 1e-4, vectors.shape).astype(np.float32)

    process = desk.process(CHUNKER, Hosted(noisy))
    process.ingest()
    canaries = read_canaries(process.repository, manifest_of(process).canaries)
    assert 1e-4 < canaries.tolerance.component < 2e-3
    desk.say("b", "another text", day=2)
    assert desk.process(CHUNKER, Hosted(noisy)).ingest().days == ("2026-01-02",)
    desk.say("c", "a third text", day=3)
    with pytest.raises(ProvenanceChanged):
        desk.process(CHUNKER, Hosted(by(0.05))).ingest()


def test_a_model_that_is_no_function_is_refused(desk: Desk) -> None:
    noise = np.random.default_rng(1)
    wild = Hosted(lambda v: v + noise.normal(0, 1, v.shape).astype(np.float32))
    with pytest.raises(InvalidRequest, match="makes different vectors of one text"):
        desk.process(CHUNKER, wild).ingest()


def test_what_a_process_proved_is_said_in_the_log(desk: Desk) -> None:
    desk.process(CHUNKER, Hosted()).ingest()
    desk.say("b", "another text", day=2)
    process = desk.process(CHUNKER, Hosted(by(1e-7)))
    process.ingest()
    first, second = (
        entry.body.detail.canaries
        for entry, _ in process.repository.log("notes").entries()
        if isinstance(entry.body.detail, IngestDetail)
    )
    assert first == CanaryReading(first=True, exact=True, component=0.0, cosine=0.0)
    assert second is not None
    assert (second.first, second.exact) == (False, False)
    assert 0 < second.component < 1e-6


def test_a_proof_belongs_to_one_lineage(desk: Desk) -> None:
    process = desk.process(CHUNKER, Hosted())
    process.ingest()
    assert process.lineage.proofs
    assert replace(process.lineage, embedder=Hosted(by(1.0))).proofs == []


class Short(Hosted):
    """A model that reads few words."""

    def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> FloatArray:
        counts = {place: len(text.split()) for place, text in enumerate(texts)}
        over = {place: count for place, count in counts.items() if count > 100}
        if over:
            raise TextTooLong(over, limit=100, model="short")
        return super().embed(texts, progress=progress)


def test_canary_texts_that_a_model_cannot_read_are_counted(desk: Desk) -> None:
    desk.process(CHUNKER, Short(exact=True)).ingest()
    desk.say("b", "another text", day=2)
    process = desk.process(CHUNKER, Short(exact=True))
    process.ingest()
    details = [entry.body.detail for entry, _ in process.repository.log("notes").entries()]
    readings = [detail.canaries for detail in details if isinstance(detail, IngestDetail)]
    assert [reading.left_out for reading in readings if reading] == [2, 2]
    canaries = read_canaries(process.repository, manifest_of(process).canaries)
    assert len(canaries.texts) == len(TEXTS) - 2


def test_canaries_of_a_later_format_are_passed_over_and_said_to_be_such(desk: Desk) -> None:
    process, embedder = desk.process(CHUNKER, Hosted()), Hosted()
    process.ingest()
    ref = manifest_of(process).canaries
    assert ref is not None
    blobs = process.repository.blobs
    value = json.loads(blobs.read(ref.key))
    newer = process.repository.put(
        ref.key.replace(".json", "-later.json"), canonical_json({**value, "v": 2, "more": 1})
    )
    with pytest.raises(Refused, match=r"in format 2; .* install the newer one"):
        read_canaries(process.repository, newer)
    history = History(process.repository, "notes")
    assert left_canaries(history, embedder.provenance) == ref
    blobs.delete(ref.key)
    assert left_canaries(history, embedder.provenance) is None
