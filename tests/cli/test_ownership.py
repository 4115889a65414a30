"""Whose a table is after a restore, and what is granted on it, by roles that may no more than they
need."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.cli.workplace import POLICIES, Result, Workplace
from tests.servers.pgvector import Server

USER = "least_user"
OWNER = "least_owner"
TABLE = f"""
    CREATE ROLE {USER} LOGIN BYPASSRLS; CREATE ROLE {OWNER}; CREATE ROLE least_reader;
    GRANT USAGE, CREATE ON SCHEMA public TO {USER}, {OWNER};
    SET ROLE {OWNER};
    CREATE TABLE memories (id serial, part int, content text, embedding vector(8) NOT NULL,
        PRIMARY KEY (id, part)) PARTITION BY LIST (part);
    CREATE TABLE memories_a PARTITION OF memories FOR VALUES IN (1);
    INSERT INTO memories (part, content, embedding) SELECT 1, 'said ' || g,
        array_fill(g, ARRAY[8])::vector FROM generate_series(1, 9) g;
    ALTER TABLE memories ENABLE ROW LEVEL SECURITY; ALTER TABLE memories FORCE ROW LEVEL SECURITY;
    CREATE POLICY mine ON memories TO least_reader USING (content <> 'said 3');
    GRANT SELECT ON memories TO {USER} WITH GRANT OPTION;
    GRANT UPDATE (content) ON memories TO {USER};
    GRANT SELECT ON memories_a TO {USER}; GRANT SELECT ON memories TO least_reader;
    GRANT USAGE ON SEQUENCE memories_id_seq TO {USER};
    RESET ROLE;
"""
STATE = """
    SELECT relname, relowner::regrole::text, relrowsecurity, relforcerowsecurity,
        (SELECT array_agg(i::text ORDER BY i::text) FROM unnest(relacl) i),
        (SELECT array_agg(attacl::text) FROM pg_attribute WHERE attrelid = c.oid),
        (SELECT array_agg(polname::text || polroles::text) FROM pg_policy WHERE polrelid = c.oid)
    FROM pg_class c WHERE relnamespace = 2200 AND relname ~ '^memories(_a|_id_seq)?$' ORDER BY 1
"""


@pytest.fixture
def database(postgres: Server) -> str:
    return postgres.create_database()


@pytest.fixture
def native(postgres: Server, database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.conninfo(database), autocommit=True) as connection:
        connection.execute(TABLE)
        yield connection
        connection.execute(f"DROP OWNED BY {USER}, {OWNER}, least_reader CASCADE")
        connection.execute(f"DROP ROLE {USER}, {OWNER}, least_reader")


@pytest.fixture
def place(
    fresh: Workplace, postgres: Server, database: str, native: psycopg.Connection
) -> Workplace:
    policies = POLICIES.replace("duckdb:stores", postgres.url(database, user=USER))
    (fresh.directory / "policies.yaml").write_text(policies)
    return fresh


def _state(native: psycopg.Connection) -> list[tuple[object, ...]]:
    return native.execute(STATE).fetchall()


def text_of(result: Result) -> str:
    return " ".join((result.out + result.err).split())


def test_who_may_act_for_the_owner_gives_him_his_table_back_exactly(
    place: Workplace, native: psycopg.Connection
) -> None:
    native.execute(f"GRANT {OWNER} TO {USER} WITH INHERIT FALSE")
    before = _state(native)
    backup = place.dr("backup", "memories")
    assert (backup.code, "ALTER TABLE" in text_of(backup)) == (0, False), text_of(backup)
    native.execute("DROP TABLE memories")
    done = place.dr("restore", "memories", "--into", "memories")
    assert done.code == 0, text_of(done)
    assert _state(native) == before
    assert place.dr("backup", "memories").code == 0


def test_who_may_not_is_told_the_statements_at_backup_and_at_restore(
    place: Workplace, native: psycopg.Connection
) -> None:
    before = _state(native)
    backup = place.dr("backup", "memories", "--json")
    assert backup.code == 0
    (note,) = backup.json["fit"]["parts"]
    assert note["part"] == "engine.pgvector.owner"
    assert note["consequence"].startswith(f"{USER} may not act for {OWNER} here")
    assert note["consequence"] in text_of(place.dr("status"))
    native.execute("DROP TABLE memories")
    done = place.dr("restore", "memories", "--into", "memories")
    assert done.code == 3
    assert note["consequence"] in text_of(done)
    assert _state(native) != before
    for statement in note["consequence"].partition("as who may: ")[2].split("; "):
        native.execute(statement.encode())
    assert _state(native) == before
