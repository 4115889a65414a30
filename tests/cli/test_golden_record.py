"""`dr golden record`: a proposal that is written once, read back, and holds."""

import json
from pathlib import Path

import pytest

from dr_pipelines.cli.output import ExitCode
from dr_pipelines.project.golden_file import load_golden
from tests.cli.workplace import POLICIES, Workplace


@pytest.mark.parametrize("options", [(), ("--at", "latest")], ids=["live", "point"])
def test_a_proposal_is_written_read_and_holds(
    protected: Workplace, options: tuple[str, ...]
) -> None:
    written = protected.directory / "golden.yaml"
    result = protected.dr("golden", "record", "notes", "--to", "golden.yaml", *options, "--json")
    assert result.code == ExitCode.SUCCEEDED
    assert result.json["written"] == "golden.yaml"
    golden = load_golden(written)
    assert [query["id"] for query in result.json["queries"]] == [q.id for q in golden.queries]
    assert {c["name"] for c in result.json["covered"]} == {"clusters", "words", "team", "rank"}
    policy = POLICIES.replace("    priority: 1\n", "    priority: 1\n    golden: golden.yaml\n", 1)
    (protected.directory / "policies.yaml").write_text(policy)
    checked = protected.dr("golden", "check", "notes", *options, "--json")
    assert (checked.code, checked.json["holds"]) == (ExitCode.SUCCEEDED, True)


def test_without_a_file_the_proposal_is_the_answer(protected: Workplace, tmp_path: Path) -> None:
    result = protected.dr("golden", "record", "notes")
    assert result.code == ExitCode.SUCCEEDED
    path = tmp_path / "printed.yaml"
    path.write_text(result.out)
    assert load_golden(path).queries


def test_a_file_that_is_there_is_left_as_it_is(protected: Workplace) -> None:
    there = protected.directory / "golden.yaml"
    there.write_text("mine")
    result = protected.dr("golden", "record", "notes", "--to", "golden.yaml")
    assert result.code == ExitCode.USAGE
    assert "golden.yaml exists, and is left as it is: name another file with --to" in result.err
    assert there.read_text() == "mine"


def test_what_is_covered_and_what_is_left_out_is_said(protected: Workplace) -> None:
    shown = protected.dr("golden", "record", "notes", "--to", "golden.yaml").out
    proposed = json.loads(protected.dr("golden", "record", "notes", "--json").out)
    assert f"golden.yaml: {len(proposed['queries'])} queries, by a sample of" in shown
    for covered in proposed["covered"]:
        assert f"  {covered['name']}: {covered['queries']} of {covered['seen']} seen" in shown
    assert "collections.notes.golden" in shown


def test_a_collection_without_records_has_nothing_to_ask(fresh: Workplace) -> None:
    result = fresh.dr("golden", "record", "memories")
    assert result.code != ExitCode.SUCCEEDED
    assert "Traceback" not in result.err
