"""Documents are listed by the hash of what is stored, at any point, from backup and store."""

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.chunkers.simple import CharacterChunker
from dr_pipelines.contents.documents import (
    DocumentRow,
    DocumentVersion,
    live_documents,
    states_digest,
    stored_documents,
)
from dr_pipelines.errors import Damaged
from dr_pipelines.repository import rows
from dr_pipelines.repository.points import at_position
from dr_pipelines.sources.jsonl import JsonlSource
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import ListedSource, Process, World

HANDBOOK = Path(__file__).parents[2] / "examples" / "handbook"
MONDAY = datetime(2026, 1, 5, 8, tzinfo=UTC)
TUESDAY = datetime(2026, 1, 6, 8, tzinfo=UTC)
LONG = "A text of several pieces, because a piece has eight characters."


def world(source: ListedSource | JsonlSource) -> World:
    numbers = itertools.count()
    return World(
        source=source,
        blobs=MemoryBlobStore(),
        store=MemoryVectorStore(),
        witness=MemoryWitness(),
        new_id=lambda: f"id{next(numbers)}",
    )


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def process() -> Process:
    source = ListedSource()
    source.upsert("a", LONG, at=MONDAY)
    source.upsert("é", "one", at=MONDAY)
    source.upsert("gone", "soon", at=MONDAY)
    source.upsert("empty", "", at=MONDAY)
    source.delete("gone", at=TUESDAY)
    source.upsert("é", "two", at=TUESDAY)
    made = world(source).process()
    made.ingest()
    return made


def listed(process: Process, at: str = "latest") -> list[DocumentRow]:
    return list(stored_documents(process.history, process.point(at)))


def test_every_document_is_listed_with_its_version_and_hash(process: Process) -> None:
    assert listed(process) == [
        DocumentRow("a", DocumentVersion(1, 1, 0, 0), 8, sha256(LONG)),
        DocumentRow("empty", DocumentVersion(1, 4, 0, 0), 0, sha256("")),
        DocumentRow("é", DocumentVersion(1, 6, 0, 0), 1, sha256("two")),
    ]


def test_an_older_position_has_its_own_documents(process: Process) -> None:
    assert [(row.id, row.sha256) for row in listed(process, "seq:3")] == [
        ("a", sha256(LONG)),
        ("gone", sha256("soon")),
        ("é", sha256("one")),
    ]


def test_a_store_has_documents_with_text_and_no_versions(process: Process) -> None:
    assert list(live_documents(process.store, process.collection)) == [
        DocumentRow("a", None, 8, sha256(LONG)),
        DocumentRow("é", None, 1, sha256("two")),
    ]


def test_a_document_of_a_store_is_joined_over_batches_and_interleaved_ids(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id of `a#000001x`, chunk 0, lies between the ids of chunks 1 and 2 of `a`."""
    monkeypatch.setattr("dr_pipelines.repository.texts.BATCH_ROWS", 2)
    physical = process.store.aliases()[process.collection]
    (batch,) = process.store.scan(physical, documents=["é"])
    strange = pa.Table.from_batches([batch])
    for name, value in (("id", "a#000001x#000000"), ("document_id", "a#000001x")):
        place = strange.column_names.index(name)
        strange = strange.set_column(place, strange.schema.field(name), pa.array([value]))
    process.store.write(physical, strange)
    documents = {
        row.id: (row.chunks, row.sha256) for row in live_documents(process.store, physical)
    }
    assert documents == {
        "a": (8, sha256(LONG)),
        "a#000001x": (1, sha256("two")),
        "é": (1, sha256("two")),
    }


def test_an_edit_in_the_store_is_a_version_of_its_own(process: Process) -> None:
    physical = process.store.aliases()[process.collection]
    (batch,) = process.store.scan(physical, documents=["é"])
    edited = pa.Table.from_batches([batch])
    place = edited.column_names.index("text")
    edited = edited.set_column(place, edited.schema.field("text"), pa.array(["edited"]))
    process.store.write(physical, edited)
    process.backup()
    assert listed(process)[-1] == DocumentRow("é", DocumentVersion(1, 6, 0, 1), 1, sha256("edited"))
    assert str(listed(process)[-1].version) == "1:6+1"


def test_a_text_that_is_not_the_one_that_was_read_is_damage(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hash is made from the text, so one that was merely written down would not notice."""

    def altered(texts: pa.ChunkedArray, ends: object) -> pa.Array:
        cased = pa.chunked_array([pa.array([t.upper() for t in texts.to_pylist()])])
        return rows.text_hashes(cased, ends)  # type: ignore[arg-type]

    monkeypatch.setattr("dr_pipelines.contents.documents.text_hashes", altered)
    with pytest.raises(Damaged, match="the text kept of document 'a' is not the one that was read"):
        listed(process)


def test_the_digest_is_over_sorted_lines() -> None:
    rows = [DocumentRow(id_, None, 1, sha256(id_)) for id_ in ("a", "b", "é")]
    lines = "".join(f"{row.id}\t{row.sha256}\n" for row in rows)
    assert states_digest(rows) == sha256(lines)
    assert states_digest([]) == sha256("")
    assert states_digest([*rows[:2], replace(rows[2], sha256=sha256("x"))]) != states_digest(rows)


@pytest.fixture(scope="module")
def handbook() -> Process:
    made = world(JsonlSource(HANDBOOK / "feed.jsonl")).process()
    made = replace(made, lineage=replace(made.lineage, chunker=CharacterChunker(800)))
    made.ingest()
    return made


def _states() -> Iterator[tuple[int, int, str]]:
    for line in (HANDBOOK / "states.tsv").read_text().splitlines()[1:]:
        position, _, documents, digest = line.split("\t")
        yield int(position), int(documents), digest


def test_every_state_of_the_handbook_is_answered(handbook: Process) -> None:
    wrong = []
    for position, documents, digest in _states():
        listed = list(stored_documents(handbook.history, at_position(handbook.history, position)))
        if (len(listed), states_digest(listed)) != (documents, digest):
            wrong.append(position)
    assert wrong == []
    assert len(list(_states())) == 106


def test_a_restored_store_has_the_documents_of_its_position(handbook: Process) -> None:
    texts = [row for row in listed(handbook, "seq:132") if row.chunks]
    plan = handbook.restore("seq:132").plan
    restored = list(live_documents(handbook.store, plan.physical))
    assert states_digest(restored) == states_digest(texts)
    assert len(restored) > 60
