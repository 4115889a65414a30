"""An engine's own files, kept and restored from the command line."""

from dataclasses import replace

import pytest

from dr_pipelines.backup import snapshot
from tests.cli.workplace import POLICIES, Workplace


@pytest.fixture
def lance(fresh: Workplace) -> Workplace:
    """Everything is ingested into LanceDB."""
    policies = POLICIES.replace("duckdb:stores", "lance:stores")
    (fresh.directory / "policies.yaml").write_text(policies)
    assert fresh.dr("ingest", "notes").code == 0
    return fresh


def test_files_are_kept_once_and_restored(lance: Workplace) -> None:
    first = lance.dr("backup", "notes", "--native", "--json")
    assert (first.code, first.json["equal"]) == (0, True)
    assert first.json["native"]["new_files"] == first.json["native"]["files"] > 0
    again = lance.dr("backup", "notes", "--native", "--if-changed", "--json").json
    assert (again["unchanged"], again["native"]) == (True, None)

    done = lance.dr("restore", "notes", "--route", "auto", "--switch", "--json")

    assert done.code == 0
    assert done.json["route"] == "native"
    assert done.json["records"] == first.json["records"]
    assert lance.dr("documents", "notes", "--store", "--json").code == 0


def test_files_that_are_not_proven_equal_are_not_kept_and_that_is_said(
    lance: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where somebody writes during a backup."""
    usual = snapshot.backup
    monkeypatch.setattr(snapshot, "backup", lambda *a, **k: replace(usual(*a, **k), equal=False))
    result = lance.dr("backup", "notes", "--native")
    assert result.code == 3
    assert "not proven equal: " in result.out
    assert "  files of the engine were not kept: they are not proven equal\n" in result.out
    refused = lance.dr("restore", "notes", "--route", "native")
    assert refused.code == 1
    assert "no files of lancedb were kept" in refused.err


def test_files_that_were_hashed_before_are_not_read_where_the_policy_accepts_that(
    lance: Workplace,
) -> None:
    file = lance.directory / "policies.yaml"
    strict = [lance.dr("backup", "notes", "--json").json["assurance"] for _ in range(2)]
    assert strict == ["every value read"] * 2
    file.write_text(file.read_text().replace("rpo: 1h", "rpo: 1h, assurance: files hashed", 1))
    lenient = [lance.dr("backup", "notes", "--json").json["assurance"] for _ in range(2)]
    assert lenient == ["every value read", "files hashed"]
    whole = lance.dr("backup", "notes", "--every-value", "--json").json
    assert whole["assurance"] == "every value read"
    remembered = [*lance.directory.rglob("pieces/*/*.arrow")]
    assert remembered
    assert {path.stat().st_mode & 0o077 for path in remembered} == {0}
