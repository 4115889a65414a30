"""Tables in shapes that people reported: backed up, lost, put back, and then as they were."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from dr_pipelines.errors import InvalidRequest, NotFound, Refused
from dr_pipelines.model.compatibility import Outcome
from dr_pipelines.model.query import Query
from dr_pipelines.model.record import store_schema
from dr_pipelines.planning.parts import compare_parts
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.pgvector import open_store
from dr_pipelines.stores.pgvector.name_rules import ALIAS_LIMITS, name_rules
from dr_pipelines.testing.store_samples import opened
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


EMPTY = """
    DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner;
    GRANT USAGE ON SCHEMA public TO PUBLIC; CREATE EXTENSION vector SCHEMA public;
    DROP PUBLICATION IF EXISTS pub; DROP ACCESS METHOD IF EXISTS heap2;
"""


@pytest.fixture(params=[pytest.param(16, marks=pytest.mark.long), 18])
def server(request: pytest.FixtureRequest) -> Server:
    opened: Server = request.getfixturevalue("postgres" if request.param == 18 else "postgres16")
    return opened


on_one_server = pytest.mark.parametrize("server", [18], indirect=True)
on_both_servers = pytest.mark.parametrize("server", [16, 18], indirect=True)
"""Where the catalogs of the two differ in what is looked at."""


@pytest.fixture(scope="module")
def databases() -> dict[int, str]:
    """One for each version: to make, and to remove, one for each test takes most of the time."""
    return {}


@pytest.fixture
def database(server: Server, databases: dict[int, str]) -> str:
    if server.version not in databases:
        databases[server.version] = server.create_database()
    with psycopg.connect(server.conninfo(databases[server.version]), autocommit=True) as native:
        native.execute(EMPTY)
    return databases[server.version]


@pytest.fixture
def native(server: Server, database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.conninfo(database), autocommit=True) as connection:
        yield connection


@pytest.fixture
def store(server: Server, database: str) -> VectorStore:
    return open_store(server.url(database), base=Path())


def lost_and_restored(
    store: VectorStore, native: psycopg.Connection, name: str = "t", quoted: str = "t"
) -> set[str]:
    """Take what a backup takes of a table, drop it, and put it back under its name: parts that are
    not as they were."""
    before = store.describe(name)
    rows = pa.Table.from_batches(store.scan(name), store_schema(before))
    native.execute(f"DROP TABLE {quoted} CASCADE")
    store.create(before.model_copy(update={"origin": "12-ab", "aliases": ()}))
    store.write(name, rows)
    store.build_index(name)
    store.build_index(name)  # again: it does nothing twice
    opened(store, name)
    after = store.describe(name)
    again = pa.Table.from_batches(store.scan(name), store_schema(after))
    assert repr(again.to_pylist()) == repr(rows.to_pylist()) != "[]"  # NaN is not equal to NaN
    findings = compare_parts(before, after, engine="pgvector")
    return {finding.part for finding in findings if not finding.unreported}


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


@on_one_server
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


COMES_BACK = {
    "statistics": """
        CREATE STATISTICS t_both (ndistinct, mcv) ON a, b FROM t;
        CREATE STATISTICS sums ON (a + 1) FROM t; ALTER STATISTICS sums SET STATISTICS 77;
        COMMENT ON STATISTICS sums IS 'of one more';
    """,
    "comments and statistics targets of indexes, and what was clustered by": """
        CREATE INDEX t_sum ON t ((a + b)); ALTER INDEX t_sum ALTER COLUMN 1 SET STATISTICS 55;
        COMMENT ON INDEX t_sum IS 'of "both"'; ALTER TABLE t CLUSTER ON t_sum;
        CREATE INDEX ON t USING hnsw (e vector_l2_ops) WITH (m = 16, ef_construction = 64);
        COMMENT ON INDEX t_e_idx IS 'near';
        ALTER TABLE t ADD CONSTRAINT once UNIQUE (a, b); COMMENT ON INDEX once IS 'twice';
    """,
    "generated columns, dropped columns, numbers that are none": """
        ALTER TABLE t ADD gone int, ADD n numeric, ADD f float8, ADD twice int
            GENERATED ALWAYS AS (a * 2) STORED;
        ALTER TABLE t DROP gone;
        UPDATE t SET n = 'NaN', f = '-Infinity'; INSERT INTO t (id, n, f) VALUES (9, NULL, 'NaN');
    """,
    "settings of a table and its columns": """
        ALTER TABLE t SET (toast.autovacuum_enabled = off), ADD c text COLLATE "POSIX";
        ALTER TABLE t ALTER c SET STORAGE external, ALTER c SET STATISTICS 9;
        ALTER TABLE t REPLICA IDENTITY FULL;
    """,
    "types of its own": """
        CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (x int, y text);
        CREATE DOMAIN positive AS int CHECK (value > 0);
        CREATE COLLATION german FROM "C"; CREATE TEXT SEARCH CONFIGURATION mine (COPY = simple);
        ALTER TABLE t ADD m mood DEFAULT 'ok', ADD p pair DEFAULT '(1,"a, b")', ADD q positive,
            ADD d text COLLATE german;
        CREATE INDEX ON t USING gin (to_tsvector('mine', d));
    """,
}
COMES_BACK_18 = {
    "names of NOT NULL constraints, and one that older rows break": """
        ALTER TABLE t ADD c int CONSTRAINT "c is there" NOT NULL DEFAULT 1;
        ALTER TABLE t ADD CONSTRAINT later NOT NULL b NOT VALID;
        COMMENT ON CONSTRAINT later ON t IS 'from now on';
        COMMENT ON CONSTRAINT "c is there" ON t IS 'always';
    """,
    "virtual columns and constraints that are not enforced": """
        ALTER TABLE t ADD v int GENERATED ALWAYS AS (a * 2) VIRTUAL,
            ADD CONSTRAINT loose CHECK (a > 100) NOT ENFORCED;
    """,
}
TABLE = """
    CREATE TABLE t (id int PRIMARY KEY, e vector(2), a int, b int);
    INSERT INTO t VALUES (1, '[1, 2]', 1, 1), (2, '[1, 3]', 2, NULL);
"""


def dumped(server: Server, database: str) -> list[str]:
    """A database in the words of pg_dump, without the label, in no order."""
    command = [server.program("pg_dump"), "--restrict-key=x", server.conninfo(database)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = (line for line in text.split("\n") if line and not line.startswith("--"))
    return sorted(line for line in lines if "dr-pipelines collection" not in line)


@pytest.mark.parametrize("more", COMES_BACK.values(), ids=COMES_BACK)
def test_pg_dump_says_of_a_restored_table_what_it_said_before(
    server: Server, database: str, store: VectorStore, native: psycopg.Connection, more: str
) -> None:
    native.execute(TABLE + more)
    before = dumped(server, database)
    assert store.fit(store.describe("t")).notes == ()

    assert lost_and_restored(store, native) == set()

    assert dumped(server, database) == before


@on_both_servers
def test_what_a_partition_has_for_itself_comes_back(
    server: Server, database: str, store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute("""
        CREATE TABLE t (id int PRIMARY KEY, e vector(2), a int, c text) PARTITION BY RANGE (id);
        ALTER TABLE t ALTER c SET STORAGE external;
        CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (100);
        ALTER TABLE t_1 ALTER c SET STORAGE main, ALTER c SET COMPRESSION pglz;
        CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (100) TO (200);
        ALTER TABLE t_1 REPLICA IDENTITY FULL;
        ALTER TABLE t_2 ALTER a SET NOT NULL; CREATE UNIQUE INDEX alone ON t_2 (a);
        ALTER TABLE t_2 REPLICA IDENTITY USING INDEX alone; ALTER TABLE t_2 CLUSTER ON alone;
        COMMENT ON INDEX alone IS 'only here'; CREATE STATISTICS st ON a, c FROM t_2;
        INSERT INTO t VALUES (1, '[1, 2]', 1, 'c'), (101, '[1, 3]', 2, NULL);
    """)
    before = dumped(server, database)

    assert lost_and_restored(store, native) == set()

    assert dumped(server, database) == before


@on_one_server
@pytest.mark.parametrize("more", COMES_BACK_18.values(), ids=COMES_BACK_18)
def test_what_only_a_newer_server_has_comes_back_too(
    server: Server, database: str, store: VectorStore, native: psycopg.Connection, more: str
) -> None:
    native.execute(TABLE + more)
    before = dumped(server, database)

    assert lost_and_restored(store, native) == set()

    assert dumped(server, database) == before


@on_one_server
def test_a_temporal_key_tells_rows_apart(store: VectorStore, native: psycopg.Connection) -> None:
    native.execute("""
        CREATE TABLE t (room int4range, valid int4range, e vector(2),
            PRIMARY KEY (room, valid WITHOUT OVERLAPS));
        INSERT INTO t VALUES ('[1,2)', '[1,5)', '[1, 2]'), ('[1,2)', '[5,9)', '[1, 3]');
    """)
    assert lost_and_restored(store, native) == set()
    with pytest.raises(psycopg.errors.ExclusionViolation):
        native.execute("INSERT INTO t VALUES ('[1,2)', '[4,6)', '[1, 2]')")


SAID = {
    "rule": "CREATE RULE quiet AS ON DELETE TO t DO ALSO NOTHING",
    "view": "CREATE VIEW v WITH (security_barrier = true) AS SELECT id, a FROM t",
    "materialised view": "CREATE MATERIALIZED VIEW m AS SELECT id FROM v",
    "publication": "CREATE PUBLICATION pub FOR TABLE t (id, a) WHERE (id > 1)",
    "foreign key": "CREATE TABLE other (id int CONSTRAINT away REFERENCES t)",
    "dependent": """CREATE FUNCTION counted() RETURNS bigint LANGUAGE sql
        BEGIN ATOMIC SELECT count(*) FROM public.t; END""",
    "comment of a policy": "CREATE POLICY p ON t USING (true); COMMENT ON POLICY p ON t IS 'it''s'",
    "extension of a trigger": """CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RETURN NEW; END $$;
        CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION fires();
        ALTER TRIGGER g ON t DEPENDS ON EXTENSION vector""",
    "extension of an index": """CREATE INDEX of_a ON t (a);
        ALTER INDEX of_a DEPENDS ON EXTENSION vector""",
    "tablespace": "ALTER TABLE t SET TABLESPACE elsewhere",
    "access method": """CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler;
        ALTER TABLE t SET ACCESS METHOD heap2""",
    "parent": "CREATE TABLE up (id int NOT NULL); ALTER TABLE t INHERIT up",
}


@pytest.fixture
def elsewhere(server: Server, native: psycopg.Connection) -> Iterator[None]:
    place = server.directory / "elsewhere"
    place.mkdir()
    owner = server.directory.stat()
    os.chown(place, owner.st_uid, owner.st_gid)
    native.execute(f"CREATE TABLESPACE elsewhere LOCATION '{place}'")
    yield
    native.execute("DROP TABLE IF EXISTS t CASCADE")
    native.execute("DROP TABLESPACE elsewhere")
    place.rmdir()


@on_both_servers
@pytest.mark.usefixtures("elsewhere")
def test_each_thing_on_a_table_is_said_with_the_statement_that_makes_it_again(
    store: VectorStore, native: psycopg.Connection
) -> None:
    """The statements, run after a restore, bring all of it back: the next description is what the
    first was."""
    native.execute(TABLE)
    for kind, made in SAID.items():
        native.execute(made)
        assert any(part.startswith(kind) for part in attached_names(store))
    before = store.describe("t")
    notes = {note.part.rpartition("attached.")[2] for note in store.fit(before).lost}
    assert notes == set(attached_names(store))
    rows = pa.Table.from_batches(store.scan("t"))
    native.execute("DROP TABLE t CASCADE")
    native.execute("DROP FUNCTION IF EXISTS counted")
    store.create(before)
    store.write("t", rows)
    store.build_index("t")
    opened(store, "t")
    parts = compare_parts(before, store.describe("t"), engine="pgvector")
    named = {part.part.partition("attached.")[2] for part in parts if not part.unreported}
    assert named == notes

    for hanging in before.engine["pgvector"]["attached"]:
        native.execute(hanging["definition"])

    assert store.describe("t").engine == before.engine


@on_one_server
@pytest.mark.parametrize(
    ("made", "name"),
    [
        ("ALTER EXTENSION vector ADD TABLE t", "extension vector"),
        (
            "CREATE TYPE shape AS (id int, e vector(2), a int, b int); ALTER TABLE t OF shape",
            "type of the table public.shape",
        ),
        ("CREATE TABLE rows_of (r t)", "dependent column r of table public.rows_of"),
        (
            "CREATE FUNCTION f(t) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "dependent function public.f(public.t)",
        ),
    ],
)
def test_what_else_depends_on_a_table_is_said(
    store: VectorStore, native: psycopg.Connection, made: str, name: str
) -> None:
    native.execute(TABLE + made)
    assert attached_names(store) == [name]


def attached_names(store: VectorStore) -> list[str]:
    return [part["name"] for part in store.describe("t").engine["pgvector"].get("attached", [])]


REFERENCES = """
    SELECT pg_catalog.concat(fktable::text, ' (', array_to_string(fkcols, ', '), ')')
    FROM pg_catalog.pg_get_catalog_foreign_keys()
    WHERE pktable IN ('pg_class'::regclass, 'pg_attribute'::regclass)
"""
COLUMNS = """
    SELECT pg_catalog.concat(attrelid::regclass, '.', attname) FROM pg_attribute
    WHERE attrelid IN ('pg_class'::regclass, 'pg_attribute'::regclass, 'pg_index'::regclass,
        'pg_constraint'::regclass) AND attnum > 0 AND NOT attisdropped
"""


@on_both_servers
def test_everything_that_refers_to_a_table_is_decided_in_the_documentation(
    native: psycopg.Connection,
) -> None:
    """The server says what may hang on a table; a new version of it may say more."""
    page = Path("docs/adapters/pgvector.md").read_text()
    first = [row.split("|")[1] for row in page.splitlines() if row.startswith("| `pg_")]
    decided = {name for cell in first for name in re.findall(r"`(pg_\w+ \([^)]*\))`", cell)}
    assert {row[0] for row in native.execute(REFERENCES)} - decided == set()
    described = {
        f"{catalog}.{column}"
        for cell in first
        for catalog in re.findall(r"`(pg_\w+)\.`", cell)
        for column in re.findall(r"`([a-z]\w+)`", cell)
    }
    assert {row[0] for row in native.execute(COLUMNS)} - described == set()
    assert len(decided) > 40
    assert len(described) > 90


MIXED = """
    CREATE TABLE t (id int PRIMARY KEY, "E m" vector, h halfvec, s sparsevec, none vector, m text);
    INSERT INTO t SELECT g, (CASE WHEN g % 2 = 0 THEN array_fill(g, '{8}') ELSE
        array_fill(g, '{16}') END)::vector, (CASE WHEN g % 3 = 0 THEN '[1,2]' WHEN g % 3 = 1 THEN
        '[1,2,3]' END)::halfvec, (CASE WHEN g % 2 = 0 THEN '{1:1}/4' ELSE '{2:3}/5' END)::sparsevec
    FROM generate_series(1, 20) g;
"""


def test_a_column_with_vectors_of_several_dimensions_is_kept_by_dimension(
    server: Server, database: str, store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute(MIXED)
    before = dumped(server, database)
    names = ["E_m_8", "E_m_16", "h_2", "h_3", "s_4", "s_5"]
    assert [v.name for v in store.describe("t").vectors] == names

    assert lost_and_restored(store, native) == set()

    assert dumped(server, database) == before
    assert store.collections() == ["t"]
    for name, size in (("E_m_8", 8), ("E_m_16", 16)):
        for exact in (True, False):
            query = Query(vector=np.ones(size, np.float32), vector_name=name, exact=exact)
            assert len(store.search("t", query, limit=99)) == 10


@on_one_server
def test_another_dimension_is_another_contract(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute(MIXED)
    before = store.describe("t")
    rows = pa.Table.from_batches(store.scan("t"))
    native.execute("UPDATE t SET none = '[1, 2]' WHERE id = 1")
    assert not store.describe("t").same_contract(before)
    native.execute("UPDATE t SET none = NULL WHERE id = 1")
    assert store.describe("t").same_contract(before)
    both = rows.slice(0, 1).drop_columns(["E_m_16"])
    both = both.add_column(
        rows.schema.get_field_index("E_m_16"),
        rows.schema.field("E_m_16"),
        pa.array([[1.0] * 16], rows.schema.field("E_m_16").type),
    )
    eight = rows.schema.get_field_index("E_m_8")
    both = both.set_column(
        eight, rows.schema.field(eight), pa.array([[1.0] * 8], rows.schema.field(eight).type)
    )
    with pytest.raises(InvalidRequest, match="two dimensions"):
        store.write("t", both)


OWN_NAMES = ["Моя таблица", 'it\'s "quoted"', "a.b", "MixedCase", "l" * 63, "я" * 31, "table"]


@on_one_server
@pytest.mark.parametrize(
    "names",
    [OWN_NAMES[:3], pytest.param(OWN_NAMES[3:], marks=pytest.mark.long)],
    ids=["other writing", "other lengths"],
)
def test_a_table_of_any_name_comes_back_under_it(
    server: Server,
    database: str,
    store: VectorStore,
    native: psycopg.Connection,
    names: list[str],
) -> None:
    collections = dict[str, str]()
    for place, name in enumerate(names):
        quoted = '"' + name.replace('"', '""') + '"'
        native.execute(f"""
            CREATE TABLE {quoted} ("и д" int PRIMARY KEY, "в.'е""к" vector(2), a int CHECK (a > 0),
                n serial) PARTITION BY RANGE ("и д");
            CREATE TABLE part_{place} PARTITION OF {quoted} DEFAULT;
            CREATE INDEX ON {quoted} (a); INSERT INTO {quoted} VALUES (1, '[1, 2]', 1);
        """)
        (collections[quoted],) = set(store.collections()) - set(collections.values())
        assert store.describe(name) == store.describe(collections[quoted])
    before = dumped(server, database)

    for quoted, collection in collections.items():
        assert lost_and_restored(store, native, collection, quoted) == set()

    assert dumped(server, database) == before


@on_one_server
@pytest.mark.parametrize("name", OWN_NAMES[:4])
def test_a_copy_beside_a_table_of_any_name_is_like_it(
    store: VectorStore, native: psycopg.Connection, name: str
) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    native.execute(f"CREATE TABLE {quoted} (id int PRIMARY KEY, e vector(2), CHECK (id > 0))")
    copy = store.describe(name).physical("copy@1")
    store.create(copy)
    store.build_index("copy@1")
    findings = compare_parts(copy, store.describe("copy@1"), engine="pgvector")
    assert [part.part for part in findings if not part.unreported] == []


REASONS = {
    "CREATE TABLE t (id int PRIMARY KEY)": "no column of type vector",
    "CREATE TABLE t (id int PRIMARY KEY, e vector)": "hold no vector yet",
    "CREATE VIEW t AS SELECT 1": "it is a view",
    "CREATE TABLE u (i int) PARTITION BY LIST (i); CREATE TABLE t PARTITION OF u DEFAULT": (
        "is a partition"
    ),
    "SELECT 1": "no table of that name in schema 'public'",
}


@on_one_server
@pytest.mark.parametrize("made", REASONS)
def test_why_a_table_is_no_collection_is_said(
    store: VectorStore, native: psycopg.Connection, made: str
) -> None:
    native.execute(made)
    with pytest.raises(NotFound, match=REASONS[made]):
        store.describe("t")


REFERRING = """
    CREATE TABLE parents (id int PRIMARY KEY); INSERT INTO parents VALUES (1), (2);
    CREATE TABLE t (id int PRIMARY KEY, e vector(2), up int REFERENCES t ON DELETE CASCADE,
        p int CONSTRAINT holds REFERENCES parents, q int);
    COMMENT ON CONSTRAINT holds ON t IS 'a parent';
    INSERT INTO t VALUES (1, '[1, 2]', NULL, 1, 7), (2, '[1, 3]', 1, 2, 1);
    ALTER TABLE t ADD CONSTRAINT broken FOREIGN KEY (q) REFERENCES parents NOT VALID;
"""


def test_foreign_keys_come_back_as_they_were(
    server: Server, database: str, store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute(REFERRING)
    before = dumped(server, database)
    notes = store.fit(store.describe("t")).notes
    assert [(n.part, n.outcome) for n in notes] == [
        ("engine.pgvector.foreign_keys", Outcome.APPROXIMATED)
    ]

    assert lost_and_restored(store, native) == set()

    assert dumped(server, database) == before


@on_one_server
def test_a_foreign_key_that_does_not_hold_any_more_is_for_new_rows(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute(REFERRING)
    before = store.describe("t")
    rows = pa.Table.from_batches(store.scan("t"))
    native.execute("DROP TABLE t; DELETE FROM parents WHERE id = 2")
    store.create(before)
    store.write("t", rows)
    store.build_index("t")
    findings = compare_parts(before, store.describe("t"), engine="pgvector")
    assert {part.part for part in findings if not part.unreported} == {
        "engine.pgvector.foreign_keys.holds"
    }
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        native.execute("INSERT INTO t (id, p) VALUES (3, 2)")


def test_a_copy_beside_keeps_nobody_from_deleting_what_it_refers_to(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute(REFERRING)
    before = store.describe("t")
    rows = pa.Table.from_batches(store.scan("t"))
    store.create(before.physical("t@2-ab"))
    store.write("t@2-ab", rows)
    store.build_index("t@2-ab")
    findings = compare_parts(before, store.describe("t@2-ab"), engine="pgvector")
    assert {part.part for part in findings if not part.unreported} == set()
    native.execute("DROP TABLE t")
    native.execute("DELETE FROM parents WHERE id = 1")
    native.execute("INSERT INTO parents VALUES (1)")

    store.promote("t@2-ab", alias="t")

    after = store.describe("t").engine["pgvector"]["foreign_keys"]
    assert after == before.engine["pgvector"]["foreign_keys"]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        native.execute("DELETE FROM parents WHERE id = 1")
    native.execute('DELETE FROM "t@2-ab" WHERE id = 1')
    assert store.status("t").records == 0  # its own rows went with it


NEEDED = {
    "type public.mood": "CREATE TYPE mood AS ENUM ('sad', 'it''s ok')",
    "type public.positive": "CREATE DOMAIN positive AS int DEFAULT 7 CHECK (value > 0)",
    "type public.pair": "CREATE TYPE pair AS (x int, y text)",
    "function public.twice(integer)": """CREATE FUNCTION twice(int) RETURNS int IMMUTABLE
        LANGUAGE sql AS 'SELECT 2 * $1'""",
}


@on_one_server
def test_what_a_table_needs_is_recorded_and_asked_for_before_a_restore(
    store: VectorStore, native: psycopg.Connection
) -> None:
    for made in NEEDED.values():
        native.execute(made)
    native.execute("""
        CREATE TABLE t (id int PRIMARY KEY, e vector(2), m mood, n positive, p pair,
            CHECK (twice(id) > 0));
    """)
    before = store.describe("t")
    needs = {part["name"]: part for part in before.engine["pgvector"]["needs"]}
    assert set(needs) == {*NEEDED, "extension vector"}
    assert store.fit(before).notes == ()
    native.execute("DROP TABLE t; DROP TYPE mood, pair; DROP DOMAIN positive; DROP FUNCTION twice")

    missing = {n.part.rpartition("needs.")[2]: n for n in store.fit(before).notes}
    assert set(missing) == set(NEEDED)
    assert all(note.outcome is Outcome.REFUSED for note in missing.values())
    for name in missing:
        native.execute(needs[name]["definition"])
    assert store.fit(before).notes == ()
    store.create(before)
    store.build_index("t")
    assert compare_parts(before, store.describe("t"), engine="pgvector") == compare_parts(
        before, before, engine="pgvector"
    )


def test_what_a_restore_would_not_do_is_known_by_reading(
    server: Server, database: str, store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute(TABLE + "CREATE RULE quiet AS ON DELETE TO t DO ALSO NOTHING")
    native.execute("INSERT INTO t (id, a) VALUES (7, 1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        native.execute("CREATE UNIQUE INDEX CONCURRENTLY once ON t (a)")
    for role, rights in (("maker", "GRANT CREATE ON SCHEMA public TO"), ("looker", "")):
        if native.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
            native.execute(f"CREATE ROLE {role} LOGIN")
        native.execute(f"GRANT SELECT ON t TO {role}")
        if rights:
            native.execute(f"{rights} {role}")

    def noted(user: str) -> set[str]:
        opened = open_store(server.url(database, user=user), base=Path())
        return {n.part.removeprefix("engine.pgvector.") for n in opened.compatibility("t")}

    always = {"attached.rule quiet", "remarks.once"}
    assert noted("postgres") == always
    assert noted("looker") == noted("maker") == {*always, "owner"}


@on_one_server
@pytest.mark.parametrize(
    ("word", "statement"),
    [
        ("COPY", "COPY t TO STDOUT"),
        ("COPY", "COPY t FROM '/dev/null'"),
        ("TRUNCATE", "TRUNCATE t"),
        ("CREATE INDEX", "CREATE INDEX ON t (a)"),
        ("ALTER TABLE", "ALTER TABLE t ADD CHECK (a > 0)"),
        ("REFERENCES", "CREATE TABLE other (id int REFERENCES t)"),
        ("pg_get_serial_sequence", "SELECT pg_get_serial_sequence('t', 'id')"),
        ("tableoid", "SELECT tableoid FROM t"),
    ],
)
def test_what_an_alias_is_said_not_to_do_it_does_not(
    store: VectorStore, native: psycopg.Connection, word: str, statement: str
) -> None:
    native.execute(TABLE + "ALTER TABLE t ALTER id ADD GENERATED BY DEFAULT AS IDENTITY")
    native.execute('ALTER TABLE t RENAME TO "t@1"')
    store.promote("t@1", alias="t")
    native.execute("INSERT INTO t (id, a) VALUES (5, 6); UPDATE t SET a = 7; DELETE FROM t")
    assert word in ALIAS_LIMITS
    if word == "pg_get_serial_sequence":
        assert native.execute(statement).fetchone() == (None,)
        return
    with pytest.raises((psycopg.errors.WrongObjectType, psycopg.errors.UndefinedColumn)):
        native.execute(statement)


@on_one_server
@pytest.mark.parametrize("name", ["t", "t" * 63])
def test_a_name_is_freed_by_the_statements_that_the_plan_prints(
    store: VectorStore, native: psycopg.Connection, name: str
) -> None:
    rules = name_rules(name)
    native.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, e vector(2))".encode())
    before = store.describe(name)
    native.execute(rules.free_collection.encode())
    (replaced,) = store.collections()
    assert replaced.endswith("_replaced")
    store.promote(replaced, alias=name)
    native.execute(rules.free_alias.encode())
    store.create(before)
    assert set(store.collections()) == {name, replaced}


@on_one_server
def test_a_long_key_that_the_table_holds_comes_back(
    store: VectorStore, native: psycopg.Connection
) -> None:
    """The engine compresses keys: a long one may have a place in an index."""
    native.execute("""
        CREATE TABLE t (id text PRIMARY KEY, e vector(2));
        INSERT INTO t VALUES (repeat('long ', 4000), '[1, 2]'), ('short', '[1, 3]');
    """)
    rows = pa.Table.from_batches(store.scan("t"))
    assert len(store.misfits(store.describe("t"), rows)) == 0
    assert lost_and_restored(store, native) == set()


@on_one_server
def test_records_that_a_table_would_refuse_are_named_beforehand(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute("""
        CREATE TABLE t (id text PRIMARY KEY, e vector(2), at timestamptz, tags text[]);
        INSERT INTO t SELECT g::text, '[1, 2]' FROM generate_series(1, 5) g;
    """)
    rows = pa.Table.from_batches(store.scan("t"))
    odd = {
        "at": pa.array([None, -(10**18) * 9, None, None, None], pa.timestamp("us", tz="UTC")),
        "tags": pa.array([["a"], None, None, ["b", "c\0"], None]),
    }
    for name, column in odd.items():
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(place), column)
    misfits = store.misfits(store.describe("t"), rows)
    assert misfits.rows.tolist() == [1, 3]
    assert [(m.record, m.column) for m in misfits] == [("2", "at"), ("4", "tags")]
    with pytest.raises(InvalidRequest, match="'2'"):
        store.write("t", rows)
    store.write("t", rows.take([0, 2, 4]))


UNRECORDED = """
    CREATE TABLE t (id int PRIMARY KEY, e vector(2), empty vector, many halfvec, tags text[][]);
    INSERT INTO t (id, many)
        SELECT g, array_fill(1, ARRAY[g])::halfvec FROM generate_series(1, 65) g;
    CREATE STATISTICS st ON id, tags FROM t; ALTER STATISTICS st OWNER TO pg_monitor;
    CREATE VIEW v AS SELECT id FROM t; GRANT SELECT (id) ON v TO pg_monitor WITH GRANT OPTION;
    CREATE VIEW "W" AS SELECT id FROM v; ALTER VIEW "W" OWNER TO pg_monitor;
    GRANT SELECT ON "W" TO PUBLIC; CREATE VIEW plain AS SELECT id FROM t;
"""


@on_one_server
def test_what_is_not_recorded_is_said_with_the_statements_that_make_up_for_it(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute(UNRECORDED)
    notes = [note for note in store.compatibility("t") if note.outcome is Outcome.APPROXIMATED]
    consequences = {note.part.removeprefix("engine.pgvector."): note.consequence for note in notes}
    assert set(consequences) == {
        "attached.view public.v.rights",
        'attached.view public."W".rights',
        "statistics.st.owner",
        "columns.tags.dimensions",
        "columns.empty.type",
        "columns.many.type",
    }
    assert "more than 64 dimensions" in consequences["columns.many.type"]
    query = """
        SELECT c.relname, c.relacl, c.relowner, a.attacl FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relname IN ('v', 'W') ORDER BY 1
    """
    before = native.execute(query).fetchall()
    made = {p["name"]: p["definition"] for p in store.describe("t").engine["pgvector"]["attached"]}
    native.execute("DROP VIEW v CASCADE")
    for name in ("view public.v", 'view public."W"'):
        native.execute(made[name])
    for name in ("view public.v", 'view public."W"'):
        native.execute(consequences[f"attached.{name}.rights"].partition("run: ")[2])
    assert native.execute(query).fetchall() == before
    native.execute("DROP VIEW v CASCADE; DROP STATISTICS st")
    native.execute("ALTER TABLE t DROP empty, DROP many, DROP tags")
    assert [n.part for n in store.compatibility("t") if n.outcome is Outcome.APPROXIMATED] == []
