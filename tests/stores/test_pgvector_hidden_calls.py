"""Functions of a tenant that are called without being named in a definition, and definitions that a
tenant wrote into a label himself: neither runs without consent."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from dr_pipelines.errors import Refused
from dr_pipelines.model.compatibility import Outcome
from dr_pipelines.stores.pgvector import open_store
from dr_pipelines.stores.pgvector.label import MARK, Label, _written
from dr_pipelines.stores.pgvector.store import PgvectorStore
from tests.servers.pgvector import Server

TRAP = """
    CREATE FUNCTION trap({}) RETURNS {} IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
        IF current_user <> 'tenant' THEN RAISE EXCEPTION 'a tenant ran'; END IF;
        RETURN {}; END $$;
"""
MOOD = f"""
    CREATE TYPE mine AS ENUM ('a');
    {TRAP.format("mine", "json", "'1'::json")}
    CREATE CAST (mine AS json) WITH FUNCTION trap(mine);
    CREATE TABLE t (id int PRIMARY KEY, e vector(2), m mine);
    INSERT INTO t VALUES (1, '[1, 2]', 'a');
"""
SPAN = f"""
    {TRAP.format("int, int", "float8", "$1 - $2")}
    CREATE TYPE mine AS RANGE (SUBTYPE = int, SUBTYPE_DIFF = trap);
    CREATE TABLE t (id int PRIMARY KEY, e vector(2), m mine, s mmine);
    INSERT INTO t SELECT i, '[1, 2]', mine(i, i + 5) FROM generate_series(1, 900) i;
""".replace("SUBTYPE_DIFF = trap", "SUBTYPE_DIFF = trap, MULTIRANGE_TYPE_NAME = mmine")
HIDDEN = {
    "a cast to json": MOOD + "ALTER TABLE t ADD CHECK (to_jsonb(m) IS NOT NULL)",
    "a cast to json of a part": MOOD + "ALTER TABLE t ADD CHECK (to_json(ROW(m)) IS NOT NULL)",
    "a cast to json by an object": (
        MOOD + "ALTER TABLE t ADD CHECK (json_build_object('x', m) IS NOT NULL)"
    ),
    "a cast to json in words": MOOD + "ALTER TABLE t ADD CHECK (JSON_ARRAY(m) IS NOT NULL)",
    "a distance of ranges": SPAN + "CREATE INDEX ON t USING gist (m)",
    "a distance of several ranges": (
        SPAN + "CREATE INDEX ON t USING gist (s); UPDATE t SET s = mmine(m)"
    ),
}


@pytest.fixture(params=["postgres", pytest.param("postgres16", marks=pytest.mark.long)])
def server(request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def native(server: Server) -> Iterator[psycopg.Connection]:
    database = server.create_database()
    with psycopg.connect(server.conninfo(database), autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS tenant; CREATE ROLE tenant LOGIN")
        connection.execute("GRANT CREATE ON SCHEMA public TO tenant")
        yield connection
        connection.execute("DROP OWNED BY tenant CASCADE; DROP ROLE tenant")


@pytest.fixture
def store(server: Server, native: psycopg.Connection) -> PgvectorStore:
    opened = open_store(server.url(native.info.dbname), base=Path())
    assert isinstance(opened, PgvectorStore)
    return opened


@pytest.mark.parametrize("place", HIDDEN)
def test_what_no_definition_names_is_known_and_not_run(
    store: PgvectorStore, native: psycopg.Connection, place: str
) -> None:
    native.execute(f"SET ROLE tenant; {HIDDEN[place]}; RESET ROLE".encode())
    spec = store.describe("t")
    rows = pa.Table.from_batches(store.scan("t"))
    assert any(
        n.outcome is Outcome.CODE and "trap(" in n.consequence for n in store.compatibility("t")
    )
    planned = store.definitions(spec.physical("copy"), with_roles=False)
    functions = {call.callee.partition("(")[0] for call in planned.code if "(" in call.callee}
    assert functions == {"public.trap"}
    with pytest.raises(Refused, match="writing into it runs what 'tenant' wrote"):
        store.write("t", rows.slice(0, 1), replaces=["1"])


def test_all_that_the_parts_of_a_type_call_is_known(
    store: PgvectorStore, native: psycopg.Connection
) -> None:
    names = ["first", "second", "third"]
    for name in names:
        native.execute(
            f"""CREATE FUNCTION {name}(int) RETURNS bool IMMUTABLE LANGUAGE plpgsql
                AS $$ BEGIN RETURN true; END $$;
            CREATE DOMAIN d_{name} AS int CHECK ({name}(VALUE))""".encode()
        )
    native.execute(
        f"""
        CREATE TYPE parts AS ({", ".join(f"{name} d_{name}" for name in names)});
        CREATE TABLE t (id int PRIMARY KEY, e vector(2), m parts);
        INSERT INTO t VALUES (1, '[1, 2]', NULL);
    """.encode()
    )
    calls = store.definitions(store.describe("t").physical("copy"), with_roles=False).code
    assert {call.callee for call in calls} == {f"public.{name}(integer)" for name in names}
    consequences = " ".join(note.consequence for note in store.compatibility("t"))
    assert all(f"public.{name}(" in consequences for name in names)


@pytest.mark.parametrize("label", ["foreign_keys", "indexes", "constraints"])
def test_definitions_of_a_label_that_its_owner_may_have_forged_are_not_run(
    store: PgvectorStore, native: psycopg.Connection, label: str
) -> None:
    native.execute(f"""
        SET ROLE tenant;
        {TRAP.format("int", "bool", "true")}
        CREATE TABLE t (id int PRIMARY KEY, e vector(2), m int);
        INSERT INTO t VALUES (1, '[1, 2]', 1);
        RESET ROLE;
    """)
    forged = {
        "foreign_keys": [{"name": "x", "definition": "CHECK (public.trap(m))"}],
        "indexes": [{"name": "x", "unique": False, "using": "USING btree (public.trap(1))"}],
        "constraints": [{"name": "x", "definition": "CHECK (public.trap(m)) NOT VALID"}],
    }
    spec = store.describe("t")
    section = {**spec.engine["pgvector"], label: forged[label]}
    written = _written(Label(spec.model_copy(update={"engine": {"pgvector": section}}), False))
    assert written.startswith(MARK)
    native.execute(sql.SQL("COMMENT ON INDEX t_pkey IS {}").format(sql.Literal(written)))
    with pytest.raises(Refused, match=r"belongs to 'tenant'.*nobody consented to.*trap"):
        store.build_index("t")
    with pytest.raises(Refused, match=r"belongs to 'tenant'.*nobody consented to.*trap"):
        store.open_up("t")
    if label == "foreign_keys":
        with pytest.raises(Refused, match=r"belongs to 'tenant'.*nobody consented to.*trap"):
            store.promote("t", alias="served")
