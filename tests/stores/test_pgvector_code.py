"""Code in definitions is known before anything is executed, and runs only with consent."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psycopg
import pytest

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.compatibility import Outcome
from dr_pipelines.model.definitions import Definitions
from dr_pipelines.model.fitness import Trial
from dr_pipelines.model.record import store_schema
from dr_pipelines.proof.sampling import EdgeSample
from dr_pipelines.proof.trial import Scratch, tried
from dr_pipelines.protocols import Definer
from dr_pipelines.stores.pgvector import open_store
from dr_pipelines.stores.pgvector.clauses import elements_of, joined, pieces_of
from dr_pipelines.stores.pgvector.store import PgvectorStore
from dr_pipelines.stores.shared.naming import StoredNames
from dr_pipelines.testing.store_samples import opened
from tests.servers.pgvector import Server

NOW = datetime(2026, 3, 1, tzinfo=UTC)
AROUND = """
    CREATE SEQUENCE ran;
    CREATE FUNCTION evil(int) RETURNS int IMMUTABLE LANGUAGE plpgsql
        AS $$ BEGIN PERFORM nextval('public.ran'); RETURN 1; END $$;
    CREATE FUNCTION evil(text) RETURNS bool IMMUTABLE LANGUAGE plpgsql
        AS $$ BEGIN PERFORM nextval('public.ran'); RETURN true; END $$;
    CREATE OPERATOR public.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq);
    CREATE FUNCTION same(text, text) RETURNS bool IMMUTABLE LANGUAGE plpgsql
        AS $$ BEGIN PERFORM nextval('public.ran'); RETURN true; END $$;
    CREATE OPERATOR public.==== (LEFTARG = text, RIGHTARG = text, FUNCTION = same);
    CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int);
    CREATE DOMAIN odd AS int CHECK (evil(VALUE) = 1);
    CREATE DOMAIN plain AS int CHECK (VALUE > 0);
    CREATE TYPE pair AS (a odd, b text);
    CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE FUNCTION mood_text(mood) RETURNS text IMMUTABLE LANGUAGE plpgsql
        AS $$ BEGIN PERFORM nextval('public.ran'); RETURN 'x'; END $$;
    CREATE CAST (mood AS text) WITH FUNCTION mood_text(mood) AS IMPLICIT;
    CREATE VIEW looks AS SELECT evil(1) AS x;
    CREATE TABLE guarded (x int); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
    CREATE TABLE free (x int);
"""
T = "CREATE TABLE t (id int PRIMARY KEY, e vector(2), x int, s text, m mood); "
CALLING = {
    "default": (
        "ALTER TABLE t ALTER x SET DEFAULT evil(1)",
        "default of column x",
        "evil(integer)",
    ),
    "generated": (
        "ALTER TABLE t ADD g int GENERATED ALWAYS AS (evil(3)) STORED",
        "generated column g",
        "evil(integer)",
    ),
    "check": (
        "ALTER TABLE t ADD CONSTRAINT c CHECK (evil(x) = 1)",
        "constraint c",
        "evil(integer)",
    ),
    "not valid": (
        "ALTER TABLE t ADD CONSTRAINT c CHECK (evil(2) = 1) NOT VALID",
        "constraint c",
        "evil(integer)",
    ),
    "operator": (
        "ALTER TABLE t ADD CONSTRAINT c CHECK (s ==== 'a')",
        "constraint c",
        "same(text, text)",
    ),
    "cast": ("ALTER TABLE t ADD CONSTRAINT c CHECK (lower(m) > '')", "constraint c", "mood_text"),
    "index": ("CREATE INDEX i ON t (evil(2), x)", "index i", "evil(integer)"),
    "predicate": ("CREATE INDEX i ON t (x) WHERE evil('a')", "index i", "evil(text)"),
    "exclusion": (
        "ALTER TABLE t ADD CONSTRAINT c EXCLUDE USING btree ((evil(x)) WITH =) WHERE (evil('b'))",
        "constraint c",
        "evil(integer)",
    ),
    "statistics": ("CREATE STATISTICS st ON (evil(x)), x FROM t", "statistics st", "evil(integer)"),
    "policy": ("CREATE POLICY p ON t USING (evil(x) = 1)", "policy p", "evil(integer)"),
    "policy's check": (
        "CREATE POLICY p ON t FOR INSERT WITH CHECK (evil(s))",
        "policy p",
        "evil(text)",
    ),
    "aggregate": (
        "CREATE POLICY p ON t USING ((SELECT total(f.x) FROM free f) > 0)",
        "policy p",
        "total(integer)",
    ),
    "view": ("CREATE POLICY p ON t USING (EXISTS (SELECT FROM looks))", "policy p", "looks"),
    "other policies": (
        "CREATE POLICY p ON t USING (EXISTS (SELECT FROM guarded))",
        "policy p",
        "guarded",
    ),
    "files": (
        "CREATE POLICY p ON t USING (pg_read_file(s) > '')",
        "policy p",
        "pg_catalog.pg_read_file(text)",
    ),
    "large objects": (
        "ALTER TABLE t ALTER x SET DEFAULT lo_unlink(7)",
        "default of column x",
        "pg_catalog.lo_unlink(oid)",
    ),
    "query": (
        "CREATE POLICY p ON t USING (query_to_xml(s, true, true, '') IS NOT NULL)",
        "policy p",
        "query_to_xml",
    ),
    "setting": (
        "CREATE POLICY p ON t USING (set_config('role', s, false) > '')",
        "policy p",
        "set_config",
    ),
    "sleep": ("CREATE POLICY p ON t USING (pg_sleep(x) IS NULL)", "policy p", "pg_sleep"),
    "setval": (
        "ALTER TABLE t ALTER x SET DEFAULT setval('ran', 9)",
        "default of column x",
        "setval",
    ),
    "domain": ("ALTER TABLE t ADD d odd", "column d", "evil(integer)"),
    "array of a domain": ("ALTER TABLE t ADD d odd[] DEFAULT '{1}'", "column d", "evil(integer)"),
    "composite": ("ALTER TABLE t ADD d pair", "column d", "evil(integer)"),
    "constant": (
        "ALTER TABLE t ADD CONSTRAINT c CHECK ('(1,b)'::pair IS NOT NULL)",
        "constraint c",
        "evil(integer)",
    ),
}
HARMLESS = """
    ALTER TABLE t ADD d plain DEFAULT 3, ADD n bigserial, ADD k uuid DEFAULT gen_random_uuid(),
        ADD at timestamptz DEFAULT now(), ADD w tsvector
        GENERATED ALWAYS AS (to_tsvector('english', coalesce(s, ''))) STORED,
        ADD h halfvec(2) GENERATED ALWAYS AS (e::halfvec(2)) STORED,
        ADD CONSTRAINT near CHECK (vector_norm(e) < 9), ADD CONSTRAINT one CHECK (s === 'a');
    CREATE INDEX ON t (lower(s) text_pattern_ops, x DESC) INCLUDE (id) WHERE s LIKE 'a%' AND x > 1;
    CREATE POLICY p ON t USING (s = current_setting('app.tenant', true)
        AND EXISTS (SELECT FROM free WHERE free.x = t.x));
"""


@pytest.fixture(params=["postgres16", "postgres"])
def postgres_of_both(request: pytest.FixtureRequest) -> Server:
    """Each version of the engine."""
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def database(postgres_of_both: Server) -> str:
    name = postgres_of_both.create_database()
    with psycopg.connect(postgres_of_both.conninfo(name), autocommit=True) as connection:
        connection.execute(AROUND)
        connection.execute(T)
    return name


@pytest.fixture
def native(postgres_of_both: Server, database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_of_both.conninfo(database), autocommit=True) as connection:
        yield connection


@pytest.fixture
def store(postgres_of_both: Server, database: str) -> PgvectorStore:
    opened = open_store(postgres_of_both.url(database), base=Path())
    assert isinstance(opened, PgvectorStore)
    return opened


def _ran(native: psycopg.Connection) -> bool:
    (called,) = native.execute("SELECT is_called FROM ran").fetchone() or (None,)
    return bool(called)


def _rest(native: psycopg.Connection) -> None:
    native.execute("ALTER SEQUENCE ran RESTART")


def _defined(store: PgvectorStore, spec: CollectionSpec) -> Definitions:
    return store.definitions(spec.physical("t@1-ab", origin="here"), with_roles=False)


ARMED = ("domain", "array of a domain", "composite", "constant")
"""What cannot be parsed without running it: nothing else of a table with it is analysed."""
Case = tuple[str, str, str, str]


def _rounds() -> list[list[Case]]:
    """The ways to call code: many on one table, under names of their own, where none is in the way
    of another."""
    together, alone = list[list[Case]](), list[list[Case]]()
    for number, (kind, (made, caller, callee)) in enumerate(CALLING.items()):
        if kind in ARMED:
            alone.append([(kind, made, caller, callee)])
            continue
        for word, name in (("POLICY", "p"), ("CONSTRAINT", "c"), ("INDEX", "i")):
            made = made.replace(f"{word} {name} ", f"{word} {name}{number} ")
            if caller == f"{word.lower()} {name}":
                caller += str(number)
        free = (cases for cases in together if caller not in {other for _, _, other, _ in cases})
        cases = next(free, None)
        if cases is None:
            together.append(cases := [])
        cases.append((kind, made, caller, callee))
    return [*together, *alone]


def test_every_way_to_call_code_is_found_and_none_of_it_runs(
    store: PgvectorStore, native: psycopg.Connection
) -> None:
    missed, executed = list[str](), list[str]()
    for cases in _rounds():
        for _, made, _, _ in cases:
            native.execute(made.encode())
        _rest(native)
        spec = store.describe("t")
        before = [n for n in store.compatibility("t") if n.outcome is Outcome.CODE]
        definitions = _defined(store, spec)
        if _ran(native):
            executed += [kind for kind, *_ in cases]
        for kind, _, caller, callee in cases:
            if not any(c.caller == caller and callee in c.callee for c in definitions.code):
                missed.append(f"{kind}: {definitions.code}")
            part = f"engine.pgvector.code.{caller}"
            if not any(n.part == part and callee in n.consequence for n in before):
                missed.append(f"{kind} at backup: {before}")
        assert (definitions.statements == ()) == (definitions.unread is not None)
        native.execute(f"DROP TABLE t; {T}")
    assert (missed, executed) == ([], [])
    assert sum(map(len, _rounds())) == len(CALLING) == 25
    assert store.collections() == ["t"]


def test_what_only_computes_needs_no_consent(
    store: PgvectorStore, native: psycopg.Connection
) -> None:
    native.execute("DROP OPERATOR === (text, text)")
    native.execute(HARMLESS.replace(", ADD CONSTRAINT one CHECK (s === 'a')", ""))
    definitions = _defined(store, store.describe("t"))
    assert (definitions.code, definitions.digest, definitions.unread) == ((), None, None)
    assert Outcome.CODE not in {note.outcome for note in store.compatibility("t")}
    steps = list(dict.fromkeys(statement.step for statement in definitions.statements))
    assert steps == ["table", "indexes", "rights"]


def test_what_is_shown_is_what_is_executed(
    store: PgvectorStore, native: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    native.execute("CREATE INDEX i ON t (evil(2), x); CREATE POLICY p ON t USING (evil(x) = 1)")
    native.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY; GRANT SELECT ON t TO public")
    spec = store.describe("t").physical("t@1-ab", origin="here")
    shown = [s.sql for s in store.definitions(spec, with_roles=False).statements]
    executed = list[str]()
    from dr_pipelines.stores.pgvector import connections

    run = connections.Session.run

    def seen(session: connections.Session, command: connections.Statement) -> None:
        text = command.as_string(session.connection)
        if (
            '"t@1-ab' in text
            and "TEMPORARY" not in text
            and not text.startswith(("ANALYZE", "LOCK"))
        ):
            executed.append(text)
        run(session, command)

    rows = store_schema(spec).empty_table()
    monkeypatch.setattr(connections.Session, "run", seen)
    store.create(spec)
    store.write("t@1-ab", rows)
    store.build_index("t@1-ab")
    opened(store, "t@1-ab")
    labels = "COMMENT ON INDEX"
    assert [s for s in executed if labels not in s] == [s for s in shown if labels not in s]
    cut = [statement for statement in shown if labels in statement]
    assert cut  # the label is the whole specification: it is shown cut, and says so
    assert all(statement.endswith("dr-pipelines collection …'") for statement in cut)
    assert shown[-1] == 'GRANT SELECT ON TABLE "public"."t@1-ab" TO PUBLIC'


def test_a_database_without_the_extension_is_rehearsed_too(
    postgres_of_both: Server, store: PgvectorStore
) -> None:
    spec = store.describe("t").physical("copy")
    section = {**spec.engine["pgvector"], "columns": spec.engine["pgvector"]["columns"][:2]}
    spec = spec.model_copy(update={"fields": (), "engine": {"pgvector": section}})
    empty = f"without_{postgres_of_both.version}"
    with psycopg.connect(postgres_of_both.conninfo(), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {empty}")
    there = open_store(postgres_of_both.url(empty), base=Path())
    assert isinstance(there, PgvectorStore)
    first = there.definitions(spec, with_roles=False).statements[0].sql
    assert first == 'CREATE EXTENSION IF NOT EXISTS vector SCHEMA "public"'
    assert there.engine.startswith("pgvector none")
    there.create(spec)
    assert there.collections() == ["copy"]


def test_a_function_of_an_extension_is_trusted_only_as_a_superuser_s(
    postgres_of_both: Server, database: str, store: PgvectorStore, native: psycopg.Connection
) -> None:
    native.execute("DROP ROLE IF EXISTS tenant_of_extension; CREATE ROLE tenant_of_extension LOGIN")
    native.execute("GRANT CREATE ON SCHEMA public TO tenant_of_extension")
    with psycopg.connect(
        postgres_of_both.conninfo(database, user="tenant_of_extension"), autocommit=True
    ) as tenant:
        tenant.execute("CREATE FUNCTION mine(int) RETURNS bool LANGUAGE sql AS 'SELECT true'")
    native.execute("ALTER EXTENSION vector ADD FUNCTION mine(int)")
    native.execute("CREATE POLICY p ON t USING (mine(x))")
    assert [c.callee for c in _defined(store, store.describe("t")).code] == ["public.mine(integer)"]
    native.execute("ALTER FUNCTION mine(int) OWNER TO postgres")
    assert _defined(store, store.describe("t")).code == ()
    native.execute("ALTER EXTENSION vector DROP FUNCTION mine(int)")
    native.execute("DROP TABLE t; DROP OWNED BY tenant_of_extension")
    native.execute("DROP ROLE tenant_of_extension")


def _forged(spec: CollectionSpec, **parts: object) -> CollectionSpec:
    section = {**spec.engine["pgvector"], **parts}
    return spec.model_copy(update={"engine": {"pgvector": section}}).physical("x")


COLUMNS = [
    {"name": "id", "type": "integer", "not_null": True},
    {"name": "e", "type": "vector(2)"},
    {"name": "x", "type": "integer"},
    {"name": "s", "type": "text"},
    {"name": "m", "type": "mood"},
]


def _rule(**texts: str) -> dict[str, object]:
    rule = {"name": "p", "permissive": True, "command": "all", "roles": ["public"], **texts}
    return {"policies": {"enabled": True, "forced": False, "rules": [rule]}}


def _column(**more: object) -> dict[str, object]:
    return {"columns": [*COLUMNS[:2], {**COLUMNS[2], **more}, *COLUMNS[3:]]}  # type: ignore[dict-item]


def _of_constraint(definition: str) -> dict[str, object]:
    key = {"name": "{table}_pkey", "definition": "PRIMARY KEY (id)"}
    return {"constraints": [key, {"name": "c", "definition": definition}]}


def _of_index(using: str) -> dict[str, object]:
    return {"indexes": [{"name": "i", "unique": False, "using": using}]}


def _of_partition(by: str, bound: str, **more: object) -> dict[str, object]:
    return {"partitions": {"key": by, "tables": [{"name": "{table}_a", "bound": bound, **more}]}}


SMUGGLED = [
    _rule(using="true) WITH CHECK (true"),
    _rule(using="true -- "),
    _rule(using="true /* "),
    _rule(using="true); SELECT evil(1); SELECT (true"),
    _rule(check="true, evil('a')"),
    _rule(check="SELECT true"),
    _rule(using="true END, CASE WHEN true THEN evil('a')"),
    _rule(using="U&\"\\0065vil\"('a')"),
    _rule(using="$$a$$ = 'a'"),
    _column(type="integer DEFAULT evil(1)"),
    _column(type="integer, y integer DEFAULT evil(1)"),
    _column(type="integer --"),
    _column(type="integer) INHERITS (free"),
    _column(storage="plain DEFAULT evil(1)"),
    _column(compression="pglz DEFAULT evil(1)"),
    _column(collation='"C" DEFAULT evil(1)'),
    {"defaults": {"x": "1, y integer DEFAULT evil(1)"}},
    {"defaults": {"x": "1 CHECK (evil(1) = 1)"}},
    {"defaults": {"x": "1) NOT NULL CHECK (evil(1) = 1"}},
    {"generated": {"x": {"expression": "1) STORED CHECK (evil(1) = 1", "stored": True}}},
    _of_constraint("CHECK (true), ADD CHECK (evil(1) = 1)"),
    _of_constraint("CHECK (true) CHECK (evil(1) = 1)"),
    _of_constraint("UNIQUE (x), ADD COLUMN y int DEFAULT evil(1)"),
    _of_constraint("UNIQUE (evil(1))"),
    _of_constraint("FOREIGN KEY (x) REFERENCES free (x), DISABLE TRIGGER ALL"),
    _of_index("USING btree (x); DROP TABLE t"),
    _of_index("USING btree (x) WHERE (true) TABLESPACE elsewhere"),
    _of_index("USING btree (x) WITH (fillfactor = evil(1))"),
    _of_index("USING btree (x) WITH (fillfactor = 70) INCLUDE (evil(1))"),
    {"statistics": [{"name": "st", "kinds": [], "columns": "x, s FROM t; SELECT evil(1)"}]},
    {"statistics": [{"name": "st", "kinds": [], "columns": "x, s FROM free --"}]},
    _of_partition("LIST (id) INHERITS (free)", "DEFAULT"),
    _of_partition("LIST (id)", "FOR VALUES IN (evil(1))"),
    _of_partition("RANGE (id)", "FOR VALUES FROM (evil(1)) TO (9)"),
    _of_partition("LIST (id)", "DEFAULT PARTITION BY LIST (evil(1))"),
    _of_partition("LIST (id)", "DEFAULT", key="LIST (id), evil(1)"),
    {"identity": {"x": {"generated": "serial", "type": "int; DROP TABLE t", "name": "q"}}},
    {"quantization": {"e": "halfvec(2)) l2_ops); DROP TABLE t; --"}},
]


@pytest.mark.parametrize(
    "postgres_of_both",
    ["postgres", pytest.param("postgres16", marks=pytest.mark.long)],
    indirect=True,
)
def test_a_part_brings_nothing_but_itself(store: PgvectorStore, native: psycopg.Connection) -> None:
    honest = store.describe("t")
    assert store.definitions(_forged(honest), with_roles=False).code == ()
    for parts in SMUGGLED:
        spec = _forged(honest, **parts)  # type: ignore[arg-type]
        for call in (partial(store.definitions, with_roles=False), store.create):
            with pytest.raises(InvalidRequest):
                call(spec)
        assert not _ran(native), parts
    assert store.collections() == ["t"]


CLAUSES = (
    "CHECK (((price IS NULL) OR (price >= (0)::numeric))) NO INHERIT NOT VALID",
    "UNIQUE NULLS NOT DISTINCT (a) INCLUDE (b) DEFERRABLE INITIALLY DEFERRED",
    "FOREIGN KEY (a, b) REFERENCES s.t(c, d) MATCH FULL ON DELETE SET NULL (a) NOT VALID",
    "EXCLUDE USING gist (a WITH =, p WITH OPERATOR(s.&&)) WHERE ((a > 0)) DEFERRABLE",
    "USING hnsw (((loose)::vector(5)) vector_l2_ops) WITH (m='6') TABLESPACE x WHERE active",
    "USING gist (c COLLATE \"x y\" s.gist_trgm_ops (siglen='32') DESC NULLS LAST, lower(d))",
    'RANGE (((a + 1)), lower(b) COLLATE "C" text_ops, c)',
    "FOR VALUES FROM (MINVALUE, '-1') TO (1.5, 'x''y')",
    "FOR VALUES IN (E'a\\\\b', NULL, true)",
    "FOR VALUES WITH (modulus 4, remainder 3)",
    "DEFAULT",
)


@pytest.mark.parametrize("text", CLAUSES)
def test_what_the_server_writes_is_read_and_stays_as_it_is(text: str) -> None:
    assert joined(pieces_of(text)) == text


def test_expressions_of_a_list_are_its_calls_and_what_is_in_parentheses() -> None:
    expressions = [piece.text for piece in elements_of("a, lower(b), (c + 1)") if piece.expression]
    assert expressions == ["lower(b)", "c + 1"]


@contextmanager
def _opened(store: PgvectorStore) -> Iterator[PgvectorStore]:
    yield store


def _tried(
    store: PgvectorStore, server: Server, database: str, native: psycopg.Connection
) -> tuple[Trial | None, str]:
    """A trial of the table in a schema beside it."""
    native.execute("CREATE SCHEMA scratch")
    _rest(native)
    place = open_store(server.url(database, schema="scratch"), base=Path())
    assert isinstance(place, PgvectorStore)
    scratch = Scratch("scratch", lambda: _opened(place))
    spec = store.describe("t")
    sample = EdgeSample(spec)
    for batch in store.scan("t"):
        sample.add(batch)
    return tried("t", spec, sample, store=store, scratch=scratch, before=None, now=NOW)


def test_a_trial_runs_no_code_of_others_and_says_that_it_was_not_made(
    postgres_of_both: Server, database: str, store: PgvectorStore, native: psycopg.Connection
) -> None:
    native.execute("INSERT INTO t VALUES (1, '[1, 2]'); CREATE INDEX i ON t (evil(x), x)")
    trial, why = _tried(store, postgres_of_both, database, native)
    assert (trial, _ran(native)) == (None, False)
    assert "index i calls public.evil(integer)" in why


def test_a_trial_says_that_rights_are_not_tried(
    postgres_of_both: Server, database: str, store: PgvectorStore, native: psycopg.Connection
) -> None:
    native.execute("INSERT INTO t VALUES (1, '[1, 2]'); CREATE POLICY p ON t USING (x > 0)")
    trial, why = _tried(store, postgres_of_both, database, native)
    assert why == ""
    assert trial is not None
    assert [(finding.part, finding.outcome) for finding in trial.findings] == [
        ("trial.rights", Outcome.APPROXIMATED)
    ]


def test_a_table_by_a_name_of_the_policies_asks_for_the_same_consent(
    postgres_of_both: Server, database: str, store: PgvectorStore, native: psycopg.Connection
) -> None:
    native.execute('CREATE POLICY p ON t USING (evil(x) = 1); ALTER TABLE t RENAME TO "a b"')
    names = StoredNames({"docs": "a b"})
    named = open_store(postgres_of_both.url(database), base=Path(), names=names)
    public = {name for name in dir(store) if not name.startswith("_")}
    # before there are policies that could name anything, and the engine's own side
    asked_by_its_own_names = {"inventory", "driver"}
    assert public - asked_by_its_own_names <= set(dir(named))
    assert isinstance(named, Definer)
    spec = named.describe("docs")
    definitions = named.definitions(spec, with_roles=False)
    assert [call.callee for call in definitions.code] == ["public.evil(integer)"]
    assert definitions.spec.name == "docs"
    native.execute('DROP TABLE "a b"')
    named.create(spec)
    named.build_index("docs")
    named.open_up("docs")
    assert named.describe("docs").engine == spec.engine


def test_a_foreign_key_that_others_keep_from_being_rehearsed_is_said(
    postgres: Server,
) -> None:
    database = postgres.create_database()
    store = open_store(postgres.url(database), base=Path())
    assert isinstance(store, PgvectorStore)
    with psycopg.connect(postgres.conninfo(database)) as native:
        native.execute("CREATE TABLE other (id int PRIMARY KEY)")
        native.execute("CREATE TABLE t (id int PRIMARY KEY REFERENCES other, e vector(2))")
        native.commit()
        spec = store.describe("t").physical("copy")
        assert store.definitions(spec, with_roles=False).notes == ()
        native.execute("LOCK TABLE other IN ACCESS EXCLUSIVE MODE")
        definitions = store.definitions(spec, with_roles=False)
    assert [(note.part, note.outcome) for note in definitions.notes] == [
        ("engine.pgvector.foreign_keys", Outcome.APPROXIMATED)
    ]
    assert "not rehearsed" in definitions.notes[0].consequence
    assert "FOREIGN KEY (id) REFERENCES other(id)" in definitions.notes[0].consequence
    assert any("FOREIGN KEY" in statement.sql for statement in definitions.statements)
