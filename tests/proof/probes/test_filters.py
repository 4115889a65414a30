"""A filter that keeps other records than it did is found by counting, value by value."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from dr_pipelines.model.query import Filter
from dr_pipelines.proof.probes import Expected, Target
from dr_pipelines.proof.probes.filters import check_filters, check_tenants
from dr_pipelines.repository.field_values import FieldValues, field_values, filterable
from dr_pipelines.repository.state import State
from dr_pipelines.testing.memory_store import MemoryVectorStore
from tests.engines import OpenStore
from tests.proof.probes import points

ROWS = points.records()
FIELDS = ["id", *(field.name for field in filterable(points.SPEC))]


@pytest.fixture(scope="module")
def state() -> Iterator[State]:
    with points.point(ROWS) as folded:
        yield folded


@pytest.fixture(scope="module")
def values(state: State) -> Iterator[FieldValues]:
    with field_values(Expected(state).rows(FIELDS), points.SPEC) as counted:
        yield counted


def findings(values: FieldValues, target: Target) -> list[str]:
    checks = check_filters(values, target, seed=1), check_tenants(values, target, seed=1)
    return [finding.id for check in checks for finding in check.every_finding]


def changed(name: str, change: Any) -> points.Damage:
    def damage(rows: pa.Table) -> pa.Table:
        return points.replaced(rows, name, [change(v) for v in rows[name].to_pylist()])

    damage.__name__ = name
    return damage


def doubled(rows: pa.Table) -> pa.Table:
    copies = points.replaced(rows, "id", [f"x{key}" for key in rows["id"].to_pylist()])
    return pa.concat_tables([rows, copies.slice(0, 40)])


DAMAGES = [
    (changed("team", lambda v: "cloud" if v == "data" else v), "filters:team='data'"),
    (changed("team", lambda v: v or "none"), "filters:team=null"),
    (changed("team", lambda v: None if v == "edge" else v), "filters:team='edge'"),
    (changed("year", lambda v: v and v + 1), "filters:year=2010"),
    (changed("weight", lambda v: v and -v), "filters:weight=other"),
    (changed("open", lambda v: bool(v)), "filters:open=null"),
    (changed("seen", lambda v: v and v + timedelta(hours=2)), "filters:seen=other"),
    (changed("principals", lambda v: [*v, "eve"]), "filters:principals contains 'eve'"),
    (changed("principals", lambda v: v[:1]), "filters:principals contains 'ada'"),
    (changed("tenant", lambda v: None if v == "blue" else v), "tenants:tenant='blue'"),
    (changed("tenant", lambda v: "new" if v == "blue" else v), "tenants:tenant=other"),
    (doubled, "tenants:tenant='acme'"),
]


@pytest.mark.parametrize(("damage", "finding"), DAMAGES)
def test_a_field_that_lost_or_changed_values_is_a_finding(
    values: FieldValues, damage: points.Damage, finding: str
) -> None:
    assert finding in findings(values, points.restored(MemoryVectorStore(), damage(ROWS)))


@pytest.mark.parametrize("engine", ["duckdb", "lancedb"])
def test_engines_count_by_their_own_filters(
    values: FieldValues, open_store: OpenStore, engine: str
) -> None:
    damage, finding = DAMAGES[0]
    assert finding in findings(values, points.restored(open_store(engine), damage(ROWS)))


class Partial(MemoryVectorStore):
    """An engine that has an index of filters without some of the records."""

    def count(self, name: str, filter: Filter) -> int | None:
        count = super().count(name, filter)
        return count and count - 1


def test_a_partial_index_of_filters_is_a_finding(values: FieldValues) -> None:
    ids = findings(values, points.restored(Partial(), ROWS))
    assert {"filters:team='cloud'", "filters:year=other", "tenants:tenant='acme'"} <= set(ids)


class Silent(MemoryVectorStore):
    """An engine that counts nothing by filters."""

    def count(self, name: str, filter: Filter) -> int | None:
        return None


def test_an_engine_that_counts_nothing_says_so(values: FieldValues) -> None:
    check = check_filters(values, points.restored(Silent(), ROWS), seed=1)
    assert check.skipped == "this engine counts nothing by its own filters"
    assert check.every_finding == ()


def test_of_many_values_the_most_frequent_and_some_drawn_are_counted_and_it_is_said(
    values: FieldValues,
) -> None:
    check = check_filters(values, points.restored(MemoryVectorStore(), ROWS), seed=1)
    (limit,) = (limit for limit in check.limits if limit.startswith("weight"))
    assert limit == "weight: 30 of 150 values, the 20 most frequent and 10 drawn"


def test_more_values_than_a_filter_lists_are_counted_by_an_order(
    monkeypatch: pytest.MonkeyPatch, values: FieldValues
) -> None:
    monkeypatch.setattr("dr_pipelines.proof.probes.filters.AT_ONCE", 3)
    target = points.restored(MemoryVectorStore(), ROWS)
    check = check_filters(values, target, seed=1)
    assert check.every_finding == ()
    assert any("does not have were not looked for" in limit for limit in check.limits)
    lost = changed("year", lambda v: None if v == 2001 else v)(ROWS)
    assert "filters:year=null" in findings(values, points.restored(MemoryVectorStore(), lost))


def test_a_collection_without_fields_is_not_said_to_be_right() -> None:
    spec = points.SPEC.model_copy(update={"fields": ()})
    rows = ROWS.select(["id", "document_id", "chunk_index", "text", "uri", "extra", "embedding"])
    with points.point(rows, spec=spec) as folded, field_values([], spec) as none:
        target = points.restored(MemoryVectorStore(), rows, spec=spec)
        assert check_filters(none, target, seed=1).skipped == "the collection has no filters"
        assert points.probed(folded, target, only=("coverage", "permissions")).ids() == []
