"""Modules that are loaded at start, and those loaded only when they are needed."""

import json
import subprocess
import sys

import pytest

from tests.cli.commands import commands
from tests.cli.workplace import CHANGES, Workplace, feed_lines

HEAVY = {"torch", "transformers", "sentence_transformers", "dagster", "boto3", "pandera", "pandas"}
ENGINES = {"pyarrow", "numpy", "duckdb"}
MODELS = {"dr_pipelines.model.policy", "dr_pipelines.model.recovery_point"}
PROGRAM = """
import sys
from dr_pipelines.cli.run import run
code = run(sys.argv[1:])
print(*sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""
PARTLY = 3


def loaded(*words: str, code: int = 0) -> set[str]:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=False
    )
    assert result.returncode == code, result.stderr
    return set(result.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("words", [("--help",), ("ingest", "--help"), ("restore", "-h")])
def test_help_needs_neither_models_nor_a_policies_file(words: tuple[str, ...]) -> None:
    assert loaded(*words) & (HEAVY | ENGINES | {"yaml", *MODELS}) == set()


@pytest.mark.parametrize("output", ["", "--json"])
def test_what_only_reads_the_log_needs_no_engine(protected: Workplace, output: str) -> None:
    options = [output] if output else []
    status = loaded("status", *options, code=PARTLY)  # nothing is backed up of memories
    points = loaded("points", "notes", *options)
    assert status & points >= MODELS
    assert (status | points) & (HEAVY | ENGINES) == set()


def test_a_look_at_a_feed_that_has_grown_needs_no_engine(protected: Workplace) -> None:
    new = {"ts": "2026-01-08T08:00:00Z", "op": "upsert", "id": "e", "title": "Elm", "text": "Old."}
    protected.write_feed(feed_lines([*CHANGES, new]))
    assert loaded("status", code=PARTLY) & (HEAVY | ENGINES) == set()


@pytest.mark.parametrize(
    "words",
    [
        ("restore", "notes", "--switch"),
        ("points", "notes"),
        ("documents", "notes"),
        ("verify", "notes", "--level", "3"),
        ("search", "notes", "crow", "--mode", "keyword"),
    ],
)
def test_coming_back_by_load_needs_no_model(protected: Workplace, words: tuple[str, ...]) -> None:
    without_pandas = HEAVY - {"pandas"}  # Arrow imports it by itself where it is installed
    assert loaded(*words) & without_pandas == set()


def test_json_alone_is_on_standard_output(protected: Workplace) -> None:
    for words in ("status", "points notes", "verify notes", "restore notes", "documents notes"):
        result = subprocess.run(
            [sys.executable, "-m", "dr_pipelines", *words.split(), "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert json.loads(result.stdout), words
        assert result.stderr == "", words


def test_the_program_and_the_module_are_the_same() -> None:
    from pathlib import Path

    program = Path(sys.executable).with_name("dr")
    outputs = [
        subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
        for command in ([str(program)], [sys.executable, "-m", "dr_pipelines"])
    ]
    assert outputs[0] == outputs[1]
    assert "Usage: dr [OPTIONS] COMMAND" in outputs[0]


def test_every_command_has_help_with_an_example() -> None:
    assert list(commands()) == [
        "init",
        "ingest",
        "backup",
        "points",
        "documents",
        "verify",
        "plan",
        "recover",
        "restore",
        "replay",
        "compact",
        "search",
        "diff",
        "status",
        "stores",
        "drop",
        "demo",
        "golden check",
        "golden record",
    ]
    for name, command in commands().items():
        assert f"  dr {name}" in (command.help or ""), name
        assert all(getattr(p, "help", "") for p in command.params if p.name != "help"), name
