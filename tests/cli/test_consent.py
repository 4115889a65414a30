"""A restore into PostgreSQL runs no code that nobody consented to, and makes nobody mighty."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dr_pipelines.errors import AlreadyExists, Refused
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery_point import Body, Head
from dr_pipelines.project.project import open_project
from dr_pipelines.repository.log import Draft
from dr_pipelines.repository.manifests import read_manifest, write_manifest
from dr_pipelines.stores.pgvector import open_store, opening
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.rehearsal import Rehearsal
from dr_pipelines.stores.pgvector.store import PgvectorStore
from tests.cli.workplace import POLICIES, Result, Workplace
from tests.repository.builders import REFUSED
from tests.servers.pgvector import Server

TABLE = """
    CREATE SEQUENCE ran;
    CREATE FUNCTION f(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE
        AS $$ BEGIN PERFORM nextval('public.ran'); RETURN true; END $$;
    CREATE TABLE memories (id int PRIMARY KEY, content text, embedding vector(8) NOT NULL);
    INSERT INTO memories SELECT g, 'said ' || g, array_fill(g, ARRAY[8])::vector
    FROM generate_series(1, 9) g;
"""


@pytest.fixture
def database(postgres: Server) -> str:
    return postgres.create_database()


@pytest.fixture
def native(postgres: Server, database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.conninfo(database), autocommit=True) as connection:
        connection.execute(TABLE)
        yield connection


@pytest.fixture
def place(
    fresh: Workplace, postgres: Server, database: str, native: psycopg.Connection
) -> Workplace:
    policies = POLICIES.replace("duckdb:stores", postgres.url(database))
    (fresh.directory / "policies.yaml").write_text(policies)
    return fresh


def _tables(native: psycopg.Connection) -> list[str]:
    query = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'v') AND relnamespace = 2200"
    return sorted(name for (name,) in native.execute(query))


def test_code_is_shown_refused_and_run_with_consent(
    place: Workplace, native: psycopg.Connection
) -> None:
    native.execute("CREATE POLICY p ON memories USING (f(id)); CREATE INDEX ON memories (content)")
    backup = place.dr("backup", "memories")
    assert backup.code in (0, 3)
    code = "code.policy p: calls public.f(integer), which is neither"
    for result in (backup, place.dr("status")):
        assert code in " ".join((result.out + result.err).split())
    (noted,) = place.dr("status", "--json").json["collections"][1]["fit"]["parts"]
    assert (noted["part"], noted["outcome"]) == ("engine.pgvector.code.policy p", "code")
    native.execute("DROP TABLE memories")

    plan = place.dr("restore", "memories", "--plan", "--json")
    assert plan.code == 0
    (call,) = plan.json["code"]
    assert (call["caller"], call["callee"]) == ("policy p", "public.f(integer)")
    steps = [statement["step"] for statement in plan.json["statements"]]
    assert list(dict.fromkeys(steps)) == ["table", "indexes", "rights"]
    shown = place.dr("restore", "memories", "--plan")
    assert 'CREATE POLICY "p" ON' in shown.out
    listed = " ".join(shown.out.split())
    assert f"-- not listed: {plan.json['not_listed']}" in listed
    assert all(" ".join(s["sql"].split()) in listed for s in plan.json["statements"])
    assert f"--accept-code {plan.json['code_digest']}" in shown.out
    assert _tables(native) == []

    refused = place.dr("restore", "memories", "--switch")
    assert refused.code == 1
    assert "policy p calls public.f(integer)" in refused.err
    assert f"--accept-code {plan.json['code_digest']}" in refused.err
    other = place.dr("restore", "memories", "--switch", "--accept-code", "0" * 64)
    assert other.code == 1
    assert "not what the digest that was given stands for" in other.err
    assert _tables(native) == []

    accepted = ("--accept-code", plan.json["code_digest"])
    assert "accepted:" in place.dr("restore", "memories", "--plan", *accepted).out
    done = place.dr("restore", "memories", "--switch", *accepted)
    assert done.code == 0, done.err
    policies = native.execute("SELECT polname FROM pg_policy").fetchall()
    assert policies == [("p",)]
    assert native.execute("SELECT is_called FROM ran").fetchone() == (False,)


def test_a_domain_s_check_is_consented_to_unseen(
    place: Workplace, native: psycopg.Connection
) -> None:
    native.execute("CREATE DOMAIN odd AS int CHECK (f(VALUE)); ALTER TABLE memories ADD d odd")
    native.execute("ALTER SEQUENCE ran RESTART")
    assert place.dr("backup", "memories").code in (0, 3)
    native.execute("DROP TABLE memories")

    plan = place.dr("restore", "memories", "--plan", "--json")
    assert (plan.json["statements"], plan.json["code_accepted"]) == ([], False)
    assert "not analysed" in plan.json["unread"]
    refused = place.dr("restore", "memories")
    assert refused.code == 1
    assert "column d calls public.f(integer)" in refused.err
    assert "public.odd" in refused.err
    assert native.execute("SELECT is_called FROM ran").fetchone() == (False,)

    done = place.dr("restore", "memories", "--accept-code", plan.json["code_digest"])
    assert done.code == 0, done.err
    assert native.execute("SELECT is_called FROM ran").fetchone() == (True,)  # as consented to


def test_without_a_server_nothing_is_said_to_be_harmless(
    place: Workplace, native: psycopg.Connection
) -> None:
    native.execute("CREATE POLICY p ON memories USING (f(id))")
    assert place.dr("backup", "memories").code in (0, 3)
    policies = place.directory / "policies.yaml"
    policies.write_text(POLICIES.replace("duckdb:stores", "postgresql://127.0.0.1:1/nowhere"))
    plan = place.dr("restore", "memories", "--plan", "--json")
    assert plan.code == 1
    assert plan.json["kind"] == "Unavailable"


def _forge(place: Workplace, **parts: Any) -> None:
    """Write a manifest that says something else of the table, as whoever may write can."""
    repository = open_project(place.directory / "policies.yaml", {}).repository()
    log = repository.log("memories")
    entry = log.head().entry
    assert entry is not None
    manifest = read_manifest(repository, entry.body.manifest, collection="memories")
    section = {**manifest.spec.engine["pgvector"], **parts}
    spec = manifest.spec.model_copy(update={"engine": {"pgvector": section}})
    ref = write_manifest(repository, manifest.model_copy(update={"spec": spec}))

    def build(head: Head) -> Draft:
        return Draft(1, Body(manifest=ref, detail=REFUSED))

    log.append("evidence", build)


def _members(native: psycopg.Connection, role: str) -> list[str]:
    query = """
        SELECT m.member::regrole::text FROM pg_auth_members m
        JOIN pg_roles r ON r.oid = m.roleid WHERE r.rolname = %s ORDER BY 1
    """
    return [name for (name,) in native.execute(query, [role])]


@pytest.fixture
def roles(native: psycopg.Connection) -> Iterator[None]:
    made = (
        "CREATE ROLE forged_tenant LOGIN; CREATE ROLE forged_team;"
        "CREATE ROLE forged_super SUPERUSER; CREATE ROLE forged_chain; CREATE ROLE forged_maker "
        "CREATEROLE; CREATE ROLE forged_databases CREATEDB; CREATE ROLE forged_bypass BYPASSRLS;"
        "CREATE ROLE forged_replica REPLICATION; GRANT forged_super TO forged_chain"
    )
    native.execute(made)
    yield
    for (view,) in native.execute("SELECT viewname FROM pg_views WHERE schemaname = 'public'"):
        native.execute(f'DROP VIEW "{view}"')
    for (table,) in native.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        native.execute(f'DROP TABLE "{table}"')
    native.execute("DROP FUNCTION IF EXISTS of_tenant, fired CASCADE")
    for (role,) in native.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'forged\\_%'"):
        native.execute(f"DROP ROLE {role}")


MIGHTY = (
    "forged_super",
    "forged_chain",
    "forged_maker",
    "forged_databases",
    "forged_bypass",
    "forged_replica",
    "pg_execute_server_program",
    "pg_read_all_data",
    "postgres",
)


@pytest.mark.usefixtures("roles")
def test_a_forged_manifest_makes_nobody_mighty(
    place: Workplace, native: psycopg.Connection, postgres: Server, database: str
) -> None:
    assert place.dr("backup", "memories").code in (0, 3)
    before = {role: _members(native, role) for role in MIGHTY}
    new = {
        "name": "forged_new",
        "members": ["forged_tenant"],
        "member_of": ["forged_team", *MIGHTY],
    }
    _forge(
        place,
        grants=[{"role": "forged_new", "privileges": ["SELECT"]}],
        roles=[new, *({"name": role, "members": ["forged_new"]} for role in MIGHTY)],
    )
    native.execute("DROP TABLE memories")

    plain = place.dr("restore", "memories", "--plan", "--json")
    assert plain.json["memberships"] == []
    bare = "forged_new: made without memberships; --with-roles grants them"
    assert bare in [note["consequence"] for note in plain.json["notes"]]
    refused = place.dr("restore", "memories", "--with-roles")
    assert refused.code == 1
    for role in MIGHTY:
        assert f"never becomes a member of {role}" in " ".join(refused.err.split())
    assert native.execute("SELECT 1 FROM pg_roles WHERE rolname = 'forged_new'").fetchone() is None

    done = place.dr("restore", "memories", "--with-roles", "--accept-loss")
    assert done.code in (0, 3), done.err
    message = " ".join(done.err.split())
    assert "granted: forged_tenant becomes a member of role forged_new" in message
    assert "granted: forged_new becomes a member of role forged_team" in message
    assert {role: _members(native, role) for role in MIGHTY} == before
    assert _members(native, "forged_new") in (["forged_tenant"], ["forged_tenant", "postgres"])
    assert "forged_new" in _members(native, "forged_team")

    store = open_store(postgres.url(database), base=Path())
    store.drop(next(name for name in store.collections() if name.startswith("memories@")))
    assert native.execute("SELECT 1 FROM pg_roles WHERE rolname = 'forged_new'").fetchone() is None
    assert native.execute("SELECT 1 FROM pg_roles WHERE rolname = 'forged_team'").fetchone()


def _refuse(session: Session, *_: object) -> None:
    """Also rehearsed: only the real one is to fail."""
    if not isinstance(session, Rehearsal):
        raise Refused("it ends here")


def _kill(session: Session, *_: object) -> None:
    """Ends a session as the server sees it when a process is killed."""
    if not isinstance(session, Rehearsal):
        session.connection.execute("SELECT pg_catalog.pg_terminate_backend(pg_backend_pid())")


@pytest.mark.usefixtures("roles")
def test_roles_are_made_last_and_go_with_a_restore_that_fails(
    place: Workplace, native: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.dr("backup", "memories").code in (0, 3)
    _forge(
        place,
        grants=[{"role": "forged_new", "privileges": ["SELECT"]}],
        policies={
            "enabled": True,
            "forced": False,
            "rules": [
                {
                    "name": "p",
                    "permissive": True,
                    "command": "all",
                    "roles": ["forged_new"],
                    "using": "id > 0",
                }
            ],
        },
    )
    native.execute("DROP TABLE memories")
    made = list[bool]()
    exists = "SELECT 1 FROM pg_roles WHERE rolname = 'forged_new'"

    for method in ("write", "build_index"):
        call = getattr(PgvectorStore, method)

        def failing(self: PgvectorStore, *words: Any, _call: Any = call, **more: Any) -> None:
            _call(self, *words, **more)
            made.append(native.execute(exists).fetchone() is not None)
            raise Refused("it ends here")

        with monkeypatch.context() as patched:
            patched.setattr(PgvectorStore, method, failing)
            assert place.dr("restore", "memories").code == 1, method
    for end in (_refuse, _kill):  # when all else is done
        with monkeypatch.context() as patched:
            patched.setattr(opening, "apply_owner", end)
            assert place.dr("restore", "memories", "--accept-loss").code == 1
        assert native.execute(exists).fetchone() is None, end
    assert made == [False, False]
    done = place.dr("restore", "memories", "--json")
    assert (done.code, done.json["resumed"]) == (3, True), done.err  # a role of no table before
    assert native.execute(exists).fetchone() == (1,)


OF_A_TENANT = """
    CREATE ROLE forged_owner;
    CREATE FUNCTION of_tenant(text) RETURNS text IMMUTABLE LANGUAGE plpgsql
        AS $$ BEGIN RETURN $1; END $$;
    CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN PERFORM nextval('public.ran'); RETURN NULL; END $$;
    ALTER FUNCTION of_tenant(text) OWNER TO forged_owner;
    ALTER FUNCTION fired() OWNER TO forged_owner;
    ALTER TABLE memories ADD CHECK (of_tenant(content) <> '');
    CREATE INDEX ON memories (of_tenant(content));
    CREATE TRIGGER fires AFTER INSERT ON memories FOR EACH ROW EXECUTE FUNCTION fired();
"""
KILLED = """
import os, signal, sys
from dr_pipelines.stores.pgvector.store import PgvectorStore

method = getattr(PgvectorStore, sys.argv[1])

def killed(*words, **more):
    method(*words, **more)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(PgvectorStore, sys.argv[1], killed)
from dr_pipelines.cli.run import run
run(sys.argv[2:])
"""


@pytest.mark.usefixtures("roles")
@pytest.mark.parametrize(
    "step",
    [
        "build_index",
        *(pytest.param(s, marks=pytest.mark.long) for s in ("create", "write", "open_up")),
    ],
)
def test_what_a_killed_process_began_with_consent_another_ends(
    place: Workplace, native: psycopg.Connection, step: str
) -> None:
    native.execute(OF_A_TENANT)
    assert place.dr("backup", "memories").code in (0, 3)
    native.execute("DROP TABLE memories")
    digest = place.dr("restore", "memories", "--plan", "--json").json["code_digest"]
    words = ("restore", "memories", "--switch", "--accept-code", digest)
    command = [sys.executable, "-c", KILLED, step, *words]
    ended = subprocess.run(command, cwd=place.directory, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    refused = place.dr("restore", "memories", "--switch")
    assert (refused.code, "--accept-code" in refused.err) == (1, True)
    done = place.dr(*words, "--json")
    assert done.code == 0, done.err
    assert done.json["resumed"] is True
    assert native.execute("SELECT count(*) FROM memories").fetchone() == (9,)
    assert native.execute("SELECT is_called FROM ran").fetchone() == (False,)


@pytest.mark.usefixtures("roles")
def test_a_beginning_that_somebody_else_made_is_not_taken_up(
    native: psycopg.Connection, postgres: Server, database: str
) -> None:
    native.execute(OF_A_TENANT)
    store, other = (open_store(postgres.url(database), base=Path()) for _ in range(2))
    spec = store.describe("memories").physical("memories@12-ab", origin="12-ab")
    store.create(spec)
    rows = store_schema(spec).empty_table()
    store.write(spec.name, rows)
    with pytest.raises(Refused, match="writing into it runs what 'forged_owner' wrote"):
        other.write(spec.name, rows)  # who did not ask for it consented to nothing
    store.build_index(spec.name)
    other.create(spec)
    other.write(spec.name, rows)
    native.execute('ALTER TABLE "memories@12-ab" OWNER TO forged_tenant')
    with pytest.raises(AlreadyExists, match="belongs to 'forged_tenant'"):
        open_store(postgres.url(database), base=Path()).create(spec)
    with pytest.raises(Refused, match="writing into it runs what 'forged_owner' wrote"):
        other.write(spec.name, rows)


@pytest.mark.usefixtures("roles")
def test_a_role_that_is_in_use_by_now_is_named_by_the_drop_that_leaves_it(
    place: Workplace, native: psycopg.Connection
) -> None:
    assert place.dr("backup", "memories").code in (0, 3)
    _forge(
        place,
        grants=[
            {"role": role, "privileges": ["SELECT"]} for role in ("forged_new", "forged_unused")
        ],
    )
    native.execute("DROP TABLE memories; CREATE TABLE of_others ()")
    results = dict[bool, Result]()
    for as_json in (False, True):
        assert place.dr("restore", "memories", "--into", "beside").code in (0, 3)
        native.execute("GRANT SELECT ON of_others TO forged_new")
        results[as_json] = place.dr("drop", "beside", *(["--json"] if as_json else []))
        assert results[as_json].code == 0, results[as_json].err
        unused = "SELECT 1 FROM pg_roles WHERE rolname = 'forged_unused'"
        assert native.execute(unused).fetchone() is None
        native.execute("REVOKE ALL ON of_others FROM forged_new; DROP ROLE forged_new")
    message = " ".join(results[False].out.split())
    assert (
        "roles that a restore created for it are kept: forged_new. They are in use, or" in message
    )
    assert results[True].json["kept_roles"] == ["forged_new"]
