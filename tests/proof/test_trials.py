"""A trial makes a sample in a scratch place, looks at what comes back, and leaves nothing."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.backup.result import LossAccepted, Terms
from dr_pipelines.backup.snapshot import backup
from dr_pipelines.backup.unchanged import unchanged_since
from dr_pipelines.errors import InvalidRequest, Unavailable
from dr_pipelines.live.live import Live
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.compatibility import Outcome
from dr_pipelines.model.fitness import Fitness, unaccepted
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery_point import Timeline
from dr_pipelines.proof.sampling import EdgeSample
from dr_pipelines.proof.trial import Scratch
from dr_pipelines.protocols import Progress
from dr_pipelines.repository.history import History
from dr_pipelines.repository.repository import Repository
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.store_samples import EXTREMES, record, table
from dr_pipelines.testing.store_samples import SPEC as FULL
from dr_pipelines.testing.world import OneAtATime
from tests.backup.test_fitness import (
    SPEC,
    Picky,
    row,
    world,
)

LEASE = OneAtATime()


@dataclass
class Bench:
    """A scratch store, and how often it was opened."""

    store: MemoryVectorStore = field(default_factory=Picky)
    opened: int = 0
    every: timedelta = timedelta(days=7)

    @contextmanager
    def open(self) -> Iterator[MemoryVectorStore]:
        self.opened += 1
        yield self.store

    def scratch(self) -> Scratch:
        return Scratch("store scratch", self.open, machine="0" * 8, every=self.every)


def taken(store: Picky, repository: Repository, bench: Bench, **more: Any) -> Fitness:
    timeline = Timeline(id=1, physical="items", store="first")
    return backup(
        History(repository, "items"),
        live=Live(store, LEASE, "items"),
        terms=Terms(adopt=timeline, **more),
        scratch=bench.scratch(),
    ).fitness


def test_a_collection_is_tried_and_says_so() -> None:
    store, repository = world(*(row(f"k{n}", weight=float(n)) for n in range(50)))
    bench = Bench()
    fitness = taken(store, repository, bench)
    assert (fitness.word, fitness.untried, bench.opened) == ("tried", "", 1)
    assert fitness.trial is not None
    assert 1 < fitness.trial.records < 20
    assert fitness.trial.place == "store scratch"
    assert History(repository, "items").latest().manifest.fitness == fitness
    assert bench.store.collections() == []


def test_it_is_tried_again_when_something_changed_or_time_has_passed_and_not_before() -> None:
    store, repository = world(row("a"), row("b"))
    bench = Bench()
    taken(store, repository, bench)
    store.fill(row("c"))  # no further out than the others
    assert taken(store, repository, bench).word == "tried"
    assert bench.opened == 1
    store.fill(row("d", weight=1e300))
    taken(store, repository, bench)
    assert bench.opened == 2
    spec = store.describe("items").model_copy(update={"engine": {"memory": {"rules": ["r"]}}})
    label = store.tables["items"].label.model_copy(update={"spec": spec})
    store.tables["items"] = replace(store.tables["items"], label=label)
    taken(store, repository, bench)
    assert bench.opened == 3
    bench.every = timedelta(0)
    taken(store, repository, bench)
    assert bench.opened == 4


def test_a_quiet_collection_is_tried_again_when_it_is_due() -> None:
    store, repository = world(row("a"))
    bench = Bench()
    taken(store, repository, bench)
    history = History(repository, "items")
    assert unchanged_since(history, store=store, scratch=bench.scratch()) is not None
    bench.every = timedelta(0)
    assert unchanged_since(history, store=store, scratch=bench.scratch()) is None


class Forgets(Picky):
    """Says that it keeps everything, and does not."""

    def describe(self, name: str) -> CollectionSpec:
        return super().describe(name).model_copy(update={"keyword_index": False})


class LosesTheSign(Picky):
    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        weights = pa.array([w and abs(w) for w in batch["weight"].to_pylist()], pa.float64())
        place = batch.schema.get_field_index("weight")
        super().write(name, batch.set_column(place, "weight", weights), replaces=replaces)


class Rounds(Picky):
    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        column = batch["embedding"].combine_chunks()
        halves = column.flatten().to_numpy().astype(np.float16).astype(np.float32)
        made = pa.FixedSizeListArray.from_arrays(pa.array(halves), 2)
        place = batch.schema.get_field_index("embedding")
        super().write(name, batch.set_column(place, "embedding", made), replaces=replaces)


class Drops(Picky):
    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        super().write(name, batch.slice(1), replaces=replaces)


class TakesNothing(Picky):
    filling = False

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        raise InvalidRequest(f"batch for {name!r}: record {batch['id'][0].as_py()!r}: not today")


@pytest.mark.parametrize(
    ("store", "part", "message"),
    [
        (Forgets, "keyword_index", "keyword and hybrid search fail"),
        (LosesTheSign, "trial.records", "text and fields of 1 records .*b0"),
        (Rounds, "trial.records", "vectors of 2 records"),
        (Drops, "trial.records", "2 records were written, 1 were read"),
        (TakesNothing, "trial.records", "'a0': not today"),
    ],
)
def test_what_a_trial_finds_does_not_fit(store: type[Picky], part: str, message: str) -> None:
    served, repository = world(row("a"), row("b", weight=-1.0, embedding=[0.1, 0.2]))
    served.fill(row("a", embedding=[0.3, 0.1]))
    bench = Bench(store())
    fitness = taken(served, repository, bench)
    (loss,) = [loss for loss in fitness.losses() if loss.part == part]
    assert re.search(message, loss.consequence)
    assert loss.outcome in (Outcome.LOST, Outcome.REFUSED)
    assert fitness.word == "does not fit"
    assert bench.store.collections() == []


def test_without_a_place_it_says_why_it_was_not_tried() -> None:
    store, repository = world(row("a"))
    bench = Bench()

    class Other(MemoryVectorStore):
        engine = "other 1"

    bench.store = Other()
    assert "other 1" in taken(store, repository, bench).untried
    assert Other().collections() == bench.store.collections() == []

    class Away(MemoryVectorStore):
        def collections(self) -> list[str]:
            raise Unavailable("nobody answers")

    bench.store = Away()
    fitness = taken(store, repository, bench)
    assert (fitness.word, fitness.trial) == ("fits", None)
    assert fitness.untried == "store scratch: nobody answers"


class Away(Picky):
    def collections(self) -> list[str]:
        raise Unavailable("nobody answers")


def test_what_a_trial_found_is_not_forgotten_while_there_is_no_place() -> None:
    """Nor is what somebody accepted of it."""
    store, repository = world(row("a"))
    bench = Bench(TakesNothing(), every=timedelta(0))
    accepting = LossAccepted(("trial.records",), "known", "me")
    taken(store, repository, bench, accepting=accepting)
    bench.store = Away()
    for more in ((), [row("b", weight=1e300)]):  # the same edges, and others
        store.fill(*more)
        fitness = taken(store, repository, bench)
        assert (fitness.word, fitness.untried) == ("does not fit", "store scratch: nobody answers")
        manifest = History(repository, "items").latest().manifest
        assert [acceptance.part for acceptance in manifest.accepted_losses] == ["trial.records"]
        assert unaccepted(fitness, manifest.accepted_losses) == ()
    bench.store, bench.every = Picky(), timedelta(days=7)
    assert (
        unchanged_since(History(repository, "items"), store=store, scratch=bench.scratch()) is None
    )
    assert taken(store, repository, bench).word == "tried"


class CannotIndex(Picky):
    def build_index(self, name: str, *, progress: Progress | None = None) -> None:
        raise InvalidRequest("no index of what is not finite")


def test_an_index_that_cannot_be_built_does_not_fit() -> None:
    store, repository = world(row("a"))
    bench = Bench(CannotIndex())
    (loss,) = taken(store, repository, bench).losses()
    assert (loss.part, loss.outcome) == ("trial.index", Outcome.REFUSED)
    assert "no index of what is not finite" in loss.consequence
    assert bench.store.collections() == []


def test_only_what_a_killed_trial_left_is_dropped() -> None:
    store, repository = world(row("a"))
    bench, spec = Bench(), SPEC
    mine, other = (sha256(n.encode()).hexdigest()[:8] for n in ("items", "others"))
    now, old = (
        f"{int(at.timestamp()):08x}"
        for at in (repository.clock(), datetime(2020, 1, 1, tzinfo=UTC))
    )
    stays = [
        "items",
        "dr_trial_items",
        f"dr_trial_{other}@00000000-{old}",
        f"dr_trial_{mine}@11111111-{now}",
        f"dr_trial_{mine}@00000000-{old}0",
    ]
    goes = [
        f"dr_trial_{mine}@00000000-{now}",
        f"dr_trial_{mine}@00000000-ffffffff",
        f"dr_trial_{mine}@11111111-{old}",
    ]
    for name in (*stays, *goes):
        bench.store.create(spec.physical(name))
    taken(store, repository, bench)
    assert bench.store.collections() == sorted(stays)


def test_the_sample_holds_every_edge_and_stays_small() -> None:
    many = [record("m", n, text=f"text {n}", weight=n / 7) for n in range(2000)]
    rows = table(*many, *EXTREMES)
    sample = EdgeSample(FULL)
    for batch in rows.to_batches(max_chunksize=512):
        sample.add(batch)
    picked = sample.table()
    assert picked.num_rows < 100
    assert picked["id"].to_pylist() == sorted(picked["id"].to_pylist(), key=str.encode)
    documents = set(picked["document_id"].to_pylist())
    assert {r["document_id"] for r in EXTREMES} - documents <= {"text", "norm"}  # no further out
    assert sample.shape() == sorted(sample.shape())


def test_a_little_further_is_the_same_shape() -> None:
    def shape(*rows: dict[str, Any]) -> Any:
        sample = EdgeSample(SPEC)
        for batch in pa.Table.from_pylist([*rows], schema=store_schema(SPEC)).to_batches():
            sample.add(batch)
        return sample.shape()

    first = shape(row("a", weight=5.0), row("b", weight=7.0))
    assert first == shape(row("a", weight=5.0), row("b", weight=7.5), row("c", weight=6.0))
    assert first != shape(row("a", weight=5.0), row("b", weight=70.0))
    assert first != shape(row("a", weight=5.0), row("b", weight=7.0), row("c", note=None))


def test_lengths_beyond_single_precision_are_lengths() -> None:
    sample = EdgeSample(SPEC)
    rows = [row("a", embedding=[3e38, 0.0]), row("b", embedding=[1e-40, 0.0]), row("c")]
    for batch in pa.Table.from_pylist(rows, schema=store_schema(SPEC)).to_batches():
        sample.add(batch)
    edges = {edge for column, edge, _ in sample.shape() if column == "embedding"}
    assert edges == {"largest", "smallest"}
    assert {"a0", "b0"} <= set(sample.table()["id"].to_pylist())
