"""`dr status` says what should be mended in a store, once for each; no objective is missed."""

import psycopg
import pytest

from tests.cli.workplace import POLICIES, Workplace
from tests.servers.pgvector import Server


@pytest.mark.parametrize(("role", "warned"), [("postgres", 1), ("dr_serve", 0)])
def test_a_stores_role_that_is_a_superuser_is_named_by_status(
    fresh: Workplace, postgres: Server, role: str, warned: int
) -> None:
    database = postgres.create_database()
    with psycopg.connect(postgres.conninfo(database), autocommit=True) as native:
        native.execute("CREATE ROLE dr_serve LOGIN; GRANT CREATE ON SCHEMA public TO dr_serve")
    try:
        url = postgres.url(database, user=role)
        written = POLICIES.replace("duckdb:stores", url).partition("  memories:")[0]
        policies = fresh.directory / "policies.yaml"
        policies.write_text(written)
        for command in (["ingest", "notes"], ["restore", "notes", "--switch"]):
            assert fresh.dr(*command).code == 0, command
        status = fresh.dr("status", "--json")
        assert [entry["met"] for entry in status.json["collections"]] == [True]
        assert status.code == 0
        warnings = status.json["warnings"]
        assert ["is a superuser" in warning for warning in warnings] == [True] * warned
        assert all(warning.startswith("store local: role 'postgres'") for warning in warnings)
        assert fresh.dr("status").out.count("warning: ") == warned
    finally:
        with psycopg.connect(postgres.conninfo(), autocommit=True) as native:
            native.execute(f'DROP DATABASE "{database}" WITH (FORCE)')
            native.execute("DROP ROLE dr_serve")
