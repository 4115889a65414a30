"""Vectors lie in the rows of our own tables where two rows fit on a page; tables of others keep the
storage that they have."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from dr_pipelines.model.collection import CollectionSpec, Vector, VectorType
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.pgvector import open_store
from dr_pipelines.testing.store_samples import opened
from tests.servers.pgvector import Server

ROWS = 20
NOISE = np.random.default_rng(7)
STORED = """
    SELECT a.attname, a.attstorage::text, a.attcompression::text FROM pg_attribute a
    WHERE a.attrelid = %s::regclass AND a.attnum > 0 ORDER BY a.attnum
"""
OPTIONS = "SELECT reloptions FROM pg_class WHERE oid = %s::regclass"
BESIDE = """
    SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE oid = %s::regclass
        AND reltoastrelid <> 0
"""


@pytest.fixture
def database(postgres: Server) -> str:
    return postgres.create_database()


@pytest.fixture
def native(postgres: Server, database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.conninfo(database), autocommit=True) as connection:
        yield connection


@pytest.fixture
def store(postgres: Server, database: str) -> VectorStore:
    return open_store(postgres.url(database), base=Path())


def _filled(store: VectorStore, *vectors: Vector, text_bytes: int = 100) -> CollectionSpec:
    spec = CollectionSpec(name="ours", vectors=vectors)
    schema = store_schema(spec)
    columns: dict[str, Any] = {field.name: pa.nulls(ROWS, field.type) for field in schema}
    columns["id"] = columns["document_id"] = pa.array([f"{n:04d}" for n in range(ROWS)])
    columns["chunk_index"] = pa.array(np.zeros(ROWS, np.int32))
    noise = NOISE.integers(0x4E00, 0x9FFF, (ROWS, text_bytes // 3))  # three bytes a character
    columns["text"] = pa.array(["".join(map(chr, row)) for row in noise.tolist()])
    for vector in vectors:
        if vector.kind == "dense":
            values = NOISE.integers(0, 2, ROWS * vector.dimension).astype(np.float32)
            dense = pa.FixedSizeListArray.from_arrays(pa.array(values), vector.dimension)
            columns[vector.name] = dense.cast(schema.field(vector.name).type)
    store.create(spec)
    store.write(spec.name, pa.table([columns[name] for name in schema.names], schema=schema))
    return spec


def _one(native: psycopg.Connection, query: str, table: str) -> Any:
    row = native.execute(query, [table]).fetchone()
    return row[0] if row else None


@pytest.mark.parametrize(
    "vectors",
    [
        (Vector(dimension=384),),
        (Vector(dimension=768),),
        (Vector(dimension=1536, dtype=VectorType.FLOAT16),),
        (Vector(dimension=4096, dtype=VectorType.BIT), Vector(name="b", dimension=400)),
    ],
    ids=["384", "768", "1536-half", "4096-bits-and-400"],
)
def test_vectors_of_two_rows_a_page_lie_in_the_rows(
    store: VectorStore, native: psycopg.Connection, vectors: tuple[Vector, ...]
) -> None:
    _filled(store, *vectors)
    assert _one(native, OPTIONS, "ours") == ["toast_tuple_target=4080"]
    assert not _one(native, BESIDE, "ours")
    assert "storage" not in store.describe("ours").engine["pgvector"]


@pytest.mark.parametrize(
    "vectors",
    [
        (Vector(dimension=1024),),
        (Vector(dimension=500), Vector(name="b", dimension=500)),
        (Vector(dimension=4, kind="multi"),),
        (Vector(dimension=50_000, kind="sparse"),),
    ],
    ids=["1024", "500-twice", "several", "sparse"],
)
def test_wider_vectors_and_those_of_no_width_are_where_the_server_puts_them(
    store: VectorStore, native: psycopg.Connection, vectors: tuple[Vector, ...]
) -> None:
    _filled(store, *vectors)
    assert _one(native, OPTIONS, "ours") is None
    assert "storage" not in store.describe("ours").engine["pgvector"]


def test_a_row_of_which_no_two_fit_on_a_page_is_cut(
    store: VectorStore, native: psycopg.Connection
) -> None:
    _filled(store, Vector(dimension=384), text_bytes=6_000)
    assert _one(native, BESIDE, "ours") > 0


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ("SET (toast_tuple_target = 3000)", {"toast_tuple_target": "3000"}),
        ("RESET (toast_tuple_target)", {"toast_tuple_target": "2032"}),
        ("SET (fillfactor = 70)", {"fillfactor": "70"}),
    ],
    ids=["another", "none", "more"],
)
def test_what_somebody_set_on_a_table_of_ours_is_described_and_made_again(
    store: VectorStore, native: psycopg.Connection, change: str, options: dict[str, str]
) -> None:
    _filled(store, Vector(dimension=384))
    native.execute(f"ALTER TABLE ours {change}")
    described = store.describe("ours")
    assert described.engine["pgvector"]["storage"] == {"options": options}
    copy = described.physical("copy", origin="12-ab")
    store.create(copy)
    store.build_index("copy")
    opened(store, "copy")
    assert store.describe("copy").engine == described.engine


@pytest.mark.parametrize("storage", ["PLAIN", "MAIN", "EXTERNAL", "EXTENDED"])
@pytest.mark.parametrize("target", [None, 4080, 8160])
def test_a_table_of_others_has_the_storage_that_it_had(
    store: VectorStore, native: psycopg.Connection, storage: str, target: int | None
) -> None:
    native.execute(f"""
        CREATE TABLE theirs (id int PRIMARY KEY, body text, e vector(384));
        ALTER TABLE theirs ALTER e SET STORAGE {storage}, ALTER body SET STORAGE {storage};
        INSERT INTO theirs SELECT g, repeat('x', 300), array_fill(g, ARRAY[384])::vector
        FROM generate_series(1, 20) g;
    """)
    if target is not None:
        native.execute(f"ALTER TABLE theirs SET (toast_tuple_target = {target})")
    described = store.describe("theirs")
    rows = pa.Table.from_batches(store.scan("theirs"), store_schema(described))
    store.create(described.physical("copy", origin="12-ab"))
    store.write("copy", rows)
    store.build_index("copy")
    opened(store, "copy")
    for query in (OPTIONS, BESIDE):
        assert (_one(native, query, "copy") or 0) == (_one(native, query, "theirs") or 0)
    of_copy, of_theirs = (native.execute(STORED, [t]).fetchall() for t in ("copy", "theirs"))
    assert of_copy == of_theirs
