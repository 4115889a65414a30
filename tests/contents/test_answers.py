"""A recovery point answers as a store that holds it does, with nothing restored."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.contents.answers import PointAnswers, StoreAnswers, answers_at
from dr_pipelines.errors import NotFound
from dr_pipelines.model.query import Equals, Hit, Mode, Not, Query
from dr_pipelines.repository.points import at_position
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import ListedSource, Process, World

MONDAY = datetime(2026, 1, 5, 8, tzinfo=UTC)
TEXTS = ("a river bends", "the old mill", "a crow counts to four", "the river and the mill", "")


@pytest.fixture(scope="module")
def process() -> Process:
    source = ListedSource()
    for number, text in enumerate(TEXTS):
        source.upsert(f"d{number}", text, at=MONDAY)
    source.upsert("d0", "a river bends again and again", at=MONDAY)
    source.delete("d2", at=MONDAY)
    numbers = itertools.count()
    process = World(
        source=source,
        blobs=MemoryBlobStore(),
        store=MemoryVectorStore(),
        witness=MemoryWitness(),
        new_id=lambda: f"id{next(numbers)}",
    ).process()
    process.ingest()
    return process


@pytest.fixture
def stored(process: Process) -> StoreAnswers:
    return StoreAnswers.of(process.store, process.lineage.collection)


@pytest.fixture
def point(process: Process) -> Iterator[PointAnswers]:
    with answers_at(process.history, process.history.latest()) as answers:
        yield answers


def queries(answers: StoreAnswers) -> list[tuple[Query, int]]:
    vector = answers.vector("d1#000000")
    assert vector is not None
    every = [
        Query(Mode.VECTOR, vector=vector),
        Query(Mode.KEYWORD, text="river mill"),
        Query(Mode.HYBRID, text="the old river", vector=vector),
        Query(Mode.VECTOR, vector=np.zeros_like(vector), filter=Not(Equals("title", "d1"))),
    ]
    return [(query, 3) for query in every]


def test_answers_of_a_point_are_those_of_a_store_that_holds_it(
    stored: StoreAnswers, point: PointAnswers
) -> None:
    questions = queries(stored)
    ours, theirs = point.hits(questions), stored.hits(questions)
    assert [[hit.id for hit in hits] for hits in theirs] == [[h.id for h in hits] for hits in ours]
    assert scores(ours) == pytest.approx(scores(theirs))
    assert all(len(hits) >= 2 for hits in ours)


def scores(answers: list[list[Hit]]) -> list[float]:
    return [hit.score for hits in answers for hit in hits]


def test_vectors_and_documents_of_both_are_the_same(
    stored: StoreAnswers, point: PointAnswers
) -> None:
    for record in ("d1#000000", "d2#000000", "nobody"):
        ours, theirs = point.vector(record), stored.vector(record)
        assert (ours is None) == (theirs is None) == (record != "d1#000000")
        if ours is not None and theirs is not None:
            assert ours.tobytes() == theirs.tobytes()
    names = ["d0", "d1", "d2", "nobody"]
    assert point.documents(names) == stored.documents(names)
    assert [row.id for row in point.documents(names)] == ["d0", "d1"]
    assert point.documents([]) == stored.documents([]) == []


def test_an_older_point_answers_what_was_deleted_since(process: Process) -> None:
    earlier = at_position(process.history, 3)
    with answers_at(process.history, earlier) as answers:
        [hits] = answers.hits([(Query(Mode.KEYWORD, text="crow"), 5)])
    assert [hit.document_id for hit in hits] == ["d2"]


def test_several_queries_read_the_records_of_a_point_once(
    process: Process, monkeypatch: pytest.MonkeyPatch, stored: StoreAnswers
) -> None:
    reads, read = list[str](), process.repository.blobs.read

    def counting(key: str, *args: Any) -> bytes:
        reads.append(key)
        return read(key, *args)

    monkeypatch.setattr(process.repository.blobs, "read", counting)
    with answers_at(process.history, process.history.latest()) as answers:
        reads.clear()
        answers.hits(queries(stored)[:1])
        once = list(reads)
        reads.clear()
        answers.hits(queries(stored))
    assert once
    assert reads == once


def test_a_collection_that_is_not_there_cannot_be_asked(process: Process) -> None:
    with pytest.raises(NotFound):
        StoreAnswers.of(process.store, "nobody")
