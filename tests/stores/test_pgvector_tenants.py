"""Whatever a tenant of a database wrote, no operation of a store runs it."""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from dr_pipelines.errors import Conflict, DrError, Refused
from dr_pipelines.model.query import Equals, In, Query, Range
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.pgvector import open_store
from dr_pipelines.testing.store_samples import vector
from tests.servers.pgvector import Server

VERSIONS = ("postgres", "postgres16")
BOTH_AT_LENGTH = pytest.mark.parametrize(
    "server", ["postgres", pytest.param("postgres16", marks=pytest.mark.long)], indirect=True
)
TRAP = """
    CREATE FUNCTION trap({}) RETURNS {} IMMUTABLE LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'a tenant ran'; END $$;
"""


@pytest.fixture(params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def database(server: Server) -> str:
    return server.create_database()


@pytest.fixture
def store(server: Server, database: str) -> VectorStore:
    return open_store(server.url(database), base=Path())


@pytest.fixture
def native(server: Server, database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.conninfo(database), autocommit=True) as connection:
        yield connection


def _everything(store: VectorStore, name: str, *, key: str, field: str | None = None) -> None:
    """Every operation on a table that a tenant made, and on a copy of it."""
    assert name in store.collections()
    spec = store.describe(name)
    store.fit(spec)
    rows = pa.Table.from_batches(store.scan(name))
    assert store.status(name).records == len(rows) == 2
    assert key in rows.column("id").to_pylist()
    assert pa.Table.from_batches(store.scan(name, documents=[key])).num_rows == 1
    store.change_token(name)
    store.create(spec.physical("copy"))
    store.write("copy", rows)
    store.write("copy", rows, replaces=[key])
    store.build_index("copy")
    store.open_up("copy")  # type: ignore[attr-defined]
    store.promote(name, alias="served")
    store.promote("copy", alias="served")
    for exact in (True, False):
        query = Query(vector=vector(1, 2), exact=exact)
        assert len(store.search("served", query, limit=9)) == 2
        if field is not None:
            value = rows.column(field)[0].as_py()
            for condition in (Equals(field, value), In(field, (value,)), Range(field, gte=value)):
                query = Query(vector=vector(1, 2), exact=exact, filter=condition)
                assert store.search("served", query, limit=9)
    assert pa.Table.from_batches(store.scan("copy")).equals(rows)
    assert store.describe("copy").engine == spec.engine
    store.drop(name)


TYPES = {
    "an enumeration": ("ENUM ('a', 'b c')", "'a'", "'b c'"),
    "a row": ("(x int, y text)", "(1, 'a')", "(NULL, NULL)"),
    "a range": ("RANGE (SUBTYPE = int)", "'[1,3)'", "'empty'"),
}


@pytest.mark.parametrize("kind", TYPES)
def test_casts_of_a_tenants_type_are_not_run(
    store: VectorStore, native: psycopg.Connection, kind: str
) -> None:
    definition, one, two = TYPES[kind]
    native.execute(f"CREATE TYPE mine AS {definition}")
    for number, (source, target) in enumerate(
        [("mine", "text"), ("text", "mine"), ("mine", "int8"), ("mine", "json"), ("mine", "float8")]
    ):
        native.execute(TRAP.replace("trap", f"trap{number}").format(source, target))
        native.execute(f"CREATE CAST ({source} AS {target}) WITH FUNCTION trap{number} AS IMPLICIT")
    native.execute(f"""
        CREATE TABLE t (id text PRIMARY KEY, e vector(2), m mine, several mine[]);
        INSERT INTO t VALUES ('a', '[1, 2]', {one}, ARRAY[{one}::mine]),
            ('b', '[1, 1]', {two}, '{{}}');
        GRANT SELECT (m) ON t TO PUBLIC;
    """)
    _everything(store, "t", key="a", field="m")


def test_a_tenants_cast_to_text_is_not_run_for_a_key(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute(f"""
        CREATE TYPE mine AS ENUM ('a', 'b');
        {TRAP.format("mine", "text")}
        CREATE CAST (mine AS text) WITH FUNCTION trap(mine) AS IMPLICIT;
        CREATE TABLE t (id mine PRIMARY KEY, e vector(2));
        INSERT INTO t VALUES ('a', '[1, 2]'), ('b', '[1, 1]');
    """)
    _everything(store, "t", key="a")


def test_a_tenants_concatenation_is_not_run_for_grants(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute(f"""
        {TRAP.format("name, name", "text")}
        CREATE OPERATOR || (LEFTARG = name, RIGHTARG = name, FUNCTION = trap);
        CREATE TABLE t (id serial PRIMARY KEY, e vector(2));
        INSERT INTO t (e) VALUES ('[1, 2]'), ('[1, 1]');
        GRANT SELECT (id) ON t TO PUBLIC; GRANT USAGE ON SEQUENCE t_id_seq TO PUBLIC;
    """)
    _everything(store, "t", key="1")


def test_a_tenants_to_json_is_not_run_for_a_key_of_several_columns(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute(f"""
        {TRAP.replace("trap", "to_json").format("text", "json")}
        CREATE TABLE t (tenant text, id int, e vector(2), PRIMARY KEY (tenant, id));
        INSERT INTO t VALUES ('x', 1, '[1, 2]'), ('x', 2, '[1, 1]');
    """)
    _everything(store, "t", key='["x","1"]')


def test_a_tenants_type_in_the_extensions_schema_is_none_of_its_own(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute(f"""
        CREATE DOMAIN public.bit AS vector;
        {TRAP.replace("trap", "public.vector_dims").format("public.bit", "int")}
        CREATE TABLE t (id text PRIMARY KEY, e vector(2), f public.bit);
        INSERT INTO t VALUES ('a', '[1, 2]', '[1]'), ('b', '[1, 1]', '[1]');
    """)
    _everything(store, "t", key="a", field="f")


REPLACED = {
    "a function": f"""
        ALTER EXTENSION vector DROP FUNCTION vector_dims(vector); DROP FUNCTION vector_dims(vector);
        {TRAP.replace("trap", "vector_dims").format("vector", "int")}""",
    "an operator": f"""
        ALTER EXTENSION vector DROP OPERATOR CLASS vector_l1_ops USING hnsw;
        ALTER EXTENSION vector DROP OPERATOR FAMILY vector_l1_ops USING hnsw;
        ALTER EXTENSION vector DROP OPERATOR <+> (vector, vector);
        DROP OPERATOR <+> (vector, vector) CASCADE;
        {TRAP.format("vector, vector", "float8")}
        CREATE OPERATOR <+> (LEFTARG = vector, RIGHTARG = vector, FUNCTION = trap);""",
}


@BOTH_AT_LENGTH
@pytest.mark.parametrize("what", REPLACED)
def test_what_stands_in_the_place_of_the_extensions_own_is_refused(
    store: VectorStore, native: psycopg.Connection, what: str
) -> None:
    native.execute("CREATE TABLE t (id text PRIMARY KEY, e vector)")
    native.execute("INSERT INTO t VALUES ('a', '[1, 2]')")
    native.execute(REPLACED[what])
    with pytest.raises(Refused, match="not pgvector's own"):
        store.collections()


FOLDED = {
    "an index's expression": "CREATE INDEX ON t ((body || trap(1)))",
    "an index's condition": "CREATE INDEX ON t (body) WHERE trap(1) = body",
    "an index through a function that is inlined": """
        CREATE FUNCTION outer_one(text) RETURNS text IMMUTABLE LANGUAGE sql
            AS $$ SELECT public.trap(1) $$;
        CREATE INDEX ON t (outer_one(body))""",
    "an index through an operator": """
        CREATE FUNCTION both_of(int, int) RETURNS text IMMUTABLE LANGUAGE sql
            AS $$ SELECT public.trap(1) $$;
        CREATE OPERATOR public.%%% (LEFTARG = int, RIGHTARG = int, FUNCTION = both_of);
        CREATE INDEX ON t ((1 OPERATOR(public.%%%) n))""",
    "statistics": "CREATE STATISTICS s ON (body || trap(1)), n FROM t",
    "an exclusion": "ALTER TABLE t ADD EXCLUDE USING btree ((body || trap(1)) WITH =)",
}
HARMLESS = """
    CREATE OR REPLACE FUNCTION trap(int) RETURNS text IMMUTABLE LANGUAGE plpgsql
        AS $$ BEGIN RETURN 'x'; END $$;
"""


@pytest.fixture
def tenant(native: psycopg.Connection) -> Iterator[str]:
    native.execute("DROP ROLE IF EXISTS tenant; CREATE ROLE tenant")
    native.execute("GRANT CREATE ON SCHEMA public TO tenant")
    yield "tenant"
    native.execute("DROP OWNED BY tenant CASCADE; DROP ROLE tenant")


def _table_of(native: psycopg.Connection, tenant: str, more: str) -> None:
    native.execute(f"""
        SET ROLE {tenant}; {HARMLESS}
        CREATE TABLE t (id int PRIMARY KEY, e vector(2), body text, n int);
        INSERT INTO t VALUES (1, '[1, 2]', 'a', 1), (2, '[1, 1]', 'b', 2);
        {more};
        {TRAP.replace("CREATE", "CREATE OR REPLACE").format("int", "text")}
        RESET ROLE;
    """)


@BOTH_AT_LENGTH
@pytest.mark.parametrize("place", FOLDED)
def test_what_the_planner_would_compute_beforehand_is_not_run(
    store: VectorStore, native: psycopg.Connection, tenant: str, place: str
) -> None:
    _table_of(native, tenant, FOLDED[place])
    assert store.collections() == ["t"]
    assert store.status("t").records == 2
    rows = pa.Table.from_batches(store.scan("t"))
    assert rows.column("id").to_pylist() == ["1", "2"]
    for exact in (True, False):
        (hit,) = store.search("t", Query(vector=vector(1, 2), exact=exact), limit=1)
        assert hit.id == "1"
    with pytest.raises(Refused, match=f"runs what '{tenant}' wrote"):
        store.write("t", rows.slice(0, 0), replaces=["1"])


def test_functions_of_columns_alone_hinder_no_reading(
    store: VectorStore, native: psycopg.Connection, tenant: str
) -> None:
    _table_of(
        native,
        tenant,
        """
        CREATE FUNCTION plain(text, int) RETURNS text IMMUTABLE LANGUAGE plpgsql
            AS $$ BEGIN RETURN $1; END $$;
        CREATE FUNCTION fixed(text) RETURNS text IMMUTABLE LANGUAGE sql
            SET search_path = '' AS $$ SELECT $1 $$;
        CREATE INDEX ON t (plain(body, 1)) WHERE fixed(body) <> ''
        """,
    )
    assert store.status("t").records == 2
    assert pa.Table.from_batches(store.scan("t")).num_rows == 2


RUN_BY_WRITES = {
    "a trigger": """
        CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN RAISE EXCEPTION 'a tenant ran'; END $$;
        CREATE TRIGGER fires BEFORE INSERT OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION fired()""",
    "a rule": "CREATE RULE r AS ON DELETE TO t DO ALSO SELECT trap(1)",
    "a check": "ALTER TABLE t ADD CHECK (trap(n) <> '')",
    "a generated column": "ALTER TABLE t ADD g text GENERATED ALWAYS AS (trap(n)) STORED",
    "an index of a column": "CREATE INDEX ON t (trap(n))",
    "a domain": "CREATE DOMAIN d AS int CHECK (trap(VALUE) <> ''); ALTER TABLE t ADD d d DEFAULT 1",
    "a domain of a domain": """CREATE DOMAIN inner_one AS int CHECK (trap(VALUE) <> '');
        CREATE DOMAIN d AS inner_one; ALTER TABLE t ADD d d DEFAULT 1""",
    "an array of a domain": """CREATE DOMAIN d AS int CHECK (trap(VALUE) <> '');
        ALTER TABLE t ADD d d[] DEFAULT '{1}'""",
    "a row with a domain": """CREATE DOMAIN d AS int CHECK (trap(VALUE) <> '');
        CREATE TYPE c AS (x d); ALTER TABLE t ADD d c DEFAULT '(1)'""",
    "a range of a domain": """CREATE DOMAIN d AS int CHECK (trap(VALUE) <> '');
        CREATE TYPE r AS RANGE (SUBTYPE = d); ALTER TABLE t ADD d r DEFAULT '[1,2]'""",
    "a domain in a check": """CREATE DOMAIN d AS int CHECK (trap(VALUE) <> '');
        ALTER TABLE t ADD CHECK (n::d > 0)""",
    "a domain without a check": "CREATE DOMAIN d AS int; ALTER TABLE t ADD d d DEFAULT 1",
    "JSON of a type": """CREATE TYPE c AS ENUM ('x'); ALTER TABLE t ADD d c DEFAULT 'x';
        ALTER TABLE t ADD CHECK (to_jsonb(d) IS NOT NULL)""",
}


@BOTH_AT_LENGTH
@pytest.mark.parametrize("place", RUN_BY_WRITES)
def test_what_a_write_would_run_is_refused(
    store: VectorStore, native: psycopg.Connection, tenant: str, place: str
) -> None:
    _table_of(native, tenant, RUN_BY_WRITES[place])
    rows = pa.Table.from_batches(store.scan("t"))
    with pytest.raises(Refused, match=f"writing into it runs what '{tenant}' wrote"):
        store.write("t", rows, replaces=["1"])


def test_conditions_of_partitions_are_not_computed(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute(f"""
        {HARMLESS}
        CREATE TABLE t (id int PRIMARY KEY, e vector(2)) PARTITION BY RANGE (id);
        CREATE TABLE t_a PARTITION OF t FOR VALUES FROM (0) TO (9);
        INSERT INTO t VALUES (1, '[1, 2]'), (2, '[1, 1]');
        ALTER TABLE t_a ADD CHECK (trap(1) <> '' OR id > 0);
        {TRAP.replace("CREATE", "CREATE OR REPLACE").format("int", "text")}
    """)
    assert pa.Table.from_batches(store.scan("t", documents=["1"])).num_rows == 1
    query = Query(vector=vector(1, 2), exact=False)
    assert len(store.search("t", query, limit=9)) == 2


def test_a_trusted_function_that_names_no_schema_is_named_with_the_way_out(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute("""
        CREATE TABLE t (id int PRIMARY KEY, e vector(2), body text);
        CREATE FUNCTION same(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT $1 $$;
        CREATE FUNCTION pathless(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT $1 $$;
        CREATE INDEX ON t (pathless(body));
        CREATE OR REPLACE FUNCTION pathless(text) RETURNS text IMMUTABLE LANGUAGE sql
            AS $$ SELECT same($1) $$;
    """)
    with pytest.raises(DrError, match=r"function 'pathless', which an index .* SET search_path"):
        store.status("t")
    native.execute("ALTER FUNCTION pathless(text) SET search_path = public")
    assert store.status("t").records == 0


HONEST = {
    "in SQL, given a column": """
        CREATE FUNCTION fixed(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower($1)';
        CREATE INDEX ON t (fixed(body))""",
    "given constants": """
        CREATE FUNCTION fixed(text) RETURNS text IMMUTABLE LANGUAGE plpgsql
            AS 'BEGIN RETURN $1; END';
        CREATE INDEX ON t ((fixed('a') || body))""",
    "a domain": "CREATE DOMAIN d AS text; ALTER TABLE t ADD d d DEFAULT 'x'",
}


@pytest.mark.parametrize("server", ["postgres"], indirect=True)
@pytest.mark.parametrize("how", HONEST)
def test_each_way_out_that_is_named_is_one(
    server: Server,
    database: str,
    store: VectorStore,
    native: psycopg.Connection,
    tenant: str,
    how: str,
) -> None:
    _table_of(native, tenant, HONEST[how])
    rows = pa.Table.from_batches(store.scan("t"))
    with pytest.raises(Refused) as refused:
        store.write("t", rows)
    message = str(refused.value)
    assert "name 'tenant' as the user in the store's URL" in message
    native.execute("ALTER ROLE tenant LOGIN")
    open_store(server.url(database, user=tenant), base=Path()).write("t", rows)
    (statement,) = re.findall(r"ALTER (?:FUNCTION|TYPE) .* OWNER TO \S+", message)
    native.execute(statement.encode())
    store.write("t", rows)
    assert store.status("t").records == 2


@pytest.mark.parametrize("server", ["postgres"], indirect=True)
def test_a_key_that_is_compared_as_text_is_said_to_be(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute("""
        CREATE DOMAIN amount AS numeric;
        CREATE TABLE t (id amount PRIMARY KEY, e vector(2));
        CREATE TABLE plain (id numeric PRIMARY KEY, e vector(2));
        INSERT INTO t VALUES (1.0, '[1, 2]'); INSERT INTO plain VALUES (1.0, '[1, 2]')
    """)
    (note,) = store.compatibility("t")
    assert note.part == "engine.pgvector.key"
    assert note.consequence.startswith("id (amount): compared as text")
    assert store.compatibility("plain") == ()
    rows = pa.Table.from_batches(store.scan("t"))
    store.write("t", rows)
    place = rows.schema.get_field_index("id")
    with pytest.raises(Conflict):
        store.write("t", rows.set_column(place, "id", pa.array(["1.00"])))
