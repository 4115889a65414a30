"""How long the command line takes to start."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

from benchmarks import sample
from benchmarks.corpora import HANDBOOK, ROOT
from benchmarks.harness import Figure, Laps, Scale
from dr_pipelines.sources.jsonl import JsonlSource

WHAT = """\
A process from its start to its end. `python` does nothing. `dr status` reads the policies, the log
and the newest manifest of one collection that was ingested before, and the source's head."""
POLICIES = """\
version: 1
repository: repository
state: state
stores:
  local: {url: "duckdb:stores"}
embedders:
  hashing: {kind: hashing, dimension: 64}
collections:
  handbook:
    owner: team:search
    store: local
    source: {kind: jsonl, path: feed.jsonl}
    chunker: {kind: characters, size: 800}
    embedder: hashing
    partitions_start: 2026-01-05
    objectives: {rpo: 1h, rto: 30m}
"""


def run(scale: Scale, directory: Path) -> Figure:
    """Time each in turn; every command must succeed."""
    place = directory / "startup"
    place.mkdir()
    (place / "policies.yaml").write_text(POLICIES)
    days = JsonlSource(HANDBOOK).partitions()[: scale.days]
    with HANDBOOK.open() as lines:
        head = "".join(itertools.islice(lines, days[-1].through))
    (place / "feed.jsonl").write_text(head)
    dr = [sys.executable, "-m", "dr_pipelines"]
    call([*dr, "ingest", "handbook"], place)
    cases = {
        "python": [sys.executable, "-c", "pass"],
        "dr --help": [*dr, "--help"],
        "dr status": [*dr, "status"],
    }
    laps = Laps()
    for _ in laps.turns(scale.repeats):
        for case, command in cases.items():
            with laps.lap(case):
                call(command, place)
    return Figure("startup", WHAT, sample.WARM, laps)


def call(
    command: list[str], place: Path, *, codes: tuple[int, ...] = (0,)
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, which must be with one of these exit codes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode not in codes:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stderr}{done.stdout}")
    return done
