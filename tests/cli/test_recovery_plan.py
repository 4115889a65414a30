"""`dr plan`: facts are gathered from what is really there, saved, and planned from."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.workplace import CHANGES, Workplace, feed_lines


def of_notes(plan: Any) -> Any:
    (notes,) = [c for c in plan["collections"] if c["collection"] == "notes"]
    return notes


def test_a_lost_collection_has_a_point_a_route_and_reasons(protected: Workplace) -> None:
    protected.lose()
    result = protected.dr("plan", "notes", "--json")
    notes = of_notes(result.json)
    assert (result.code, result.json["obstacles"]) == (0, [])
    assert (notes["point"]["id"], notes["point"]["proof"]) == ("log:8", 8)
    assert notes["route"] == "load"
    assert {r["route"]: r["feasible"] for r in notes["routes"]} == {
        "native": False,
        "load": True,
        "replay": True,
        "reingest": True,
    }
    assert notes["loss"]["seconds"] == 0
    assert [o["outlook"] for o in notes["objectives"]] == ["will be met", "not measured"]
    assert [p["route"] for p in notes["partitions"]] == ["load"]


def test_planning_changes_nothing(protected: Workplace) -> None:
    before = {p: p.stat().st_mtime_ns for p in protected.directory.rglob("*") if p.is_file()}
    assert protected.dr("plan").code == 3, "nothing is backed up of memories"
    after = {
        p: p.stat().st_mtime_ns
        for p in protected.directory.rglob("*")
        if p.is_file() and "state" not in p.parts
    }
    assert after == {p: t for p, t in before.items() if "state" not in p.parts}


def test_the_facts_in_a_file_are_planned_from_and_nothing_else(protected: Workplace) -> None:
    first = protected.dr("plan", "notes", "--facts", "facts.json", "--json")
    saved = Path("facts.json").read_bytes()
    Path("feed.jsonl").unlink()  # nothing is looked at any more
    Path("repository").rename("elsewhere")
    again = protected.dr("plan", "--facts", "facts.json", "--json")
    assert (first.code, again.code, again.out) == (0, 0, first.out)
    assert Path("facts.json").read_bytes() == saved
    page = protected.dr("plan", "--facts", "facts.json")
    assert page.out == protected.dr("plan", "--facts", "facts.json").out
    assert "# Recovery from: collection" in page.out


def test_facts_of_another_incident_are_not_taken_for_these(protected: Workplace) -> None:
    protected.dr("plan", "notes", "--facts", "facts.json")
    other = protected.dr(
        *["plan", "notes", "--incident", "bad-batch", "--entry", "4", "--facts", "facts.json"]
    )
    assert other.code == 2
    assert "gathered for another incident (collection)" in other.err


@pytest.mark.parametrize(
    ("words", "point", "first_excluded"),
    [
        ("--incident store --store local", "log:8", None),
        ("notes --incident bad-batch --entry 5", "log:4", 5),
        ("notes --incident documents --document b", "log:4", 5),
        ("notes --incident documents --document a", "log:8", None),
        ("notes --incident wrong-embeddings", "log:8", None),
        ("notes --at seq:3", "log:8", None),
        ("notes --at log:2", "log:2", None),
    ],
)
def test_the_point_depends_on_the_incident(
    protected: Workplace, words: str, point: str, first_excluded: int | None
) -> None:
    notes = of_notes(protected.dr("plan", *words.split(), "--json").json)
    assert notes["point"]["id"] == point
    assert (notes["excluded"][0]["first"] if notes["excluded"] else None) == first_excluded


def test_wrong_vectors_are_made_again(protected: Workplace) -> None:
    notes = of_notes(protected.dr("plan", "notes", "--incident", "wrong-embeddings", "--json").json)
    assert (notes["route"], notes["request"]["route"]) == ("replay", "replay")


def test_corruption_since_a_time_goes_back_to_what_was_logged_before_it(
    protected: Workplace,
) -> None:
    points = protected.dr("points", "notes", "--json").json["points"]
    (entry,) = [p for p in points if p["log"] == 5]
    words = ["plan", "notes", "--incident", "corruption-since", "--since", entry["at"], "--json"]
    notes = of_notes(protected.dr(*words).json)
    assert notes["point"]["number"] == 4
    assert "dr ingest notes" in notes["commands"]


def test_the_site_of_the_repository_lost(protected: Workplace) -> None:
    Path("repository").rename("elsewhere")
    result = protected.dr("plan", "notes", "--incident", "repository-site", "--json")
    notes = of_notes(result.json)
    assert (result.code, notes["point"], notes["route"]) == (3, None, "reingest")
    assert any("no copy of this repository is known" in remark for remark in notes["remarks"])


def test_an_object_that_is_gone_excludes_its_points(protected: Workplace) -> None:
    (gone,) = Path("repository/notes/checkpoints/embeddings/2026-01-06").glob("*.parquet")
    gone.unlink()
    result = protected.dr("plan", "notes", "--json")
    notes = of_notes(result.json)
    assert result.code == 3
    assert [o["kind"] for o in result.json["obstacles"]] == ["repository"]
    (first, *_), last = notes["excluded"], notes["excluded"][-1]
    assert (first["first"], last["last"], notes["point"]["number"]) == (3, 8, 2)
    assert gone.name in last["reason"]


def test_chunks_that_are_gone_exclude_a_replay_alone(protected: Workplace) -> None:
    for gone in Path("repository/notes/checkpoints/chunks").rglob("*.parquet"):
        gone.unlink()
    notes = of_notes(protected.dr("plan", "notes", "--json").json)
    feasible = {r["route"]: r["feasible"] for r in notes["routes"]}
    assert (notes["point"]["number"], notes["route"], feasible["replay"]) == (8, "load", False)


def test_a_plan_is_saved_to_be_carried_out(protected: Workplace) -> None:
    shown = protected.dr("plan", "notes", "--out", "plan.json")
    assert "dr recover --plan plan.json" in shown.out
    assert json.loads(Path("plan.json").read_bytes())["collections"][0]["head"] == 8


def test_what_the_source_said_since_comes_from_it(protected: Workplace) -> None:
    later = {"ts": "2026-01-09T08:00:00Z", "op": "upsert", "id": "e", "title": "E", "text": "New."}
    protected.write_feed(feed_lines([*CHANGES, later]))
    notes = of_notes(protected.dr("plan", "notes", "--json").json)
    assert [(p["last"], p["route"]) for p in notes["partitions"]] == [
        ("2026-01-07", "load"),
        ("2026-01-09", "reingest"),
    ]
