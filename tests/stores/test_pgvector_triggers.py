"""Triggers of a table come back last, in the state that they had, and a restore sets none off."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.compatibility import Outcome
from dr_pipelines.model.record import store_schema
from dr_pipelines.planning.parts import compare_parts
from dr_pipelines.stores.pgvector import open_store
from dr_pipelines.stores.pgvector.store import PgvectorStore
from tests.servers.pgvector import Server

AROUND = """
    CREATE SEQUENCE ran;
    CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN PERFORM nextval('public.ran'); RETURN NULL; END $$;
    CREATE FUNCTION odd(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE
        AS $$ BEGIN PERFORM nextval('public.ran'); RETURN true; END $$;
    CREATE SCHEMA other; CREATE FUNCTION other."Odd ""one"" two"() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN PERFORM nextval('public.ran'); RETURN NULL; END $$;
    CREATE TABLE "Other" (id int PRIMARY KEY);
    CREATE TABLE t (id int PRIMARY KEY, e vector(2), x int, "When (" text);
    INSERT INTO t VALUES (1, '[1, 2]', 1, 'a'), (2, '[2, 1]', 2, NULL);
"""
TRIGGERS = """
    CREATE TRIGGER plain BEFORE INSERT OR UPDATE OR DELETE ON t FOR EACH ROW
        EXECUTE FUNCTION fired('a', 'it''s', '');
    CREATE TRIGGER "of WHEN (" AFTER UPDATE OF x, "When (" OR DELETE ON t FOR EACH ROW
        WHEN (old.x > 1 AND odd(old.id)) EXECUTE FUNCTION other."Odd ""one"" two"();
    CREATE TRIGGER changed AFTER UPDATE ON t FOR EACH ROW
        WHEN (old.* IS DISTINCT FROM new.* AND new."When (" <> 'WHEN (x)')
        EXECUTE FUNCTION fired();
    CREATE TRIGGER statement AFTER TRUNCATE ON t EXECUTE FUNCTION fired();
    CREATE TRIGGER rows AFTER UPDATE ON t REFERENCING OLD TABLE AS "Old" NEW TABLE AS fresh
        FOR EACH STATEMENT EXECUTE FUNCTION fired();
    CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t FROM "Other"
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fired();
    CREATE CONSTRAINT TRIGGER now AFTER INSERT ON t NOT DEFERRABLE FOR EACH ROW
        EXECUTE FUNCTION fired();
    CREATE TRIGGER alike BEFORE UPDATE ON t FOR EACH ROW
        EXECUTE FUNCTION suppress_redundant_updates_trigger();
    ALTER TABLE t DISABLE TRIGGER plain; ALTER TABLE t ENABLE REPLICA TRIGGER changed;
    ALTER TABLE t ENABLE ALWAYS TRIGGER rows;
    COMMENT ON TRIGGER plain ON t IS 'it''s said';
"""
DEFINED = """
    SELECT tgname, pg_get_triggerdef(oid), tgenabled, obj_description(oid, 'pg_trigger')
    FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal ORDER BY 1
"""


@pytest.fixture(params=["postgres16", "postgres"])
def server(request: pytest.FixtureRequest) -> Server:
    opened: Server = request.getfixturevalue(request.param)
    return opened


on_one_server = pytest.mark.parametrize("server", ["postgres"], indirect=True)


@pytest.fixture
def database(server: Server) -> str:
    return server.create_database()


@pytest.fixture
def native(server: Server, database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.conninfo(database), autocommit=True) as connection:
        connection.execute(AROUND)
        yield connection


@pytest.fixture
def store(server: Server, database: str) -> PgvectorStore:
    opened = open_store(server.url(database), base=Path())
    assert isinstance(opened, PgvectorStore)
    return opened


def _restored(store: PgvectorStore, spec: CollectionSpec, rows: pa.Table) -> CollectionSpec:
    agreed = store.definitions(spec.model_copy(update={"origin": "12-ab"}), with_roles=False).spec
    store.create(agreed)
    store.write("t", rows)
    store.build_index("t")
    store.open_up("t")
    return agreed


def _lost(before: CollectionSpec, after: CollectionSpec) -> set[str]:
    compared = compare_parts(before, after, engine="pgvector")
    return {finding.part for finding in compared if not finding.unreported}


def _rows(store: PgvectorStore, spec: CollectionSpec) -> pa.Table:
    return pa.Table.from_batches(store.scan("t"), store_schema(spec))


def _ran(native: psycopg.Connection) -> bool:
    (called,) = native.execute("SELECT is_called FROM ran").fetchone() or (None,)
    return bool(called)


def test_triggers_come_back_as_they_were_and_none_is_set_off(
    store: PgvectorStore, native: psycopg.Connection
) -> None:
    native.execute(TRIGGERS)
    before = native.execute(DEFINED, ["t"]).fetchall()
    spec = store.describe("t")
    rows = _rows(store, spec)
    notes = {note.part: note.outcome for note in store.compatibility("t")}
    assert set(notes.values()) == {Outcome.CODE}
    assert len(notes) == 7  # all but the engine's own function
    native.execute("DROP TABLE t")

    definitions = store.definitions(spec, with_roles=False)
    assert {str(call).partition(",")[0] for call in definitions.code} == {
        "trigger plain calls public.fired()",
        "trigger of WHEN ( calls public.odd(p_1 integer)".replace("p_1 ", ""),
        'trigger of WHEN ( calls other."Odd ""one"" two"()',
        "trigger changed calls public.fired()",
        "trigger statement calls public.fired()",
        "trigger rows calls public.fired()",
        "trigger late calls public.fired()",
        "trigger now calls public.fired()",
    }
    made = [s.step for s in definitions.statements if " TRIGGER " in s.sql]
    assert made == ["rights"] * 12
    assert "old.x > 1" in next(s.sql for s in definitions.statements if "of WHEN" in s.sql)
    _restored(store, spec, rows)
    assert not _ran(native)
    assert native.execute(DEFINED, ["t"]).fetchall() == before
    assert _lost(spec, store.describe("t")) == set()


def test_a_copy_beside_has_the_same_triggers(
    store: PgvectorStore, native: psycopg.Connection
) -> None:
    native.execute(TRIGGERS)
    spec = store.describe("t")
    store.create(spec.physical("t@1-ab", origin="here"))
    store.build_index("t@1-ab")
    store.open_up("t@1-ab")
    assert _lost(spec, store.describe("t@1-ab")) == set()


def test_triggers_of_partitions_come_back_and_what_does_not_is_said_with_its_statement(
    store: PgvectorStore, native: psycopg.Connection
) -> None:
    native.execute("""
        DROP TABLE t; CREATE SEQUENCE counted INCREMENT 3;
        CREATE TABLE t (id int PRIMARY KEY, e vector(2), x int) PARTITION BY LIST (id);
        CREATE TABLE t_a PARTITION OF t FOR VALUES IN (1);
        CREATE TABLE t_b PARTITION OF t FOR VALUES IN (2);
        CREATE TRIGGER every AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION fired();
        CREATE TRIGGER own BEFORE UPDATE ON t_a FOR EACH ROW WHEN (new.id > 0)
            EXECUTE FUNCTION fired();
        ALTER TABLE t_b DISABLE TRIGGER every; ALTER TABLE t_a ENABLE ALWAYS TRIGGER own;
        INSERT INTO "Other" VALUES (1), (2);
        ALTER TABLE t_a ADD CONSTRAINT there FOREIGN KEY (id) REFERENCES "Other" (id);
        ALTER TABLE t_a ALTER x SET DEFAULT nextval('counted');
        ALTER SEQUENCE counted OWNED BY t_a.x;
        ALTER TABLE t DISABLE TRIGGER every; ALTER TABLE t ENABLE TRIGGER every;
        ALTER TABLE t_b DISABLE TRIGGER every; INSERT INTO t (id, e) VALUES (2, '[1, 2]');
    """)
    tables = ("t", "t_a", "t_b")
    before = [native.execute(DEFINED, [name]).fetchall() for name in tables]
    spec = store.describe("t")
    rows = _rows(store, spec)
    notes = {n.part: n for n in store.compatibility("t") if n.outcome is Outcome.LOST}
    place = "engine.pgvector.partitions.t_a."
    assert set(notes) == {f"{place}foreign_keys", f"{place}sequences"}
    native.execute("DROP TABLE t")
    _restored(store, spec, rows)
    assert [native.execute(DEFINED, [name]).fetchall() for name in tables] == before
    for note in notes.values():
        for statement in note.consequence.partition("Run: ")[2].split("; "):
            native.execute(statement.encode())
    assert _lost(spec, store.describe("t")) == set()


MISSING = {
    "function": ("DROP FUNCTION fired() CASCADE", "CREATE OR REPLACE FUNCTION public.fired()"),
    "condition's function": ("DROP FUNCTION odd(int) CASCADE", "FUNCTION public.odd(integer)"),
    "table": ('DROP TABLE "Other"', '"Other" is not in this database'),
    "right": ("REVOKE EXECUTE ON FUNCTION fired() FROM PUBLIC", "this user may not call"),
}


@on_one_server
@pytest.mark.parametrize("what", MISSING)
def test_a_trigger_that_cannot_be_made_is_left_out_and_said_with_its_statement(
    server: Server, database: str, native: psycopg.Connection, what: str
) -> None:
    native.execute(TRIGGERS)
    whole = open_store(server.url(database), base=Path())
    assert isinstance(whole, PgvectorStore)
    spec = whole.describe("t")
    section = {k: v for k, v in spec.engine["pgvector"].items() if k != "owner"}
    spec = spec.model_copy(update={"engine": {"pgvector": section}})
    rows = _rows(whole, spec)
    before = {name for name, *_ in native.execute(DEFINED, ["t"])}
    lost, message = MISSING[what]
    native.execute("DROP TABLE t CASCADE")
    native.execute("DROP ROLE IF EXISTS modest")
    native.execute("CREATE ROLE modest LOGIN")
    native.execute("GRANT CREATE, USAGE ON SCHEMA public, other TO modest")
    native.execute(lost.encode())
    native.execute('GRANT ALL ON TABLE "Other" TO modest' if what != "table" else "SELECT 1")
    try:
        store = open_store(server.url(database, user="modest"), base=Path())
        assert isinstance(store, PgvectorStore)
        notes = [note for note in store.fit(spec).notes if note.outcome is Outcome.REFUSED]
        out = {note.part.removeprefix("engine.pgvector.triggers.") for note in notes}
        assert message in notes[0].consequence
        assert "then run: CREATE " in notes[0].consequence
        restored = _restored(store, spec, rows)
        there = {name for name, *_ in native.execute(DEFINED, ["t"])}
        assert (there, bool(out)) == (before - out, True)
        assert _lost(spec, store.describe("t")) == {f"engine.pgvector.triggers.{n}" for n in out}
        assert _lost(restored, store.describe("t")) == set()
    finally:
        native.execute("DROP OWNED BY modest; DROP ROLE modest")


def _forged(**parts: object) -> dict[str, object]:
    whole = {"name": "x", "fires": "before", "events": ["insert"], "each": "row"}
    return {"triggers": [whole | {"function": "fired()"} | parts]}


SMUGGLED = [
    _forged(function="fired(); DROP TABLE t"),
    _forged(function="fired() --"),
    _forged(function="odd(integer)"),
    _forged(condition="true) EXECUTE FUNCTION other.f() --"),
    _forged(condition="true); DROP TABLE t; SELECT (true"),
    _forged(condition="old.nothing > 1"),
    _forged(fires="before insert on t execute function fired(); --"),
    _forged(events=["insert or delete"]),
    _forged(each="row when (true)"),
    _forged(enabled="disable"),
    _forged(**{"from": "t; DROP TABLE t", "constraint": True, "fires": "after"}),
]


def _made(store: PgvectorStore, spec: CollectionSpec) -> None:
    try:
        store.create(spec)
        store.open_up("x")
    finally:
        store.drop("x")


@on_one_server
def test_a_part_of_a_trigger_brings_nothing_along(
    store: PgvectorStore, native: psycopg.Connection
) -> None:
    spec = store.describe("t")
    for parts in [*SMUGGLED, {"trigger_states": {"x": "DISABLE TRIGGER ALL; --"}}]:
        engine = {"pgvector": {**spec.engine["pgvector"], **parts}}  # type: ignore[dict-item]
        forged = spec.model_copy(update={"engine": engine}).physical("x")
        for call in (partial(store.definitions, with_roles=False), partial(_made, store)):
            with pytest.raises(InvalidRequest):
                call(forged)
            assert store.collections() == ["t"], parts
    assert store.collections() == ["t"]
    assert not _ran(native)
