"""`dr golden check`: a collection that answers as it must, and ones that do not."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dr_pipelines.cli.output import ExitCode
from tests.cli.workplace import POLICIES, A, Workplace

MILL: dict[str, Any] = {"id": "mill", "text": A + " Now they do.", "must": ["a"]}
CROW: dict[str, Any] = {
    "id": "crow",
    "text": "A crow counts to four.",
    "mode": "keyword",
    "relevant": [{"document": "c", "grade": 2}],
    "least": {"recall": 1.0, "ndcg": 1.0},
}
GONE: dict[str, Any] = {"id": "gone", "text": "The bell rings twice.", "must_not": ["b"]}


@pytest.fixture
def notes(protected: Workplace) -> Workplace:
    """A protected collection whose policy names golden queries."""
    policy = POLICIES.replace("    priority: 1\n", "    priority: 1\n    golden: golden.yaml\n", 1)
    (protected.directory / "policies.yaml").write_text(policy)
    return protected


def ask(place: Workplace, *queries: dict[str, Any], options: tuple[str, ...] = ()) -> Any:
    write(place.directory / "golden.yaml", *queries)
    result = place.dr("golden", "check", "notes", *options, "--json")
    return result.json | {"code": result.code}


def write(path: Path, *queries: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump({"v": 1, "queries": list(queries)}))


@pytest.mark.parametrize("options", [(), ("--at", "latest")], ids=["live", "point"])
def test_a_collection_that_answers_as_it_must_holds(
    notes: Workplace, options: tuple[str, ...]
) -> None:
    answer = ask(notes, MILL, CROW, GONE, options=options)
    assert (answer["code"], answer["holds"]) == (ExitCode.SUCCEEDED, True)
    assert [query["holds"] for query in answer["queries"]] == [True] * 3
    assert answer["queries"][1]["ndcg"] == 1.0
    assert answer["queries"][0]["documents"][0] == "a"


def test_a_point_before_a_deletion_answers_as_it_was_then(notes: Workplace) -> None:
    answer = ask(notes, GONE, options=("--at", "seq:4"))
    assert answer["code"] == ExitCode.FAILED
    assert answer["queries"][0]["failures"] == ["b must not be seen and is number 1"]


def test_a_collection_beside_the_served_one_is_asked_by_its_name(notes: Workplace) -> None:
    write(notes.directory / "golden.yaml", GONE)  # a restore asks it too: it need not hold there
    restored = notes.dr("restore", "notes", "--at", "seq:4", "--json").json
    answer = ask(notes, GONE, options=("--in", restored["physical"]))
    assert answer["asked"] == restored["physical"]
    assert answer["code"] == ExitCode.FAILED
    assert ask(notes, GONE)["code"] == ExitCode.SUCCEEDED


FAILING = {
    "a document that must come": (
        {"id": "q", "text": "anything", "must": ["nowhere"]},
        "nowhere is not among the first 10",
    ),
    "recall": (
        {**CROW, "relevant": [{"document": "c"}, {"document": "x"}], "least": {"recall": 0.9}},
        "recall of the first 10 is 0.500, less than 0.9",
    ),
    "order": (
        {**MILL, "id": "q", "relevant": [{"document": "c"}], "must": [], "least": {"ndcg": 0.9}},
        "nDCG of the first 10 is 0.631, less than 0.9",
    ),
    "an empty answer shows nothing": (
        {**GONE, "filter": "rank > 1000"},
        "nothing came back at all, so nothing is shown by what did not come",
    ),
}


@pytest.mark.parametrize("case", FAILING)
def test_a_query_that_does_not_hold_says_why(notes: Workplace, case: str) -> None:
    query, why = FAILING[case]
    answer = ask(notes, query, MILL)
    assert answer["code"] == ExitCode.FAILED
    assert [q["holds"] for q in answer["queries"]] == [False, True]
    assert why in answer["queries"][0]["failures"]
    shown = notes.dr("golden", "check", "notes").out
    assert "2 golden queries, 1 do not hold" in shown
    assert why in shown


def test_a_query_without_which_nothing_may_be_served_refuses_traffic(notes: Workplace) -> None:
    failing = {"id": "q", "text": "anything", "must": ["nowhere"]}
    assert ask(notes, failing)["refuses_traffic"] is False
    assert ask(notes, failing | {"must_hold": True})["refuses_traffic"] is True
    shown = notes.dr("golden", "check", "notes").out
    assert "q (nothing may be served while it fails)" in shown


def test_documents_that_changed_since_they_were_judged_are_named(notes: Workplace) -> None:
    rows = notes.dr("documents", "notes", "--json").json["documents"]
    now = next(row["sha256"] for row in rows if row["id"] == "c")
    same = {**CROW, "relevant": [{"document": "c", "sha256": now}]}
    assert ask(notes, same)["code"] == ExitCode.SUCCEEDED
    other = {**CROW, "relevant": [{"document": "c", "sha256": "0" * 64}]}
    answer = ask(notes, other)
    assert (answer["code"], answer["changed_since_judged"]) == (ExitCode.PARTIAL, ["c"])
    gone = {**CROW, "relevant": [{"document": "c"}, {"document": "b"}], "least": {}}
    answer = ask(notes, gone)
    assert (answer["code"], answer["gone"]) == (ExitCode.PARTIAL, ["b"])
    assert "b: are not in the collection" in notes.dr("golden", "check", "notes").out


def test_a_record_asks_by_its_stored_vector_and_is_no_answer_itself(notes: Workplace) -> None:
    like = {"id": "like", "like": "a#000000", "must": ["c"]}
    for options in ((), ("--at", "latest")):
        answer = ask(notes, like, options=options)
        assert answer["code"] == ExitCode.SUCCEEDED, answer
    nobody = ask(notes, {**like, "like": "nobody"})
    assert nobody["code"] == ExitCode.USAGE
    assert "there is no record 'nobody' with a vector" in nobody["error"]


@pytest.mark.parametrize("role", ["tenant", "principals"])
def test_a_scope_needs_a_field_of_that_role(notes: Workplace, role: str) -> None:
    result = ask(notes, {**MILL, role.removesuffix("s"): "red"})
    assert result["code"] == ExitCode.USAGE
    assert f"has no field of role {role}" in result["error"]


WRONG = {
    "no queries": (
        {"v": 1, "queries": []},
        "queries: found an empty list, expected at least 1 entry",
    ),
    "an unknown key": (
        {"v": 1, "queries": [{**MILL, "musst": ["a"]}]},
        "queries.0.musst: found an unknown key, expected one of: filter, id",
    ),
    "nothing to check": (
        {"v": 1, "queries": [{"id": "q", "text": "x"}]},
        "expected relevant, must or must_not: nothing would be checked",
    ),
    "two questions in one": (
        {"v": 1, "queries": [{**MILL, "like": "a"}]},
        "expected either text or like",
    ),
    "a document on both sides": (
        {"v": 1, "queries": [{**MILL, "must_not": ["a"]}]},
        "expected 'a' either among the answers or not",
    ),
    "one id twice": ({"v": 1, "queries": [MILL, MILL]}, "expected one query 'mill', found 2"),
    "another version": ({"v": 2, "queries": [MILL]}, "v: found 2, expected 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_is_wrong_is_refused_with_the_place(notes: Workplace, case: str) -> None:
    value, message = WRONG[case]
    (notes.directory / "golden.yaml").write_text(yaml.safe_dump(value))
    result = notes.dr("golden", "check", "notes")
    assert result.code == ExitCode.USAGE
    assert message in result.err
    assert "golden.yaml:" in result.err


def test_a_file_that_is_missing_or_not_named_is_said(notes: Workplace, tmp_path: Path) -> None:
    missing = notes.dr("golden", "check", "notes")
    assert missing.code == ExitCode.USAGE
    assert "there is no such file; docs/golden.md says how one is written" in missing.err
    (notes.directory / "policies.yaml").write_text(POLICIES)
    unnamed = notes.dr("golden", "check", "notes")
    assert unnamed.code == ExitCode.USAGE
    assert "collections.notes.golden" in unnamed.err


def test_a_point_and_a_collection_are_not_asked_at_once(notes: Workplace) -> None:
    write(notes.directory / "golden.yaml", MILL)
    result = notes.dr("golden", "check", "notes", "--at", "latest", "--in", "x")
    assert result.code == ExitCode.USAGE
    assert "give only one" in result.err


def test_a_query_that_must_hold_keeps_a_restore_from_being_served(notes: Workplace) -> None:
    """Its text is embedded by the collection's own model, on every route."""
    write(notes.directory / "golden.yaml", MILL | {"must_hold": True}, CROW)
    passed = notes.dr("restore", "notes", "--switch", "--json")
    assert passed.code == ExitCode.SUCCEEDED
    [golden] = [c for c in passed.json["verdict"]["checks"] if c["name"] == "golden"][:1]
    assert (golden["looked_at"], golden["findings"]) == (2, [])
    write(notes.directory / "golden.yaml", MILL | {"must": ["c"], "limit": 1, "must_hold": True})
    refused = notes.dr("restore", "notes", "--at", "seq:6", "--switch")
    assert refused.code == ExitCode.FAILED
    assert "golden:mill" in refused.err


def test_a_query_that_must_hold_and_cannot_be_asked_refuses(notes: Workplace) -> None:
    other = POLICIES.replace("    embedder: hashing\n", "    embedder: wider\n", 1)
    policy = other.replace("    priority: 1\n", "    priority: 1\n    golden: golden.yaml\n", 1)
    (notes.directory / "policies.yaml").write_text(policy)
    write(notes.directory / "golden.yaml", MILL | {"must_hold": True}, CROW)
    refused = notes.dr("restore", "notes", "--switch")
    assert refused.code == ExitCode.FAILED
    assert "it must hold, and was not asked: notes: queries would be embedded by another" in (
        refused.err
    )
