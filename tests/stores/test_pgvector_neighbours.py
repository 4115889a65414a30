"""Other sessions and other users of a PostgreSQL database do not lead this package astray."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from dr_pipelines.errors import Refused
from dr_pipelines.model.compatibility import Outcome
from dr_pipelines.model.query import (
    Contains,
    Equals,
    In,
    Query,
    Range,
)
from dr_pipelines.protocols import Definer, VectorStore
from dr_pipelines.stores.pgvector import open_store
from dr_pipelines.testing.store_samples import opened, vector
from tests.servers.pgvector import Server

WAIT_SECONDS = 20
DOCS = """
    CREATE TABLE docs (id varchar PRIMARY KEY, embedding vector, content text, n int, x real,
        tags varchar[]);
    INSERT INTO docs SELECT 'd' || g, ARRAY[g, 1, 0]::vector, 'text', g, g, '{a}'
    FROM generate_series(1, 5) g;
"""


@pytest.fixture
def database(postgres: Server) -> str:
    return postgres.create_database()


@pytest.fixture
def store(postgres: Server, database: str) -> VectorStore:
    return open_store(postgres.url(database), base=Path())


@pytest.fixture
def native(postgres: Server, database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.conninfo(database), autocommit=True) as connection:
        yield connection


def _wait_for_a_lock(native: psycopg.Connection) -> None:
    query = (
        "SELECT 1 FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    deadline = time.monotonic() + WAIT_SECONDS
    while native.execute(query).fetchone() is None:
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.02)


@pytest.mark.parametrize("name", ["docs", "served"])
def test_a_table_that_is_rewritten_meanwhile_is_read_whole(
    postgres: Server, database: str, store: VectorStore, native: psycopg.Connection, name: str
) -> None:
    native.execute(DOCS)
    store.promote("docs", alias="served")
    calls = (
        lambda: sum(batch.num_rows for batch in store.scan(name)),
        lambda: store.status(name).records,
        lambda: len(store.search(name, Query(vector=vector(1, 1, 0)), limit=9)),
        lambda: 5 * store.collections().count("docs"),
    )
    for number, call in enumerate(calls):
        with psycopg.connect(postgres.conninfo(database)) as other, ThreadPoolExecutor(1) as pool:
            other.execute(f"ALTER TABLE docs ADD COLUMN v{number} float8 DEFAULT random()")
            running = pool.submit(call)
            _wait_for_a_lock(native)
            other.commit()
            assert running.result(WAIT_SECONDS) == 5


def test_a_partition_that_is_emptied_and_filled_meanwhile_is_read_whole(
    postgres: Server, database: str, store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute("""
        CREATE TABLE docs (id int PRIMARY KEY, embedding vector(2)) PARTITION BY RANGE (id);
        CREATE TABLE one PARTITION OF docs FOR VALUES FROM (0) TO (9);
        INSERT INTO docs VALUES (1, '[1, 2]');
    """)
    with psycopg.connect(postgres.conninfo(database)) as other, ThreadPoolExecutor(1) as pool:
        other.execute("TRUNCATE one")
        other.execute("INSERT INTO docs VALUES (2, '[1, 2]')")
        running = pool.submit(lambda: pa.Table.from_batches(store.scan("docs")))
        _wait_for_a_lock(native)
        other.commit()
        assert running.result(WAIT_SECONDS).column("id").to_pylist() == ["2"]


HOSTILE = """
    CREATE TABLE ran (who text);
    CREATE FUNCTION concat(text, VARIADIC text[]) RETURNS text LANGUAGE plpgsql
        AS $$ BEGIN INSERT INTO ran VALUES (current_user); RETURN ''; END $$;
    CREATE FUNCTION concat(text, text, text, text, text, text, text, text, text) RETURNS text
        LANGUAGE plpgsql AS $$ BEGIN INSERT INTO ran VALUES (current_user); RETURN ''; END $$;
"""
OPERANDS = (
    ("oid", "=", "regclass"),
    ("oid", "<>", "int"),
    ("oid", "=", "int"),
    ("oid", "=", "bigint"),
    ("float8", ">=", "numeric"),
    ("real", ">=", "numeric"),
    ("int", "=", "numeric"),
    ("varchar", "=", "varchar"),
    ("text", "=", "varchar"),
    ("varchar", "=", "text"),
)
FUNCTIONS = ("max(varchar)", "min(varchar)", "unnest(oidvector)", "to_json(varchar)")


def test_functions_and_operators_of_others_are_not_run(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute(DOCS)
    native.execute("CREATE INDEX ON docs (content)")
    native.execute(HOSTILE)
    say = "BEGIN RAISE EXCEPTION 'ran %', '{}'; END"
    for number, (left, operator, right) in enumerate(OPERANDS):
        body = say.format(f"{left} {operator} {right}")
        native.execute(f"""
            CREATE FUNCTION op{number}({left}, {right}) RETURNS bool LANGUAGE plpgsql AS $${body}$$;
            CREATE OPERATOR public.{operator}
                (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = op{number});
        """)
    for function in FUNCTIONS:
        native.execute(f"""
            CREATE FUNCTION public.{function} RETURNS text LANGUAGE plpgsql
                AS $${say.format(function)}$$""")
    before = store.describe("docs")
    assert [index["using"] for index in before.engine["pgvector"]["indexes"]] == [
        "USING btree (content)"
    ]
    rows = pa.Table.from_batches(store.scan("docs"))
    store.create(before.physical("copy"))
    store.write("copy", rows)
    store.write("copy", rows, replaces=["d1"])
    store.build_index("copy")
    store.promote("copy", alias="served")
    filters = (
        Range("n", gte=2),
        Equals("n", 3),
        Range("x", gte=1.5),
        In("n", (1, 2)),
        Contains("tags", "a"),
    )
    for exact in (True, False):
        for condition in filters:
            query = Query(vector=vector(1, 1, 0), filter=condition, exact=exact)
            assert store.search("served", query, limit=9)
    assert store.status("served").records == 5
    assert store.change_token("served")
    assert store.describe("copy").engine == before.engine
    store.drop("docs")
    assert native.execute("TABLE ran").fetchall() == []


def test_rows_of_a_table_that_inherits_are_its_own_and_nothing_else_is_called_whole(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute(DOCS)
    rows = pa.Table.from_batches(store.scan("docs"))
    native.execute("CREATE TABLE more (PRIMARY KEY (id)) INHERITS (docs)")
    native.execute("INSERT INTO more SELECT * FROM docs")
    with pytest.raises(Refused, match="'more'"):
        next(store.scan("docs"))
    assert (len(rows), store.status("docs").records) == (5, 5)
    with pytest.raises(Refused, match="'more'"):
        store.search("docs", Query(vector=vector(1, 1, 0)), limit=99)
    store.write("docs", rows, replaces=["d1"])
    assert store.status("more").records == 5


@pytest.mark.parametrize("name", ["by_code", "t_by_code", "t_pkey"])
def test_an_index_is_the_replica_identity_again(
    store: VectorStore, native: psycopg.Connection, name: str
) -> None:
    native.execute(f"""
        CREATE TABLE t (id text PRIMARY KEY, code int NOT NULL, e vector(2));
        CREATE UNIQUE INDEX by_code ON t (code); CREATE UNIQUE INDEX t_by_code ON t (code, id);
        ALTER TABLE t REPLICA IDENTITY USING INDEX {name};
        INSERT INTO t VALUES ('a', 1, '[1,0]');
    """)
    spec = store.describe("t")
    assert store.fit(spec).notes == ()
    for copy in ("copy", "again"):  # the second finds the name of the first taken
        store.create(spec.physical(copy))
        store.write(copy, pa.Table.from_batches(store.scan("t")))
        store.build_index(copy)
        store.build_index(copy)
        assert store.describe(copy).engine == spec.engine


def test_default_privileges_widen_nothing_that_is_made(
    postgres: Server, store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute("""
        DROP ROLE IF EXISTS few, team, guest; CREATE ROLE few LOGIN; CREATE ROLE team;
        CREATE ROLE guest LOGIN; GRANT team TO guest;
        CREATE TABLE t (tenant text, id serial, e vector(2), PRIMARY KEY (tenant, id))
            PARTITION BY LIST (tenant);
        CREATE TABLE t_a PARTITION OF t FOR VALUES IN ('a');
        ALTER TABLE t REPLICA IDENTITY FULL;
        GRANT SELECT ON t TO team; GRANT SELECT (id) ON t TO few;
        ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
        ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO few WITH GRANT OPTION;
        ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO few;
    """)
    spec = store.describe("t")
    section = spec.engine["pgvector"]
    assert section["replica_identity"] == {"rows": "full"}
    assert {r["name"]: r.get("members") for r in section["roles"]} == {
        "few": None,
        "team": ["guest"],
    }
    store.create(spec.physical("copy"))
    opened(store, "copy")
    store.promote("copy", alias="served")

    assert store.describe("copy").engine == spec.engine
    statement = """
        SELECT relname FROM pg_class c, aclexplode(relacl) a
        WHERE relnamespace = 'public'::regnamespace AND grantee <> relowner ORDER BY 1
    """
    assert [name for (name,) in native.execute(statement)] == ["copy", "served", "t"]
    with psycopg.connect(native.info.dsn, user="guest", autocommit=True) as guest:
        assert guest.execute("TABLE served").fetchall() == []
    with psycopg.connect(native.info.dsn, user="few", autocommit=True) as few:
        assert few.execute("SELECT id FROM copy").fetchall() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            few.execute("TABLE served")

    native.execute("DROP VIEW served; DROP TABLE t, copy; DROP OWNED BY few, team, guest")
    native.execute("DROP ROLE guest, team")
    assert isinstance(store, Definer)
    notes = store.definitions(spec, with_roles=True).notes
    assert {note.part for note in notes if note.outcome is Outcome.LOST} == {
        "engine.pgvector.roles"
    }
    native.execute("CREATE ROLE guest")
    store.create(spec)
    opened(store, "t")
    assert store.describe("t").engine == spec.engine
    native.execute("DROP TABLE t; DROP OWNED BY few; DROP ROLE few, team, guest")


def test_a_partition_that_is_gone_gets_no_index(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute("""
        CREATE TABLE t (id int PRIMARY KEY, e vector(2)) PARTITION BY RANGE (id);
        CREATE TABLE t_a PARTITION OF t FOR VALUES FROM (0) TO (9);
        CREATE TABLE t_b PARTITION OF t FOR VALUES FROM (9) TO (19);
        CREATE INDEX ON t_a (id); CREATE INDEX ON t_b (id);
    """)
    store.create(store.describe("t").physical("copy"))
    native.execute("DROP TABLE copy_a")
    store.build_index("copy")
    assert native.execute(
        "SELECT count(*) FROM pg_indexes WHERE tablename = 'copy_b'"
    ).fetchone() == (2,)


def _may(native: psycopg.Connection, role: str, *commands: str) -> list[bool]:
    """Which commands the server lets a role do, one after the other."""
    done = list[bool]()
    with psycopg.connect(native.info.dsn, user=role, autocommit=True) as connection:
        for command in commands:
            try:
                connection.execute(command)
            except psycopg.errors.InsufficientPrivilege:
                done.append(False)
            else:
                done.append(True)
    return done


def test_whoever_writes_into_a_table_writes_through_its_new_alias(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute("""
        DROP ROLE IF EXISTS keeper, app, editor, onlooker, partial; CREATE ROLE keeper LOGIN;
        CREATE ROLE app LOGIN; CREATE ROLE editor LOGIN; CREATE ROLE onlooker LOGIN;
        CREATE ROLE partial LOGIN; GRANT CREATE ON SCHEMA public TO keeper;
        CREATE TABLE t (id serial PRIMARY KEY, body text, note text, e vector(2));
        GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON t TO app WITH GRANT OPTION;
        GRANT USAGE ON SEQUENCE t_id_seq TO app;
        GRANT SELECT, UPDATE (body) ON t TO editor; GRANT SELECT ON t TO onlooker;
        GRANT SELECT (id), INSERT ON t TO partial; ALTER TABLE t OWNER TO keeper;
        INSERT INTO t (body, e) VALUES ('a', '[1, 2]');
    """)
    store.create(store.describe("t").physical("t@1"))
    store.write("t@1", pa.Table.from_batches(store.scan("t")))
    store.build_index("t@1")
    opened(store, "t@1")
    store.promote("t@1", alias="served")

    insert = "INSERT INTO served (body, e) VALUES ('new', '[1, 1]')"
    body, note = "UPDATE served SET body = 'x'", "UPDATE served SET note = 'y'"
    delete, share = "DELETE FROM served WHERE id > 1", "GRANT DELETE ON served TO onlooker"
    writes = (insert, body, note, "TABLE served", delete, share)
    try:
        for owner in ("app", "keeper"):
            assert _may(native, owner, *writes) == [True] * 6
        assert _may(native, "editor", *writes[:5]) == [False, True, False, True, False]
        view = "TABLE served", insert, "DELETE FROM served"
        assert _may(native, "onlooker", *view) == [True, False, False]  # the table asks as well
        assert _may(native, "partial", "SELECT id FROM served", insert) == [False, False]
        native.execute("ALTER TABLE t ADD COLUMN more int; ALTER TABLE t DROP COLUMN note")
        store.promote("t", alias="served")
        assert _may(native, "editor", *writes[:2]) == [False, True]
        assert _may(native, "app", insert, delete, share) == [True] * 3
    finally:
        native.execute("DROP VIEW served; DROP OWNED BY keeper, app, editor, onlooker, partial")
        native.execute('DROP TABLE IF EXISTS "t@1"')
        native.execute("DROP ROLE keeper, app, editor, onlooker, partial")


def test_what_is_dropped_while_catalogs_are_read_hides_nothing_else(
    postgres: Server, database: str, store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute(DOCS)
    store.promote("docs", alias="served")
    over = threading.Event()

    def cycle() -> None:
        with psycopg.connect(postgres.conninfo(database), autocommit=True) as other:
            while not over.is_set():
                other.execute("CREATE TABLE more (id int PRIMARY KEY, e vector(2), n text)")
                other.execute("CREATE INDEX ON more (n) WHERE n > 'a'")
                other.execute("DROP TABLE more")

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(cycle)
        try:
            for _ in range(150):
                assert "docs" in store.collections()
                assert store.aliases() == {"served": "docs"}
        finally:
            over.set()
        running.result()
