"""Every benchmark runs at a small size and holds what it asserts; no time is looked at."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from benchmarks import capacity, harness, ladder, planner, report
from benchmarks.__main__ import BENCHMARKS
from benchmarks.corpora import ROOT
from benchmarks.harness import SMALL, Figure, Laps, Ratio
from benchmarks.processors import seconds_of_all, seconds_of_ours
from tests.benchmarks.hungry import MIB

CASES = {
    "full": {"copy", "copy, zstd", "store to store", "backup", "restore"},
    "incremental": {"scan", "full", "adopt", "append"},
    "verification": {"sha256", "level 2", "read", "level 3"},
    "memory": set(),
    "embedding": {"encode", "fast", "reproducible"},
    "days": {"verbs", "dagster"},
    "growth": set(),
    "location": {"location", "ticks", "behind", "plan", "asset page"},
    "startup": {"python", "dr --help", "dr status"},
    "planner": {
        "plan",
        *(f"{engine}, {route}" for engine in planner.ENGINES for route in planner.ROUTES),
    },
    "watch": {"whole", "grown", "same"},
    "pgvector": {
        *("backup", "restore", "scan", "write", "copy in", "copy out"),
        *("pg_dump -Z0", "pg_dump -Z1", "pg_restore -j2", "index", "index, defaults"),
    },
    "ladder": {
        f"{engine}, {rows:,}, {phase}"
        for engine in ladder.ENGINES
        for rows in SMALL.ladder
        for phase in ("write", "first", "again", "verify", "restore")
    },
    "engines": {
        *(
            f"{engine}, {case}"
            for engine in ("pgvector", "qdrant", "lancedb", "milvus", "chroma")
            for case in ("write", "full", "changed", "restore")
        ),
        *("index", "copy", "files", "files, changed", "files, restore", "load"),
    },
}


QUICK = {"full", "verification"}
"""Seconds; the others load a model or Dagster, or start processes: a minute of CPU together."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in CASES],
)
def test_a_benchmark_measures_what_it_says(name: str, tmp_path: Path) -> None:
    figure = BENCHMARKS[name](SMALL, tmp_path)

    assert set(figure.laps.seconds) == CASES[name]
    assert all(len(laps) == SMALL.repeats for laps in figure.laps.seconds.values())
    shown = report.section(name, json.loads(json.dumps(figure.value())))
    assert all(ratio.what in shown for ratio in figure.ratios)


def test_every_benchmark_but_the_one_that_needs_a_peer_is_tried() -> None:
    assert set(BENCHMARKS) == {*CASES, "vdf"}


def laps_of(seconds: dict[str, list[float]], *, disturbed: dict[str, int] | None = None) -> Laps:
    laps = Laps()
    laps.seconds, laps.worked, laps.disturbed = seconds, seconds, disturbed or {}
    return laps


def turns_disturbed_by(
    others: list[float], monkeypatch: pytest.MonkeyPatch
) -> tuple[Laps, list[int]]:
    """Two turns of one case, while others work so many seconds in each lap."""
    work, spent = iter([*others, *[0.0] * 10]), [0.0]
    monkeypatch.setattr(harness, "seconds_of_all", lambda: spent[0])
    monkeypatch.setattr(harness, "seconds_of_ours", lambda: 0.0)
    laps, numbers = Laps(), list[int]()
    for number in laps.turns(2):
        with laps.lap("a"):
            spent[0] += next(work)
        numbers.append(number)
    return laps, numbers


def test_a_turn_that_others_disturb_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    laps, numbers = turns_disturbed_by([1.0, 0.0, 1.0], monkeypatch)
    assert numbers == [0, 1, 2, 3]
    assert len(laps.seconds["a"]) == 2
    assert laps.disturbed == {}


def test_a_turn_that_is_disturbed_each_time_counts_and_is_marked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    laps, numbers = turns_disturbed_by([1.0] * 3, monkeypatch)
    assert numbers == [0, 1, 2, 3]
    assert len(laps.seconds["a"]) == 2
    assert laps.disturbed == {"a": 1}


def test_work_of_processes_that_were_started_is_ours_and_that_of_others_is_not() -> None:
    program = "import time\nwhile time.process_time() < 0.3: pass"
    before, of_all = seconds_of_ours(), seconds_of_all()
    subprocess.run([sys.executable, "-c", program], check=True)
    spent = seconds_of_ours() - before
    assert 0.28 <= spent <= seconds_of_all() - of_all + 0.05


def test_a_median_is_of_all_laps_and_an_aim_can_be_missed() -> None:
    laps = laps_of({"a": [3.0, 1.0, 2.0], "b": [1.0, 1.0, 9.0], "c": [4.0]})

    ratio = laps.ratio("a and b : c", of=("a", "b"), to="c", aim=0.5)

    assert ratio == Ratio("a and b : c", 0.75, 0.5)
    assert ratio.met is False
    assert Ratio("rate", 0.9, 1.0, at_least=True).met is False
    assert Ratio("rate", 1.1, 1.0, at_least=True).met is True
    assert Ratio("cost", 1.1).met is None


def test_a_page_shows_times_ratios_and_what_was_missed() -> None:
    figure = Figure(
        "full",
        "What it is.",
        "warm",
        laps_of({"copy": [1.0, 2.0, 4.0]}, disturbed={"copy": 1}),
        {"bytes": 1234567, "peak_mib": {"backup": {"200": 1.5}}},
        (Ratio("backup : copy", 2.5, 2.0), Ratio("restore : copy", 1.5, 2.0)),
    )
    machine = {"cores": 2, "memory_gib": 7.8, "load": 0.1}

    page = report.page({"full": figure.value() | {"machine": machine}})

    assert (
        "## Full\n\nWhat it is.\n\nCommand: `python -m benchmarks full`. Machine: 2 cores" in page
    )
    assert "7.8 GiB, load 0.1; cache warm.\n" in page
    assert "| copy (1 of 3 laps disturbed) | 2.00 | 1.00 … 4.00 | 2.0 |" in page
    assert "| backup : copy | 2.5 | ≤ 2: **missed** |" in page
    assert "| restore : copy | 1.5 | ≤ 2: met |" in page
    assert "- bytes: 1,234,567" in page
    assert "- peak mib: backup: 1.5 at 200" in page


def test_the_page_is_made_of_the_results() -> None:
    results = json.loads((ROOT / "docs" / "results" / "bench.json").read_text())
    assert list(results) == [name for name in BENCHMARKS if name in results]  # measured so far
    assert (ROOT / "docs" / "performance.md").read_text() == report.page(results)
    assert (ROOT / "docs" / "capacity.md").read_text() == capacity.page(results)


def test_an_exponent_is_the_slope_of_the_logarithms() -> None:
    assert ladder.exponent({1_000: 0.1, 10_000: 1.0, 100_000: 10.0}) == pytest.approx(1)
    assert ladder.exponent({1_000: 0.1, 10_000: 10.0}) == pytest.approx(2)
    assert ladder.exponent({1_000: 1.0}) is None
    assert ladder.exponent({1_000: 0.001, 10_000: 0.01}) is None


def test_capacity_is_reckoned_from_the_largest_size() -> None:
    seconds = {
        f"{engine}, {rows:,}, {verb}": {"median": rows / 10_000}
        for engine in ladder.ENGINES
        for rows in (1_000, 2_000)
        for verb in capacity.VERBS
    }
    facts = {f"{engine}, 2,000": {"bytes": 4_000_000, "objects": 10} for engine in ladder.ENGINES}
    facts |= {"duckdb, first": {"2,000": 1}}
    page = capacity.page({"ladder": {"seconds": seconds, "facts": facts}})
    assert "| first full backup | 27.8 | 4 |" in page
    assert "A full backup is 2.00 TB in 5,000,000 objects" in page
    assert "| duckdb, restore | 10,000 records a second |" in page
    assert "has not been measured" in capacity.page({})


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "speed"],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no benchmark speed; there are full, incremental" in done.stderr


def test_pages_of_mapped_files_are_no_memory_of_its_own() -> None:
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as file:  # on a disk: memory is memory
        file.write(bytes(96 * MIB))
        file.flush()
        peaks = harness.peaks_of("tests.benchmarks.hungry", file.name)
    assert 64 < peaks.own_mib < 64 + 90
    assert peaks.resident_mib > peaks.own_mib + 90


def test_a_process_that_fails_says_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="FileNotFoundError"):
        harness.peaks_of("tests.benchmarks.hungry", str(tmp_path / "none"))
