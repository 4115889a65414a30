"""What goes wrong with one collection never keeps `status` from saying how the others stand."""

from typing import Any

import pytest

from dr_pipelines.errors import Damaged, Unavailable
from dr_pipelines.project import Project
from tests.cli.workplace import Workplace

DEFECT = "This is a defect in dr_pipelines: please report it"
FAILURES = {
    "out-of-reach": (Unavailable("no answer"), "no answer"),
    "damaged": (Damaged("torn"), "torn"),
    "defect": (ZeroDivisionError("division by zero\nsecond line"), f"division by zero. {DEFECT}"),
    "disk": (OSError(5, "Input/output error"), f"Input/output error. {DEFECT}"),
}


@pytest.mark.parametrize("part", ["standing", "catalog_of"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_collection_that_fails_leaves_the_others(
    kept: Workplace, monkeypatch: pytest.MonkeyPatch, part: str, failure: str
) -> None:
    error, says = FAILURES[failure]
    real = getattr(Project, part)

    def failing(project: Project, name: str, *arguments: Any) -> Any:
        if name == "memories":
            raise error
        return real(project, name, *arguments)

    well = kept.dr("status", "--json").json["collections"][0]
    monkeypatch.setattr(Project, part, failing)
    result = kept.dr("status", "--json")
    notes, memories = result.json["collections"]
    assert (notes["collection"], notes["problems"]) == ("notes", well["problems"])
    assert notes["proven"] == well["proven"]
    assert result.code == 3
    assert any(says in problem for problem in memories["problems"])
    assert "notes" in kept.dr("status").out
