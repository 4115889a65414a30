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
from dr_pipelines.planning.parts import compare_parts
from dr_pipelines.protocols import BulkLoad, VectorStore
from dr_pipelines.stores.pgvector import open_store
from dr_pipelines.stores.pgvector.connections import Session, Statement
from dr_pipelines.testing.store_samples import SPEC, opened, record, table
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
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first words of statements that are sent."""
    sent, run = list[str](), Session.run

    def noted(session: Session, command: Statement) -> None:
        sent.append(command.as_string().split()[0])
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
    store: VectorStore, commands: list[str]
) -> None:
    store.create(SPEC)
    store.write(SPEC.name, table(record("b", text="first")))
    store.write(SPEC.name, table(record("a")))
    assert "DELETE" not in commands
    again = table(record("b", text="second"), record("c"))
    store.write(SPEC.name, again)
    assert commands.count("DELETE") == 1
    assert pa.Table.from_batches(store.scan(SPEC.name)).equals(
        pa.concat_tables([table(record("a")), again])
    )


def test_rows_of_a_table_that_is_built_are_looked_for(
    store: VectorStore, commands: list[str]
) -> None:
    store.create(SPEC)
    store.write(SPEC.name, table(record("b")))
    store.build_index(SPEC.name)
    store.write(SPEC.name, table(record("a")))
    assert commands.count("DELETE") == 1


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
    "ALTER TABLE theirs OWNER TO loader",
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
    native.execute("DO $$ BEGIN CREATE ROLE loader; EXCEPTION WHEN duplicate_object THEN END $$")
    native.execute(made)
    assert not store.takes_two_writers("theirs")


LATE = """
    CREATE TABLE theirs (id int PRIMARY KEY, n int NOT NULL, body text, e vector(2));
    CREATE UNIQUE INDEX by_n ON theirs (n);
    CREATE INDEX graph ON theirs USING hnsw (e vector_l2_ops) WITH (m = 5);
    CREATE INDEX words ON theirs (lower(body));
    INSERT INTO theirs SELECT g, g, 'b' || g, ARRAY[g, 1]::vector FROM generate_series(1, 40) g;
    ALTER TABLE theirs ADD CONSTRAINT few CHECK (n < 20) NOT VALID,
        REPLICA IDENTITY USING INDEX by_n;
    CREATE STATISTICS together ON n, body FROM theirs;
    ALTER TABLE theirs CLUSTER ON words;
"""


def test_indexes_are_built_beside_a_reader_and_what_waits_for_readers_comes_later(
    store: VectorStore, native: psycopg.Connection
) -> None:
    assert isinstance(store, BulkLoad)
    native.execute(LATE)
    described = store.describe("theirs")
    spec, rows = _copied(store, "theirs")
    store.write(spec.name, rows)
    reader = store.scan(spec.name, batch_rows=7)
    first = next(reader)  # its transaction is open until the end
    store.build_beside_readers(spec.name)
    indexes = "SELECT count(*) FROM pg_indexes WHERE tablename = 'copy'"
    late = "SELECT count(*) FROM pg_constraint WHERE conrelid = 'copy'::regclass AND contype = 'c'"
    assert native.execute(indexes).fetchone() == (4,)
    assert native.execute(late).fetchone() == (0,)
    assert not store.status(spec.name).indexed
    assert pa.Table.from_batches([first, *reader]).equals(rows)
    store.build_index(spec.name)
    assert native.execute(late).fetchone() == (1,)
    assert store.status(spec.name).indexed
    found_out = """SELECT count(*) FROM pg_statistic_ext_data d JOIN pg_statistic_ext s
        ON s.oid = d.stxoid WHERE s.stxrelid = 'copy'::regclass"""
    assert native.execute(found_out).fetchone() == (1,)
    opened(store, spec.name)
    assert compare_parts(described, store.describe(spec.name), engine="pgvector") == ()
    assert sorted(store.chosen(spec.name)) == [
        "maintenance_work_mem",
        "max_parallel_maintenance_workers",
    ]
    assert store.chosen("theirs") == {}


def test_a_table_of_ours_is_looked_at_by_the_server_once(
    store: VectorStore, commands: list[str]
) -> None:
    assert isinstance(store, BulkLoad)
    store.create(SPEC)
    store.write(SPEC.name, table(record("a")))
    store.build_beside_readers(SPEC.name)
    store.build_index(SPEC.name)
    assert commands.count("ANALYZE") == 1
    store.build_index(SPEC.name)
    assert commands.count("ANALYZE") == 2


def test_an_index_that_nobody_waits_for_any_more_is_not_built(store: VectorStore) -> None:
    assert isinstance(store, BulkLoad)
    store.create(SPEC)
    store.write(SPEC.name, table(*map(record, DOCUMENTS)))

    def stop(done: int, total: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        store.build_beside_readers(SPEC.name, progress=stop)
    assert not store.status(SPEC.name).indexed
    store.build_index(SPEC.name)
    assert store.status(SPEC.name).indexed


class Stopped(Exception):
    """Somebody went away."""
