"""A problem of one collection never keeps `status` from reporting on the others."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from dr_pipelines.errors import Damaged, Unavailable
from dr_pipelines.project.collection import ProtectedCollection
from tests.cli.workplace import Workplace

DEFECT = "This is a defect in dr_pipelines: please report it"
FAILURES = {
    "out-of-reach": (Unavailable("no answer"), "no answer"),
    "damaged": (Damaged("torn"), "torn"),
    "defect": (ZeroDivisionError("division by zero\nsecond line"), f"division by zero. {DEFECT}"),
    "disk": (OSError(5, "Input/output error"), f"Input/output error. {DEFECT}"),
}


@pytest.mark.parametrize("part", ["protection_status", "catalog"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_collection_that_fails_leaves_the_others(
    protected: Workplace, monkeypatch: pytest.MonkeyPatch, part: str, failure: str
) -> None:
    error, says = FAILURES[failure]
    real = getattr(ProtectedCollection, part)

    def failing(collection: ProtectedCollection) -> Any:
        if collection.name == "memories":
            raise error
        return real(collection)

    well = protected.dr("status", "--json").json["collections"][0]
    monkeypatch.setattr(ProtectedCollection, part, failing)
    result = protected.dr("status", "--json")
    notes, memories = result.json["collections"]
    assert (notes["collection"], notes["problems"]) == ("notes", well["problems"])
    assert notes["proven"] == well["proven"]
    assert result.code == 3
    assert any(says in problem for problem in memories["problems"])
    assert "notes" in protected.dr("status").out


@pytest.mark.parametrize("command", ["status", "points notes", "backup notes"])
@pytest.mark.parametrize("name", ["repository.id", "notes.json"])
@pytest.mark.parametrize("torn", [True, False], ids=["torn", "directory"])
def test_what_this_machine_remembers_and_cannot_read_is_named_with_the_way_out(
    protected: Workplace, command: str, name: str, torn: bool
) -> None:
    shutil.rmtree(protected.directory / "state/heads")  # of where this one was copied from
    assert protected.dr("points", "notes").code == 0
    [path] = list(protected.directory.glob(f"state/heads/*/{name}"))
    path.unlink()
    path.touch() if torn else path.mkdir()
    result = protected.dr(*command.split(), "--json")
    message = result.out + result.err
    assert result.code in (1, 3)
    assert name in message
    assert ("remove it if" if torn else "cannot be read: Is a directory") in message
    assert "defect" not in message


def test_a_process_killed_at_any_step_leaves_no_half_of_what_a_machine_remembers(
    fresh: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.write_text

    def killed(path: Path, *arguments: Any, **named: Any) -> int:
        if path.name.startswith("repository."):
            raise KeyboardInterrupt
        return real(path, *arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", killed)
        assert fresh.dr("ingest", "notes").code == 130
    assert fresh.dr("ingest", "notes").code == 0
