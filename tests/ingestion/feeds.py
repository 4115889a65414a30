"""JSONL feeds and Git repositories made for tests."""

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dr_pipelines.sources.git_process import git_environment


def line(seq: int, ts: str = "2026-01-01T00:00:00Z", **changed: Any) -> dict[str, Any]:
    """A good line of a feed, with some keys changed; None leaves one out."""
    row = {"seq": seq, "ts": ts, "op": "upsert", "id": f"d{seq}", "text": f"text {seq}"} | changed
    return {key: value for key, value in row.items() if value is not None}


def written(path: Path, lines: Iterable[object]) -> Path:
    """A feed of lines, each ended: bytes as they are, and anything else as JSON."""
    raw = (r if isinstance(r, bytes) else json.dumps(r).encode() for r in lines)
    path.write_bytes(b"".join(r + b"\n" for r in raw))
    return path


class Repository:
    """A real Git repository whose commits have the dates they are given."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str, date: str = "2026-01-01T00:00:00Z") -> str:
        identity = {
            "GIT_AUTHOR_NAME": "A",
            "GIT_AUTHOR_EMAIL": "a@example.org",
            "GIT_COMMITTER_NAME": "C",
            "GIT_COMMITTER_EMAIL": "c@example.org",
            "GIT_AUTHOR_DATE": date,
            "GIT_COMMITTER_DATE": date,
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ALLOW_PROTOCOL": "file",
        }
        done = subprocess.run(
            ["git", "-C", str(self.path), "-c", "core.quotepath=false", *arguments],
            check=True,
            capture_output=True,
            env=git_environment(self.path) | identity,
        )
        return done.stdout.decode("utf-8", "surrogateescape")

    def write(self, name: str | bytes, content: str | bytes) -> None:
        path = Path(str(self.path)) / (
            name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(self, date: str = "2026-01-01T00:00:00Z") -> str:
        """Commit everything there is; the commit's id."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "change", date=date)
        return self.git("rev-parse", "HEAD").strip()
