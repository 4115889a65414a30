"""No statement of a store takes a function, operator, type or catalog of a tenant for the engine's
own: not on the path that it sets, and not on one where the tenant's schema comes first."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from dr_pipelines.errors import DrError
from dr_pipelines.model.collection import VectorIndex
from dr_pipelines.model.query import (
    And,
    Contains,
    Equals,
    Filter,
    In,
    Mode,
    Not,
    Or,
    Query,
    Range,
)
from dr_pipelines.stores.pgvector import connections
from dr_pipelines.stores.pgvector.address import Address, parsed
from dr_pipelines.stores.pgvector.connections import Connections, Session
from dr_pipelines.stores.pgvector.store import PgvectorStore
from dr_pipelines.testing.store_samples import (
    SPEC,
    record,
    table,
    vector,
)
from tests.servers.pgvector import Server
from tests.stores.pgvector_traps import (
    SPRUNG,
    Names,
    lay,
    recorded,
)

SCHEMA = "mine"
UNQUALIFIED = sql.SQL("SELECT 'column ' || attname FROM pg_catalog.pg_attribute LIMIT 1")
"""As a statement was once: the engine has no such operator for a name, and a tenant may."""
FOREIGN = f"""
    SET search_path = "{SCHEMA}", public;
    CREATE TYPE mood AS ENUM ('good', 'bad');
    CREATE DOMAIN label AS pg_catalog.text CHECK (VALUE <> '');
    CREATE TABLE one (id int PRIMARY KEY, e vector(2), body text, n int2, x real, at timestamptz,
        yes bool, tags text[], mood mood, label label, price numeric(9, 2), code char(4), who name,
        made date DEFAULT now(), meta jsonb, s sparsevec(9), h halfvec);
    INSERT INTO one SELECT g, '[1, 2]', 'some words', g, g, '2026-01-01', true, '{{a, b}}', 'good',
        'l', 1.5, 'c', 'w', now(), '{{}}', '{{1:1}}/9', '[1, 2, 3]' FROM generate_series(1, 3) g;
    CREATE INDEX ON one USING hnsw (e vector_l2_ops);
    CREATE INDEX ON one (lower(body)) WHERE n > 0;
    CREATE STATISTICS st ON n, x FROM one;
    ALTER TABLE one ADD CHECK (n >= 0); COMMENT ON COLUMN one.n IS 'a number';
    CREATE TABLE two (tenant text, id bigserial, e vector(2), PRIMARY KEY (tenant, id))
        PARTITION BY LIST (tenant);
    CREATE TABLE two_a PARTITION OF two FOR VALUES IN ('a');
    INSERT INTO two (tenant, e) VALUES ('a', '[1, 2]'), ('a', '[2, 1]');
    CREATE TABLE three (id mood PRIMARY KEY, e vector);
    INSERT INTO three VALUES ('good', '[1, 2]'), ('bad', '[1, 2, 3]');
    CREATE TABLE four (e vector(2), n int, mood mood, label label);
    INSERT INTO four VALUES ('[1, 2]', 1, 'good', 'l'), ('[1, 2]', 1, 'good', 'l');
    GRANT SELECT (id), UPDATE (body) ON one TO PUBLIC;
    GRANT USAGE ON SEQUENCE two_id_seq TO PUBLIC;
    ALTER TABLE one ENABLE ROW LEVEL SECURITY;
    CREATE POLICY few ON one FOR SELECT TO PUBLIC USING (n > 0);
"""
RULES = """
    CREATE VIEW seen AS SELECT * FROM one; CREATE RULE quiet AS ON INSERT TO three DO ALSO NOTHING;
"""
"""The server itself prints rules by statements that name no schemas, on the path of the session:
it is safe where the engine's schema comes first, which has these operators for these very types."""
OF_OTHERS = """
    DO $$ BEGIN CREATE ROLE trap_owner; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
    ALTER TABLE two OWNER TO trap_owner; ALTER TABLE four OWNER TO trap_owner;
"""
"""These are read as they lie, and not by a query."""
OWN = SPEC.physical("own").model_copy(
    update={
        "vectors": (
            SPEC.vectors[0].model_copy(update={"index": VectorIndex(kind="hnsw")}),
            *SPEC.vectors[1:],
        ),
        "keyword_index": True,
    }
)
FILTERS: tuple[Filter, ...] = (
    Equals("product", "search"),
    Equals("product", "\0"),
    In("year", (2026, 2)),
    Range("year", gte=1, lt=3000),
    Range("weight", gt=0.25, lte=0.5),
    Equals("current", True),
    Range("seen", gte=datetime(2025, 1, 1, tzinfo=UTC)),
    Contains("groups", "eng"),
    Not(And((Equals("year", 1), Or((Range("product", lt="a\0"),))))),
)


def _foreign(store: PgvectorStore, name: str) -> None:
    spec = store.describe(name)
    store.fit(spec)
    store.compatibility(name)
    store.change_token(name)
    copy = spec.physical(f"{name}@1")
    store.definitions(copy, with_roles=True)
    rows = pa.Table.from_batches(store.scan(name))
    key = rows.column("id")[0].as_py()
    assert pa.Table.from_batches(store.scan(name, documents=[key])).num_rows == 1
    assert store.status(name).records == len(rows)
    store.create(copy)
    store.write(f"{name}@1", rows)
    store.write(f"{name}@1", rows, replaces=[key])
    store.build_index(f"{name}@1", progress=lambda done, total: None)
    store.open_up(f"{name}@1")
    store.open_up(f"{name}@1")
    store.promote(name, alias=f"{name}-served")
    store.promote(f"{name}@1", alias=f"{name}-served")
    store.describe(f"{name}-served")
    for searched in spec.vectors:
        for exact in (True, False):
            if searched.kind == "dense":
                near = vector(*[1] * searched.dimension)
                query = Query(vector=near, vector_name=searched.name, exact=exact)
                store.search(f"{name}@1", query, limit=9)


def _everything(store: PgvectorStore) -> None:
    """Every operation, on tables of others and on a collection of ours."""
    assert {"one", "two", "three", "four"} <= set(store.collections())
    store.warnings()
    for name in ("one", "two", "three", "four"):
        _foreign(store, name)
    for condition in (Equals("mood", "good"), Range("label", gte="a"), Equals("price", "1.50")):
        assert store.search("one", Query(vector=vector(1, 2), filter=condition), limit=9)
    store.create(OWN)
    store.write("own", table(record(), record("b"), spec=OWN))
    store.write("own", table(record("b", year=3), spec=OWN), replaces=["b"])
    store.build_index("own")
    store.promote("own", alias="served")
    for exact in (True, False):
        for condition in FILTERS:  # type: ignore[assignment]
            query = Query(
                mode=Mode.HYBRID,
                vector=vector(1, 0, 0.25),
                text="chunk",
                filter=condition,
                exact=exact,
            )
            store.search("served", query, limit=9)
    assert store.status("served").records == 2
    assert pa.Table.from_batches(store.scan("served", documents=["a"])).num_rows == 1
    store.describe("served")
    assert store.aliases()["served"] == "own"
    store.promote("one", alias="served")
    store.drop("own")


@pytest.fixture(
    params=["postgres", pytest.param("postgres16", marks=pytest.mark.long)], scope="module"
)
def server(request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue(request.param)
    return server


@contextmanager
def _database(
    server: Server, *, rules: str = RULES
) -> Iterator[tuple[Address, psycopg.Connection]]:
    name = server.create_database()
    with psycopg.connect(server.conninfo(name), autocommit=True) as native:
        native.execute(f'CREATE SCHEMA "{SCHEMA}"')
        native.execute((FOREIGN + rules + OF_OTHERS).encode())
        native.execute("RESET search_path")
        yield parsed(server.url(name, schema=SCHEMA)), native


@pytest.fixture(scope="module")
def names(server: Server) -> Names:
    """The names in a store's statements, in a database without traps."""
    with _database(server) as (address, _), recorded() as names:
        _everything(PgvectorStore(address))
    return names


def test_no_trap_is_sprung(server: Server, names: Names) -> None:
    with _database(server) as (address, native):
        assert lay(native, SCHEMA, names) > 2_000
        # on the long path they are, or this would prove nothing
        with pytest.raises(DrError, match=SPRUNG), Connections(address).reading() as session:
            session.printed(UNQUALIFIED)
        with Connections(address).reading() as session:
            session.rows(UNQUALIFIED)
        _everything(PgvectorStore(address))


def test_nothing_is_found_by_the_path_alone(
    server: Server, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the tenant's schema before the engine's, whatever is unqualified is a trap."""
    first = f'"{SCHEMA}", pg_catalog, public'
    monkeypatch.setitem(connections.SETTINGS, "search_path", first)
    set_path = Session._set_path
    monkeypatch.setattr(Session, "_set_path", lambda self, path: set_path(self, path or first))
    with _database(server, rules="") as (address, native):
        lay(native, SCHEMA, names)
        with pytest.raises(DrError, match=SPRUNG), Connections(address).reading() as session:
            session.rows(sql.SQL("SELECT 1 FROM pg_catalog.pg_am WHERE oid = oid"))
        _everything(PgvectorStore(address))
