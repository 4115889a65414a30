"""A record that an engine refuses keeps no other from coming back, is named, is not taken for
deleted, and stays in the recovery point."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from dr_pipelines.errors import Damaged, InvalidRequest
from dr_pipelines.live import left_out
from dr_pipelines.model.json_size import MAX_VALUES
from dr_pipelines.model.misfit import LONGEST
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery import Recovery, Request
from dr_pipelines.proof.verify import verify
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.recovery.run import recover
from dr_pipelines.repository.history import History
from dr_pipelines.repository.json_codec import JSON_LIMIT_BYTES
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.rows import newest_rows
from dr_pipelines.testing.world import OneAtATime
from tests.backup.test_fitness import (
    ROWS,
    SPEC,
    Picky,
    row,
    snapshot,
    world,
)

REFUSED = {"b0", "c0"}
NONE = store_schema(SPEC).empty_table()


def brought_back(store: Picky, repository: Repository, **more: Any) -> Recovery:
    """The newest point, restored and served from the store that it was in."""
    request = Request(collection="items", store="first", switch=True, **more)
    return recover(request, Resources(repository, store, "first", OneAtATime()))


def lost(*rows: dict[str, Any], store: type[Picky] = Picky) -> tuple[Picky, Repository]:
    """A repository that holds a collection, and a store that has lost it."""
    full, repository = world(*rows)
    snapshot(full, repository)
    return store(), repository


def ids(store: Picky) -> set[str]:
    return {key for batch in store.scan("items") for key in batch["id"].to_pylist()}


def ids_kept(repository: Repository) -> set[str]:
    history = History(repository, "items")
    with history.fold_point(history.latest()) as state:
        tables = list(newest_rows(state))
    return {key for table in tables for key in table["id"].to_pylist()}


def test_all_but_the_odd_rows_come_back() -> None:
    store, repository = lost(*ROWS)
    done = brought_back(store, repository)
    assert (done.left_out, {m.record for m in done.refused}) == (2, REFUSED)
    assert ["note" in m.reason or "finite" in m.reason for m in done.refused] == [True, True]
    assert ids(store) == {r["id"] for r in ROWS} - REFUSED
    assert done.records == len(ROWS)
    assert done.bit_identical


def test_the_next_backup_does_not_take_them_for_deleted() -> None:
    store, repository = lost(*ROWS)
    brought_back(store, repository)
    assert History(repository, "items").latest().manifest.left_out is not None
    for _ in range(2):
        taken = snapshot(store, repository)
        assert taken.equal
        assert taken.findings.recorded == []
        assert (taken.omitted, taken.rows, taken.counts.records) == (2, len(ROWS) - 2, len(ROWS))
        assert taken.fitness.misfits == 2
        assert {m.record for m in taken.fitness.named} == REFUSED
        assert [loss.part for loss in taken.unaccepted] == ["records"]
    assert ids_kept(repository) == {r["id"] for r in ROWS}
    assert verify(History(repository, "items"), level=3).sound


def test_they_come_back_into_a_store_that_takes_them() -> None:
    store, repository = lost(*ROWS)
    brought_back(store, repository)
    snapshot(store, repository)
    taking = Picky()
    taking.misfits = lambda spec, batch: Picky.misfits(taking, spec, batch.slice(0, 0))  # type: ignore[method-assign]
    taking.filling = True
    done = brought_back(taking, repository)
    assert (done.left_out, ids(taking)) == (0, {r["id"] for r in ROWS})
    assert History(repository, "items").latest().manifest.left_out is None


def test_a_real_deletion_beside_them_is_one() -> None:
    store, repository = lost(*ROWS)
    brought_back(store, repository)
    store.write(store.aliases()["items"], NONE, replaces=["a"])
    taken = snapshot(store, repository)
    assert (taken.equal, taken.findings.absent, taken.omitted) == (True, ("a",), 2)
    assert ids_kept(repository) == {r["id"] for r in ROWS} - {"a0"}


def test_one_that_was_put_back_is_deleted_when_it_goes_again() -> None:
    store, repository = lost(*ROWS)
    brought_back(store, repository)
    store.fill(row("b", note="short"))
    taken = snapshot(store, repository)
    assert (taken.findings.changed, taken.omitted) == (("b",), 1)
    left = History(repository, "items").latest().manifest.left_out
    assert left is not None
    assert (left.total, [m.record for m in left.named]) == (1, ["c0"])
    store.write(store.aliases()["items"], NONE, replaces=["b"])
    taken = snapshot(store, repository)
    assert (taken.findings.absent, taken.omitted) == (("b",), 1)


def test_a_document_that_is_edited_does_not_lose_what_was_left_out_of_it() -> None:
    rows = [row("doc", n) for n in range(3)]
    rows[1] |= {"note": "much too long"}
    store, repository = lost(*rows, row("x"))
    brought_back(store, repository)
    store.fill(row("doc", 0, note="new"))
    taken = snapshot(store, repository)
    assert (taken.equal, taken.findings.changed, taken.omitted) == (True, ("doc",), 1)
    assert ids_kept(repository) == {"doc0", "doc1", "doc2", "x0"}
    again = snapshot(store, repository)
    assert (again.equal, again.findings.recorded, again.omitted) == (True, [], 1)


def test_a_document_of_which_nothing_else_is_left_keeps_it() -> None:
    rows = [row("doc", n) for n in range(2)]
    rows[1] |= {"note": "much too long"}
    store, repository = lost(*rows, row("x"))
    brought_back(store, repository)
    store.write(store.aliases()["items"], NONE, replaces=["doc"])
    taken = snapshot(store, repository)
    assert taken.findings.changed == ("doc",)
    assert ids_kept(repository) == {"doc1", "x0"}


class Surprises(Picky):
    """Refuses what nothing foresaw."""

    surprising: frozenset[str] = frozenset(["e3"])

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        for key in batch["document_id"].to_pylist():
            if key in self.surprising:
                raise InvalidRequest(f"batch for {name!r}: a record breaks a rule of the table")
        super().write(name, batch, replaces=replaces)


def test_what_nothing_foresaw_is_found_and_left_out_as_well() -> None:
    store, repository = lost(*ROWS, store=Surprises)
    done = brought_back(store, repository)
    assert {m.record for m in done.refused} == {*REFUSED, "e30"}
    assert "breaks a rule" in next(m.reason for m in done.refused if m.record == "e30")
    assert ids(store) == {r["id"] for r in ROWS} - {*REFUSED, "e30"}
    assert snapshot(store, repository).findings.recorded == []


class Repeats(Surprises):
    """Says the value that it does not take, however long."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        try:
            super().write(name, batch, replaces=replaces)
        except InvalidRequest as error:
            raise InvalidRequest(f"{error}: {'x' * 100_000}") from None


def test_what_an_engine_repeats_is_not_kept_whole() -> None:
    store, repository = lost(*ROWS, store=Repeats)
    done = brought_back(store, repository)
    assert max(len(m.reason) for m in done.refused) == LONGEST + 1
    assert len(History(repository, "items").latest().manifest.canonical()) < 10_000


class LosesOne(Picky):
    """Loses a record that it took."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        keep = [key != "e20" for key in batch["id"].to_pylist()]
        super().write(name, batch.filter(pa.array(keep, pa.bool_())), replaces=replaces)


def test_what_was_not_refused_must_be_there() -> None:
    store, repository = lost(*ROWS, store=LosesOne)
    with pytest.raises(Damaged, match="e2"):
        brought_back(store, repository)
    assert store.aliases() == {}


def test_more_than_a_list_can_hold_are_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or no backup could read the list."""
    monkeypatch.setattr(left_out, "JSON_LIMIT_BYTES", 4_000)
    rows = [row(f"k{n:04d}", note="much too long" if n % 2 else "ok") for n in range(60)]
    store, repository = lost(*rows)
    with pytest.raises(
        InvalidRequest, match=r"too many to leave out: record 'k0001.*removed again"
    ):
        brought_back(store, repository)
    assert (store.collections(), store.aliases()) == ([], {})


@pytest.mark.parametrize("key", ["a", "\x01" * 40, "é" * 300])
def test_a_list_within_the_limit_can_be_read(key: str) -> None:
    _, repository = lost(row("x"))
    size = left_out.RECORD_BYTES + len(key) * left_out.CHARACTER_BYTES
    table = pa.table([[key], [b"x" * 32], [b"y" * 32]], schema=left_out.NOTHING_LEFT.table.schema)
    ref = left_out.write_left_out(History(repository, "items"), left_out.Left(table))
    assert ref is not None
    assert ref.records.size_bytes < size + 40
    assert JSON_LIMIT_BYTES / left_out.RECORD_BYTES * 4 < MAX_VALUES


def test_few_are_named_and_all_are_left_out() -> None:
    rows = [row(f"k{n:04d}", note="much too long" if n % 2 else "ok") for n in range(300)]
    store, repository = lost(*rows)
    done = brought_back(store, repository)
    assert (done.left_out, len(done.refused), len(ids(store))) == (150, 20, 150)
    taken = snapshot(store, repository)
    assert (taken.equal, taken.omitted, taken.findings.recorded) == (True, 150, [])
