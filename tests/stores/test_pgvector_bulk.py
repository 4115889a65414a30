"""A table that nobody reads yet is filled by two writers at a time, and without a look for what its
rows replace."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import BulkLoad, VectorStore
from dr_pipelines.stores.pgvector import open_store
from dr_pipelines.stores.pgvector.connections import Session, Statement
from dr_pipelines.testing.store_samples import SPEC, record, table
from tests.servers.pgvector import Server

DOCUMENTS = [f"d{number:04d}" for number in range(120)]


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


@pytest.fixture
def deletions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Statements that delete, as they are sent."""
    sent, run = list[str](), Session.run

    def noted(session: Session, command: Statement) -> None:
        text = command.as_string()
        if text.startswith("DELETE"):
            sent.append(text)
        run(session, command)

    monkeypatch.setattr(Session, "run", noted)
    return sent


def _copied(store: VectorStore, name: str) -> tuple[CollectionSpec, pa.Table]:
    """The specification of an empty copy that was made, and the rows of a table of others."""
    described = store.describe(name)
    rows = pa.Table.from_batches(store.scan(name), store_schema(described))
    spec = described.physical("copy", origin="12-ab")
    store.create(spec)
    return spec, rows


def test_two_writers_of_records_that_alternate_leave_all_of_them(store: VectorStore) -> None:
    store.create(SPEC)
    whole = table(*map(record, DOCUMENTS))
    parts = [whole.take(list(range(start, len(whole), 8))) for start in range(8)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda part: store.write(SPEC.name, part), parts))
    assert pa.Table.from_batches(store.scan(SPEC.name)).equals(whole)


def test_rows_of_a_new_table_are_looked_for_only_where_one_is_there_already(
    store: VectorStore, deletions: list[str]
) -> None:
    store.create(SPEC)
    store.write(SPEC.name, table(record("b", text="first")))
    store.write(SPEC.name, table(record("a")))
    assert deletions == []
    again = table(record("b", text="second"), record("c"))
    store.write(SPEC.name, again)
    assert len(deletions) == 1
    assert pa.Table.from_batches(store.scan(SPEC.name)).equals(
        pa.concat_tables([table(record("a")), again])
    )


def test_rows_of_a_table_that_is_built_are_looked_for(
    store: VectorStore, deletions: list[str]
) -> None:
    store.create(SPEC)
    store.write(SPEC.name, table(record("b")))
    store.build_index(SPEC.name)
    store.write(SPEC.name, table(record("a")))
    assert len(deletions) == 1


@pytest.mark.parametrize("deferrable", ["NOT DEFERRABLE", "DEFERRABLE INITIALLY DEFERRED"])
def test_a_row_that_is_there_is_replaced_also_where_the_key_is_checked_at_the_end(
    store: VectorStore, native: psycopg.Connection, deferrable: str
) -> None:
    native.execute(f"""
        CREATE TABLE theirs (id int, e vector(2), PRIMARY KEY (id) {deferrable});
        INSERT INTO theirs SELECT g, ARRAY[g, 1]::vector FROM generate_series(1, 9) g;
    """)
    spec, rows = _copied(store, "theirs")
    store.write(spec.name, rows)
    store.write(spec.name, rows.slice(3))
    assert pa.Table.from_batches(store.scan(spec.name)).equals(rows)


ALONE = {
    "ours": None,
    "theirs": "CREATE TABLE theirs (id int PRIMARY KEY, e vector(2))",
}
WAITING = {
    "without-a-key": "CREATE TABLE theirs (id int, e vector(2))",
    "unique": "CREATE TABLE theirs (id int PRIMARY KEY, n int UNIQUE, e vector(2))",
    "excluded": "CREATE TABLE theirs (id int PRIMARY KEY, n int, e vector(2), "
    "EXCLUDE USING btree (n WITH =))",
    "partitions": "CREATE TABLE theirs (id int PRIMARY KEY, e vector(2)) PARTITION BY HASH (id); "
    "CREATE TABLE part PARTITION OF theirs FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
    "of-another-role": "CREATE TABLE theirs (id int PRIMARY KEY, e vector(2)); "
    "ALTER TABLE theirs OWNER TO somebody",
}


@pytest.mark.parametrize("made", ALONE.values(), ids=ALONE)
def test_a_table_whose_rows_only_its_key_keeps_apart_takes_two_writers(
    store: VectorStore, native: psycopg.Connection, made: str | None
) -> None:
    assert isinstance(store, BulkLoad)
    if made is None:
        store.create(SPEC)
    else:
        native.execute(made)
    assert store.takes_two_writers(SPEC.name if made is None else "theirs")


@pytest.mark.parametrize("made", WAITING.values(), ids=WAITING)
def test_a_table_whose_writers_may_wait_for_each_other_takes_one(
    store: VectorStore, native: psycopg.Connection, made: str
) -> None:
    assert isinstance(store, BulkLoad)
    native.execute("DO $$ BEGIN CREATE ROLE somebody; EXCEPTION WHEN duplicate_object THEN END $$")
    native.execute(made)
    assert not store.takes_two_writers("theirs")
