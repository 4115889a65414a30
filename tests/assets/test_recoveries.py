"""The job that carries out a plan of recovery."""

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets import recoveries
from dr_pipelines.model.incident import Incident, IncidentKind
from dr_pipelines.model.recovery_plan import RecoveryPlan
from dr_pipelines.planning.recovery_plan import plan_incident
from dr_pipelines.project.carrying_out import Outcome
from dr_pipelines.project.facts import gather_facts
from dr_pipelines.project.process import now
from tests.assets.location import Location, failure_of


def planned(location: Location, kind: IncidentKind = "collection") -> Path:
    since = now() if kind == "corruption-since" else None
    incident = Incident(kind=kind, collections=("notes",), since=since)
    file = location.directory / "plan.json"
    plan = plan_incident(gather_facts(location.project, incident, now=now()))
    file.write_bytes(plan.canonical())
    return file


def carried_out(location: Location, plan: Path, **words: Any) -> dg.ExecuteInProcessResult:
    config: dict[str, Any] = {"ops": {"carry_out_plan": {"config": {"plan": str(plan), **words}}}}
    return location.run("recover", config=config)


def test_a_plan_is_carried_out_and_again_is_done_already(ingested: Location) -> None:
    plan, before = planned(ingested), ingested.state()
    shutil.rmtree(ingested.directory / "stores")
    assert carried_out(ingested, plan).success
    assert ingested.state() == before
    kinds = ingested.log_kinds()
    assert carried_out(ingested, plan).success
    assert ingested.log_kinds() == kinds


def test_a_plan_whose_facts_changed_fails_the_run_and_does_nothing(ingested: Location) -> None:
    plan = planned(ingested, "corruption-since")
    ingested.say(7, "2026-01-09T10:00:00Z", "e", "the only text of e")
    ingested.ingest_without_dagster()
    kinds = ingested.log_kinds()
    result = carried_out(ingested, plan)
    assert not result.success
    assert "facts that have changed: notes" in failure_of(result)
    assert ingested.log_kinds() == kinds


TERMS = {"go_on": ["digests:content"], "by": "me", "reason": "a test"}


@pytest.mark.parametrize(
    ("file", "words", "says"),
    [
        ("nowhere.json", {}, "cannot be read: No such file or directory"),
        ("feed.jsonl", {}, "holds no plan of this version: make one with dr plan"),
        ("plan.json", {"began": "soon"}, "began: expected a time such as"),
        ("plan.json", {"began": "9000-01-01"}, "is in the future"),
        ("plan.json", {"go_on": ["digests:content"]}, "go together"),
        ("plan.json", TERMS, "digests:content"),
    ],
    ids=["absent", "no plan", "no time", "future", "no name", "no such finding"],
)
def test_a_mistake_in_the_configuration_is_said_and_nothing_is_done(
    ingested: Location, file: str, words: dict[str, Any], says: str
) -> None:
    planned(ingested)
    (ingested.directory / "feed.jsonl").touch()
    served = ingested.state()
    result = carried_out(ingested, ingested.directory / file, **words)
    assert (result.success, says in failure_of(result)) == (False, True), failure_of(result)
    assert ingested.state() == served


def test_a_message_of_many_lines_stays_in_its_cell_of_the_table() -> None:
    plan = RecoveryPlan(
        incident=Incident(kind="collection"), facts="0" * 64, at=now(), repository="r"
    )
    table = recoveries.outcome_metadata(plan, [Outcome("notes", "failed", "one\ntwo | three")])[
        "table"
    ]
    assert table.value.splitlines()[2:] == ["| notes | failed | one<br>two \\| three |"]
