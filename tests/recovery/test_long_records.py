"""Records that are long: memory is bounded by bytes, not by rows alone."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.backup import first, inspect
from dr_pipelines.backup.result import Terms
from dr_pipelines.backup.snapshot import backup
from dr_pipelines.errors import Unavailable
from dr_pipelines.live.live import Live
from dr_pipelines.model.collection import CollectionSpec, Vector
from dr_pipelines.model.query import Mode, Query
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery import Request
from dr_pipelines.model.recovery_point import Timeline
from dr_pipelines.protocols import VectorStore
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.recovery.run import recover
from dr_pipelines.repository import rows as repository_rows
from dr_pipelines.repository.history import History
from dr_pipelines.repository.manifests import segments
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.rows import newest_rows
from dr_pipelines.stores.duckdb import index, memory
from dr_pipelines.stores.duckdb import records as reading
from dr_pipelines.stores.duckdb import store as driver
from dr_pipelines.stores.duckdb.store import duckdb_store
from dr_pipelines.testing.world import OneAtATime
from dr_pipelines.upkeep.compaction import compact
from tests.repository.builders import repository as new_repository

SPEC = CollectionSpec(name="long@1", vectors=(Vector(dimension=2),), keyword_index=False)
RECORDS, PIECES, TEXT_BYTES = 60, 2, 10_000
LIMIT = 100_000
"""Ten records."""


def records(*, text_bytes: int, documents: int, version: int = 0) -> pa.Table:
    """Two pieces of each document; texts that no compression makes short."""
    random, count = np.random.default_rng(version), documents * PIECES
    names = [f"d{number // PIECES:05d}" for number in range(count)]
    columns = {
        "id": pa.array([f"{name}#{n % PIECES}" for n, name in enumerate(names)]),
        "document_id": pa.array(names),
        "chunk_index": pa.array([n % PIECES for n in range(count)], pa.int32()),
        "text": pa.array([random.bytes(text_bytes // 2).hex() for _ in range(count)]),
        "embedding": pa.FixedSizeListArray.from_arrays(
            pa.array(random.normal(size=2 * count).astype(np.float32)), 2
        ),
    }
    schema = store_schema(SPEC)
    columns_read = [columns.get(field.name, pa.nulls(count, field.type)) for field in schema]
    return pa.table(columns_read, schema=schema)


@pytest.fixture
def store(tmp_path: Path) -> VectorStore:
    store = duckdb_store(tmp_path / "store")
    store.create(SPEC)
    return store


def backed_up(store: VectorStore, repository: Repository, *, first: bool = False) -> int:
    adopt = Timeline(id=1, physical=SPEC.name, store="local") if first else None
    live, terms = Live(store, OneAtATime(), "long"), Terms(adopt=adopt)
    taken = backup(History(repository, "long"), live=live, terms=terms)
    assert taken.equal
    return len(taken.findings.changed)


def require_small(repository: Repository, *, least: int) -> None:
    """Segments of whole documents, none of which is much longer than the limit."""
    refs = segments(repository, History(repository, "long").latest().manifest)
    assert len(refs) >= least
    for ref in refs:
        assert ref.size_bytes < 2 * LIMIT
        assert ref.records % PIECES == 0


def test_segments_and_writes_of_long_records_have_fewer_rows(
    store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first, "BASE_BYTES", LIMIT)
    monkeypatch.setattr(inspect, "DELTA_BYTES", LIMIT)
    monkeypatch.setattr(inspect, "FIRST_DOCUMENTS", 3)
    monkeypatch.setattr(repository_rows, "WRITE_BYTES", LIMIT)
    monkeypatch.setattr("dr_pipelines.upkeep.compaction.BASE_BYTES", LIMIT)
    monkeypatch.setattr(reading, "RANGE_BYTES", LIMIT)
    monkeypatch.setattr(reading, "MARK_ROWS", 16)
    repository = new_repository()
    store.write(SPEC.name, records(text_bytes=TEXT_BYTES, documents=RECORDS))
    backed_up(store, repository, first=True)
    require_small(repository, least=RECORDS * PIECES * TEXT_BYTES // LIMIT // 2)

    store.write(SPEC.name, records(text_bytes=TEXT_BYTES, documents=RECORDS // 2, version=1))
    assert backed_up(store, repository) == RECORDS // 2
    require_small(repository, least=RECORDS * PIECES * TEXT_BYTES // LIMIT)

    compact(History(repository, "long"), live=Live(store, OneAtATime(), "long"))
    require_small(repository, least=RECORDS * PIECES * TEXT_BYTES // LIMIT // 4)
    point = History(repository, "long").latest()
    with History(repository, point.collection).fold_point(point) as state:
        tables = list(newest_rows(state))
    assert max(table.nbytes for table in tables) < 3 * LIMIT
    assert sum(table.num_rows for table in tables) == RECORDS * PIECES
    resources = Resources(repository, store, "local", OneAtATime())
    done = recover(Request(collection="long", store="local"), resources)
    assert done.bit_identical


@pytest.mark.parametrize("mark_rows", [4, 256])
def test_a_scan_of_long_records_fetches_few_at_once(
    store: VectorStore, monkeypatch: pytest.MonkeyPatch, mark_rows: int
) -> None:
    monkeypatch.setattr(reading, "RANGE_BYTES", LIMIT)
    monkeypatch.setattr(reading, "MARK_ROWS", mark_rows)
    written = records(text_bytes=TEXT_BYTES, documents=RECORDS)
    store.write(SPEC.name, written)
    rows = list(store.scan(SPEC.name))
    assert pa.Table.from_batches(rows).equals(written)
    assert max(batch.nbytes for batch in rows) < 2 * LIMIT
    some = [f"d{number:05d}" for number in range(0, RECORDS, 3)]
    rows = list(store.scan(SPEC.name, documents=some))
    assert pa.Table.from_batches(rows)["document_id"].unique().to_pylist() == some
    assert max(batch.nbytes for batch in rows) < 2 * LIMIT


@pytest.mark.parametrize("written_to", [False, True])
def test_a_scan_gets_the_memory_that_texts_need(
    store: VectorStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, written_to: bool
) -> None:
    """As where texts are short in the file, so that its size does not tell."""
    written = records(text_bytes=400_000, documents=100)
    store.write(SPEC.name, written)
    monkeypatch.setattr(memory, "ROOM", 0)
    little = duckdb_store(tmp_path / "store", memory_limit_mb=40)
    usual, restarts = driver.begin_again, list[object]()  # type: ignore[attr-defined]

    def begin_again(*arguments: Any) -> None:
        restarts.append(arguments)
        usual(*arguments)
        if written_to:
            path = tmp_path / "store" / "long@1.duckdb"
            os.utime(path, ns=(1, 1))

    monkeypatch.setattr(driver, "begin_again", begin_again)
    if written_to:
        with pytest.raises(Unavailable, match="'long@1' was written to meanwhile; scan again"):
            list(little.scan(SPEC.name))
        return
    assert pa.Table.from_batches(little.scan(SPEC.name)).equals(written)
    some = [f"d{number:05d}" for number in range(100)]
    assert pa.Table.from_batches(little.scan(SPEC.name, documents=some)).equals(written)
    assert restarts


def test_a_search_gets_the_memory_that_texts_need(
    store: VectorStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(SPEC.name, records(text_bytes=400_000, documents=100))
    store.build_index(SPEC.name)
    query = Query(vector=np.array([1, 0], np.float32))
    expected = store.search(SPEC.name, query, limit=100)
    monkeypatch.setattr(memory, "ROOM", 0)
    usual, restarts = memory.begin_again, list[object]()
    monkeypatch.setattr(
        memory,
        "begin_again",
        lambda *arguments: (restarts.append(arguments), usual(*arguments)),  # type: ignore[func-returns-value]
    )
    little = duckdb_store(tmp_path / "store", memory_limit_mb=40)
    assert little.search(SPEC.name, query, limit=100) == expected
    assert restarts


@pytest.mark.parametrize("built_first", [False, True])
def test_long_texts_are_cut_into_terms_some_at_a_time(
    store: VectorStore, monkeypatch: pytest.MonkeyPatch, built_first: bool
) -> None:
    spec = SPEC.model_copy(update={"name": "words@1", "keyword_index": True})
    words = [" ".join(f"w{number}x{n}" for n in range(1200)) for number in range(120)]
    texts = [f"{text} {number % 3} only{number}" for number, text in enumerate(words)]
    records_in = records(text_bytes=2, documents=60).set_column(
        store_schema(SPEC).get_field_index("text"), "text", pa.array(texts)
    )
    postings, sizes, pieces = index.postings, list[int](), list[int]()  # type: ignore[attr-defined]

    def noted(texts: pa.Array) -> pa.Table:
        sizes.append(texts.nbytes)
        pieces.append(pa.total_allocated_bytes())
        return postings(texts)

    monkeypatch.setattr(index, "PIECE_BYTES", LIMIT)
    monkeypatch.setattr(index, "postings", noted)
    store.create(spec)
    if built_first:
        store.build_index(spec.name)
    store.write(spec.name, records_in)
    store.build_index(spec.name)
    assert max(sizes) < 2 * LIMIT < sum(sizes) / 5
    assert (
        max(pieces) - min(pieces) < sum(sizes) / 2
    )  # nothing is kept to the end of the transaction
    hits = store.search(spec.name, Query(text="2 only77", mode=Mode.KEYWORD), limit=50)
    assert hits[0].id == "d00038#1"
    assert len(hits) == 40


def test_texts_of_every_length_are_indexed_whatever_was_deleted(
    store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short ones and long ones by turns; rows were deleted before the index is built."""
    spec = SPEC.model_copy(update={"name": "words@1", "keyword_index": True})
    count, sizes = 60 * PIECES, list[int]()
    lengths = [6000 if number % 40 > 32 else 1 for number in range(count)]
    texts = [f"only{number}" + " word" * length for number, length in enumerate(lengths)]
    records_in = records(text_bytes=2, documents=60).set_column(
        store_schema(SPEC).get_field_index("text"), "text", pa.array(texts)
    )
    store.create(spec)
    for start in (0, 40, 80):
        store.write(spec.name, records_in.slice(start, 40))
    gone = [f"d{number:05d}" for number in (0, 1, 17, 18, 19, 59)]
    store.write(spec.name, records_in.slice(0, 0), replaces=gone)
    postings = index.postings  # type: ignore[attr-defined]

    def noted(texts: pa.Array) -> pa.Table:
        sizes.append(texts.nbytes)
        return postings(texts)

    monkeypatch.setattr(index, "PIECE_BYTES", LIMIT)
    monkeypatch.setattr(index, "WINDOW_ROWS", 4)
    monkeypatch.setattr(index, "postings", noted)
    store.build_index(spec.name)

    assert max(sizes) < LIMIT + 2 * 30_000
    left = {number for number in range(count) if f"d{number // PIECES:05d}" not in gone}
    for number in range(count):
        hits = store.search(spec.name, Query(text=f"only{number}", mode=Mode.KEYWORD), limit=2)
        expected = [f"d{number // PIECES:05d}#{number % PIECES}"] if number in left else []
        assert [hit.id for hit in hits] == expected


@pytest.mark.long
def test_a_collection_of_long_texts_is_backed_up_and_comes_back(store: VectorStore) -> None:
    """More than 128 MiB for 2,048 texts, which DuckDB unpacks at once in each thread."""
    repository = new_repository()
    for version in range(4):
        part = records(text_bytes=80_000, documents=512, version=version)
        renamed = pa.array([f"{version}{name}" for name in part["document_id"].to_pylist()])
        ids = pa.array([f"{version}{name}" for name in part["id"].to_pylist()])
        part = part.set_column(0, part.schema.field("id"), ids)
        place = part.schema.get_field_index("document_id")
        store.write(SPEC.name, part.set_column(place, part.schema.field(place), renamed))
    backed_up(store, repository, first=True)
    resources = Resources(repository, store, "local", OneAtATime())
    done = recover(Request(collection="long", store="local"), resources)
    assert (done.records, done.bit_identical) == (4 * 512 * PIECES, True)
