"""A collection of any engine is lost, comes back into the same engine and into every other, and
answers as before.

Seven engines, 42 pairs. What is compared: every record (digests, by the restore itself), exact
answers to queries with and without filters, the engine's own filters, tenants and principals, the
configuration part by part.
"""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.live.keeping import kept_open
from dr_pipelines.model.query import (
    And,
    Contains,
    Equals,
    Filter,
    Hit,
    Not,
    Query,
    Range,
)
from dr_pipelines.model.recovery import Recovery
from dr_pipelines.protocols import VectorStore
from dr_pipelines.recovery.run import recover
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import DIMENSION, Process, World
from tests.campaigns.engine_story import SPEC, history
from tests.engines import ENGINES, OpenStore

MORNING = datetime(2026, 1, 2, tzinfo=UTC)
FILTERS: tuple[Filter | None, ...] = (
    None,
    Equals("team", "red"),
    Contains("groups", "eng"),
    And((Equals("team", "blue"), Not(Contains("groups", "ops")))),
    Range("year", gte=2003, lt=2012),
    Range("rating", gt=0.5),
    Not(Equals("draft", True)),
    Range("seen", gte=MORNING),
)
CLOSE = 1e-5


def process_of(store: VectorStore) -> Process:
    ids = iter(f"{n:032x}" for n in range(100_000))
    world = World(history(), MemoryBlobStore(), store, MemoryWitness(), lambda: next(ids))
    process = world.process()
    return replace(process, lineage=replace(process.lineage, spec=SPEC))


def answers(store: VectorStore, *, exact: bool) -> list[list[Hit]]:
    """To three queries under every filter; all that match, so that no index decides which."""
    random = np.random.default_rng(5).normal(size=(3, DIMENSION)).astype(np.float32)
    with kept_open(store, store.aliases()["notes"]):
        return [
            store.search("notes", Query(vector=vector, filter=documents, exact=exact), limit=100)
            for vector in random
            for documents in FILTERS
        ]


def require_same_answers(
    rankings: list[list[Hit]], before: list[list[Hit]], *, order: bool
) -> None:
    """The same records with the same scores; in the same order but for those that score alike."""
    assert any(before)
    for ours, theirs in zip(rankings, before, strict=True):
        scores = {hit.id: hit.score for hit in theirs}
        assert {hit.id: pytest.approx(hit.score, abs=CLOSE) for hit in ours} == scores
        if order:
            assert [hit.score for hit in ours] == pytest.approx(
                [hit.score for hit in theirs], abs=CLOSE
            )
        assert {(hit.id, hit.document_id, hit.text) for hit in ours} == {
            (hit.id, hit.document_id, hit.text) for hit in theirs
        }


def brought_back(process: Process, at: str, store: VectorStore) -> Recovery:
    request = process.request(at, switch=True, accept_loss=True)
    resources = replace(process.resources(), store=store, store_name="other")
    return recover(request.model_copy(update={"store": "other"}), resources)


def checked(
    process: Process,
    at: str,
    target: VectorStore,
    exact: list[list[Hit]],
    native: list[list[Hit]],
) -> None:
    done = brought_back(process, at, target)
    assert done.missing == ()
    assert done.bit_identical or target.vector_tolerance > 0
    require_same_answers(answers(target, exact=True), exact, order=True)
    require_same_answers(answers(target, exact=False), native, order=False)
    assert replace(process, store=target).backup().equal


@pytest.mark.parametrize("engine", ENGINES)
def test_a_collection_is_lost_and_comes_back_into_every_engine(
    engine: str, open_store: OpenStore
) -> None:
    first = open_store(engine)
    process = process_of(first)
    assert process.ingest().unapplied is None
    snapshot = process.backup()
    assert snapshot.equal
    exact, native = answers(first, exact=True), answers(first, exact=False)
    require_same_answers(native, exact, order=True)
    for other in (engine, *(name for name in ENGINES if name != engine)):
        checked(process, f"log:{snapshot.number}", open_store(other), exact, native)
