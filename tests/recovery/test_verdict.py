"""A difference from the recovery point is a finding: a phase collects its own, then it stops."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from dr_pipelines.errors import Damaged, InvalidRequest, Refused
from dr_pipelines.model.golden import GoldenQuery, GoldenSet
from dr_pipelines.model.query import Hit, Query
from dr_pipelines.model.recovery import Recovery, Request, Terms
from dr_pipelines.model.verdict import Override
from dr_pipelines.recovery.report import compared_line, recovery_value
from dr_pipelines.recovery.run import recover
from dr_pipelines.recovery.stopped import Stopped, Unequal, VerdictRefused
from dr_pipelines.recovery.verdict_report import verdict_lines
from dr_pipelines.repository.history import History
from dr_pipelines.repository.repository import Repository
from dr_pipelines.testing.memory_store import MemoryVectorStore
from tests.recovery.test_fitting import adopted, into

Row = dict[str, Any]
Damage = Callable[[list[Row]], list[Row]]
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Returning(MemoryVectorStore):
    """Returns other records than it was given, where all columns are read."""

    def __init__(self, damage: Damage) -> None:
        super().__init__()
        self.damage = damage

    def scan(self, name: str, **options: Any) -> Iterator[pa.RecordBatch]:
        batches = list(super().scan(name, **options))
        if "columns" in options:
            yield from batches
            return
        rows = [row for batch in batches for row in batch.to_pylist()]
        yield from pa.Table.from_pylist(self.damage(rows), schema=batches[0].schema).to_batches()


def changed(key: str, **values: Any) -> Damage:
    return lambda rows: [row | values if row["id"] == key else row for row in rows]


def both(first: Damage, second: Damage) -> Damage:
    return lambda rows: second(first(rows))


DAMAGES: dict[str, tuple[Damage, set[str]]] = {
    "a record is gone": (lambda rows: rows[:-1], {"digests:missing", "digests:count"}),
    "a record came": (
        lambda rows: [*rows, rows[0] | {"id": "x", "document_id": "x"}],
        {"digests:unexpected", "digests:count"},
    ),
    "another text": (changed("b", text="b"), {"digests:content"}),
    "another vector": (changed("c", embedding=[0.0, 1.0]), {"digests:vectors"}),
    "another document": (changed("a", document_id="z"), {"digests:content"}),
    "two kinds at once": (
        both(changed("a", text="b"), changed("c", embedding=[0.0, 1.0])),
        {"digests:content", "digests:vectors"},
    ),
    "nothing is there": (
        lambda _: [],
        {"digests:missing", "digests:count", "digests:nothing-looked-at"},
    ),
}


def recovered(repository: Repository, damage: Damage, *go_on: str) -> Recovery:
    overrides = tuple(Override(finding=f, by="me", reason="a test", at=NOW) for f in go_on)
    terms = Terms(overrides=overrides)
    request = Request(
        collection="items", store="second", accept_loss=True, switch=True, terms=terms
    )
    return recover(request, into(Returning(damage), repository, "second"))


@pytest.fixture(scope="module")
def repository() -> Repository:
    return adopted(MemoryVectorStore(), documents="abc")


@pytest.mark.parametrize(("damage", "findings"), DAMAGES.values(), ids=DAMAGES)
def test_every_kind_of_difference_is_a_finding_and_all_of_them_are_named(
    repository: Repository, damage: Damage, findings: set[str]
) -> None:
    head = History(repository, "items").head().number
    with pytest.raises(Unequal, match="does not read back as it was written") as stopped:
        recovered(repository, damage)
    error = stopped.value
    assert isinstance(error, Damaged)
    assert {finding.id for finding in error.verdict.in_the_way} == findings
    assert error.verdict.outcome == "refused"
    assert error.made_in == ("prove", "prove")
    for name in findings:
        assert f"--go-on {name}" in str(error)
    assert History(repository, "items").manifest() is not None
    assert "restore" not in kinds_since(repository, head)


def kinds_since(repository: Repository, head: int) -> list[str]:
    log = History(repository, "items").log
    return [entry.kind for entry, _ in log.entries(head + 1)] if log.head().number > head else []


def test_somebody_goes_on_by_name_and_only_in_spite_of_everything_that_was_found() -> None:
    repository = adopted(MemoryVectorStore(), documents="abc")
    damage, findings = DAMAGES["two kinds at once"]
    with pytest.raises(Stopped) as stopped:
        recovered(repository, damage, "digests:content")
    assert [f.id for f in stopped.value.verdict.in_the_way] == ["digests:vectors"]

    done = recovered(repository, damage, *findings)

    assert (done.verdict.outcome, done.switched, done.whole) == ("overridden", True, False)
    assert done.bit_identical is False
    assert "NOT equal" in compared_line(done)
    lines = list(verdict_lines(done.verdict))
    assert "went on in spite of digests:vectors: me: a test" in lines
    value = recovery_value(done)["verdict"]
    assert {one["finding"] for one in value["overrides"]} == findings
    assert [check["phase"] for check in value["checks"]][:2] == ["prove", "prove"]


def test_nobody_goes_on_in_spite_of_what_was_not_found(repository: Repository) -> None:
    with pytest.raises(InvalidRequest, match="no finding 'digests:vectors'"):
        recovered(repository, lambda rows: rows, "digests:vectors")


def test_an_equal_collection_passes_by_counts_of_what_was_looked_at() -> None:
    done = recovered(adopted(MemoryVectorStore(), documents="abc"), lambda rows: rows)
    records, parts, *others = done.verdict.checks
    assert (records.name, records.looked_at, records.total) == ("digests", 3, 3)
    assert (parts.name, parts.findings) == ("parts", ())
    assert parts.looked_at > 0
    phases = dict.fromkeys(done.made_in)
    assert list(phases) == ["prove", "probe", "confirm"]
    assert {"coverage", "vectors", "aliases"} <= {check.name for check in others}
    assert (done.verdict.outcome, done.bit_identical, done.whole) == ("passed", True, True)


class Deaf(MemoryVectorStore):
    """Its index finds nothing under some names, although every record is there."""

    def __init__(self, *deaf: str) -> None:
        super().__init__()
        self.deaf = deaf

    def search(self, name: str, query: Query, *, limit: int = 10) -> list[Hit]:
        hits = super().search(name, query, limit=limit)
        return [] if name.startswith(self.deaf) else hits


def answering(repository: Repository, store: Deaf, *go_on: str, switch: bool = True) -> Recovery:
    overrides = tuple(Override(finding=f, by="me", reason="a test", at=NOW) for f in go_on)
    request = Request(
        collection="items",
        store="second",
        accept_loss=True,
        switch=switch,
        terms=Terms(overrides=overrides),
    )
    return recover(request, into(store, repository, "second"))


@pytest.mark.parametrize("switch", [True, False], ids=["switch", "beside"])
def test_a_collection_that_does_not_answer_is_not_served_until_somebody_goes_on(
    switch: bool,
) -> None:
    repository, store = adopted(MemoryVectorStore(), documents="abc"), Deaf("items@")
    with pytest.raises(VerdictRefused, match="does not answer as the collection did") as stopped:
        answering(repository, store, switch=switch)
    findings = [finding.id for finding in stopped.value.verdict.in_the_way]
    assert "coverage:embedding" in findings
    assert store.aliases() == {}
    assert isinstance(stopped.value, Refused)

    done = answering(repository, store, *findings, switch=switch)

    assert (done.plan.resumed, done.switched) == (True, switch)
    assert done.verdict.outcome == "overridden"
    assert set(store.aliases()) == ({"items"} if switch else set())


def test_what_does_not_answer_through_the_name_is_said_with_the_way_back() -> None:
    repository, store = adopted(MemoryVectorStore(), documents="abc"), Deaf("items")
    store.deaf = ("items_",)  # nothing yet

    def promote(physical: str, *, alias: str) -> None:
        MemoryVectorStore.promote(store, physical, alias=alias)
        store.deaf = ("items",)

    store.promote = promote  # type: ignore[assignment, method-assign]
    with pytest.raises(VerdictRefused, match=r"is served from .* since log:2") as stopped:
        answering(repository, store)
    assert "before: dr restore items --at log:1 --switch" in str(stopped.value)
    assert stopped.value.made_in[-1] == "confirm"
    assert next(f.id for f in stopped.value.verdict.in_the_way) == "coverage:embedding"


def test_a_golden_query_that_must_hold_keeps_traffic_away() -> None:
    repository, store = adopted(MemoryVectorStore(), documents="abc"), MemoryVectorStore()
    golden = GoldenSet(
        v=1,
        queries=(
            GoldenQuery(id="kept", like="a", must=("b",), must_hold=True),
            GoldenQuery(id="lost", like="a", must=("z",), must_hold=True),
        ),
    )
    resources = replace(into(store, repository, "second"), golden=golden)
    request = Request(collection="items", store="second", accept_loss=True, switch=True)
    with pytest.raises(VerdictRefused) as stopped:
        recover(request, resources)
    assert [f.id for f in stopped.value.verdict.in_the_way] == ["golden:lost"]
    assert store.aliases() == {}
