"""`dr recover --plan`: a plan is carried out in its order, goes on after a kill, and is refused
once its facts have changed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dr_pipelines.cli.run import run
from dr_pipelines.errors import Unavailable
from dr_pipelines.live.live import Live
from dr_pipelines.model.verdict import Check, Finding
from dr_pipelines.project import carrying_out
from dr_pipelines.recovery import steps
from dr_pipelines.recovery.run import run_recovery
from dr_pipelines.stores.duckdb.store import duckdb_store
from tests.cli.workplace import CHANGES, Workplace, copy, feed_lines

LATER = {"ts": "2026-01-09T08:00:00Z", "op": "upsert", "id": "e", "title": "E", "text": "New."}
SECOND = """\
  other:
    owner: you
    store: local
    source: {kind: jsonl, path: feed.jsonl}
    chunker: {kind: characters, size: 40}
    embedder: hashing
    partitions_start: 2026-01-05
    priority: 2
    objectives: {rpo: 1h, rto: 30m}
"""


@pytest.fixture(scope="module")
def second_ingested(backed_up: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory where everything is backed up, with a second collection of the same feed."""
    directory = tmp_path_factory.mktemp("two")
    copy(backed_up, directory)
    policies = directory / "policies.yaml"
    policies.write_text(policies.read_text() + SECOND)
    assert run(["ingest", "other", "--policies", str(policies)]) == 0
    return directory


@pytest.fixture
def two(protected: Workplace, second_ingested: Path) -> Workplace:
    """Two collections of one feed, `notes` before `other`."""
    copy(second_ingested, protected.directory)
    return protected


def planned(place: Workplace, *words: str) -> Any:
    result = place.dr("plan", *words, "--out", "plan.json", "--json")
    return result.json


def recovered(place: Workplace, *words: str) -> tuple[int, dict[str, str], Any]:
    result = place.dr("recover", *words, "--plan", "plan.json", "--json")
    outcomes = {c["collection"]: c["status"] for c in result.json["collections"]}
    return result.code, outcomes, result.json


def served(place: Workplace) -> dict[str, str]:
    return duckdb_store(place.directory / "stores").aliases()


def test_a_plan_is_carried_out_in_its_order(two: Workplace) -> None:
    planned(two, "notes", "other")
    two.lose()
    code, outcomes, value = recovered(two)
    assert (code, list(outcomes.items())) == (
        0,
        [("notes", "recovered"), ("other", "recovered")],
    )
    recovery = value["collections"][0]["recovery"]
    assert (recovery["route"], recovery["switched"], recovery["records"]) == ("load", True, 3)
    assert two.dr("search", "notes", "crow", "--mode", "keyword").code == 0
    shown = two.dr("recover", "--plan", "plan.json")
    assert (shown.code, shown.out.count(": done: log:")) == (0, 2)


def test_the_same_command_goes_on_where_it_stopped(
    two: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(two, "notes", "other")
    two.lose()
    original, runs = run_recovery, list[str]()

    def counted(plan: Any, *words: Any, **options: Any) -> Any:
        runs.append(plan.collection)
        if plan.collection == "other" and len(runs) == 2:
            raise KeyboardInterrupt
        return original(plan, *words, **options)

    monkeypatch.setattr(carrying_out, "run_recovery", counted)
    assert two.dr("recover", "--plan", "plan.json").code == 130
    code, outcomes, _ = recovered(two)
    assert (code, outcomes) == (0, {"notes": "done", "other": "recovered"})
    assert runs == ["notes", "other", "other"]


@pytest.mark.parametrize("place", ["Live.promote", "confirm"])
def test_a_run_that_was_killed_after_its_switch_was_not_confirmed(
    protected: Workplace, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The log says that it was switched to; only evidence says that what is served answers."""
    planned(protected, "notes")
    before = served(protected)["notes"]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if place == "confirm":
            patch.setattr(steps, "aliases_check", killed)
        else:
            patch.setattr(Live, "promote", killed)
        assert protected.dr("recover", "--plan", "plan.json").code == 130
    assert_not_confirmed(protected)
    assert served(protected)["notes"] != before, "the store follows the log"


def assert_not_confirmed(place: Workplace) -> None:
    """Until the command that it names was given."""
    code, outcomes, value = recovered(place)
    assert (code, outcomes) == (1, {"notes": "unconfirmed"})
    (command,) = re.findall(r"Next: dr (restore .*?),", value["collections"][0]["message"])
    assert place.dr(*command.split()).code == 0
    assert recovered(place)[:2] == (0, {"notes": "done"})


def test_a_confirmation_that_was_refused_is_never_done(
    protected: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(protected, "notes")

    def lost(plan: Any, _: Any) -> Check:
        finding = Finding(check="aliases", place="notes", message="it stands for nothing")
        return Check(name="aliases", looked_at=1, findings=(finding,))

    with monkeypatch.context() as patch:
        patch.setattr(steps, "aliases_check", lost)
        code, outcomes, value = recovered(protected)
    assert (code, outcomes) == (1, {"notes": "failed"})
    (notes,) = value["collections"]
    assert (notes["kind"], notes["verdict"]["outcome"]) == ("VerdictRefused", "refused")
    assert "evidence: log:" in notes["message"]
    (page,) = Path("state").rglob("*.html")
    assert "NOT MET: what is served was not shown to answer" in page.read_text()
    assert_not_confirmed(protected)


def test_a_restore_after_the_recovery_is_another_state(protected: Workplace) -> None:
    planned(protected, "notes")
    assert recovered(protected)[0] == 0
    assert protected.dr("restore", "notes", "--at", "log:5", "--switch").code == 0
    result = protected.dr("recover", "--plan", "plan.json")
    assert (result.code, "(restore) was committed at" in result.err) == (1, True)


def test_a_process_that_is_killed_goes_on(protected: Workplace) -> None:
    """A real process, killed while it builds."""
    planned(protected, "notes")
    protected.lose()
    program = (
        "import os, signal\n"
        "from dr_pipelines.recovery.build import Building\n"
        "Building.whole = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from dr_pipelines.cli.run import run\n"
        "run(['recover', '--plan', 'plan.json'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL
    assert recovered(protected)[:2] == (0, {"notes": "recovered"})


def test_a_head_that_moved_is_refused_and_nothing_is_done(two: Workplace) -> None:
    planned(two, "notes", "other")
    two.write_feed(feed_lines([*CHANGES, LATER]))
    assert two.dr("backup", "other").code == 0
    before = served(two)
    result = two.dr("recover", "--plan", "plan.json")
    assert result.code == 1
    assert "the plan is of facts that have changed: other: log:" in result.err
    assert "(snapshot) was committed at" in result.err
    assert served(two) == before
    assert recovered(two, "notes")[:2] == (0, {"notes": "recovered"})


def test_what_is_ingested_meanwhile_is_caught_up(protected: Workplace) -> None:
    """A lost collection's log is sound: it is brought along, not refused."""
    planned(protected, "notes")
    protected.lose()
    protected.write_feed(feed_lines([*CHANGES, LATER]))
    assert protected.dr("ingest", "notes").code != 0, "the log has it, the store is lost"
    code, outcomes, value = recovered(protected)
    assert (code, outcomes) == (0, {"notes": "recovered"})
    assert value["collections"][0]["recovery"]["records"] == 4
    assert recovered(protected)[:2] == (0, {"notes": "done"})


@pytest.mark.parametrize("incident", ["bad-batch --entry 5", "corruption-since --since TIME"])
def test_a_spoiled_log_is_never_caught_up(protected: Workplace, incident: str) -> None:
    points = protected.dr("points", "notes", "--json").json["points"]
    since = next(p["at"] for p in points if p["log"] == 5)
    words = ["--incident", *incident.replace("TIME", since).split()]
    (notes,) = planned(protected, "notes", *words)["collections"]
    assert notes["request"]["catch_up"] is False
    protected.write_feed(feed_lines([*CHANGES, LATER]))
    assert protected.dr("ingest", "notes").code == 0
    result = protected.dr("recover", "--plan", "plan.json")
    assert (result.code, "(ingest) was committed at" in result.err) == (1, True)


def test_work_after_the_recovery_does_not_undo_it(protected: Workplace) -> None:
    planned(protected, "notes")
    assert recovered(protected)[0] == 0
    protected.write_feed(feed_lines([*CHANGES, LATER]))
    assert protected.dr("ingest", "notes").code == 0
    assert recovered(protected)[:2] == (0, {"notes": "done"})


def test_another_log_is_refused(protected: Workplace) -> None:
    planned(protected, "notes")
    plan = json.loads(Path("plan.json").read_bytes())
    plan["collections"][0]["head_sha256"] = "0" * 64
    Path("plan.json").write_text(json.dumps(plan))
    result = protected.dr("recover", "--plan", "plan.json")
    assert (result.code, "is another entry than when the facts" in result.err) == (1, True)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (
            "repository: repository",
            "repository: moved",
            "is for repository repository, not for moved",
        ),
        ('"duckdb:stores"', '"duckdb:moved"', "store local has another URL"),
    ],
)
def test_another_place_is_refused(protected: Workplace, before: str, after: str, says: str) -> None:
    """Both hold what they held: only the policies name another place."""
    planned(protected, "notes")
    for name in ("repository", "stores"):
        shutil.copytree(name, "moved", dirs_exist_ok=True)
    policies = Path("policies.yaml")
    policies.write_text(policies.read_text().replace(before, after))
    result = protected.dr("recover", "--plan", "plan.json")
    assert (result.code, says in result.err) == (1, True), result.err


def test_a_plan_that_restores_another_collection_is_refused(two: Workplace) -> None:
    planned(two, "notes")
    plan = json.loads(Path("plan.json").read_bytes())
    plan["collections"][0]["request"]["collection"] = "other"
    Path("plan.json").write_text(json.dumps(plan))
    result = two.dr("recover", "--plan", "plan.json")
    assert (result.code, "request is of 'other': somebody edited it" in result.err) == (1, True)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Unavailable("the store is gone"), "the store is gone"),
        (ValueError("odd"), "ValueError: odd"),
        (OSError(28, "No space left"), "OSError: [Errno 28] No space left"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_that_fails_keeps_no_other_from_being_recovered(
    two: Workplace, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    planned(two, "notes", "other")
    original, kind = run_recovery, type(error).__name__

    def failing(plan: Any, *words: Any, **options: Any) -> Any:
        if plan.collection == "notes":
            raise error
        return original(plan, *words, **options)

    monkeypatch.setattr(carrying_out, "run_recovery", failing)
    code, outcomes, value = recovered(two)
    assert (code, outcomes) == (3, {"notes": "failed", "other": "recovered"})
    assert (value["collections"][0]["message"], value["collections"][0]["kind"]) == (says, kind)
    alone = two.dr("recover", "notes", "--plan", "plan.json")
    assert (alone.code, alone.err) == (1, f"{says}\n")


def test_a_collection_with_something_in_its_way_is_not_touched(two: Workplace) -> None:
    planned(two, "notes", "other")
    plan = json.loads(Path("plan.json").read_bytes())
    words = {"collection": "notes", "place": "x", "message": "it is full", "way_out": "free it"}
    plan["obstacles"] = [
        {"kind": "disk", **words},
        {"kind": "golden", **words, "collection": "other"},
    ]
    Path("plan.json").write_text(json.dumps(plan))
    before = served(two)["notes"]
    code, outcomes, value = recovered(two)
    assert (code, outcomes) == (3, {"notes": "failed", "other": "recovered"})
    assert "disk: it is full. Way out: free it" in value["collections"][0]["message"]
    assert served(two)["notes"] == before


def test_what_no_restore_does_is_left_to_a_person(two: Workplace) -> None:
    shown = two.dr("plan", "notes", "--incident", "repository-site", "--out", "plan.json")
    assert "Saved in plan.json: no restore carries it out" in shown.out
    code, outcomes, value = recovered(two)
    assert (code, outcomes) == (3, {"notes": "by hand"})
    assert "By hand: dr ingest notes" in value["collections"][0]["message"]


def test_documents_come_back_beside_what_is_served(protected: Workplace) -> None:
    planned(protected, "notes", "--incident", "documents", "--document", "b")
    before = served(protected)
    for _ in range(2):  # the same again is the same
        code, outcomes, value = recovered(protected)
        assert (code, outcomes) == (0, {"notes": "recovered"})
    assert served(protected) == before
    physical = value["collections"][0]["recovery"]["physical"]
    assert physical in duckdb_store(protected.directory / "stores").collections()


def test_a_name_that_is_not_in_the_plan(protected: Workplace) -> None:
    planned(protected, "notes")
    result = protected.dr("recover", "memories", "--plan", "plan.json")
    assert result.code == 2
    assert result.err == "'memories' is not in the plan; it has: notes\n"


@pytest.mark.parametrize(
    "words",
    ["--go-on x --by me --reason y", "--by me", "--reason y"],
)
def test_going_on_is_about_one_collection_and_named(two: Workplace, words: str) -> None:
    planned(two, "notes", "other")
    result = two.dr("recover", "--plan", "plan.json", *words.split())
    assert (result.code, "--go-on" in result.err) == (2, True)


def test_three_recoveries_are_measured_and_expected(protected: Workplace) -> None:
    """The first plan promises nothing; after three recoveries of the same it gives an interval."""
    spans = []
    for _ in range(4):
        (notes,) = planned(protected, "notes")["collections"]
        spans.append(notes["span"])
        assert recovered(protected)[0] == 0
    assert spans[:3] == [None, None, None]
    assert spans[3]["low"] < spans[3]["expected"] < spans[3]["high"]
    (notes,) = planned(protected, "notes")["collections"]
    assert [o["outlook"] for o in notes["objectives"]] == ["will be met", "will be met"]
    shown = protected.dr("recover", "--plan", "plan.json").out
    assert re.search(r"expected [^,]+, with 90 % at most ", shown)
