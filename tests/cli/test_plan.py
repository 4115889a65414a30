"""`dr ingest --plan` says what there is to do, and does nothing; progress says how far it is."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from dr_pipelines.cli.meter import LINE_SECONDS, Meter
from dr_pipelines.ingestion import embeddings, forecast
from tests.cli.workplace import CHANGES, Workplace, feed_lines

MORE = [
    {"ts": f"2026-01-{day:02d}T08:00:00Z", "op": "upsert", "id": f"n{day}", "text": "x" * 100}
    for day in range(8, 28)
]


def everything(directory: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in directory.rglob("*")}


def test_a_plan_counts_what_is_new_and_touches_nothing(fresh: Workplace) -> None:
    before = everything(fresh.directory)
    plan = fresh.dr("ingest", "notes", "--plan", "--json")
    shown = fresh.dr("ingest", "notes", "--plan")
    assert everything(fresh.directory) == before
    assert (plan.code, shown.code) == (0, 0)
    value = plan.json
    assert value["days"] == ["2026-01-05", "2026-01-06", "2026-01-07"]
    assert (value["changes"], value["records"], value["records_counted"]) == (6, 6, True)
    assert (value["seconds"], value["records_a_second"]) == (None, None)
    assert "time: unknown: no ingestion of it was timed yet" in shown.out
    assert fresh.dr("ingest", "notes", "--json").json["records"] == value["records"]


def test_a_plan_goes_by_what_was_measured(protected: Workplace) -> None:
    protected.write_feed(feed_lines([*CHANGES, *MORE]))
    before = everything(protected.directory / "repository")
    value = protected.dr("ingest", "notes", "--plan", "--json").json
    assert everything(protected.directory / "repository") == before
    assert (len(value["days"]), value["changes"], value["records"]) == (20, 20, 60)
    assert value["seconds"] == pytest.approx(60 / value["records_a_second"])
    assert (value["size_measured"], value["size_bytes"] > 0) == (True, True)
    assert "records a second" in protected.dr("ingest", "notes", "--plan").out
    assert protected.dr("ingest", "notes", "--json").json["records"] == 60
    assert "nothing new in the source" in protected.dr("ingest", "notes", "--plan").out


def test_many_changes_are_sampled_and_that_is_said(
    protected: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "SAMPLE_CHANGES", 10)
    protected.write_feed(feed_lines([*CHANGES, *MORE]))
    value = protected.dr("ingest", "notes", "--plan", "--json").json
    assert (value["records_counted"], value["records"]) == (False, 60)
    assert 0 < value["sampled_changes"] < 20
    assert "estimated from" in protected.dr("ingest", "notes", "--plan").out


def test_a_plan_says_what_is_unread(protected: Workplace) -> None:
    protected.write_feed(feed_lines() + "not json\n")
    plan = protected.dr("ingest", "notes", "--plan")
    assert (plan.code, "line 7: invalid JSON" in plan.out) == (3, True)


def test_elsewhere_than_on_a_terminal_there_is_a_line_now_and_then() -> None:
    clock, lines = [0.0], list[str]()
    meter = Meter("notes", None, None, elapsed=lambda: clock[0], say=lines.append)
    meter.changes(0, 1000)
    for day in range(1, 5):
        meter.day(f"2026-01-{day:02d}")
        clock[0] += LINE_SECONDS / 2
        meter.rows(5, 10)
        meter.changes(day * 100, 1000)
    assert lines == [
        "notes: 100 of 1,000 changes, 2026-01-02 5/10 texts, 7 a second, 2 min 15 s left",
        "notes: 300 of 1,000 changes, 2026-01-04 5/10 texts, 10 a second, 1 min 10 s left",
    ]


def test_without_changes_the_line_is_of_rows() -> None:
    clock, lines = [0.0], list[str]()
    meter = Meter("verifying notes", None, None, elapsed=lambda: clock[0], say=lines.append)
    clock[0] = 20.0
    meter.rows(40, 0)
    assert lines == ["verifying notes: 40 rows, 2 a second"]


def test_an_ingestion_tells_how_many_changes_are_done(
    fresh: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = list[tuple[int, int]]()
    monkeypatch.setattr(Meter, "changes", lambda _, done, total: calls.append((done, total)))
    assert fresh.dr("ingest", "notes", "--to", "2026-01-05").code == 0
    assert fresh.dr("ingest", "notes").code == 0
    assert calls == [(0, 2), (2, 2), (0, 4), (2, 4), (4, 4)]


def test_a_plan_goes_by_days_that_ran_step_by_step(fresh: Workplace) -> None:
    from dr_pipelines.ingestion.by_stage import (
        commit_days,
        cut_days,
        embed_days,
        read_days,
    )
    from dr_pipelines.project.project import open_project

    project = open_project(fresh.directory / "policies.yaml", {})
    protected = project.collection("notes")
    lineage, history = protected.lineage(), protected.writable_history()
    names = ["2026-01-05", "2026-01-06", "2026-01-07"]
    for step in (read_days, cut_days, embed_days):
        step(lineage, names, history=history, on_day=lambda _: None)
    live = project.collection("notes").live()
    commit_days(lineage, names, history=history, live=live, on_day=lambda _: None)
    fresh.write_feed(feed_lines([*CHANGES, *MORE]))
    value = fresh.dr("ingest", "notes", "--plan", "--json").json
    assert value["records"] == 60
    assert value["seconds"] == pytest.approx(60 / value["records_a_second"])


def test_what_a_killed_run_embedded_counts_with_its_own_time(
    fresh: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dr_pipelines.ingestion.by_stage import cut_days, embed_days, read_days
    from dr_pipelines.project.project import open_project

    project = open_project(fresh.directory / "policies.yaml", {})
    protected = project.collection("notes")
    lineage, history = protected.lineage(), protected.writable_history()
    names = ["2026-01-05", "2026-01-06", "2026-01-07"]
    clock = iter(range(0, 10_000, 50))
    with monkeypatch.context() as patch:
        patch.setattr(embeddings, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        for step in (read_days, cut_days, embed_days):
            step(lineage, names, history=history, on_day=lambda _: None)
    assert fresh.dr("ingest", "notes", "--json").json["records"] == 6  # it adopts all of it
    fresh.write_feed(feed_lines([*CHANGES, *MORE]))
    rate = fresh.dr("ingest", "notes", "--plan", "--json").json["records_a_second"]
    assert rate == pytest.approx(6 / 150, rel=0.2)  # 50 s for each day's piece
