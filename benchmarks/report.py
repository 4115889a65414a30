"""docs/performance.md, written from the results."""

import textwrap
from collections.abc import Mapping
from typing import Any

INTRODUCTION = """\
# Performance

What things cost, beside something that anyone can run on the same machine: `make bench` measures it
again and writes this page from [bench.json](results/bench.json), where every single lap is. Cases
take turns within one run; a time is the median of its laps, a ratio is one median over another.
Ratios tell more than times, which depend on the machine. What a case left behind is checked in the
same run: that a restored collection is equal bit for bit, that a changed bit is detected.

To read: cores and memory are those of the machine; load is how many other processes wanted to run
when the measurement began. `worked` is the median of the seconds that processors worked for a lap,
in this process and those that it started, servers included. Laps during which others used more than
a tenth of the processors are repeated, twice at most; those that were disturbed even then count,
and are marked.
"""
SEARCH = """\
## Search, by hand

`dr search` of 63 records by MiniLM, measured by hand beside other work on the same machine, in
seconds of processor time (user and system): 7.0 with PyTorch and its company (on a collection of
481 records), 1.4 with NumPy, which is 9 times `dr --help` (0.15); it took 1.3 … 1.9 s of wall time,
where it had taken 27 … 35 s. Loading the tokenizers library is 0.01 s of it, the digest of the
model's 90 MB 0.12 s. Over the handbook's texts, queries by NumPy and by the library agree within
1e-6 a component and 1e-9 of 1 - cos (a test), which is what the log allows vectors that are made
again; and each search holds the canary queries that are kept against that before it answers, else
it takes the long way and says so.
"""
SCANS = """\
## Scans after few changes, by hand

50,000 records of 384 components, text and five fields, of which 1 % had changed; seconds of
processor time, servers included, on two cores that 14 to 18 other processes wanted; medians of
three. The aim for a backup that reads every value is 1.4 of the engine's own bare scan: COPY whose
bytes nobody decodes, or the scroll of a shard whose points nobody looks at, opened and closed.

| | pgvector | Qdrant Edge |
|---|---:|---:|
| bare scan | 0.19 | 0.83 |
| scan, as columns (Qdrant Edge before: 2.1) | 0.26 | 1.56 |
| SHA-256 of every record's content and vectors | 0.14 | 0.15 |
| norms, edges of values, misfits | 0.05 | 0.07 |
| backup, nothing changed | 0.76 | 2.21 |
| backup, 1 % changed | 0.92 | 2.36 |
| first backup | 1.40 | 3.29 |
| backup, 1 % changed : bare scan | **4.8** | **2.8** |
| backup, 1 % changed : first backup | 0.66 | 0.72 |

The aim is missed, and the digests alone exceed it for pgvector: a bare scan and SHA-256 of what it
returns, with nothing decoded or compared, is 1.7 of a bare scan. Beside them the fold of the log's
indexes takes 0.16 to 0.19 (measured with DuckDB's store, where the whole is 0.82), putting the
digests beside it 0.04 to 0.10, comparing them 0.03, the entry and its manifest 0.10; the rest is
reading the changed documents again, their segment, and waiting threads. In Qdrant Edge half of a
scan is the binding's own work to make Python objects of vectors and payloads, which it does when an
attribute is read, and has no call that returns bytes. What was tried: packing each vector before
the next is read, which keeps its 384 floats in the processor's cache (taken: of 1.35 above the bare
scan 0.73 are left); NumPy's `fromiter` and `array`, `array.array` and Arrow for whole pages (two to
four times as slow as `struct` for each vector); one structure of Arrow for all payloads (four times
as slow as a list for each column); pages of 256 and 4,000 points, and no garbage collection (no
difference).
"""
BACKUPS = """\
## Backups, by hand

What stands in the way of faster backups, measured by hand beside other work on the same machine:
200,000 records of 384 components with 480 bytes of text, two cores, laps in which memory had been
used before ([decision 48](decisions/0048-what-overlaps-in-a-backup.md) has what was tried).

A first backup of PostgreSQL takes 2.3 s for 3.2 s of this program's processor and about 1 s of the
server's, where it had taken 3.0 to 3.5 s for 4.2: both cores are busy for nine tenths of it, so
that only less work makes it faster. Of this program's: reading and decoding COPY 0.5, looking at
records (statistics, what would not be taken, edges) 0.16, SHA-256 of records, texts and documents
0.7, rows to Parquet and back 0.75, half of it zstd of texts, vectors 0.1, SHA-256 of files 0.2, the
kernel's copies and sync 0.5. COPY alone keeps both cores busy for 0.84 s: a backup of at most 1.6
times that would leave 1.3 s of processor for all but COPY, and takes 2.8. A first backup of DuckDB
takes 1.8 to 2.0 s (3.0 of processor) where it had taken 2.3 to 2.6 (3.8).

With 1 % changed, everything is read, digested and compared with the log: 1.23 s, where it had taken
1.33; DuckDB's own scan is 0.35 of it, digests 0.5, the fold 0.3, what is looked at on the way 0.15,
and the comparison 0.15. What a first backup writes it does not do; so the ratio of the two rises
where a first backup becomes faster.

Level 3 of verification takes 1.3 s for 2.2 of processor. Reading the same files is reading vectors,
which lie as they are used, and 0.15 s of Parquet: 0.2 s. Level 3 hashes each file (0.2), and each
record twice and each document once (0.6), and folds (0.6, a fifth of it documents again). With
nothing but SHA-256 of files and records, and on both cores, it would be twice the reading.
"""
WIDTH = 100


def page(results: Mapping[str, Any]) -> str:
    """The whole page."""
    figures = [section(name, figure) for name, figure in results.items()]
    parts = [INTRODUCTION, *figures, BACKUPS, SCANS, SEARCH]
    return "\n".join(parts)


def section(name: str, figure: Mapping[str, Any]) -> str:
    """One figure."""
    machine = figure.get("machine", {})
    place = (
        f"{machine.get('cores')} cores, {machine.get('memory_gib')} GiB, load {machine.get('load')}"
    )
    where = "; ".join(part for part in (place, f"cache {figure['cache']}") if part)
    parts = [f"## {name.capitalize()}", _wrapped(figure["what"])]
    command = f"Command: `python -m benchmarks {name}`."
    parts.append(_wrapped(f"{command} Machine: {where if figure['cache'] else place}."))
    if figure["seconds"]:
        parts.append(_seconds(figure["seconds"]))
    if figure["ratios"]:
        parts.append(_ratios(figure["ratios"]))
    if figure["facts"]:
        parts.append("\n".join(_facts(figure["facts"])))
    return "\n\n".join(parts) + "\n"


def _wrapped(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), WIDTH, break_on_hyphens=False)


def _seconds(seconds: Mapping[str, Any]) -> str:
    rows = [
        f"| {case}{_disturbed(laps)} | {laps['median']:.2f} "
        f"| {min(laps['all']):.2f} … {max(laps['all']):.2f} | {laps.get('worked', '')} |"
        for case, laps in seconds.items()
    ]
    head = ["| case | median, s | least … most | worked, s |", "|---|---:|---:|---:|"]
    return "\n".join([*head, *rows])


def _disturbed(laps: Mapping[str, Any]) -> str:
    count = laps.get("disturbed", 0)
    return f" ({count} of {len(laps['all'])} laps disturbed)" if count else ""


def _ratios(ratios: list[Mapping[str, Any]]) -> str:
    rows = [f"| {r['what']} | {r['value']:.3g} | {_aim(r)} |" for r in ratios]
    return "\n".join(["| ratio | measured | aim |", "|---|---:|---|", *rows])


def _aim(ratio: Mapping[str, Any]) -> str:
    if ratio["aim"] is None:
        return ""
    sign = "≥" if ratio["at_least"] else "≤"
    return f"{sign} {ratio['aim']:g}: {'met' if ratio['met'] else '**missed**'}"


def _facts(facts: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, value in facts.items():
        shown = value
        if isinstance(value, Mapping):
            shown = "; ".join(f"{key}: {_shown(inner)}" for key, inner in value.items())
        lines.append(f"- {name.replace('_', ' ')}: {_shown(shown)}")
    return lines


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{inner} at {key}" for key, inner in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)
