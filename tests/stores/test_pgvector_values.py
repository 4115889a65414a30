"""Every built-in type at its extremes comes back bit for bit, as a column and as a key."""

import subprocess
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.query import Contains, Query
from dr_pipelines.model.record import store_schema
from dr_pipelines.planning.parts import compare_parts
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.pgvector import open_store
from dr_pipelines.testing.store_samples import vector
from tests.servers.pgvector import Server

EXTREMES: dict[str, list[str]] = {
    "bool": ["true", "false"],
    "int2": ["-32768", "32767"],
    "int4": ["-2147483648", "2147483647"],
    "int8": ["-9223372036854775808", "9223372036854775807"],
    "float4": ["NaN", "Infinity", "-Infinity", "-0", "1e-45", "3.4028235e38"],
    "float8": ["NaN", "Infinity", "-Infinity", "-0", "5e-324", "1.7976931348623157e308"],
    "numeric": [
        "NaN",
        "Infinity",
        "-Infinity",
        "1" + "0" * 200,
        "0." + "0" * 300 + "1",
        "1.50",
        "-0.0",
    ],
    "numeric(5,2)": ["NaN", "-999.99"],
    "numeric(3,-2)": ["12300"],
    "money": ["-92233720368547758.08", "92233720368547758.07"],
    "text": ["", "\\N", "a\tb\nc\r\\.", "\U0001f600"],
    "varchar(3)": ["a  ", ""],
    "bpchar": ["a "],
    "char(4)": ["a", ""],
    '"char"': ["", "a", "\\377"],
    "name": ["", "x" * 63],
    "bytea": ["\\x", "\\x00ff"],
    "date": ["infinity", "-infinity", "4713-01-01 BC", "5874897-12-31"],
    "time": ["24:00:00", "00:00:00.000001"],
    "timetz": ["24:00:00-15:59:59", "00:00:00+15:59"],
    "timestamp": [
        "infinity",
        "-infinity",
        "4713-01-01 00:00:00 BC",
        "294276-12-31 23:59:59.999999",
    ],
    "timestamptz": [
        "infinity",
        "-infinity",
        "4713-01-01 00:00:00+00 BC",
        "294276-12-31 23:59:59.999999+00",
        "294247-01-10 04:00:54.775807+00",
        "0044-03-15 12:00:00+00 BC",
    ],
    "timestamptz(0)": ["2026-01-01 00:00:00+00"],
    "interval": [
        "178000000 years",
        "-178000000 years 1 mon -1 day 00:00:00.000001",
        "1 day -24:00:00",
    ],
    "bit(1)": ["1"],
    "bit(9)": ["101010101"],
    "varbit": ["", "1", "0" * 100],
    "bit varying(5)": ["10101"],
    "json": ['{"a" : 1, "a":2}', "1e400", '"\\u0000"'],
    "jsonb": ['{"b":1e400,"a":1.00}', "null", '"x"', "123456789012345678901234567890.123"],
    "jsonpath": ["$.a[*] ? (@.b > 1)"],
    "uuid": ["00000000-0000-0000-0000-000000000000"],
    "inet": ["::1/128", "192.168.0.1/24"],
    "cidr": ["0.0.0.0/0"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "oid": ["0", "4294967295"],
    "xid": ["4294967295"],
    "xid8": ["18446744073709551615"],
    "cid": ["1"],
    "tid": ["(0,1)", "(4294967295,65535)"],
    "pg_lsn": ["FFFFFFFF/FFFFFFFF"],
    "regclass": ["pg_class", "-", "t"],
    "regtype": ["int4"],
    "regproc": ["now", "-"],
    "regprocedure": ["now()"],
    "regoper": ["!!"],
    "regoperator": ["+(integer,integer)"],
    "regnamespace": ["pg_catalog"],
    "regrole": ["postgres"],
    "regconfig": ["english"],
    "regdictionary": ["simple"],
    "regcollation": ['"C"'],
    "pg_snapshot": ["10:20:10,14,15"],
    "txid_snapshot": ["10:20:10,14,15"],
    "refcursor": ["c"],
    "int2vector": ["1 2", ""],
    "oidvector": ["1 2"],
    "aclitem": ["postgres=r/postgres"],
    "tsvector": ["'a':1A 'b'''", ""],
    "tsquery": ["'a' & !'b'", ""],
    "point": ["(1,NaN)", "(Infinity,-0)"],
    "line": ["{1,2,3}"],
    "lseg": ["[(0,0),(1,1)]"],
    "box": ["(1,1),(0,0)"],
    "path": ["((0,0),(1,1))", "[(0,0)]"],
    "polygon": ["((0,0),(1,1))"],
    "circle": ["<(0,0),Infinity>"],
    "int4range": ["empty", "(,)", "[1,2)"],
    "int8range": ["[-9223372036854775808,)"],
    "numrange": ["[NaN,NaN]", "(-Infinity,Infinity)"],
    "tsrange": ["[-infinity,infinity]"],
    "tstzrange": ["(infinity,)", "empty"],
    "daterange": ["[-infinity,infinity)"],
    "int4multirange": ["{}", "{[1,2),[5,6)}"],
    "nummultirange": ["{(,)}"],
    "tsmultirange": ["{[-infinity,infinity]}"],
    "int8multirange": ["{[1,2)}"],
    "datemultirange": ["{(,infinity)}"],
    "tstzmultirange": ["{[-infinity,infinity]}"],
    "text[]": [
        "{}",
        "{NULL}",
        '{a,NULL,"","NULL"}',
        "{{a,b},{c,d}}",
        "[5:6]={a,b}",
        "[0:0][2:3]={{a,b}}",
    ],
    "varchar(2)[]": ["{{a},{b}}", "{ab}"],
    "varchar[]": ["[2:2]={a}"],
    "int4[]": ["{{1,2},{3,4}}", "[0:1]={1,2}"],
    "bool[]": ["{t}"],
    "timestamptz[]": ["{infinity}"],
    "float8[]": ["{NaN}"],
    "jsonb[]": ['{"{}"}'],
    "bpchar[]": ["{a}"],
    "name[]": ["{a}"],
    "numeric[]": ["{NaN}"],
    "bytea[]": ['{"\\\\\\\\x00"}'],
    '"char"[]': ["{a}"],
    "vector(2)[]": ['{"[1,2]","[3,4]"}'],
    "halfvec(3)": ["[65504,-0,6e-8]"],
    "sparsevec(5)": ["{}/5", "{1:1,5:-0.5}/5"],
    "vector(3)": ["[3.4e38,-0,1e-45]"],
    "vector(1)": ["[1]"],
}

"""Values of the engine's types, and of pgvector's beside the columns that are vectors. The servers
here are built without XML, which reads as any other type that is carried as text."""
NO_KEY = frozenset(
    ["json", "jsonpath", "point", "line", "lseg", "box", "path", "polygon", "circle"]
)
TYPES = """
    SELECT t.typname FROM pg_type t
    WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm')
        AND t.typelem = 0 AND t.typrelid = 0 AND t.typname NOT IN ('xml', 'gtsvector')
        AND t.typname NOT LIKE 'pg\\_%' OR t.typname IN ('pg_lsn', 'pg_snapshot')
"""


@pytest.fixture(params=[16, 18])
def server(request: pytest.FixtureRequest) -> Server:
    opened: Server = request.getfixturevalue("postgres" if request.param == 18 else "postgres16")
    return opened


@pytest.fixture
def database(server: Server) -> str:
    return server.create_database()


@pytest.fixture
def native(server: Server, database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.conninfo(database), autocommit=True) as connection:
        yield connection


@pytest.fixture
def store(server: Server, database: str) -> VectorStore:
    return open_store(server.url(database), base=Path())


def shown(rows: pa.Table) -> str:
    """Values that a comparison may take: NaN is not equal to NaN, Python has no year 294276."""
    times = [place for place, f in enumerate(rows.schema) if pa.types.is_timestamp(f.type)]
    for place in times:
        rows = rows.set_column(place, str(place), rows.column(place).cast(pa.int64()))
    return repr(rows.to_pylist())


def lost_and_restored(store: VectorStore, native: psycopg.Connection) -> None:
    spec = store.describe("t")
    rows = pa.Table.from_batches(store.scan("t"), store_schema(spec))
    assert list(store.misfits(spec, rows)) == []
    native.execute("DROP TABLE t")
    store.create(spec)
    store.write("t", rows)
    store.build_index("t")
    findings = compare_parts(spec, store.describe("t"), engine="pgvector")
    assert [part.part for part in findings if not part.unreported] == []
    assert shown(pa.Table.from_batches(store.scan("t"), rows.schema)) == shown(rows)


def dumped(server: Server, database: str) -> list[str]:
    command = [server.program("pg_dump"), "--restrict-key=x", server.conninfo(database)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = (line for line in text.split("\n") if line and not line.startswith("--"))
    return sorted(line for line in lines if "dr-pipelines collection" not in line)


def test_every_type_of_the_server_has_its_extremes_here(native: psycopg.Connection) -> None:
    covered = {name.partition("(")[0].strip('"') for name in EXTREMES} | {"varchar", "varbit"}
    assert {row[0] for row in native.execute(TYPES)} - covered == set()


def test_a_column_of_every_type_comes_back_bit_for_bit(
    server: Server, database: str, store: VectorStore, native: psycopg.Connection
) -> None:
    columns = ", ".join(f"c{place} {kind}" for place, kind in enumerate(EXTREMES))
    native.execute(f"CREATE TABLE t (id int PRIMARY KEY, e vector(2), {columns})".encode())
    for place, values in enumerate(zip_longest(*EXTREMES.values())):
        literals = sql.SQL(", ").join(
            sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(kind))
            for value, kind in zip(values, EXTREMES, strict=True)
        )
        native.execute(sql.SQL("INSERT INTO t VALUES ({}, '[1,2]', {})").format(place, literals))
    native.execute("INSERT INTO t VALUES (99)")
    before = dumped(server, database)

    lost_and_restored(store, native)

    assert dumped(server, database) == before


@pytest.mark.long
@pytest.mark.parametrize("kind", sorted(set(EXTREMES) - NO_KEY))
def test_a_key_of_every_type_comes_back_bit_for_bit(
    server: Server, database: str, store: VectorStore, native: psycopg.Connection, kind: str
) -> None:
    try:
        native.execute(f"CREATE TABLE t (k {kind} PRIMARY KEY, e vector(2))".encode())
    except psycopg.errors.UndefinedObject:  # a type without an order is no key
        return
    for value in EXTREMES[kind]:
        insert = sql.SQL("INSERT INTO t VALUES ({}::{}, '[1,2]')")
        native.execute(insert.format(sql.Literal(value), sql.SQL(kind)))
    before = dumped(server, database)

    lost_and_restored(store, native)

    assert dumped(server, database) == before


SHAPES = ["{}", "{a}", "{{a,b},{NULL,d}}", "[5:6]={a,NULL}", '[-2:-1][7:7]={{x},{""}}', "{{{{1}}}}"]


@pytest.mark.parametrize("server", [18], indirect=True)
def test_arrays_of_any_shape_come_back_and_are_searched_by_what_they_hold(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute("CREATE TABLE t (id int PRIMARY KEY, e vector(2), tags text[], alone text[])")
    for place, shape in enumerate(SHAPES):
        native.execute("INSERT INTO t VALUES (%s, '[1, 2]', %s, '{{b}}')", [place, shape])
    query = "SELECT tags::text, alone::text FROM t ORDER BY id"
    before = native.execute(query).fetchall()

    lost_and_restored(store, native)

    assert native.execute(query).fetchall() == before
    rows = pa.Table.from_batches(store.scan("t"))
    assert rows.column("tags")[2].as_py() == ["\0[1:2][1:2]=", "a", "b", None, "d"]
    for exact in (True, False):
        question = Query(vector=vector(1, 2), filter=Contains("tags", "a"), exact=exact)
        assert {hit.id for hit in store.search("t", question, limit=9)} == {"1", "2", "3"}


WRONG = [
    "\0[1:2]=",
    "\0[1:2][1:2]",
    "\0[2:1]=",
    "\0[1:99999999999]=",
    "\0[x",
    "\0",
    "\0[0:0][0:1]=",
]


@pytest.mark.parametrize("server", [18], indirect=True)
def test_a_text_that_says_no_shape_is_a_misfit(
    store: VectorStore, native: psycopg.Connection
) -> None:
    native.execute("CREATE TABLE t (id int PRIMARY KEY, e vector(2), tags text[])")
    native.execute("INSERT INTO t SELECT g, '[1, 2]', '{{a,b}}' FROM generate_series(0, 7) g")
    rows = pa.Table.from_batches(store.scan("t"))
    place = rows.schema.get_field_index("tags")
    right = rows.column("tags")[7].as_py()
    odd = pa.array([*([front] for front in WRONG), right], rows.schema.field(place).type)
    rows = rows.set_column(place, rows.schema.field(place), odd)
    misfits = store.misfits(store.describe("t"), rows)
    assert misfits.rows.tolist() == list(range(len(WRONG)))
    assert {misfit.column for misfit in misfits} == {"tags"}
    for row in range(len(WRONG)):
        with pytest.raises(InvalidRequest, match=f"'{row}'"):
            store.write("t", rows.slice(row, 1))
    store.write("t", rows.slice(7))
