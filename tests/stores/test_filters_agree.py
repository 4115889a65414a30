"""Random filters mean the same in both stores, in plain Python, and after a trip through text."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dr_pipelines.model.filter_syntax import format_filter, parse_filter
from dr_pipelines.model.query import (
    And,
    Contains,
    Equals,
    Filter,
    In,
    Not,
    Or,
    Query,
    Range,
)
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.duckdb.store import duckdb_store
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.store_samples import (
    SPEC,
    record,
    table,
    vector,
)
from tests.stores.naive_filter import keeps

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
STRINGS = ["", "a", "A", "b", "é", "日", "a'b", 'q"\\', "x\ny\u0000", "not", "🗝"]
VALUES: dict[str, list[Any]] = {
    "product": STRINGS,
    "year": [0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63)],
    "weight": [0.0, -0.0, 1.5, -2.5, 1e-300, 2.0**60, float("inf"), float("-inf")],
    "current": [True, False],
    "seen": [NOON, NOON + timedelta(microseconds=1), datetime(1, 1, 1, tzinfo=UTC)],
}
ROWS = [
    record(
        "d",
        n,
        product=[None, *STRINGS][n % 12],
        year=[None, *VALUES["year"]][n % 7],
        weight=[None, float("nan"), *VALUES["weight"]][n % 10],
        current=[None, True, False][n % 3],
        seen=[None, *VALUES["seen"]][n * 7 % 4],
        groups=[None, [], ["a", "b"], ["é", None], ["", "A"], [None]][n * 5 % 6],
    )
    for n in range(60)
]


def _bounds(field: str) -> st.SearchStrategy[Filter]:
    keys = st.lists(st.sampled_from(["gte", "gt", "lte", "lt"]), min_size=1, unique=True)
    return keys.flatmap(
        lambda names: st.builds(
            lambda values: Range(field, **dict(zip(names, values, strict=True))),
            st.tuples(*(st.sampled_from(VALUES[field]) for _ in names)),
        )
    )


def _comparisons(field: str) -> st.SearchStrategy[Filter]:
    values = st.sampled_from(VALUES[field])
    kinds: list[st.SearchStrategy[Filter]] = [
        st.builds(Equals, st.just(field), values),
        st.builds(In, st.just(field), st.lists(values, max_size=3).map(tuple)),
    ]
    return st.one_of(kinds if field == "current" else [*kinds, _bounds(field)])


LEAVES = st.one_of(
    *(_comparisons(field) for field in VALUES),
    st.builds(Contains, st.just("groups"), st.sampled_from(STRINGS)),
)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[VectorStore]:
    made: list[VectorStore] = [
        MemoryVectorStore(),
        duckdb_store(tmp_path_factory.mktemp("store")),
    ]
    for store in made:
        store.create(SPEC)
        store.write(SPEC.name, table(*ROWS))
    return made


@settings(max_examples=60, deadline=None, derandomize=True)
@given(filter=FILTERS)
def test_a_filter_keeps_the_same_records_everywhere(
    stores: list[VectorStore], filter: Filter
) -> None:
    meant = {row["id"] for row in ROWS if keeps(filter, row)}
    for question in (filter, parse_filter(format_filter(filter), SPEC)):
        for store in stores:
            query = Query(vector=vector(1, 0, 0), filter=question)
            hits = store.search(SPEC.name, query, limit=len(ROWS))
            assert {hit.id for hit in hits} == meant, store.engine


@settings(max_examples=500, deadline=None, derandomize=True)
@given(filter=FILTERS)
def test_what_is_written_is_read_with_the_same_meaning(filter: Filter) -> None:
    read = parse_filter(format_filter(filter), SPEC)
    assert [keeps(read, row) for row in ROWS] == [keeps(filter, row) for row in ROWS]
