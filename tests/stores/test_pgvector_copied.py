"""A table that is read as it lies gives the records that queries of it give, bit for bit."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from dr_pipelines.errors import Damaged, Refused
from dr_pipelines.model.query import Equals, Query
from dr_pipelines.stores.pgvector import dimensions, keys, open_store, reading, searching, streams
from dr_pipelines.stores.pgvector.store import PgvectorStore
from dr_pipelines.testing.store_samples import vector
from tests.servers.pgvector import Server
from tests.stores.pgvector_traps import recorded
from tests.stores.test_pgvector_store import PgvectorContract

TYPES = """
    CREATE TYPE mood AS ENUM ('good', 'very, "bad"'); CREATE DOMAIN label AS text;
    CREATE TYPE pair AS (a int, b text); CREATE TYPE span AS RANGE (SUBTYPE = int);
"""
VALUES = {
    "i2": ("int2", "'-7'"),
    "i4": ("int4", "'2147483647'"),
    "i8": ("int8", "'-9223372036854775808'"),
    "f4": ("float4", "'0.1', 'NaN', '-Infinity', '-0'"),
    "f8": ("float8", "'1e-300', 'NaN'"),
    "yes": ("bool", "'t', 'f'"),
    "at": ("timestamptz", "'2026-01-02 03:04:05.678901+02', 'infinity', '0044-03-15 BC'"),
    "day": ("date", "'2026-01-02', '-infinity'"),
    "plain_at": ("timestamp", "'2026-01-02 03:04:05'"),
    "lasts": ("interval", "'1 mon -2 days 03:04'"),
    "price": ("numeric(10,2)", "'1.50', 'NaN'"),
    "host": ("inet", "'10.0.0.1', '10.0.0.0/8', '::1'"),
    "net": ("cidr", "'10.0.0.1', '::/0'"),
    "padded": ("char(5)", "'a', 'b c  '"),
    "blanks": ("bpchar", "'a  '"),
    "named": ("name", "'a'"),
    "letter": ('"char"', "'x'"),
    "key_id": ("uuid", "'00112233-4455-6677-8899-aabbccddeeff'"),
    "doc": ("json", """'{"a":  1.10}'"""),
    "docb": ("jsonb", """'{"b": "\\u00e9\\n", "a": 1.10}', 'null'"""),
    "texts": ("text[]", """'{}', '{a,NULL,"b,c"}', '[2:3]={x,y}', '{{a,b},{c,d}}'"""),
    "names": ("varchar[]", "'{a}'"),
    "mood": ("mood", """'good', 'very, "bad"'"""),
    "lab": ("label", "'l'"),
    "pair": ("pair", """'(1,"x ""y"" \\\\")', '(,)'"""),
    "span": ("span", "'[1,3)', 'empty'"),
    "raw": ("bytea", "'\\x00ff5c'"),
    "cash": ("money", "'1.50'"),
    "words": ("tsvector", "'a:1 b:2'"),
    "spot": ("point", "'(1,2)'"),
    "bits": ("bit(3)", "'101'"),
    "many_bits": ("varbit", "'1'"),
    "odd": (
        "text",
        "E'\\t\\n\\r\\b\\f\\v\\\\ \\\\N', E'\\\\N', '', ' ', E'\\ufeffé', '\"', '(a),'",
    ),
    "half": ("halfvec(2)", "'[1,2.5]'"),
    "sparse": ("sparsevec(5)", "'{1:1.5,3:2}/5', '{}/5'"),
    "loose": ("vector", "'[1]', '[1,2]', '[1,2,3]'"),
    "hash": ("bit(8)", "'10101010'"),
}


@pytest.fixture(
    params=["postgres", pytest.param("postgres16", marks=pytest.mark.long)], scope="module"
)
def server(request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture(scope="module")
def database(server: Server) -> str:
    return server.create_database()


@pytest.fixture
def native(server: Server, database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.conninfo(database), autocommit=True) as connection:
        yield connection
        connection.execute(
            "DROP TABLE IF EXISTS t; DROP TYPE IF EXISTS mood, label, pair, span, counter"
        )


@pytest.fixture
def store(server: Server, native: psycopg.Connection) -> PgvectorStore:
    opened = open_store(server.url(native.info.dbname), base=Path())
    assert isinstance(opened, PgvectorStore)
    return opened


@pytest.fixture
def unplanned(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tables are as those of others."""
    for module in (reading, searching, dimensions, keys):
        monkeypatch.setattr(module, "may_plan", lambda session, table: False)


def _made(native: psycopg.Connection, key: str, *, partitioned: bool) -> None:
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in VALUES.items())
    keyed = f", PRIMARY KEY ({key})" if key else ""
    divided = " PARTITION BY HASH (k)" if partitioned else ""
    native.execute(TYPES.encode())
    native.execute(
        f"""
        CREATE TABLE t (gone int, k int, dec numeric, {columns}, e vector(2),
            twice int GENERATED ALWAYS AS (k * 2) STORED{keyed}){divided};
        {"CREATE TABLE t_a PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0);" * partitioned}
        {"CREATE TABLE t_b PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1);" * partitioned}
        ALTER TABLE t DROP gone;
        CREATE INDEX ON t USING hnsw (hash bit_hamming_ops);
    """.encode()
    )
    lists = [f"(ARRAY[{values}]::text[])" for _, values in VALUES.values()]
    picked = [
        f"{v}[1 + g % pg_catalog.cardinality({v})]::{kind}"
        for v, (kind, _) in zip(lists, VALUES.values(), strict=True)
    ]
    names = ", ".join(VALUES)
    native.execute(
        f"""
        INSERT INTO t (k, dec, {names}, e)
        SELECT g, g / 10.0, {", ".join(picked)}, ARRAY[g, 1]::vector FROM generate_series(1, 40) g;
    """.encode()
    )
    if not key:
        native.execute(
            f"INSERT INTO t (k, dec, {names}, e) SELECT k, dec, {names}, e FROM t "
            "WHERE k < 9".encode()
        )
        native.execute("INSERT INTO t (k) VALUES (NULL), (1), (1)")
    else:
        native.execute(
            "INSERT INTO t (k, dec, odd, yes, host) VALUES (99, 99, '\"', 't', '::2/64')"
        )


@pytest.mark.parametrize("partitioned", [False, True], ids=["plain", "partitioned"])
@pytest.mark.parametrize("key", ["k", "k, odd, yes, host", "k, dec", ""])
def test_all_values_are_what_queries_give(
    store: PgvectorStore,
    native: psycopg.Connection,
    request: pytest.FixtureRequest,
    key: str,
    partitioned: bool,
) -> None:
    _made(native, key, partitioned=partitioned)
    spec = store.describe("t")
    rows = pa.Table.from_batches(store.scan("t"))
    some = rows.column("document_id")[3:7].to_pylist()
    few = pa.Table.from_batches(store.scan("t", documents=some))
    query = Query(vector=vector(3, 1), vector_name="e", filter=Equals("yes", True))
    hits = store.search("t", query, limit=5)
    count = store.status("t").records
    request.getfixturevalue("unplanned")
    assert store.describe("t") == spec
    assert store.status("t").records == count == len(rows)
    whole = pa.Table.from_batches(store.scan("t", batch_rows=7))
    assert whole.schema == rows.schema
    assert {name for name in rows.schema.names if _bits(whole, name) != _bits(rows, name)} == set()
    assert few.num_rows == len(some)
    assert pa.Table.from_batches(store.scan("t", documents=some)).column("id") == few.column("id")
    assert store.search("t", query, limit=5) == hits
    narrow = pa.Table.from_batches(store.scan("t", columns=["lab", "i2"]))
    assert narrow.schema.names == ["lab", "i2"]
    assert narrow.column("i2") == rows.column("i2")


def _bits(rows: pa.Table, name: str) -> list[str]:
    column = rows.column(name)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    return [repr(value) for value in column.to_pylist()]


SHORTEST = {
    "a few bytes": ("e vector(2), body text, at timestamptz, id text PRIMARY KEY", "at"),
    "the key": ("e vector(2), body text, id text PRIMARY KEY", "id"),
    "no vectors": ("e vector(2), body text", "body"),
    "vectors alone": ("e vector(2)", "e"),
}


@pytest.mark.parametrize("kind", SHORTEST)
def test_records_are_counted_by_the_shortest_column(
    store: PgvectorStore, native: psycopg.Connection, unplanned: None, kind: str
) -> None:
    declared, column = SHORTEST[kind]
    native.execute(f"CREATE TABLE t ({declared})".encode())
    with recorded() as names:
        assert store.status("t").records == 0
    assert [text for text in names.statements if text.startswith("COPY")] == [
        f'COPY "public"."t" ("{column}") TO STDOUT (FORMAT BINARY)'
    ]


COUNTED = {
    "smallint": ("int2", "1, 7"),
    "bigint": ("int8", "1, 7"),
    "numeric": ("numeric(30, 2)", "1.50, 7.25, NULL, 'NaN', 1e25"),
    "a domain": ("counter", "1, 7, NULL"),
    "text": ("text", "'10', '9', NULL, 'x', '-3'"),
    "nothing yet": ("numeric", "NULL"),
}
NEXT = {"numeric": "8", "text": "11", "nothing yet": "1"}


@pytest.mark.parametrize("planned", [True, False], ids=["planned", "as it lies"])
@pytest.mark.parametrize("kind", COUNTED)
def test_sequences_of_all_kinds_of_columns_go_on(
    store: PgvectorStore,
    native: psycopg.Connection,
    request: pytest.FixtureRequest,
    kind: str,
    planned: bool,
) -> None:
    declared, values = COUNTED[kind]
    native.execute(
        f"""
        CREATE DOMAIN counter AS bigint;
        CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, e vector(2), n {declared});
        CREATE SEQUENCE numbers OWNED BY t.n; ALTER TABLE t ALTER n SET DEFAULT nextval('numbers');
        INSERT INTO t (e, n) SELECT '[1, 2]', u FROM unnest(ARRAY[{values}]::{declared}[]) u
        """.encode()
    )
    spec, rows = store.describe("t"), pa.Table.from_batches(store.scan("t"))
    native.execute("DROP TABLE t")
    if not planned:
        request.getfixturevalue("unplanned")
    store.create(spec)
    store.write("t", rows)
    store.build_index("t")
    row = native.execute("INSERT INTO t (e) VALUES ('[1, 2]') RETURNING n::text, id").fetchone()
    expected = NEXT.get(kind, "8")
    assert row == (f"{expected}.00" if kind == "numeric" else expected, rows.num_rows + 1)


def _of_somebody(native: psycopg.Connection, more: str = "") -> None:
    native.execute("DROP ROLE IF EXISTS somebody; CREATE ROLE somebody")
    native.execute(
        f"""
        GRANT CREATE ON SCHEMA public TO somebody; SET ROLE somebody;
        CREATE TABLE t (id int, g int GENERATED ALWAYS AS (id + 1) STORED, e vector(2), b "char")
            PARTITION BY RANGE (id);
        CREATE TABLE t_a PARTITION OF t FOR VALUES FROM (0) TO (9);
        INSERT INTO t VALUES (1, DEFAULT, '[1, 2]', 'x'), (2, DEFAULT, '[1, 1]', 'y');
        {more}; RESET ROLE
    """.encode()
    )


@pytest.fixture
def reader(server: Server, native: psycopg.Connection) -> Iterator[PgvectorStore]:
    native.execute("DROP ROLE IF EXISTS looker; CREATE ROLE looker LOGIN")
    opened = open_store(server.url(native.info.dbname, user="looker"), base=Path())
    assert isinstance(opened, PgvectorStore)
    yield opened
    native.execute("DROP OWNED BY looker, somebody CASCADE; DROP ROLE looker, somebody")


REFUSED = {
    "a key that the table generates": (
        "ALTER TABLE t_a ALTER g SET NOT NULL; CREATE TABLE u (id int, g int GENERATED ALWAYS AS "
        "(id + 1) STORED PRIMARY KEY, e vector(2)); GRANT SELECT ON u TO looker",
        "u",
        r"COPY does not read column 'g'.*name the owner as the user",
    ),
    "a partition without a grant": (
        "GRANT SELECT ON t TO looker",
        "t",
        "permission denied for table 't_a': 'looker' needs SELECT on it",
    ),
    "a policy of a partition": (
        "GRANT SELECT ON t, t_a TO looker; ALTER TABLE t_a ENABLE ROW LEVEL SECURITY",
        "t",
        "policies for row-level security hide rows",
    ),
    "a policy of the table": (
        "GRANT SELECT ON t, t_a TO looker; ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "t",
        "policies for row-level security hide rows",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_copy_does_not_read_whole_is_refused(
    reader: PgvectorStore, native: psycopg.Connection, what: str
) -> None:
    more, name, message = REFUSED[what]
    _of_somebody(native, more)
    with pytest.raises(Refused, match=message):
        list(reader.scan(name))


def test_a_foreign_partition_is_refused(
    server: Server, reader: PgvectorStore, native: psycopg.Connection
) -> None:
    _of_somebody(native, "GRANT SELECT ON t, t_a TO looker")
    native.execute("""
        CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER away FOREIGN DATA WRAPPER nowhere;
        CREATE FOREIGN TABLE t_f PARTITION OF t FOR VALUES FROM (9) TO (20) SERVER away;
    """)
    with pytest.raises(Refused, match="its partition 't_f' is a foreign table"):
        list(reader.scan("t"))


@pytest.mark.parametrize("missing", [True, False], ids=["missing", "left"])
def test_two_readings_of_other_rows_are_damage(
    reader: PgvectorStore,
    native: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    missing: bool,
) -> None:
    _of_somebody(native, "GRANT SELECT ON t, t_a TO looker")
    real = streams.copied_texts

    def other(*args: object) -> Iterator[list[pa.Array]]:
        for columns in real(*args):  # type: ignore[arg-type]
            rows = [0] if missing else [0, 1, 1]
            yield [column.take(pa.array(rows)) for column in columns]

    assert len(next(iter(reader.scan("t")))) == 2
    monkeypatch.setattr(streams, "copied_texts", other)
    with pytest.raises(Damaged, match="sent a table twice"):
        list(reader.scan("t"))


@pytest.mark.long  # the tests of queries, for each of which there is another way
class TestUnplanned(PgvectorContract):
    server = "postgres"
    many = 2_000

    @pytest.fixture(autouse=True)
    def _unplanned(self, unplanned: None) -> None:
        pass
