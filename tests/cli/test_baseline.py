"""A feed that is older than `partitions_start` begins with what stood then."""

from pathlib import Path

import pytest

from tests.cli.workplace import Workplace, copy


def start_on(place: Workplace, day: str) -> None:
    policies = place.directory / "policies.yaml"
    text = policies.read_text()
    policies.write_text(text.replace("partitions_start: 2026-01-05", f"partitions_start: {day}"))


def texts(place: Workplace, *words: str) -> dict[str, object]:
    rows = place.dr("documents", "notes", "--json", *words).json["documents"]
    return {row["id"]: (row["version"]["position"], row["sha256"]) for row in rows}


@pytest.fixture
def kept_documents(fresh: Workplace, backed_up: Path) -> dict[str, object]:
    """The documents of a copy in which every day was read."""
    copy(backed_up, fresh.directory / "whole")
    policies = str(fresh.directory / "whole" / "policies.yaml")
    return texts(fresh, "--policies", policies)


def test_an_older_feed_begins_with_one_partition_and_comes_back(
    fresh: Workplace, kept_documents: dict[str, object]
) -> None:
    start_on(fresh, "2026-01-07")
    first = fresh.dr("ingest", "notes", "--json")
    assert (first.code, first.json["days"]) == (0, ["2026-01-07"])
    assert first.json["records"] < 6  # what stood, not every version of it
    assert texts(fresh) == kept_documents
    again = fresh.dr("ingest", "notes")
    assert (again.code, again.out) == (0, "notes: nothing new in the source\n")
    assert fresh.dr("backup", "notes").code == 0
    fresh.lose()
    assert fresh.dr("restore", "notes", "--switch").code == 0
    assert fresh.dr("verify", "notes", "--level", "3").code == 0
    assert texts(fresh) == kept_documents


def test_what_was_deleted_before_the_start_leaves_nothing(fresh: Workplace) -> None:
    start_on(fresh, "2026-01-08")
    assert fresh.dr("ingest", "notes").code == 0
    points = fresh.dr("points", "notes", "--json").json["points"]
    assert points[-1]["documents"] == 3
    assert sorted(texts(fresh)) == ["a", "c", "d"]


def test_a_position_within_the_baseline_is_no_state(fresh: Workplace) -> None:
    start_on(fresh, "2026-01-07")
    fresh.dr("ingest", "notes")
    early = fresh.dr("documents", "notes", "--at", "seq:2")
    assert (early.code, "kept as one state" in early.err) == (1, True)
    assert sorted(texts(fresh, "--at", "seq:4")) == ["a", "b", "c"]
    assert sorted(texts(fresh, "--at", "seq:5")) == ["a", "c"]
    assert fresh.dr("documents", "notes", "--at", "2026-01-05T08:30:00Z").code == 1
