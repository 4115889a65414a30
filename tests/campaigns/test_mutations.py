"""The mutation table: damage by engine by layer. Digests find all of it; probes, which compare no
record with its digest, find all that touches many records, a tenant or a value. Nothing is found
in collections that are sound."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.live.observe import observe_store
from dr_pipelines.proof.probes import Target
from dr_pipelines.protocols import VectorStore
from dr_pipelines.repository.state import State
from dr_pipelines.repository.unequal import unequal_records
from tests.campaigns.mutations import MUTATIONS, Mutation
from tests.campaigns.results import CAMPAIGN, record_result
from tests.engines import OpenStore
from tests.proof.probes import points

RECORDS = CAMPAIGN.pick(short=96, long=10_000)
ENGINES = CAMPAIGN.pick(
    short=("memory", "lancedb"), long=("duckdb", "pgvector", "lancedb", "qdrant")
)
EVERY = {"memory": 4, "lancedb": 16}
"""In the short form each engine gets one damage of so many."""
SOUND = CAMPAIGN.pick(short=3, long=75)
RETRIEVAL = [mutation for mutation in MUTATIONS if mutation.retrieval]


@dataclass(frozen=True)
class Cell:
    """The findings of a damage in an engine, by layer; `refused` where its engine takes no such
    record."""

    digests: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    refused: str | None = None


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    return points.records(RECORDS)


@pytest.fixture(scope="module")
def state(rows: pa.Table) -> Iterator[State]:
    with points.point(rows) as folded:
        yield folded


def judged(state: State, store: VectorStore, rows: pa.Table) -> Cell:
    """Both layers on a collection of these records, which is dropped again."""
    try:
        target = points.restored(store, rows)
    except Exception as error:  # noqa: BLE001 - which errors engines have is not what is tested
        store.drop("notes@1")
        return Cell(refused=f"{type(error).__name__}: {error}")
    try:
        return Cell(digests(state, store, target), tuple(points.probed(state, target).ids()))
    finally:
        store.drop(target.name)


def digests(state: State, store: VectorStore, target: Target) -> tuple[str, ...]:
    """Kinds of records that are not equal."""
    scan = store.scan(target.name, ordered=False)
    observe_store(state, scan, store=store, physical=target.name)
    return tuple(sorted(unequal.kind for unequal in unequal_records(state)))


def mutated(mutation: Mutation, rows: pa.Table) -> pa.Table:
    seed = CAMPAIGN.seed(11) + sum(mutation.name.encode())
    return mutation.apply(rows, np.random.default_rng(seed))


@pytest.mark.parametrize("engine", ENGINES)
def test_damage_is_found(engine: str, state: State, rows: pa.Table, open_store: OpenStore) -> None:
    store = open_store(engine)
    mutations = MUTATIONS[:: CAMPAIGN.pick(short=EVERY.get(engine, 1), long=1)]
    cells = {m.name: judged(state, store, mutated(m, rows)) for m in mutations}
    record_result(f"mutations-{engine}", **table(cells))
    planted = {name: cell for name, cell in cells.items() if cell.refused is None}
    assert not [name for name, cell in planted.items() if not cell.digests]
    missed = [m.name for m in RETRIEVAL if m.name in planted and not planted[m.name].probes]
    assert missed == []
    assert len(planted) >= 0.9 * len(mutations), [c.refused for c in cells.values() if c.refused]


def table(cells: dict[str, Cell]) -> dict[str, Any]:
    """The cells as a result file has them; of many findings the first few."""
    return {
        "records": RECORDS,
        "damages": len(cells),
        "caught_by_digests": sum(bool(c.digests) for c in cells.values()),
        "caught_by_probes": sum(bool(c.probes) for c in cells.values()),
        "refused_by_the_engine": {n: c.refused for n, c in cells.items() if c.refused},
        "cells": {
            name: {"digests": list(c.digests), "probes": list(c.probes[:5])}
            for name, c in cells.items()
            if c.refused is None
        },
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_a_sound_collection_raises_no_alarm(engine: str, open_store: OpenStore) -> None:
    alarms = Counter[str]()
    store = open_store(engine)
    for seed in range(SOUND):
        rows = points.records(RECORDS, seed=1000 + seed)
        with points.point(rows) as state:
            cell = judged(state, store, rows.take(shuffled(len(rows), seed)))
        assert cell.refused is None
        alarms.update([*cell.digests, *cell.probes])
    record_result(f"mutations-sound-{engine}", rebuilt=SOUND, records=RECORDS, alarms=dict(alarms))
    assert alarms == Counter()


def shuffled(count: int, seed: int) -> pa.Array:
    """Another order of writing."""
    return pa.array(np.random.default_rng(seed).permutation(count))


def test_the_table_has_enough_damages() -> None:
    """Their names are apart, and each changes something."""
    rows = points.records(400)
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
    assert len(RETRIEVAL) >= 40
    assert not [m.name for m in MUTATIONS if mutated(m, rows).equals(rows)]
