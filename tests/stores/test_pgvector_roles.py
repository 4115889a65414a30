"""The rights that docs/adapters/pgvector.md asks for are enough, and no superuser is needed."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import pyarrow as pa
import pytest

from dr_pipelines.errors import Refused
from dr_pipelines.model.compatibility import Note
from dr_pipelines.model.query import Query
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.pgvector import open_store
from dr_pipelines.testing.store_samples import vector
from tests.servers.pgvector import Server
from tests.stores.test_pgvector_store import PgvectorContract

DOCS = Path(__file__).parents[2] / "docs" / "adapters" / "pgvector.md"
NUMBERS = itertools.count()
READING = frozenset(
    [
        "engine",
        "vector_tolerance",
        "collections",
        "aliases",
        "warnings",
        "describe",
        "change_token",
        "misfits",
        "status",
        "scan",
        "search",
    ]
)
ROLES = ("dr_backup", "dr_reader", "dr_restore", "app_owner")


def _statements(title: str, *, database: str, schema: str) -> str:
    """The statements under a title of the documentation, for a database and a schema."""
    part = DOCS.read_text().partition(f"**{title}**")[2]
    block = re.search(r"```sql\n(.*?)```", part, re.DOTALL)
    assert block is not None, title
    return (
        block[1]
        .replace("DATABASE app", f'DATABASE "{database}"')
        .replace("SCHEMA public", f'SCHEMA "{schema}"')
    )


class Halves:
    """A store that is read by one role and written by another."""

    def __init__(self, reader: VectorStore, writer: VectorStore) -> None:
        self._reader, self._writer = reader, writer

    def compatibility(self, name: str) -> tuple[Note, ...]:
        """Without what follows from the two being two: who reads may not act for who owns."""
        notes = self._reader.compatibility(name)
        return tuple(note for note in notes if note.part != "engine.pgvector.owner")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader if name in READING else self._writer, name)


@pytest.fixture(scope="module")
def roles(postgres: Server) -> Iterator[list[str]]:
    """The roles; databases that are put into the list go with them."""
    databases = list[str]()
    with psycopg.connect(postgres.conninfo(), autocommit=True) as native:
        native.execute(f"DROP ROLE IF EXISTS {', '.join(ROLES)}")
        native.execute("CREATE ROLE app_owner LOGIN")
        native.execute("CREATE EXTENSION IF NOT EXISTS vector")
        for title in ("Backup", "Backup of every schema", "Restore"):
            made = _statements(title, database="postgres", schema="public")
            native.execute(re.findall(r"CREATE ROLE .*?;", made)[0])
    yield databases
    with psycopg.connect(postgres.conninfo(), autocommit=True) as native:
        for database in databases:
            native.execute(f'DROP DATABASE "{database}" WITH (FORCE)')
        native.execute(f"DROP OWNED BY {', '.join(ROLES)} CASCADE")
        native.execute(f"DROP ROLE {', '.join(ROLES)}")


def _granted(server: Server, *titles: str, database: str, schema: str) -> None:
    with psycopg.connect(server.conninfo(database), autocommit=True) as native:
        for title in titles:
            whole = _statements(title, database=database, schema=schema)
            native.execute(re.sub(r"CREATE ROLE .*?;", "", whole).encode())


@pytest.mark.long  # the same statements, which a superuser's session answers in every run
class TestUnderTheLeastRoles(PgvectorContract):
    server: ClassVar[str] = "postgres"
    many = 2_000

    @pytest.fixture
    def store(
        self, request: pytest.FixtureRequest, tmp_path: Path, roles: list[str]
    ) -> VectorStore:
        server: Server = request.getfixturevalue(self.server)
        schema = f"least {next(NUMBERS)}"
        with psycopg.connect(server.conninfo(), autocommit=True) as native:
            native.execute(f'CREATE SCHEMA "{schema}"')
        titles = ("Backup of every schema", "Restore")
        _granted(server, *titles, database="postgres", schema=schema)
        quoted = schema.replace(" ", "%20")
        self.urls = [server.url(user=u, schema=quoted) for u in ("dr_reader", "dr_restore")]
        return self._opened()

    def _opened(self) -> VectorStore:
        store: Any = Halves(*(open_store(url, base=Path()) for url in self.urls))
        return store

    def reopened(self, store: VectorStore) -> VectorStore:
        return self._opened()


def test_one_schema_is_backed_up_with_rights_in_it_alone(
    postgres: Server, roles: list[str]
) -> None:
    database = postgres.create_database()
    roles.append(database)
    with psycopg.connect(postgres.conninfo(database), autocommit=True) as native:
        native.execute("GRANT CREATE ON SCHEMA public TO app_owner; SET ROLE app_owner")
        native.execute("""
            CREATE TYPE mood AS ENUM ('good'); CREATE SEQUENCE counted;
            CREATE TABLE t (tenant text, id bigserial, e vector(2), m mood, n int DEFAULT 1,
                PRIMARY KEY (tenant, id)) PARTITION BY LIST (tenant);
            CREATE TABLE t_a PARTITION OF t FOR VALUES IN ('a');
            CREATE INDEX ON t USING hnsw (e vector_l2_ops);
            INSERT INTO t (tenant, e, m) VALUES ('a', '[1, 2]', 'good'), ('a', '[2, 1]', NULL);
            RESET ROLE""")
    _granted(postgres, "Backup", database=database, schema="public")
    with psycopg.connect(postgres.conninfo(database), autocommit=True) as native:
        native.execute("SET ROLE app_owner; CREATE TABLE later (id int PRIMARY KEY, e vector(2))")
    store = open_store(postgres.url(database, user="dr_backup"), base=Path())
    whole = open_store(postgres.url(database), base=Path())
    rows = dict[str, pa.Table]()
    for name in ("t", "later"):
        assert store.describe(name) == whole.describe(name)
        assert store.status(name) == whole.status(name)
        assert store.change_token(name) is not None
        schema = store_schema(whole.describe(name))
        rows[name] = pa.Table.from_batches(whole.scan(name), schema)
        assert pa.Table.from_batches(store.scan(name), schema).equals(rows[name])
        (note,) = store.compatibility(name)
        assert note.consequence.startswith("dr_backup may not act for app_owner here")
        assert whole.compatibility(name) == ()
        for exact in (True, False):
            store.search(name, Query(vector=vector(1, 2), exact=exact), limit=3)
    for write in (
        lambda: store.drop("t"),
        lambda: store.write("t", rows["t"]),
        lambda: store.create(store.describe("t").physical("copy")),
        lambda: store.promote("t", alias="served"),
    ):
        with pytest.raises(Refused):
            write()


@pytest.mark.parametrize(
    ("grant", "warned"),
    [
        ("SUPERUSER", "is a superuser"),
        ("IN ROLE pg_execute_server_program", "is a member of pg_execute_server_program"),
        ("IN ROLE pg_read_server_files, pg_write_server_files", "is a member of pg_read_server_"),
        ("CREATEDB", None),
    ],
)
def test_a_role_that_may_leave_the_database_is_warned_of(
    postgres: Server, grant: str, warned: str | None
) -> None:
    with psycopg.connect(postgres.conninfo(), autocommit=True) as native:
        native.execute(f"CREATE ROLE strong LOGIN {grant}")
    try:
        warnings = open_store(postgres.url(user="strong"), base=Path()).warnings()
        assert [warned in warning for warning in warnings if warned] == [True] * bool(warned)
        assert len(warnings) == bool(warned)
    finally:
        with psycopg.connect(postgres.conninfo(), autocommit=True) as native:
            native.execute("DROP ROLE strong")
