"""Messages about a restore into another store, and of every command after it."""

from typing import Any

import pytest

from dr_pipelines.cli.plan import tell
from dr_pipelines.errors import Unavailable
from dr_pipelines.model.compatibility import Note, Outcome
from dr_pipelines.model.parts import PartFinding
from dr_pipelines.model.recovery import Plan, Route
from dr_pipelines.project.project import Project
from dr_pipelines.recovery.report import finding_lines
from tests.cli.workplace import Workplace

ADVICE = "served from store 'other', but the policy says 'local': set store: other in the policy"


@pytest.fixture
def moved(protected: Workplace) -> Workplace:
    """Restored into another store and switched; the policy is left as it was."""
    assert protected.dr("restore", "notes", "--store", "other", "--switch").code == 0
    return protected


def set_store(workplace: Workplace, name: str) -> None:
    file = workplace.directory / "policies.yaml"
    file.write_text(file.read_text().replace("store: local", f"store: {name}", 1))


@pytest.mark.parametrize(
    "words",
    [
        ("ingest", "notes"),
        ("backup", "notes"),
        ("backup", "notes", "--if-changed"),
        ("compact", "notes"),
        ("search", "notes", "crow"),
        ("search", "notes", "crow", "--filter", "team = 'blue'"),
        ("documents", "notes", "--store"),
        ("replay", "notes", "--from", "2026-01-05", "--to", "2026-01-05"),
    ],
    ids=" ".join,
)
def test_a_policy_that_names_the_store_from_before_is_named(
    moved: Workplace, words: tuple[str, ...]
) -> None:
    refused = moved.dr(*words)
    assert (refused.code, refused.err) == (1, f"notes: {ADVICE}\n")
    set_store(moved, "other")
    assert moved.dr(*words).code == 0


def test_status_says_where_it_is_served_and_that_the_policy_differs(moved: Workplace) -> None:
    result = moved.dr("status", "--json")
    notes = result.json["collections"][0]
    assert (result.code, notes["store"], notes["problems"]) == (3, "other", [f"store: {ADVICE}"])
    assert notes["physical"].startswith("notes@8-")


def test_a_restore_says_what_to_change_in_the_policies(protected: Workplace) -> None:
    done = protected.dr("restore", "notes", "--store", "other", "--switch")
    message = " ".join(done.out.split())
    assert "Set store: other for it in policies.yaml, which says local" in message
    assert message.endswith("Changes of the source since then: dr ingest notes")


def test_a_question_is_answered_where_the_log_cannot_be_asked(
    protected: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: Project) -> None:
        raise Unavailable("out of reach")

    monkeypatch.setattr(Project, "reading", gone)
    assert protected.dr("search", "notes", "crow").code == 0


def test_what_becomes_of_parts_is_said_in_whole_words_and_what_is_lost_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    enforced = "not in force here: what pgvector enforced by its policies nobody enforces"
    notes = [
        *(Note(f"fields.f{i}", Outcome.CARRIED, "as it was") for i in range(41)),
        Note("vectors.embedding", Outcome.CARRIED, "as it was"),
        Note("vectors.embedding.index", Outcome.APPROXIMATED, "hnsw becomes ivf_pq"),
        Note("engine.pgvector.policies", Outcome.LOST, enforced),
    ]
    plan = Plan(
        collection="docs",
        point="1-a",
        number=1,
        sha256="a" * 64,
        origin="restore:1-a:load:",
        route=Route.LOAD,
        physical="docs@1-a",
        store="b",
        switch=False,
        records=0,
        resumed=False,
        timeline=1,
        spec=_any_spec(),
        notes=tuple(notes),
    )
    tell(plan)
    assert capsys.readouterr().err == (
        "docs in store b:\n"
        "  lost: engine.pgvector.policies: not in force here: what pgvector enforced by\n"
        "    its policies nobody enforces\n"
        "  approximated: vectors.embedding.index: hnsw becomes ivf_pq\n"
        "  42 parts carried over as they were\n"
    )


def test_parts_that_nobody_can_look_at_are_named_together() -> None:
    silent = [
        PartFinding(f"indexes.i{i}", "x", None, "not reported by the engine", unreported=True)
        for i in range(51)
    ]
    changed = PartFinding("shards", 3, 1, "load is spread differently: 3 → 1")
    assert finding_lines("docs", [*silent, changed]) == [
        "not as it was: shards was 3, is 1: load is spread differently: 3 → 1",
        "not reported by the engine, asked for as they were (51): "
        + ", ".join(f"indexes.i{i}" for i in range(51)),
    ]


def _any_spec() -> Any:
    from dr_pipelines.model.collection import CollectionSpec, Vector

    return CollectionSpec(name="docs", vectors=(Vector(dimension=2),))
