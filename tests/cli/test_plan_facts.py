"""Facts that a plan is made of: bounded, and said to be."""

from pathlib import Path

import pytest

from dr_pipelines.model.incident import Incident, SavedFacts
from dr_pipelines.planning.plan_page import page
from dr_pipelines.planning.recovery_plan import plan_incident
from dr_pipelines.project.facts import gather_facts, points
from dr_pipelines.project.process import now
from dr_pipelines.project.project import open_project
from tests.cli.workplace import Workplace


def test_points_that_were_not_looked_at_are_counted(
    protected: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "MOST_POINTS", 3)
    project = open_project(Path("policies.yaml"), {})
    incident = Incident(kind="collection", collections=("notes",))
    facts = gather_facts(project, incident, now=now())
    (notes,) = facts.collections
    assert ([p.number for p in notes.points], notes.earlier) == ([6, 7, 8], 5)
    assert "5 earlier points were not looked at" in page(plan_incident(facts))
    assert SavedFacts.model_validate_json(facts.canonical()) == facts
