"""Everybody sees what they saw and nothing else; what was deleted stays gone."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dr_pipelines.model.query import Filter, Hit, Query
from dr_pipelines.model.verdict import Check
from dr_pipelines.proof.probes import Expected, Target
from dr_pipelines.proof.probes.permissions import check_permissions
from dr_pipelines.proof.probes.sample import read_sample, read_stored
from dr_pipelines.repository.field_values import field_values, filterable
from dr_pipelines.repository.state import State
from dr_pipelines.testing.memory_store import MemoryVectorStore
from tests.engines import OpenStore
from tests.proof.probes import points
from tests.proof.probes.test_filters import changed

BEFORE = points.records()
ROWS = BEFORE.filter(pc.invert(pc.equal(BEFORE["document_id"], "d00003")))
"""Without a document that was there once."""


@pytest.fixture(scope="module")
def state() -> Iterator[State]:
    with points.point(BEFORE, deleting=("d00003",)) as folded:
        yield folded


def check_of(state: State, target: Target) -> Check:
    expected, fields = Expected(state), filterable(points.SPEC)
    with field_values(expected.rows(["id", *(f.name for f in fields)]), points.SPEC) as values:
        sample = read_sample(expected, values, seed=1)
        stored = read_stored(sample, target)
        return check_permissions(expected, values, sample, stored, target, seed=1)


def findings(state: State, target: Target) -> list[str]:
    return [finding.id for finding in check_of(state, target).every_finding]


def resurrected(rows: pa.Table) -> pa.Table:
    return BEFORE


DAMAGES = [
    (resurrected, "permissions:deleted"),
    (changed("principals", lambda v: [*v, "eve"]), "permissions:principals contains 'eve'"),
    (
        changed("principals", lambda v: ["ada"]),
        "permissions:tenant='blue' and principals contains 'ada'",
    ),
    (changed("tenant", lambda v: "acme"), "permissions:tenant='acme'/foreign"),
    (changed("tenant", lambda v: None if v == "blue" else v), "permissions:tenant='blue'"),
    (changed("tenant", lambda v: v or "acme"), "permissions:tenant='acme'"),
]


@pytest.mark.parametrize(("damage", "finding"), DAMAGES[:-1])
def test_a_scope_that_sees_other_records_is_a_finding(
    state: State, damage: points.Damage, finding: str
) -> None:
    assert finding in findings(state, points.restored(MemoryVectorStore(), damage(ROWS)))


@pytest.mark.parametrize("engine", ["lancedb", "duckdb"])
def test_deleted_records_that_are_back_are_a_finding_of_an_engine(
    state: State, open_store: OpenStore, engine: str
) -> None:
    assert findings(state, points.restored(open_store(engine), BEFORE)) != []


def test_a_sound_collection_raises_no_alarm_and_has_its_controls(
    state: State, open_store: OpenStore
) -> None:
    check = check_of(state, points.restored(open_store("memory"), ROWS))
    assert check.every_finding == ()
    assert check.control == (
        "14 of 14 scopes see a record of their own; by document 158 of 158 sampled records are "
        "there"
    )
    assert check.limits == (
        "by filter only: nobody's own login to the engine was used",
        "15 scopes were counted; 14 of them asked, by 2 vectors of others each",
    )


def test_a_record_without_a_tenant_is_seen_by_no_tenant() -> None:
    rows = changed("tenant", lambda v: None if v == "coral" else v)(BEFORE)
    with points.point(rows) as folded:
        assert findings(folded, points.restored(MemoryVectorStore(), rows)) == []
        widened = changed("tenant", lambda v: v or "acme")(rows)
        ids = findings(folded, points.restored(MemoryVectorStore(), widened))
    assert "permissions:tenant='acme'/foreign" in ids


class Loose(MemoryVectorStore):
    """An engine in which a part of the promise about filters is broken."""

    broken: Callable[[Filter | None], bool] = staticmethod(lambda _: False)

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        if not query.exact and self.broken(query.filter):
            query = replace(query, filter=None)
        return super().search(name, query, limit=limit)

    def count(self, name: str, filter: Filter) -> int | None:
        if self.broken(filter):
            return self.status(name).records
        return super().count(name, filter)


def test_an_index_that_ignores_filters_leaks(state: State) -> None:
    store = Loose()
    store.broken = lambda condition: condition is not None
    ids = findings(state, points.restored(store, ROWS))
    assert {"permissions:tenant='blue'/foreign", "permissions:tenant/empty-scope"} <= set(ids)
    assert "permissions:principals/nobody" in ids


class Mute(MemoryVectorStore):
    """An engine that answers nobody who asks with a filter."""

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        return super().search(name, query, limit=limit) if query.filter is None else []


def test_an_absence_beside_which_nothing_answers_shows_nothing(state: State) -> None:
    assert findings(state, points.restored(Mute(), ROWS)) == ["permissions:control"]


def test_the_log_without_a_record_that_is_gone_is_said() -> None:
    with points.point(BEFORE) as folded:
        check = check_of(folded, points.restored(MemoryVectorStore(), BEFORE))
    assert "the log has no record that is gone" in check.limits
