"""Tables without a key: rows are told apart by what they hold, and equal ones by a number."""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.query import Equals, Query
from dr_pipelines.model.record import store_schema
from dr_pipelines.planning.parts import compare_parts
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.pgvector import open_store
from dr_pipelines.testing.store_samples import opened
from tests.servers.pgvector import Server

PLAIN = """
    CREATE TABLE t (body text, e vector(2), n int, "dr digest" text, twice int
        GENERATED ALWAYS AS (n * 2) STORED);
    COMMENT ON TABLE t IS 'of somebody';
    CREATE INDEX ON t USING hnsw (e vector_l2_ops) WITH (m = 16, ef_construction = 64);
    INSERT INTO t SELECT 'row ' || g % 7, array_fill(g % 7, '{2}')::vector, g % 7, NULL
        FROM generate_series(1, 40) g;
    INSERT INTO t VALUES (NULL, NULL, NULL, ''), (NULL, NULL, NULL, NULL), ('', '[0, 0]', 0, ',');
"""
PARTITIONED = """
    CREATE TABLE t (body text, e vector(2), n int UNIQUE NULLS NOT DISTINCT, k int, UNIQUE (n, k))
        PARTITION BY LIST (n);
    CREATE TABLE t_1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t_2 PARTITION OF t DEFAULT;
    CREATE STATISTICS both_of ON n, k FROM t;
    INSERT INTO t VALUES ('a', '[1, 2]', 1, 1), ('b', '[1, 3]', 2, NULL), ('b', '[1, 4]', NULL, 4);
""".replace("n int UNIQUE NULLS NOT DISTINCT", "n int")


@pytest.fixture(params=[16, 18])
def server(request: pytest.FixtureRequest) -> Server:
    opened: Server = request.getfixturevalue("postgres" if request.param == 18 else "postgres16")
    return opened


on_one_server = pytest.mark.parametrize("server", [18], indirect=True)


@pytest.fixture
def database(server: Server) -> str:
    return server.create_database()


@pytest.fixture
def native(server: Server, database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.conninfo(database), autocommit=True) as connection:
        yield connection


@pytest.fixture
def store(server: Server, database: str) -> VectorStore:
    return open_store(server.url(database), base=Path())


def rows_of(store: VectorStore, name: str = "t") -> pa.Table:
    return pa.Table.from_batches(store.scan(name, batch_rows=7), store_schema(store.describe(name)))


def ids_of(store: VectorStore, name: str = "t") -> list[str]:
    ids: list[str] = rows_of(store, name).column("id").to_pylist()
    return ids


def dumped(server: Server, database: str) -> list[str]:
    """A database in the words of pg_dump, without the label and what has it, in no order."""
    command = [server.program("pg_dump"), "--restrict-key=x", server.conninfo(database)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = (line for line in text.split("\n") if line and not line.startswith("--"))
    return sorted(line for line in lines if "t_label" not in line)


@pytest.mark.parametrize("made", [PLAIN, PARTITIONED], ids=["plain", "partitioned"])
def test_a_table_without_a_key_comes_back_with_its_equal_rows(
    server: Server, database: str, store: VectorStore, native: psycopg.Connection, made: str
) -> None:
    native.execute(made)
    dump = dumped(server, database)
    before, rows = store.describe("t"), rows_of(store)
    ids = rows.column("id").to_pylist()
    assert store.collections() == ["t"]
    assert len(rows) == store.status("t").records
    assert ids == sorted(set(ids))
    assert len({key[:64] for key in ids}) == (3 if made == PARTITIONED else 10)
    native.execute("DROP TABLE t")

    store.create(before.model_copy(update={"origin": "12-ab"}))
    for start in range(0, len(rows), 9):
        store.write("t", rows.slice(start, 9))
    store.build_index("t")
    opened(store, "t")

    after = store.describe("t")
    assert after.origin == "12-ab"
    findings = compare_parts(before, after, engine="pgvector")
    assert [part.part for part in findings if not part.unreported] == []
    assert rows_of(store).equals(rows)
    assert dumped(server, database) == dump
    native.execute("ANALYZE t; ALTER TABLE t RENAME TO u")
    assert ids_of(store, "u") == ids


@on_one_server
def test_an_id_is_the_digest_of_what_the_output_functions_write(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute("CREATE TABLE t (a text, e vector(2), b float8)")
    native.execute("INSERT INTO t VALUES ('x, \"y\"', '[1, 2]', 0.1), ('x, \"y\"', '[1, 2]', 0.1)")
    digest = hashlib.sha256(b'("x, ""y""","[1,2]",0.1)').hexdigest()
    assert ids_of(store) == [digest, f"{digest}-0000000002"]


@on_one_server
def test_a_write_that_is_repeated_by_another_process_doubles_nothing(
    server: Server, database: str, store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute(PLAIN)
    before, rows = store.describe("t"), rows_of(store)
    native.execute("DROP TABLE t")
    store.create(before)
    store.write("t", rows.slice(0, 20))
    another = open_store(server.url(database), base=Path())
    another.create(before)
    for start, count in ((0, 10), (10, 20), (20, 30)):
        another.write("t", rows.slice(start, count))
    with pytest.raises(InvalidRequest):
        another.write("t", rows.slice(0, 1).set_column(0, "id", pa.array(["x"])))
    another.write("t", rows.slice(40))
    assert rows_of(store).equals(rows)


@on_one_server
def test_a_search_names_rows_as_a_scan_does(store: VectorStore, native: psycopg.Connection) -> None:
    native.execute(PLAIN)
    expected = {row["id"] for row in rows_of(store).to_pylist() if row["n"] == 3}
    for exact in (True, False):
        near = Query(vector=np.full(2, 3, np.float32), vector_name="e", exact=exact)
        hits = store.search("t", near, limit=len(expected))
        assert {hit.id for hit in hits} == expected
        filtered = Query(
            vector=np.zeros(2, np.float32), vector_name="e", exact=exact, filter=Equals("n", 3)
        )
        assert {hit.id for hit in store.search("t", filtered, limit=99)} == expected
    one = sorted(expected)[1]
    (batch,) = store.scan("t", documents=[one])
    assert batch.column("id").to_pylist() == [one]


@on_one_server
def test_rows_are_edited_by_their_ids(store: VectorStore, native: psycopg.Connection) -> None:
    native.execute(PARTITIONED.replace("UNIQUE (n, k)", "CHECK (true)"))
    native.execute("INSERT INTO t VALUES ('b', '[1, 3]', 2, NULL)")
    rows = rows_of(store)
    double = next(key for key in rows.column("id").to_pylist() if len(key) > 64)

    store.write("t", rows)  # what is there already
    assert rows_of(store).equals(rows)
    store.write("t", rows.slice(0, 0), replaces=[double])
    assert ids_of(store) == [key for key in rows.column("id").to_pylist() if key != double]
    other = rows.slice(0, 1).set_column(0, "id", pa.array(["0" * 64]))
    with pytest.raises(InvalidRequest, match="has no key"):
        store.write("t", other)
    with pytest.raises(InvalidRequest, match="has no key"):
        store.write("t", rows.slice(0, 1).set_column(0, "id", pa.array(["7"])))
    assert len(rows_of(store)) == len(rows) - 1


@on_one_server
def test_that_a_table_has_no_key_is_said(store: VectorStore, native: psycopg.Connection) -> None:
    native.execute("CREATE TABLE t (id int UNIQUE, e vector(2))")
    (note,) = store.compatibility("t")
    assert note.part == "engine.pgvector.key"
    assert "digest of what a row holds" in note.consequence
