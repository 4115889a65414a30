"""A small code location over a feed of a few days, made anew for each test."""

import shutil
from pathlib import Path

import pytest

from tests.assets.location import Location


@pytest.fixture
def location(tmp_path: Path) -> Location:
    """Five days of which the third is quiet, and nothing ingested."""
    return made_location(tmp_path / "location")


@pytest.fixture
def ingested(ingested_once: Path, tmp_path: Path) -> Location:
    """The same, ingested without Dagster."""
    return Location(shutil.copytree(ingested_once, tmp_path / "location"))


@pytest.fixture(scope="session")
def ingested_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = made_location(tmp_path_factory.mktemp("ingested") / "location")
    made.ingest_without_dagster()
    return made.directory


def made_location(directory: Path) -> Location:
    directory.mkdir()
    made = Location(directory)
    made.say(1, "2026-01-05T08:00:00Z", "a", "the first text of a, long enough for two chunks")
    made.say(2, "2026-01-05T09:00:00Z", "b", "the first text of b")
    made.say(3, "2026-01-06T08:00:00Z", "a", "the second text of a")
    made.say(4, "2026-01-08T08:00:00Z", "b", None)
    made.say(5, "2026-01-09T08:00:00Z", "c", "the only text of c")
    made.say(6, "2026-01-09T09:00:00Z", "d", "the only text of d")
    return made
