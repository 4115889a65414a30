"""A proof includes fitness for a restore: what would not be is found, said and accepted by
name; a record that the engine refuses is kept, and keeps nothing else from coming back."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dr_pipelines.backup import commit, unchanged
from dr_pipelines.backup.result import LossAccepted, Snapshot, Terms
from dr_pipelines.backup.snapshot import backup
from dr_pipelines.backup.unchanged import unchanged_since
from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import InvalidRequest
from dr_pipelines.live.live import Live
from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Vector,
)
from dr_pipelines.model.compatibility import Note, Outcome
from dr_pipelines.model.misfit import Misfits
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery_point import Timeline, Writer
from dr_pipelines.monitoring.exposure import protection_status
from dr_pipelines.planning.freshness import Protection, protection
from dr_pipelines.proof.points import newest_snapshot, record_proof
from dr_pipelines.repository.history import History
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.rows import newest_rows
from dr_pipelines.stores.shared.batches import checked_batch
from dr_pipelines.stores.shared.misfits import (
    Batch,
    Problem,
    misfits_of,
    problem,
    value_problems,
)
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import OneAtATime, TickingClock

SPEC = CollectionSpec(
    name="items",
    vectors=(Vector(dimension=2),),
    fields=(Field(name="note", type=FieldType.STRING), Field(name="weight", type=FieldType.NUMBER)),
)
LONGEST = 8
RULE = Note("engine.memory.rules", Outcome.LOST, "not made again: add it by hand")


def limits(batch: Batch, spec: CollectionSpec) -> Iterator[Problem]:
    """Notes of more than eight characters are not taken, nor is what is not finite."""
    yield from value_problems(batch, spec)
    long = pc.greater(pc.utf8_length(batch.column("note")), LONGEST)
    yield problem("note", long, f"its note has more than {LONGEST} characters")


class Picky(MemoryVectorStore):
    """Takes back less than it may hold: somebody else filled it, before there were limits."""

    notes: tuple[Note, ...] = ()
    glanced = "the same"
    filling = False

    def compatibility(self, name: str) -> tuple[Note, ...]:
        return (*super().compatibility(name), *self.notes)

    def misfits(self, spec: CollectionSpec, batch: pa.Table | pa.RecordBatch) -> Misfits:
        return misfits_of(batch, limits(batch, spec))

    def change_token(self, name: str) -> str | None:
        self.describe(name)
        return self.glanced

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        if not self.filling:
            checked_batch(batch, self.describe(name), check=limits)
        super().write(name, batch, replaces=replaces)

    def fill(self, *rows: dict[str, Any], replaces: Sequence[str] = ()) -> None:
        """As whoever made the collection wrote."""
        self.filling = True
        name = self.aliases().get("items", "items")
        table = pa.Table.from_pylist([*rows], schema=store_schema(SPEC))
        self.write(name, table, replaces=replaces)
        self.filling = False


def row(key: str, chunk: int = 0, **more: Any) -> dict[str, Any]:
    usual = {"document_id": key, "chunk_index": chunk, "note": key, "embedding": [1.0, 0.5]}
    return {"id": f"{key}{chunk}"} | usual | more


ROWS = (
    row("a"),
    row("b", note="much too long"),
    row("c", embedding=[float("nan"), 1.0]),
    row("d", embedding=None, note=None),
    *(row(f"e{n}") for n in range(6)),
)


def world(*rows: dict[str, Any]) -> tuple[Picky, Repository]:
    """A foreign collection, and a repository that knows nothing of it."""
    store, ids = Picky(), iter(f"{n:032x}" for n in range(1000))
    store.create(SPEC)
    store.fill(*rows)
    repository = Repository.create(
        MemoryBlobStore(),
        capabilities={"exclusive_create": True},
        witness=MemoryWitness(),
        writer=Writer(id=next(ids), host="here", version="0"),
        clock=TickingClock(),
        new_id=lambda: next(ids),
    )
    return store, repository


def snapshot(store: Picky, repository: Repository, **more: Any) -> Snapshot:
    timeline = Timeline(id=1, physical="items", store="first")
    live, terms = Live(store, OneAtATime(), "items"), Terms(adopt=timeline, **more)
    return backup(History(repository, "items"), live=live, terms=terms)


def stands(repository: Repository) -> Protection:
    """Against an objective of a day, just after the newest snapshot was proven."""
    history = History(repository, "items")
    record_proof(history, newest_snapshot(history), checks=["equal", "restorable"])
    status = protection_status(history, feed=None, edited=True)
    return protection(status, rpo=timedelta(days=1), now=repository.clock())


def test_what_fits_says_so() -> None:
    store, repository = world(row("a"), row("d", embedding=None))
    taken = snapshot(store, repository)
    assert (taken.equal, taken.fitness.losses(), taken.fitness.word) == (True, (), "fits")
    assert stands(repository) is Protection.WITHIN


def test_records_that_the_engine_would_not_take_are_named_counted_and_kept() -> None:
    store, repository = world(*ROWS)
    taken = snapshot(store, repository)
    assert taken.equal
    fitness = History(repository, "items").latest().manifest.fitness
    assert fitness == taken.fitness
    assert (fitness.misfits, fitness.word) == (2, "does not fit")
    assert [(m.record, m.column) for m in fitness.named] == [("b0", "note"), ("c0", "embedding")]
    assert [loss.part for loss in taken.unaccepted] == ["records"]
    statistics = History(repository, "items").latest().manifest.vectors
    assert (statistics.rows, statistics.nulls, statistics.not_finite) == (10, 1, 1)
    again = snapshot(store, repository)
    assert (again.equal, again.findings.recorded, again.fitness.misfits) == (True, [], 2)


def test_few_are_named_and_all_are_counted() -> None:
    store, repository = world(*(row(f"k{n:04d}", note="much too long") for n in range(300)))
    fitness = snapshot(store, repository).fitness
    assert (fitness.misfits, len(fitness.named)) == (300, 20)
    assert "300 records" in fitness.losses()[0].consequence
    assert "and 297 more" in fitness.losses()[0].consequence


def test_a_point_that_does_not_fit_misses_the_objective_until_each_loss_is_accepted() -> None:
    store, repository = world(*ROWS)
    store.notes = (RULE,)
    assert [loss.part for loss in snapshot(store, repository).unaccepted] == [RULE.part, "records"]
    assert stands(repository) is Protection.BREACHED
    accept = partial(LossAccepted, reason="test data", by="mo")
    taken = snapshot(store, repository, accepting=accept(("records",)))
    assert [loss.part for loss in taken.unaccepted] == [RULE.part]
    assert stands(repository) is Protection.BREACHED
    taken = snapshot(store, repository, accepting=accept((RULE.part,)))
    assert taken.unaccepted == ()
    acceptance = History(repository, "items").latest().manifest.accepted_losses
    assert {(a.part, a.by, a.reason) for a in acceptance} == {
        ("records", "mo", "test data"),
        (RULE.part, "mo", "test data"),
    }
    assert stands(repository) is Protection.WITHIN
    assert snapshot(store, repository).unaccepted == ()  # it is durable


def test_an_acceptance_ends_when_something_else_would_be_lost() -> None:
    store, repository = world(*ROWS)
    snapshot(store, repository)
    accepting = LossAccepted(("records",), "test data", "mo")
    assert snapshot(store, repository, accepting=accepting).unaccepted == ()
    store.fill(row("f", note="too long as well"))
    taken = snapshot(store, repository)
    assert ([loss.part for loss in taken.unaccepted], taken.accepted) == (["records"], ())


def test_an_acceptance_is_of_these_records_and_not_of_as_many_others() -> None:
    """Of many, a few are named."""
    rows = [row(f"k{n}", note="much too long" if n < 6 else "ok") for n in range(8)]
    store, repository = world(*rows)
    accepting = LossAccepted(("records",), "test data", "mo")
    assert snapshot(store, repository, accepting=accepting).unaccepted == ()
    store.fill(row("k8"))
    assert snapshot(store, repository).unaccepted == ()
    store.fill(row("k5", note="ok"), row("k7", note="much too long"), replaces=["k5", "k7"])
    taken = snapshot(store, repository)
    assert ([loss.part for loss in taken.unaccepted], taken.accepted) == (["records"], ())


def test_what_is_not_lost_cannot_be_accepted() -> None:
    store, repository = world(*ROWS)
    with pytest.raises(InvalidRequest, match=r"'triggers' is nothing that would be lost.*records"):
        snapshot(store, repository, accepting=LossAccepted(("triggers",), "why", "mo"))
    assert repository.log("items").head().number == 0


@pytest.mark.parametrize("outcome", [Outcome.APPROXIMATED, Outcome.CODE])
def test_what_works_differently_or_runs_code_is_a_remark(outcome: Outcome) -> None:
    store, repository = world(row("a"))
    store.notes = (Note("engine.memory.checks", outcome, "calls a function"),)
    fitness = snapshot(store, repository).fitness
    assert (fitness.word, fitness.losses()) == ("fits", ())
    assert [(part.part, part.outcome) for part in fitness.remarks()] == [
        ("engine.memory.checks", outcome)
    ]


def test_a_quiet_collection_whose_configuration_would_not_come_back_is_looked_at() -> None:
    store, repository = world(row("a"))
    taken = snapshot(store, repository)
    seen = unchanged_since(History(repository, "items"), store=store)
    assert seen is not None
    assert seen.i == taken.number
    store.notes = (RULE,)
    assert unchanged_since(History(repository, "items"), store=store) is None


def test_a_quiet_collection_is_looked_at_again_by_another_release() -> None:
    """Which may know of more that would not come back."""
    store, repository = world(row("a"))
    with pytest.MonkeyPatch.context() as patch:
        for module in (commit, unchanged):
            patch.setattr(module, "__version__", "0.0.1")
        snapshot(store, repository)
        assert unchanged_since(History(repository, "items"), store=store) is not None
    assert unchanged_since(History(repository, "items"), store=store) is None


def test_nan_and_infinities_are_kept_to_the_bit() -> None:
    payload = np.array([0x7FC00123, 0xFF800000], np.uint32).view(np.float32)
    store, repository = world(row("a", embedding=payload.tolist()), row("b", weight=float("nan")))
    name = store.aliases().get("items", "items")
    stored = store.tables[name].table["embedding"].combine_chunks().flatten().to_numpy()
    assert snapshot(store, repository).equal
    history = History(repository, "items")
    with history.fold_point(history.latest()) as state:
        rows = pa.concat_tables(list(newest_rows(state)))
    restored = rows["embedding"].combine_chunks().flatten().to_numpy()
    assert restored.view(np.uint32).tolist() == stored.view(np.uint32).tolist()
    store.fill(row("a", embedding=[float("nan"), float("inf")]))
    assert snapshot(store, repository).findings.changed == ("a",)
