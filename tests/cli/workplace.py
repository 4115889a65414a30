"""A directory with a policies file and a small feed, and `dr` run in it."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dr_pipelines.cli.run import run

POLICIES = """\
version: 1
repository: repository
state: state
stores:
  local: {url: "duckdb:stores"}
  other: {url: "duckdb:elsewhere"}
embedders:
  hashing: {kind: hashing, dimension: 8}
  wider: {kind: hashing, dimension: 16}
collections:
  notes:
    owner: you
    store: local
    source: {kind: jsonl, path: feed.jsonl}
    chunker: {kind: characters, size: 40}
    embedder: hashing
    partitions_start: 2026-01-05
    fields: {team: {type: string}, rank: {type: integer}}
    priority: 1
    objectives: {rpo: 1h, rto: 30m}
  memories:
    owner: team:assistant
    escalation: oncall
    authority: store
    store: local
    dimension: 8
    objectives: {rpo: 15m, rto: 1h}
"""

A = "A river bends where the old mill stood, and nobody remembers why."
CHANGES: list[dict[str, Any]] = [
    {"ts": "2026-01-05T08:00:00Z", "op": "upsert", "id": "a", "title": "Mill", "text": A,
     "metadata": {"team": "red", "rank": 1}},
    {"ts": "2026-01-05T09:00:00Z", "op": "upsert", "id": "b", "title": "Bell",
     "text": "The bell rings twice.", "metadata": {"team": "blue", "rank": 2}},
    {"ts": "2026-01-06T08:00:00Z", "op": "upsert", "id": "a", "title": "Mill",
     "text": A + " Now they do.", "metadata": {"team": "red", "rank": 3}},
    {"ts": "2026-01-06T09:00:00Z", "op": "upsert", "id": "c", "title": "Crow",
     "text": "A crow counts to four.", "metadata": {"team": "blue", "rank": 4, "seen": True}},
    {"ts": "2026-01-07T08:00:00Z", "op": "delete", "id": "b"},
    {"ts": "2026-01-07T09:00:00Z", "op": "upsert", "id": "d", "title": "Blank", "text": "",
     "metadata": {"team": None, "rank": None}},
]  # fmt: skip


def feed_lines(changes: list[dict[str, Any]] = CHANGES) -> str:
    """Lines of a feed; positions count from 1."""
    numbered = ({"seq": seq, **change} for seq, change in enumerate(changes, start=1))
    return "".join(json.dumps(change) + "\n" for change in numbered)


@dataclass(frozen=True)
class Result:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Workplace:
    """`dr` in a directory."""

    directory: Path
    capsys: pytest.CaptureFixture[str]

    def dr(self, *words: str) -> Result:
        """Run a command and hear everything it says."""
        self.capsys.readouterr()
        code = run(words)
        captured = self.capsys.readouterr()
        return Result(code, captured.out, captured.err)

    def lose(self) -> None:
        """Delete the files of the live store, pointers stay."""
        for path in (self.directory / "stores").glob("*.duckdb*"):
            path.unlink()

    def write_feed(self, text: str) -> None:
        (self.directory / "feed.jsonl").write_text(text)


def furnish(directory: Path) -> None:
    """Write the policies and the feed."""
    (directory / "policies.yaml").write_text(POLICIES)
    (directory / "feed.jsonl").write_text(feed_lines())


def copy(source: Path, target: Path) -> None:
    """The same directory elsewhere."""
    shutil.copytree(source, target, dirs_exist_ok=True)
