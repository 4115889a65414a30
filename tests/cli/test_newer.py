"""A repository that a newer version has written to is read, said to be, and not written to."""

from pathlib import Path
from typing import Any

import pytest

from dr_pipelines.model.recovery_point import Body, LogEntry
from dr_pipelines.project.project import open_project
from dr_pipelines.repository.log import encode_entry
from tests.cli.workplace import Workplace


def newer(place: Workplace, *, kind: str = "evidence", **body: Any) -> None:
    """Append an entry as a newer version would."""
    repository = open_project(place.directory / "policies.yaml", {}).repository()
    log = repository.log("notes")
    head = log.head()
    assert head.entry is not None
    changed: Body = head.entry.body.model_copy(update=body)
    update = {"i": head.number + 1, "previous": head.sha256, "kind": kind, "body": changed}
    entry: LogEntry = head.entry.model_copy(update={**update, "transaction": "newer"})
    repository.blobs.create(log.key(entry.i), encode_entry(entry))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kind": "erase"}, "erase"),
        ({"features": ("pages",)}, "pages"),
    ],
    ids=["kind", "feature"],
)
def test_status_says_so_and_everything_else_is_as_it_was(
    protected: Workplace, change: dict[str, Any], named: str
) -> None:
    newer(protected, **change)
    before = files(protected.directory)
    status = protected.dr("status", "--json")
    notes = next(c for c in status.json["collections"] if c["collection"] == "notes")
    assert status.code == 3
    problem = notes["problems"][0]
    assert f"a newer version wrote here and uses ['{named}']" in problem
    for reading in (
        ("points", "notes"),
        ("verify", "notes", "--level", "3"),
        ("documents", "notes"),
    ):
        assert protected.dr(*reading).code == 0
    assert protected.dr("restore", "notes", "--plan").code == 0
    refused = protected.dr("backup", "notes")
    assert refused.code == 1
    assert f"newer version that uses ['{named}']" in " ".join(refused.err.split())
    assert files(protected.directory) == before


def files(directory: Path) -> list[str]:
    log = directory.rglob("*/log/*.json")
    return sorted(path.name for path in log)
