"""Vectors that are lost, wrong or out of reach of the index are found by asking for them."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.model.query import Hit, Query
from dr_pipelines.model.verdict import CheckName
from dr_pipelines.planning.verdict import judge
from dr_pipelines.proof.probes import Expected, Target, probe
from dr_pipelines.proof.probes.sample import read_sample
from dr_pipelines.repository.field_values import field_values, filterable
from dr_pipelines.repository.state import State
from dr_pipelines.testing.memory_store import MemoryVectorStore
from tests.engines import OpenStore
from tests.proof.probes import points

ROWS = points.records()
ONLY: tuple[CheckName, ...] = ("coverage", "vectors")
FIELDS = [field.name for field in filterable(points.SPEC)]


@pytest.fixture(scope="module")
def state() -> Iterator[State]:
    with points.point(ROWS) as folded:
        yield folded


def swapped(rows: pa.Table) -> pa.Table:
    vectors = points.matrix(rows)
    vectors[:20] = vectors[19::-1]
    return points.with_vectors(rows, vectors)


def permuted_within_a_tenant(rows: pa.Table) -> pa.Table:
    vectors, places = points.matrix(rows), points.of_tenant(rows, "blue")
    vectors[places] = np.roll(vectors[places], 1, axis=0)
    return points.with_vectors(rows, vectors)


def one_dimension_scaled(rows: pa.Table) -> pa.Table:
    vectors = points.matrix(rows)
    vectors[:, 3] *= 3
    return points.with_vectors(rows, vectors)


def normalised(rows: pa.Table) -> pa.Table:
    vectors = points.matrix(rows)
    return points.with_vectors(rows, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def some_zero(rows: pa.Table) -> pa.Table:
    vectors = points.matrix(rows)
    vectors[5] = 0
    return points.with_vectors(rows, vectors)


def some_null(rows: pa.Table) -> pa.Table:
    vectors: list[object] = list(points.matrix(rows).tolist())
    vectors[5] = None
    return points.replaced(rows, "embedding", vectors)


def half_of_another_model(rows: pa.Table) -> pa.Table:
    vectors = points.matrix(rows)
    turned = np.linalg.qr(np.random.default_rng(3).normal(size=(points.DIMENSION,) * 2))[0]
    vectors[::2] = vectors[::2] @ turned
    return points.with_vectors(rows, vectors)


def some_gone(rows: pa.Table) -> pa.Table:
    return rows.slice(10)


DAMAGES = [
    (swapped, "vectors:sample/values"),
    (permuted_within_a_tenant, "coverage:embedding/records"),
    (one_dimension_scaled, "vectors:embedding/norm"),
    (normalised, "vectors:embedding/norm"),
    (some_zero, "vectors:embedding/zero"),
    (some_null, "vectors:embedding/null"),
    (half_of_another_model, "coverage:embedding/records"),
    (some_gone, "vectors:records"),
]


ON_ENGINES = [
    *(("memory", *pair) for pair in DAMAGES),
    *((engine, *DAMAGES[1]) for engine in ("duckdb", "lancedb")),
]


@pytest.mark.parametrize(("engine", "damage", "finding"), ON_ENGINES)
def test_damaged_vectors_are_a_finding(
    state: State, open_store: OpenStore, engine: str, damage: points.Damage, finding: str
) -> None:
    target = points.restored(open_store(engine), damage(ROWS))
    assert finding in points.probed(state, target, only=ONLY).ids()


@pytest.mark.parametrize("engine", ["duckdb", "lancedb", "qdrant"])
def test_a_sound_collection_raises_no_alarm(
    state: State, open_store: OpenStore, engine: str
) -> None:
    probes = points.probed(state, points.restored(open_store(engine), ROWS), only=ONLY)
    assert probes.ids() == []
    assert probes.named("coverage").looked_at == len(ROWS)
    assert probes.named("vectors").looked_at == len(ROWS)


def test_every_check_of_a_sound_collection_passes() -> None:
    rows = points.records(64)
    with points.point(rows) as folded:
        probes = points.probed(folded, points.restored(MemoryVectorStore(), rows))
    assert probes.ids() == []
    assert judge(probes.checks).outcome == "passed"
    assert probes.named("filters").looked_at > 50
    assert probes.named("tenants").looked_at == 5


class Blind(MemoryVectorStore):
    """An engine whose index has no more than some of the records."""

    hidden: frozenset[str] = frozenset()

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        hits = super().search(name, query, limit=limit + (0 if query.exact else len(self.hidden)))
        return hits if query.exact else [h for h in hits if h.id not in self.hidden][:limit]


@pytest.mark.parametrize("share", [0.02, 0.2, 0.8, 1.0])
def test_an_index_without_some_of_the_rows_is_a_finding(state: State, share: float) -> None:
    store = Blind()
    target = points.restored(store, ROWS)
    store.hidden = frozenset(ROWS["id"].to_pylist()[: int(share * len(ROWS))])
    probes = points.probed(state, target, only=ONLY)
    assert probes.ids()[0] == "coverage:embedding"
    assert judge(probes.checks).outcome == "refused"


def test_a_node_that_a_graph_does_not_reach_is_no_alarm() -> None:
    rows, store = points.records(400), Blind()
    target = points.restored(store, rows)
    store.hidden = frozenset(rows["id"].to_pylist()[:2])
    with points.point(rows) as folded:
        assert points.probed(folded, target, only=ONLY).ids() == []


def test_records_of_equal_vectors_stand_for_each_other(open_store: OpenStore) -> None:
    vectors = points.matrix(ROWS)
    vectors[:30] = vectors[0]
    rows = points.with_vectors(ROWS, vectors)
    with points.point(rows) as folded:
        probes = points.probed(folded, points.restored(open_store("memory"), rows), only=ONLY)
    assert probes.ids() == []
    assert probes.named("coverage").figures["ties"] == 20


def test_records_that_an_engine_refused_are_not_expected(
    state: State, open_store: OpenStore
) -> None:
    target = points.restored(open_store("memory"), ROWS.slice(7))
    expected = Expected(state, left_out=ROWS["id"].slice(0, 7).combine_chunks())
    checks = probe(expected, target, seed=7, only=ONLY)
    assert [finding for check in checks for finding in check.every_finding] == []


def test_the_same_seed_draws_the_same_records_of_every_tenant() -> None:
    rows = points.records(3000)
    with points.point(rows) as folded:
        samples = [drawn(folded, seed=seed) for seed in (1, 1, 2)]
    assert samples[0] == samples[1] != samples[2]
    assert 500 <= len(samples[0]) <= 680


def drawn(state: State, *, seed: int) -> Sequence[str]:
    expected = Expected(state)
    with field_values(expected.rows(["id", *FIELDS]), points.SPEC) as values:
        return read_sample(expected, values, seed=seed).ids


def test_an_empty_collection_of_an_empty_point_passes(open_store: OpenStore) -> None:
    with points.point(ROWS.slice(0, 2)) as folded:
        expected = Expected(folded, left_out=ROWS["id"].slice(0, 2).combine_chunks())
        target = points.restored(open_store("duckdb"), ROWS.slice(0, 0))
        checks = probe(expected, target, seed=1)
    assert judge(checks).outcome == "passed"


def test_a_collection_without_records_is_no_empty_success(
    state: State, open_store: OpenStore
) -> None:
    target = points.restored(open_store("memory"), ROWS.slice(0, 0))
    ids = points.probed(state, target, only=ONLY).ids()
    assert {"vectors:nothing-looked-at", "vectors:records", "coverage:embedding/records"} <= {*ids}


def test_target_of_an_alias_is_probed_too(state: State, open_store: OpenStore) -> None:
    store = open_store("memory")
    points.restored(store, ROWS)
    store.promote("notes@1", alias="notes")
    assert points.probed(state, Target.of(store, "notes"), only=ONLY).ids() == []
