"""docs/campaigns.md, written from what long campaigns left in docs/results/."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.campaigns import newcomers, situations

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
PAGE = ROOT / "docs" / "campaigns.md"
EXACT = ("memory", "duckdb")
FILES = "files"
INTRODUCTION = """\
# Campaigns

What the long tests did, by `make test-long`, which leaves a file for each in [results](results/)
and writes this page: each file says its command, its commit and its seed. A short form of each runs
in `make test`, with the same assertions. A row is only here because all of them held.
"""
CORPORA = """\
## Real corpora through every engine

All of the rustsec feed (every day, deletions and returns included) and all of SciFact, embedded by
all-MiniLM-L6-v2: served from the engine, backed up, lost, restored into an empty one, switched to.
Documents, digests, specification, filters, tenants, principals and exact answers were as before.
Recall@10 and nDCG@10 (300 judged queries) are those of the engine's own search, by an index where
it has any, before the loss → after the restore."""
INDEXES = """\
## Every kind of index

20,000 clustered vectors of 64 components, 500 questions: recall@10 of the engine's own search
before a loss, after a restore that built the index again, and after one from the engine's own
files."""
INTERRUPTED = """\
## Interrupted backups and restores

The process ended at the first and the last call of each kind, before it and after it; it was killed
(SIGKILL) at random moments of a backup and of a restore that switches; the disk was filled to the
last kilobytes. Each time the served collection was whole, and the next run completed.
How many runs a full disk stopped differs, because some engines had room left in their files."""


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole page; results by the name of their file."""
    parts = [INTRODUCTION, *_table(CORPORA, _corpora(results)), *_table(INDEXES, _indexes(results))]
    parts += _table(INTERRUPTED, _interrupted(results))
    parts += [situations.section(), newcomers.section(), _others(results)]
    return "\n".join(parts)


def write_page() -> None:
    """Write it again, of all results there are."""
    PAGE.write_text(page(read_results()))


def read_results() -> dict[str, dict[str, Any]]:
    """Every result there is, but for the benchmarks."""
    files = sorted(path for path in RESULTS.glob("*.json") if path.stem != "bench")
    return {path.stem: json.loads(path.read_text()) for path in files}


def _table(title: str, rows: Iterator[list[str]]) -> list[str]:
    head, *body = rows
    lines = ["| " + " | ".join(row) + " |" for row in body]
    ruler = "|---" * len(head) + "|"
    return [f"{title}\n", "| " + " | ".join(head) + " |", ruler, *lines, ""]


def _corpora(results: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    yield [
        *("engine", "corpus", "records", "index", "recall@10", "nDCG@10", "vectors"),
        *("load, s", "index, s", "prove, s"),
    ]
    for name, figures in results.items():
        if not name.startswith(("engine-rustsec-", "engine-scifact-")):
            continue
        _, corpus, engine = name.split("-")
        index, seconds = figures.get("index"), figures["seconds"]
        ndcg = figures.get("ndcg@10")
        yield [
            *(engine, corpus, f"{figures['records']:,}", _searched_by(engine, index)),
            f"{figures['recall_before']:.4f} → {figures['recall_after']:.4f}",
            f"{ndcg[0]:.5f} → {ndcg[1]:.5f}" if ndcg else "",
            "equal, bit for bit" if figures["bit_identical"] else "within the store's tolerance",
            *(f"{seconds.get(phase, 0.0):.2f}" for phase in ("records", "index", "prove")),
        ]


def _searched_by(engine: str, index: Mapping[str, Any] | None) -> str:
    if index is None:
        return "none"
    return f"{index['kind']}, kept; answers are exact" if engine in EXACT else str(index["kind"])


def _indexes(results: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    yield ["engine", "kind", "before", "after", "from files", "not reported by the engine"]
    for name, measured in results.items():
        if not name.startswith("engine-recall-"):
            continue
        engine, _, kind = name.removeprefix("engine-recall-").partition("-")
        files = f"{measured['after_native']:.4f}" if "after_native" in measured else ""
        unreported = ", ".join(part.rpartition(".")[2] for part in measured["unreported"])
        before, after = (f"{measured[key]:.4f}" for key in ("before", "after"))
        yield [engine, kind, before, after, files, unreported]


def _interrupted(results: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    yield ["engine", "ended processes", "killed at random", "runs that a full disk stopped"]
    engines = sorted(
        {
            name.rpartition("-")[2]
            for name in results
            if name.startswith(("engine-kills-", "engine-sigkill-", "engine-full-disk-"))
        }
    )
    for engine in engines:
        kills = results.get(f"engine-kills-{engine}", {}).get("kills", "")
        killed = results.get(f"engine-sigkill-{engine}", {}).get("killed", {})
        random = ", ".join(f"{count} × {verb}" for verb, count in killed.items())
        failed = results.get(f"engine-full-disk-{engine}", {}).get("failed", "")
        shown = "lancedb, its own files" if engine == FILES else engine
        yield [shown, str(kills), random, str(failed)]


def _others(results: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["## The rest", ""]
    for name, measured in results.items():
        if name.startswith("engine-"):
            continue
        about = ("command", "commit", "seed", "machine", "environment")
        figures = [_figure(key, value) for key, value in measured.items() if key not in about]
        lines.append(f"- [{name}](results/{name}.json): {'; '.join(filter(None, figures))}")
    return "\n".join(lines) + "\n"


def _figure(key: str, value: Any) -> str:
    """One number as it is, several as their count: the file has them all."""
    shown = key.replace("_", " ")
    if isinstance(value, bool | str):
        return f"{shown} {value}"
    if isinstance(value, int | float):
        return f"{shown} {value:,}"
    return f"{shown}: {len(value)} kinds" if isinstance(value, Mapping) else f"{len(value)} {shown}"


if __name__ == "__main__":
    write_page()
