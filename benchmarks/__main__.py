"""`python -m benchmarks [NAME …]`: measure, keep the results, write the page that shows them."""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import (
    capacity,
    days,
    embedding,
    engines,
    full,
    growth,
    incremental,
    ladder,
    location,
    memory,
    pgvector,
    planner,
    report,
    startup,
    vdf,
    verification,
    watch,
)
from benchmarks.corpora import ROOT
from benchmarks.harness import SMALL, Benchmark, Scale, machine

RESULTS = ROOT / "docs" / "results" / "bench.json"
PAGE = ROOT / "docs" / "performance.md"
CAPACITY = ROOT / "docs" / "capacity.md"
BENCHMARKS: Mapping[str, Benchmark] = {
    "full": full.run,
    "incremental": incremental.run,
    "verification": verification.run,
    "memory": memory.run,
    "embedding": embedding.run,
    "days": days.run,
    "growth": growth.run,
    "location": location.run,
    "startup": startup.run,
    "planner": planner.run,
    "watch": watch.run,
    "pgvector": pgvector.run,
    "ladder": ladder.run,
    "engines": engines.run,
    "vdf": vdf.run,
}


def main() -> None:
    """Benchmarks that are not named keep the results they had."""
    arguments = _arguments()
    scale = SMALL if arguments.small else Scale(repeats=arguments.repeats)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in arguments.names or list(_possible()):
        print(f"{name} …", flush=True)
        results[name] = measured(name, scale)
        print(report.section(name, results[name]), flush=True)
        if not arguments.small:
            _keep({names: results[names] for names in BENCHMARKS if names in results})


def _possible() -> Iterator[str]:
    """All of them, but for a peer that is not installed here, which is said."""
    for name in BENCHMARKS:
        if name == "vdf" and not os.environ.get(vdf.INTERPRETER):
            print(f"vdf: not measured, {vdf.INTERPRETER} names no interpreter with vdf-io")
        else:
            yield name


def measured(name: str, scale: Scale) -> dict[str, Any]:
    """One figure, with the machine and the commit it was measured on."""
    before, started = machine(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dr-bench-") as directory:
        figure = BENCHMARKS[name](scale, Path(directory))
    git = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    return figure.value() | {
        "machine": before,
        "commit": commit.stdout.strip(),
        "took_seconds": round(time.monotonic() - started),
    }


def _keep(results: Mapping[str, Any]) -> None:
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(report.page(results))
    CAPACITY.write_text(capacity.page(results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--repeats", type=int, default=Scale.repeats, help="laps of each case")
    parser.add_argument(
        "--small", action="store_true", help="a quick look at whether it runs; nothing is kept"
    )
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(BENCHMARKS)):
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    return arguments


if __name__ == "__main__":
    main()
