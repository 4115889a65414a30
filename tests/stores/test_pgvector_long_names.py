"""Names that PostgreSQL cuts are found again, so that no part of a table is taken for lost."""

from pathlib import Path

import psycopg
import pytest

from dr_pipelines.planning.parts import compare_parts
from dr_pipelines.stores.pgvector import open_store
from dr_pipelines.stores.pgvector.names import MAX_BYTES, derived, placed
from tests.servers.pgvector import Server

LONG = "measurements_of_the_weather_stations"
MADE = f"""
    CREATE EXTENSION IF NOT EXISTS vector;
    CREATE TABLE {LONG} (id int PRIMARY KEY, e vector(2), place text, n int,
        CONSTRAINT {LONG}_place_is_a_text CHECK (place <> ''));
    CREATE INDEX {LONG}_place_number_idx ON {LONG} (place, n);
    CREATE STATISTICS {LONG}_place_and_n_stat ON place, n FROM {LONG};
    INSERT INTO {LONG} VALUES (1, '[1,0]', 'a', 1), (2, '[0,2]', 'b', 2);
"""


@pytest.mark.parametrize("table", ["t", LONG, "ö" * 31, "x" * MAX_BYTES])
@pytest.mark.parametrize("name", ["i", "{table}_pkey", "{table}_" + "é" * 24, "{table}~_a-b"])
def test_a_name_for_another_table_is_found_again(name: str, table: str) -> None:
    there = placed(name, table, taken=False)
    assert len(there.encode()) <= MAX_BYTES
    assert derived(there, table) == name
    assert placed(name, f"{table[:-1]}y", taken=False) != there or name == "i"


def test_a_copy_under_a_long_name_has_all_that_was_there(postgres: Server) -> None:
    database = postgres.create_database()
    with psycopg.connect(postgres.conninfo(database), autocommit=True) as connection:
        connection.execute(MADE)
    store = open_store(postgres.url(database), base=Path())
    copy = store.describe(LONG).physical(f"{LONG}@123-abcdef12", origin="log:123")
    store.create(copy)
    store.build_index(copy.name)
    findings = compare_parts(copy, store.describe(copy.name), engine="pgvector")
    assert [finding.part for finding in findings if not finding.unreported] == []
