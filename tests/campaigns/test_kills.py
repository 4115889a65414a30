"""`dr` is killed at any time, as a machine would: the next run completes."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from dr_pipelines.backup.snapshot import backup
from dr_pipelines.ingestion.ingest import (
    ingest,
)
from dr_pipelines.live.live import Live
from dr_pipelines.project.project import Project, open_project
from dr_pipelines.proof.verify import verify
from dr_pipelines.repository.history import History
from dr_pipelines.repository.rows import newest_rows
from dr_pipelines.testing.world import Contents, contents, grouped
from tests.campaigns.results import CAMPAIGN, record_result

KILLS = CAMPAIGN.pick(short=6, long=300)
SEED = CAMPAIGN.seed(20_260_701)
ROOT = Path(__file__).resolve().parents[2]
POLICIES = """\
version: 1
repository: repository
state: state
stores: {local: {url: "duckdb:stores"}}
embedders: {hashing: {kind: hashing, dimension: 8}}
collections:
  notes:
    owner: team:tests
    escalation: tests@example.com
    authority: source
    store: local
    source: {kind: jsonl, path: feed.jsonl}
    chunker: {kind: characters, size: 16}
    embedder: hashing
    partitions_start: 2026-01-01
    metric: cosine
    keyword_index: true
    fields: {}
    priority: 1
    objectives: {rpo: 1h, rto: 30m}
"""
COMMANDS = (
    ("ingest", "notes"),
    ("backup", "notes"),
    ("compact", "notes"),
    ("replay", "notes", "--from", "2026-01-01", "--to", "2026-01-02"),
    ("restore", "notes", "--switch"),
    ("restore", "notes", "--route", "replay", "--switch"),
)


@dataclass(frozen=True)
class Directory:
    path: Path

    def command(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "dr_pipelines", *words, "--policies", "policies.yaml"],
            cwd=self.path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *words: str) -> float:
        """Run to the end; how long it took."""
        started = time.monotonic()
        process = self.command(*words)
        output, _ = process.communicate()
        assert process.returncode == 0, output.decode()
        return time.monotonic() - started

    def project(self) -> Project:
        return open_project(self.path / "policies.yaml", {})

    def copied(self, target: Path) -> "Directory":
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.path, target)
        return Directory(target)


def feed(days: int) -> str:
    lines = list[str]()
    for day in range(days):
        for document in ("a", "b", f"c{day}"):
            text = f"{document} as it was on day {day}, in a few pieces"
            seq = len(lines) + 1
            change = {"seq": seq, "ts": f"2026-01-0{day + 1}T00:00:00Z", "op": "upsert"}
            lines.append(json.dumps({**change, "id": document, "text": text}))
    return "".join(f"{line}\n" for line in lines)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Directory:
    """Two days ingested and backed up, a third that is not."""
    directory = Directory(tmp_path_factory.mktemp("kills") / "base")
    directory.path.mkdir()
    (directory.path / "policies.yaml").write_text(POLICIES)
    (directory.path / "feed.jsonl").write_text(feed(2))
    directory.run("ingest", "notes")
    directory.run("backup", "notes")
    (directory.path / "feed.jsonl").write_text(feed(3))
    return directory


def settled(directory: Directory) -> Contents:
    """The state of a directory after a fresh process: everything ingested, proven, served."""
    project = directory.project()
    repository, lineage = project.repository(), project.collection("notes").lineage()
    store = project.store("local")
    history, live = History(repository, "notes"), Live(store, project.lease, "notes")
    assert verify(history, level=2).findings == ()
    ingest(lineage, history=history, live=live)
    assert backup(history, live=live).equal
    assert verify(history, level=2).findings == ()
    with history.fold_point(history.latest()) as state:
        assert grouped(newest_rows(state)) == contents(store, "notes")
    return contents(store, "notes")


def looks(directory: Directory) -> dict[Path, tuple[int, int]]:
    """Every file of the repository and the stores, its size and when it was written."""
    looks_by_state = {}
    for path in [
        p for part in ("repository", "stores") for p in (directory.path / part).rglob("*")
    ]:
        with suppress(FileNotFoundError):  # a temporary file
            seen = path.stat()
            looks_by_state[path] = (seen.st_size, 0 if path.is_dir() else seen.st_mtime_ns)
    return looks_by_state


def wait_for_work(process: subprocess.Popen[bytes], directory: Directory) -> None:
    """Until the command has written something, or ended."""
    before = looks(directory)
    while looks(directory) == before and process.poll() is None:
        time.sleep(0.002)


def entries(directory: Directory) -> int:
    return len(list((directory.path / "repository" / "notes" / "log").iterdir()))


def test_a_killed_command_leaves_what_the_next_one_completes(
    base: Directory, tmp_path: Path
) -> None:
    draw, outcomes, at_work = random.Random(SEED), Counter[str](), 0
    takes = {words: base.copied(tmp_path / "timed").run(*words) for words in COMMANDS}
    expected = settled(base.copied(tmp_path / "whole"))
    for number in range(KILLS):
        words = COMMANDS[number % len(COMMANDS)]
        directory = base.copied(tmp_path / "killed")
        before = looks(directory)
        process = directory.command(*words)
        if number == 0:
            wait_for_work(process, directory)
        elif draw.random() < 0.5:
            wait_for_work(process, directory)
            time.sleep(takes[words] * draw.uniform(0.0, 0.3))
        else:
            time.sleep(takes[words] * draw.uniform(0.2, 1.0))
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), output.decode()
        at_work += process.returncode != 0 and looks(directory) != before
        word = "killed" if process.returncode else "had ended"
        outcomes[f"{word}, {entries(directory) - entries(base)} entries committed"] += 1
        assert settled(directory) == expected, (number, words)
    assert at_work > 0
    record_result(
        "kills",
        kills=KILLS,
        killed_at_work=at_work,
        seed=SEED,
        outcomes=dict(sorted(outcomes.items())),
    )
