"""Facts that a plan is made of: bounded, and said to be."""

from pathlib import Path

import pytest

from dr_pipelines.model.incident import Incident, SavedFacts
from dr_pipelines.planning.plan_page import page
from dr_pipelines.planning.recovery_plan import plan_incident
from dr_pipelines.project.facts import gather_facts, measurements, points
from dr_pipelines.project.process import now
from dr_pipelines.project.project import open_project
from tests.cli.workplace import Workplace

NOTES = Incident(kind="collection", collections=("notes",))


def test_points_that_were_not_looked_at_are_counted(
    protected: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "MOST_POINTS", 3)
    project = open_project(Path("policies.yaml"), {})
    facts = gather_facts(project, NOTES, now=now())
    (notes,) = facts.collections
    assert ([p.number for p in notes.points], notes.earlier) == ([6, 7, 8], 5)
    assert "5 earlier points were not looked at" in page(plan_incident(facts))
    assert SavedFacts.model_validate_json(facts.canonical()) == facts


def test_drills_are_measured_by_the_evidence_that_they_left(protected: Workplace) -> None:
    """Restores that nobody switched to are measurements; one that was switched to is counted once,
    although its timeline says the same."""
    for number in (1, 2):
        assert protected.dr("restore", "notes", "--into", f"drill-{number}").code == 0
    assert protected.dr("restore", "notes", "--switch").code == 0
    project = open_project(Path("policies.yaml"), {})
    (notes,) = gather_facts(project, NOTES, now=now()).collections
    restores = [m for m in notes.measurements if m.route != "reingest"]
    assert [(m.route, m.records) for m in restores] == [("load", 3)] * 3
    assert ["switch" in m.phases for m in restores] == [False, False, True]
    (plan,) = plan_incident(gather_facts(project, NOTES, now=now())).collections
    assert plan.measurements == 3
    assert plan.span is not None


def test_reports_that_cannot_be_read_are_counted(protected: Workplace) -> None:
    assert protected.dr("restore", "notes", "--into", "drill").code == 0
    (report,) = Path("repository/notes/evidence/recovery").rglob("*.json")
    report.write_bytes(b"{}")
    facts = gather_facts(open_project(Path("policies.yaml"), {}), NOTES, now=now())
    (notes,) = facts.collections
    assert (notes.unread_reports, {m.route for m in notes.measurements}) == (1, {"reingest"})
    assert "1 reports of earlier recoveries could not be read" in page(plan_incident(facts))


def test_the_newest_reports_and_ingestions_are_measured(
    protected: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        assert protected.dr("restore", "notes", "--into", name).code == 0
    for least in (2, 1):
        monkeypatch.setattr(measurements, "MOST_REPORTS", least)
        monkeypatch.setattr(points, "MOST_INGESTIONS", least)
        facts = gather_facts(open_project(Path("policies.yaml"), {}), NOTES, now=now())
        routes = [m.route for m in facts.collections[0].measurements]
        assert [routes.count(route) for route in ("load", "reingest")] == [least, least]
