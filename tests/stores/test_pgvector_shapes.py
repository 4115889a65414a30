"""Tables in shapes that people reported: backed up, lost, put back, and then as they were."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from dr_pipelines.errors import Refused
from dr_pipelines.model.record import store_schema
from dr_pipelines.planning.parts import compare_parts
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.pgvector import open_store
from tests.servers.pgvector import Server

INDEXES = """
    SELECT c.relname, pg_get_indexdef(i.indexrelid), i.indisunique, i.indisvalid
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = 't'::regclass ORDER BY 1
"""
CONSTRAINTS = """
    SELECT conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint
    WHERE conrelid = 't'::regclass ORDER BY 1
"""


@pytest.fixture(params=[16, 18])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue("postgres" if request.param == 18 else "postgres16")
    return found


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


def lost_and_restored(store: VectorStore, native: psycopg.Connection, name: str = "t") -> set[str]:
    """Take what a backup takes of a table, drop it, and put it back under its name: parts that are
    not as they were."""
    before = store.describe(name)
    rows = pa.Table.from_batches(store.scan(name), store_schema(before))
    native.execute(f'DROP TABLE "{name}" CASCADE')
    store.create(before.model_copy(update={"origin": "12-ab", "aliases": ()}))
    store.write(name, rows)
    store.build_index(name)
    store.build_index(name)  # again: it does nothing twice
    after = store.describe(name)
    assert pa.Table.from_batches(store.scan(name), store_schema(after)).equals(rows)
    assert len(rows) > 0
    found = compare_parts(before, after, engine="pgvector")
    return {finding.part for finding in found if not finding.unreported}


EQUAL_INDEXES = {
    "a unique index on the primary key's column, as LangChain's table has": """
        CREATE TABLE t (id varchar PRIMARY KEY, e vector(2));
        CREATE UNIQUE INDEX ix_cmetadata ON t (id);
    """,
    "a plain and a unique index beside a unique constraint, all of equal text": """
        CREATE TABLE t (id int PRIMARY KEY, e vector(2), a int UNIQUE);
        CREATE INDEX plain ON t (a); CREATE INDEX again ON t (a); CREATE UNIQUE INDEX once ON t (a);
    """,
    "a GiST index beside an exclusion constraint of equal text": """
        CREATE TABLE t (id int PRIMARY KEY, e vector(2), span int4range,
            CONSTRAINT apart EXCLUDE USING gist (span WITH &&));
        CREATE INDEX spans ON t USING gist (span);
    """,
    "indexes that differ in one thing": """
        CREATE TABLE t (id int PRIMARY KEY, e vector(2), a text, b int);
        CREATE UNIQUE INDEX i1 ON t (a); CREATE UNIQUE INDEX i2 ON t (a) NULLS NOT DISTINCT;
        CREATE UNIQUE INDEX i3 ON t (a) INCLUDE (b); CREATE UNIQUE INDEX i4 ON t (a) WHERE b > 0;
        CREATE UNIQUE INDEX i5 ON t (a COLLATE "POSIX");
        CREATE UNIQUE INDEX i6 ON t (a text_pattern_ops);
        CREATE INDEX i7 ON t USING hash (a); CREATE UNIQUE INDEX i8 ON t (a DESC);
    """,
    "a key that is an index alone": """
        CREATE TABLE t (id int NOT NULL, e vector(2)); CREATE UNIQUE INDEX key ON t (id);
    """,
    "a key that is an index alone, beside a unique constraint": """
        CREATE TABLE t (id int NOT NULL, e vector(2), b int NOT NULL UNIQUE DEFAULT 7);
        CREATE UNIQUE INDEX key ON t (id);
    """,
    "two keys, of which the later column's was made first": """
        CREATE TABLE t (id int NOT NULL, e vector(2), b int NOT NULL DEFAULT 3);
        ALTER TABLE t ADD CONSTRAINT z UNIQUE (b); ALTER TABLE t ADD CONSTRAINT a UNIQUE (id);
    """,
    "a primary key that is checked at the transaction's end": """
        CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, e vector(2));
    """,
}


@pytest.mark.parametrize("made", EQUAL_INDEXES.values(), ids=EQUAL_INDEXES)
def test_every_index_comes_back_beside_others_like_it(
    store: VectorStore, native: psycopg.Connection, made: str
) -> None:
    native.execute(made + "INSERT INTO t (id, e) VALUES (1, '[1, 2]')")
    before = native.execute(INDEXES).fetchall()

    assert lost_and_restored(store, native) == set()

    assert native.execute(INDEXES).fetchall() == before


def test_a_constraint_that_older_rows_break_comes_back_not_valid(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute("""
        CREATE TABLE t (id int PRIMARY KEY, e vector(2), price int, CHECK (price < 100));
        INSERT INTO t VALUES (1, '[1, 2]', -1), (2, '[1, 3]', 3);
        ALTER TABLE t ADD CONSTRAINT positive CHECK (price > 0) NOT VALID;
        COMMENT ON CONSTRAINT positive ON t IS 'from now on';
    """)
    before = native.execute(CONSTRAINTS).fetchall()

    assert lost_and_restored(store, native) == set()

    assert native.execute(CONSTRAINTS).fetchall() == before
    with pytest.raises(psycopg.errors.CheckViolation):
        native.execute("INSERT INTO t VALUES (3, '[1, 2]', -2)")


def test_a_constraint_of_a_partition_that_older_rows_break_comes_back_not_valid(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute("""
        CREATE TABLE t (id int PRIMARY KEY, e vector(2), price int) PARTITION BY RANGE (id);
        CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (100);
        INSERT INTO t VALUES (1, '[1, 2]', -1), (2, '[1, 3]', 3);
        ALTER TABLE t_1 ADD CONSTRAINT positive CHECK (price > 0) NOT VALID;
    """)
    query = CONSTRAINTS.replace("'t'", "'t_1'")
    before = native.execute(query).fetchall()

    assert lost_and_restored(store, native) == set()

    assert native.execute(query).fetchall() == before


def test_an_index_that_was_never_finished_is_not_made_and_is_said(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute("""
        CREATE TABLE t (id int PRIMARY KEY, e vector(2), a int);
        INSERT INTO t VALUES (1, '[1, 2]', 7), (2, '[1, 3]', 7);
    """)
    with pytest.raises(psycopg.errors.UniqueViolation):
        native.execute("CREATE UNIQUE INDEX CONCURRENTLY once ON t (a)")
    notes = store.fit(store.describe("t")).notes
    assert [n for n in notes if "INVALID" in n.consequence and "once" in n.part] != []

    assert lost_and_restored(store, native) == set()

    assert [row[0] for row in native.execute(INDEXES)] == ["t_pkey"]


def test_a_table_that_others_inherit_from_is_refused_by_name(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute("""
        CREATE TABLE t (id int PRIMARY KEY, e vector(2));
        CREATE TABLE "t of 2023" () INHERITS (t); CREATE TABLE t_deep () INHERITS ("t of 2023");
        INSERT INTO t VALUES (1, '[1, 2]'); INSERT INTO t_deep VALUES (2, '[1, 2]');
    """)
    for reading in (lambda: store.describe("t"), lambda: list(store.scan("t"))):
        with pytest.raises(Refused, match=r"t of 2023.*t_deep") as refused:
            reading()
        assert "INHERITS" in str(refused.value)
    native.execute('DROP TABLE t_deep; ALTER TABLE "t of 2023" NO INHERIT t')
    assert lost_and_restored(store, native) == set()
