"""docs/capacity.md: what a billion vectors take, from the constants that were measured."""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.ladder import ENGINES, sizes
from benchmarks.sample import DIMENSION, TEXT_BYTES

RECORDS = 1_000_000_000
WINDOW_HOURS = 8
LINK_BYTES = 1_250_000_000
"""A second, of a link of 10 Gbit/s: assumed."""
VERBS = {
    "first": "first full backup",
    "again": "backup that reads every value and finds it unchanged",
    "verify": "verification of every object and value (level 3)",
    "restore": "restore, with the comparison of every record",
}
INTRODUCTION = f"""\
# Capacity

What a billion records take ({DIMENSION} components of float32 each, a text of {TEXT_BYTES} bytes,
five fields), reckoned from the largest size that was measured
([performance.md](performance.md#ladder)). `make bench` writes this page. It is a plan, not a
measurement: times are taken to grow in proportion to records beyond that size, which is said beside
each constant; nothing here was run at a billion.
"""
SPLIT = """\
## How it is split

A collection is backed up by one process at a time, which uses two cores well and more cores
little. So a billion records are kept as several collections, such as one for each tenant or each
range of documents, and their backups run side by side, each on a machine (or two cores of one) of
its own. Each has its own log; a point of one needs nothing of the others. Memory does not grow with
records.
"""


@dataclass(frozen=True)
class Rate:
    """A verb's records a second at the largest size that was measured, with two cores."""

    verb: str
    records: int
    seconds: float

    @property
    def hours(self) -> float:
        """For all records on one machine."""
        return self.seconds / self.records * RECORDS / 3600


def page(results: Mapping[str, Any]) -> str:
    """The whole page; without a measured ladder it says that there is none."""
    ladder = results.get("ladder")
    if ladder is None:
        return f"{_wrapped(INTRODUCTION)}\nThe ladder has not been measured: run `make bench`.\n"
    parts = [_wrapped(INTRODUCTION)]
    parts += ["\n".join(_engine(engine, ladder)) + "\n" for engine in ENGINES]
    parts += [_wrapped(SPLIT), "\n".join(_constants(ladder)) + "\n"]
    return "\n".join(parts)


def _engine(engine: str, ladder: Mapping[str, Any]) -> Iterator[str]:
    facts = ladder["facts"]
    most = sizes(facts, engine)[-1]
    stored = facts[f"{engine}, {most:,}"]
    yield f"## {engine}\n"
    yield f"| of {RECORDS:,} records | hours on one machine | machines for {WINDOW_HOURS} hours |"
    yield "|---|---:|---:|"
    for verb, words in VERBS.items():
        case = ladder["seconds"][f"{engine}, {most:,}, {verb}"]
        rate = Rate(verb, most, case["median"])
        yield f"| {words} | {rate.hours:,.1f} | {-(-rate.hours // WINDOW_HOURS):,.0f} |"
    size, objects = (int(stored[name]) * RECORDS // most for name in ("bytes", "objects"))
    yield f"\nA full backup is {size / 10**12:,.2f} TB in {objects:,} objects,"
    yield "so as many PUT requests; a restore sends a GET for each. At the assumed speed of a link"
    yield f"its bytes alone take {size / LINK_BYTES / 3600:,.1f} hours."


def _constants(ladder: Mapping[str, Any]) -> Iterator[str]:
    machine = ladder.get("machine", {})
    yield "## Constants\n"
    yield "| constant | value | measured or assumed |"
    yield "|---|---|---|"
    where = f"measured, {machine.get('cores')} cores, local disk, load {machine.get('load')}"
    for engine in ENGINES:
        most = sizes(ladder["facts"], engine)[-1]
        for verb in VERBS:
            took = ladder["seconds"][f"{engine}, {most:,}, {verb}"]["median"]
            yield f"| {engine}, {verb} | {most / took:,.0f} records a second | {where}, {most:,} |"
        stored = ladder["facts"][f"{engine}, {most:,}"]
        size = stored["bytes"] / most
        yield f"| {engine}, size | {size:,.0f} bytes a record | measured, {most:,} |"
    yield "| growth beyond the largest size | linear | assumed; exponents are in performance.md |"
    yield f"| link to the repository | {LINK_BYTES / 10**9:.2f} GB a second | assumed |"
    yield "| machines side by side do not slow each other's store down | | assumed |"
    yield f"| window | {WINDOW_HOURS} hours | assumed |"


def _wrapped(text: str) -> str:
    paragraphs = text.strip().split("\n\n")
    return (
        "\n\n".join(
            part if part.startswith("#") else textwrap.fill(" ".join(part.split()), 100)
            for part in paragraphs
        )
        + "\n"
    )
