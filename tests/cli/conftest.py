"""Workplaces: an empty one, and one where everything is ingested and backed up."""

from pathlib import Path

import pytest

from dr_pipelines.cli.run import run
from tests.cli.workplace import Workplace, copy, furnish


@pytest.fixture
def fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Workplace:
    """Policies and a feed; nothing is ingested yet."""
    furnish(tmp_path)
    return _at(tmp_path, monkeypatch, capsys)


@pytest.fixture(scope="session")
def backed_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory where the feed was ingested and a snapshot taken."""
    directory = tmp_path_factory.mktemp("backed-up")
    furnish(directory)
    policies = ["--policies", str(directory / "policies.yaml")]
    assert run(["ingest", "notes", *policies]) == 0
    assert run(["backup", "notes", *policies]) == 0
    return directory


@pytest.fixture
def protected(
    backed_up: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Workplace:
    """A copy of the directory where everything is backed up."""
    copy(backed_up, tmp_path)
    return _at(tmp_path, monkeypatch, capsys)


def _at(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Workplace:
    monkeypatch.chdir(directory)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("DR_POLICIES", "DR_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    return Workplace(directory, capsys)
