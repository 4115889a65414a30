"""The look before a write costs the same beside any number of tables."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from dr_pipelines.stores.pgvector import open_store
from tests.servers.pgvector import Server
from tests.stores.pgvector_traps import recorded

TABLE = """
    CREATE TABLE t (id int PRIMARY KEY, e vector(2), body text CHECK (length(body) > 0));
    INSERT INTO t VALUES (1, '[1, 2]', 'a');
"""
NEIGHBOURS = """DO $$ BEGIN FOR i IN 1..200 LOOP EXECUTE format('
    CREATE TABLE n%s (id int PRIMARY KEY, a text NOT NULL, b text, c jsonb, d uuid REFERENCES u);
    CREATE FUNCTION n%s(int) RETURNS int IMMUTABLE LANGUAGE sql AS ''SELECT 1'';
    CREATE DOMAIN n%s_d AS int CHECK (VALUE > 0)', i, i, i); END LOOP; END $$"""


@pytest.fixture
def native(postgres: Server) -> Iterator[psycopg.Connection]:
    name = postgres.create_database()
    with psycopg.connect(postgres.conninfo(name), autocommit=True) as connection:
        yield connection


def test_the_look_before_a_write_reads_as_much_beside_many_tables(
    postgres: Server, native: psycopg.Connection
) -> None:
    native.execute(TABLE.encode())
    store = open_store(postgres.url(native.info.dbname), base=Path())
    with recorded() as statements:
        store.write("t", pa.Table.from_batches(store.scan("t")))
    (look,) = [text for text in statements.statements if "typed (id) AS" in text]
    alone = _pages(native, look)
    native.execute(f"CREATE TABLE u (id uuid PRIMARY KEY); {NEIGHBOURS}; ANALYZE".encode())
    assert _pages(native, look) < 2 * alone


def _pages(native: psycopg.Connection, query: str) -> int:
    """Pages that a query reads."""
    explain = b"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) " + query.encode()
    native.execute(explain)  # what is read first of the catalogs stays with the connection
    row = native.execute(explain).fetchone()
    assert row is not None
    plan: dict[str, Any] = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])
