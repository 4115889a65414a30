"""A document of 20 MB goes the whole way; each command is a process whose memory is counted."""

import json
import random
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

TEXT_BYTES = 20_000_000
MEMORY_MIB = 1000
"""Fifty times the text; some 650 are used, 150 of them by a process that has no document."""
POLICIES = """\
version: 1
repository: repository
state: state
stores: {local: {url: "duckdb:stores"}}
embedders: {hashing: {kind: hashing, dimension: 8}}
collections:
  notes:
    owner: you
    store: local
    source: {kind: jsonl, path: feed.jsonl}
    chunker: {kind: characters, size: 1000}
    embedder: hashing
    partitions_start: 2026-01-05
    objectives: {rpo: 1h, rto: 30m}
"""


def _text() -> str:
    """Words of any alphabet, the same each time."""
    drawn = random.Random(20)
    words = [
        "".join(chr(drawn.randint(*letters)) for _ in range(drawn.randint(2, 9)))
        for letters in ((97, 122), (0x3B1, 0x3C9), (0x4E00, 0x4E40))
        for _ in range(2000)
    ]
    made = " ".join(drawn.choices(words, k=TEXT_BYTES // 8))
    return made.encode()[:TEXT_BYTES].decode(errors="ignore")


# Not `ru_maxrss`, which begins with what the process that started this one had.
PROGRAM = """
import pathlib, sys
from dr_pipelines.cli.run import run
code = run(sys.argv[1:])
status = pathlib.Path("/proc/self/status").read_text().splitlines()
pathlib.Path("peak").write_text(next(s.split()[1] for s in status if s.startswith("VmHWM")))
sys.exit(code)
"""


def _dr(directory: Path, *words: str) -> tuple[str, float]:
    """Output of a command, and the most memory it used, in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout, int((directory / "peak").read_text()) / 1024


def test_a_document_of_twenty_megabytes_comes_back_whole(tmp_path: Path) -> None:
    text = _text()
    change = {"seq": 1, "ts": "2026-01-05T08:00:00Z", "op": "upsert", "id": "big", "text": text}
    (tmp_path / "feed.jsonl").write_text(json.dumps(change, ensure_ascii=False) + "\n")
    (tmp_path / "policies.yaml").write_text(POLICIES)

    memory = {}
    for command in ("ingest", "backup", "restore"):
        more = ("--switch",) if command == "restore" else ()
        if command == "restore":
            for path in (tmp_path / "stores").glob("*.duckdb*"):
                path.unlink()
        _, memory[command] = _dr(tmp_path, command, "notes", *more)

    stored, memory["documents"] = _dr(tmp_path, "documents", "notes", "--store")
    [row] = [line.split("\t") for line in stored.splitlines() if line.startswith("big\t")]
    assert row[-1] == sha256(text.encode()).hexdigest()
    assert {name: used for name, used in memory.items() if used > MEMORY_MIB} == {}
