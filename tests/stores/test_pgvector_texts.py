"""PostgreSQL keeps every text of a collection of ours, also those that its types do not hold."""

import itertools
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.query import (
    Contains,
    Equals,
    In,
    Mode,
    Not,
    Query,
    Range,
)
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.pgvector import open_store
from dr_pipelines.stores.pgvector.texts import (
    escaped,
    escaped_column,
    unescaped,
    unescaped_column,
)
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.store_samples import (
    SPEC,
    contents,
    expected,
    record,
    table,
    vector,
)
from tests.servers.pgvector import Server

NAME = SPEC.name
EVERY = ["".join(t) for n in range(5) for t in itertools.product("\0\1\2a", repeat=n)]
ODD = ["a\0b", "a\1b", "a\1\1b", "a\1\2b", "a", "a\0", "\0", "\1", "a\2"]


@pytest.fixture
def database(postgres: Server) -> str:
    return postgres.create_database()


@pytest.fixture
def store(postgres: Server, database: str) -> VectorStore:
    return open_store(postgres.url(database), base=Path())


def _rows() -> list[dict[str, Any]]:
    return [
        record(odd, id=odd, text=f"wolf {odd}", uri=odd, extra=odd, product=odd, note=odd)
        | {"groups": [odd, None, ""], "embedding": [1.0, float(place), 0.0]}
        for place, odd in enumerate(ODD)
    ]


def test_no_two_texts_become_one_and_their_order_stays() -> None:
    stored = [escaped(text) for text in EVERY]
    assert [unescaped(text) for text in stored] == EVERY
    assert len(set(stored)) == len(EVERY)
    assert not any("\0" in text for text in stored)
    assert sorted(EVERY, key=str.encode) == [unescaped(t) for t in sorted(stored, key=str.encode)]
    assert unescaped("a\1b\1") == "a\1b\1"  # not written by us


def test_columns_become_what_their_texts_do() -> None:
    column = pa.array(["x\0", None, *EVERY, "", "\1y"])
    for part in (column, column.slice(2, 9), column.slice(1, 1), column.slice(0, 0)):
        stored = escaped_column(part)
        assert stored.to_pylist() == [t and escaped(t) for t in part.to_pylist()]
        assert unescaped_column(stored).equals(part)
    plain = pa.array(["x\0", "a", "b"]).slice(1)
    assert escaped_column(plain) is plain
    lists = pa.array([["\1\1", None], None, [], ["\1\2", "b"]])
    assert unescaped_column(lists).to_pylist() == [["\0", None], None, [], ["\1", "b"]]


def test_every_text_comes_back_and_is_found(store: VectorStore) -> None:
    other, rows = MemoryVectorStore(), _rows()
    for one in (store, other):
        one.create(SPEC)
        one.write(NAME, table(*rows))
        one.build_index(NAME)
    assert contents(store) == expected(*rows)
    assert contents(store, documents=["a\0b", "\1", "\0\0"]) == expected(rows[0], rows[7])
    filters = [
        *(f for odd in ODD for f in (Equals("product", odd), Contains("groups", odd))),
        *(Range("product", gt=odd) for odd in ODD),
        In("product", ("a\0b", "a\1\1b", "b")),
        Not(Equals("product", "\0")),
    ]
    for condition in filters:
        for exact in (True, False):
            query = Query(vector=vector(1, 1, 0), filter=condition, exact=exact)
            hits = {(h.id, h.document_id, h.text) for h in store.search(NAME, query, limit=99)}
            answers = other.search(NAME, Query(vector=vector(1, 1, 0), filter=condition), limit=99)
            assert hits == {(h.id, h.document_id, h.text) for h in answers}, condition
        query = Query(text="wolf", mode=Mode.KEYWORD, exact=False)
        assert {h.text for h in store.search(NAME, query, limit=99)} == {r["text"] for r in rows}


def test_records_of_every_id_are_replaced_and_removed(store: VectorStore) -> None:
    rows = _rows()
    store.create(SPEC)
    store.write(NAME, table(*rows[4:]))
    store.write(NAME, table(*rows))
    changed = [row | {"year": 1} for row in rows[:2]]
    store.write(NAME, table(*changed), replaces=["\0", "a\1\1b"])
    remaining = [*changed, *(row for row in rows[2:] if row["id"] not in ("\0", "a\1\1b"))]
    assert contents(store) == expected(*remaining)


def test_tables_of_others_say_which_record_they_do_not_keep(
    postgres: Server, database: str, store: VectorStore
) -> None:
    with psycopg.connect(postgres.conninfo(database), autocommit=True) as native:
        native.execute("CREATE TABLE t (id text PRIMARY KEY, content text, e vector(2))")
        native.execute("INSERT INTO t VALUES ('a', E'\\x01\\x02', '[1, 2]')")
    rows = pa.Table.from_batches(store.scan("t"))
    assert rows.column("text").to_pylist() == ["\1\2"]  # as the user wrote it
    store.write("t", rows)
    bad = rows.set_column(rows.schema.get_field_index("text"), "text", pa.array(["x\0"]))
    with pytest.raises(InvalidRequest, match="'a': text holds the character NUL"):
        store.write("t", bad)
    assert pa.Table.from_batches(store.scan("t")).equals(rows)
