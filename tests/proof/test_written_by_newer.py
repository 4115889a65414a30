"""An object of a newer version is a finding, or passed over where it is not needed: it ends no
report, no audit and no restore that does without it."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.contents.query_vectors import query_vectors
from dr_pipelines.embedders.light import LightQueries
from dr_pipelines.errors import InvalidRequest
from dr_pipelines.ingestion.refusals import refusals_recorded
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.recovery_point import (
    Coverage,
    Manifest,
    ObjectRef,
    Sealed,
    SegmentList,
    SourcePosition,
)
from dr_pipelines.proof import ingested
from dr_pipelines.proof.restorable import check_restorable
from dr_pipelines.proof.verify import verify
from dr_pipelines.protocols import Embedder
from dr_pipelines.recovery.state import recounted
from dr_pipelines.repository.history import NextEntry
from dr_pipelines.repository.json_codec import seal_json
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import START, ListedSource, Process, World
from tests.repository.builders import REFUSED

NEWER: dict[str, Any] = {"crypto": Sealed(scheme="later", key="k")}


@pytest.fixture
def process() -> Process:
    source, ids = ListedSource(), iter(f"{n:032x}" for n in range(10_000))
    for name in "abc":
        source.upsert(name, f"some words of {name}", at=START)
    blobs, store = MemoryBlobStore(), MemoryVectorStore()
    process = World(source, blobs, store, MemoryWitness(), lambda: next(ids)).process()
    process.ingest()
    return process


def state(process: Process) -> Manifest:
    manifest = process.history.manifest()
    assert manifest is not None
    return manifest


def append(process: Process, manifest: Manifest | None, *objects: ObjectRef) -> int:
    entry = NextEntry(detail=REFUSED, manifest=manifest, objects=objects)
    return process.history.append("evidence", lambda _: entry).head.number


def with_newer_checkpoints(manifest: Manifest) -> Manifest:
    """The checkpoints of its days are encrypted, and its segments too."""
    days = {
        day: partition.model_copy(
            update={
                "documents": tuple(r.model_copy(update=NEWER) for r in partition.documents),
                "chunks": tuple(r.model_copy(update=NEWER) for r in partition.chunks),
            }
        )
        for day, partition in manifest.coverage.tail.items()
    }
    segments = tuple(ref.model_copy(update=NEWER) for ref in manifest.segments.tail)
    return manifest.model_copy(
        update={"coverage": Coverage.of(days), "segments": SegmentList.of(segments)}
    )


@pytest.mark.parametrize("behind", [0, 1], ids=["the newest entry", "one before it"])
@pytest.mark.parametrize("level", [0, 3])
def test_an_entry_is_a_finding_of_verification(process: Process, level: int, behind: int) -> None:
    numbers = [append(process, None), append(process, None)]
    blobs, key = process.repository.blobs, process.history.log.key(numbers[1 - behind])
    value = json.loads(blobs.read(key))
    del value["checksum"]
    assert isinstance(blobs, MemoryBlobStore)
    blobs.delete(key)
    blobs.create(key, seal_json({**value, "v": 2}))
    (finding,) = verify(process.history, level=level).findings
    assert finding.key == "notes/log"
    assert "in format 2" in finding.problem


def test_an_object_is_a_finding_of_the_proof_of_a_backup(process: Process) -> None:
    evidence = process.repository.put("notes/evidence/later/0.json", b"{}")
    append(process, None, evidence.model_copy(update=NEWER))
    findings = check_restorable(process.history, process.point()).findings
    assert [(f.key, "crypto:later" in f.problem) for f in findings] == [(evidence.key, True)]


def test_a_state_is_a_finding_of_the_proof_of_a_backup(process: Process) -> None:
    append(process, with_newer_checkpoints(state(process)))
    point = process.point()
    findings = check_restorable(process.history, point).findings
    assert point.entry.body.manifest.key in {finding.key for finding in findings}


@pytest.mark.parametrize("name", ["audit_counts", "audit_schema", "audit_digests"])
def test_checkpoints_are_problems_of_an_audit(process: Process, name: str) -> None:
    append(process, with_newer_checkpoints(state(process)))
    audit = getattr(ingested, name)(process.lineage, history=process.history)
    assert audit.problems
    assert all("crypto:later" in problem for problem in audit.problems)


def test_checkpoints_do_not_keep_a_point_inside_their_day_from_being_restored(
    process: Process,
) -> None:
    manifest = with_newer_checkpoints(state(process))
    end = SourcePosition(epoch=manifest.epoch, position=manifest.coverage.frontier)
    assert recounted(process.repository, manifest, end) == manifest


class Light(LightQueries):
    """The model itself, in the place of its light form."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        return self._embedder.embed_queries(texts)


def test_canaries_do_not_keep_a_search_from_its_answer(process: Process) -> None:
    manifest, embedder = state(process), process.lineage.embedder
    assert manifest.canaries is not None
    newer = manifest.canaries.model_copy(update=NEWER)
    for canaries, proven in ((manifest.canaries, "canaries"), (newer, "fingerprint")):
        result = query_vectors(
            ["words"],
            embedder,
            light=Light(embedder),
            manifest=manifest.model_copy(update={"canaries": canaries}),
            repository=process.repository,
        )
        assert (result.runtime, result.proven) == ("numpy", proven)


def test_a_log_that_is_only_read_leaves_a_refusal_as_it_is(process: Process) -> None:
    head = process.history.head()
    assert head.entry is not None
    body = head.entry.body.model_copy(update={"features": ("later",)})
    value = head.entry.model_copy(
        update={"i": head.number + 1, "previous": head.sha256, "body": body}
    ).model_dump(mode="json")
    process.repository.blobs.create(process.history.log.key(head.number + 1), seal_json(value))
    with (
        pytest.raises(InvalidRequest, match="the reason itself"),
        refusals_recorded(process.history),
    ):
        raise InvalidRequest("the reason itself")
