"""Laps, medians, ratios: what every benchmark is made of."""

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.processors import seconds_of_all, seconds_of_ours

ROOT = Path(__file__).parent.parent
LOOK_SECONDS = 0.01
TRIES = 3
"""Of a turn, until none of its laps was disturbed."""
DISTURBED = 0.1
"""The share of all processors that others may use while a lap runs."""
NOISE_SECONDS = 0.05
"""Of others' work, which is counted in ticks of 0.01 s: as much disturbs no lap, however short."""


@dataclass(frozen=True)
class Scale:
    """How much is measured; the defaults are those of the published figures."""

    rows: int = 200_000
    large_rows: int = 5_000_000
    documents: int = 100
    days: int | None = None
    growth_days: tuple[int, ...] = (50, 100, 500, 2_000)
    feed_bytes: int = 2**30
    ladder: tuple[int, ...] = (10_000, 50_000, 200_000, 1_000_000, 5_000_000)
    repeats: int = 5


SMALL = Scale(
    rows=2_000,
    large_rows=4_000,
    documents=3,
    days=3,
    growth_days=(1, 3),
    feed_bytes=2**21,
    ladder=(1_000, 2_000),
    repeats=1,
)
"""Enough to see that a benchmark runs and that what it asserts holds; its times say nothing."""


@dataclass(frozen=True)
class Ratio:
    """A median over another, and the limit that it should keep; `at_least` turns the limit over."""

    what: str
    value: float
    aim: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        if self.aim is None:
            return None
        return self.value >= self.aim if self.at_least else self.value <= self.aim


@dataclass(frozen=True)
class Lap:
    """One measurement: seconds, those that processors worked for it, and if others disturbed it."""

    case: str
    seconds: float
    worked: float
    disturbed: bool


@dataclass
class Watch:
    """Where a program says its own seconds, they are taken for a lap instead of all that passed."""

    own: float | None = None


class Laps:
    """Times of cases that take turns, so that a busy machine is busy for each of them.

    A turn in which other processes used more than a tenth of the processors is repeated, twice at
    most; if they still did the third time, its laps count and are marked as `disturbed`.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.worked: dict[str, list[float]] = {}
        self.disturbed: dict[str, int] = {}
        self._turn: list[Lap] | None = None

    def turns(self, repeats: int) -> Iterator[int]:
        """A number of its own for every turn, those included that are repeated."""
        number, turn = 0, list[Lap]()
        for _ in range(repeats):
            for _ in range(TRIES):
                self._turn = turn = list[Lap]()
                yield number
                number += 1
                if not any(lap.disturbed for lap in turn):
                    break
            self._turn = None
            for lap in turn:
                self._count(lap)

    @contextmanager
    def lap(self, case: str) -> Iterator["Watch"]:
        """Time a case once."""
        watch = Watch()
        gc.collect()
        all_before, ours_before = seconds_of_all(), seconds_of_ours()
        started = time.perf_counter()
        yield watch
        seconds = time.perf_counter() - started
        worked = seconds_of_ours() - ours_before
        others = seconds_of_all() - all_before - worked
        allowed = max(NOISE_SECONDS, DISTURBED * seconds * len(os.sched_getaffinity(0)))
        lap = Lap(case, seconds if watch.own is None else watch.own, worked, others > allowed)
        if self._turn is None:
            self._count(lap)
        else:
            self._turn.append(lap)

    def _count(self, lap: Lap) -> None:
        self.seconds.setdefault(lap.case, []).append(lap.seconds)
        self.worked.setdefault(lap.case, []).append(lap.worked)
        if lap.disturbed:
            self.disturbed[lap.case] = self.disturbed.get(lap.case, 0) + 1

    def median(self, case: str) -> float:
        """The median of a case, in seconds."""
        return statistics.median(self.seconds[case])

    def worked_median(self, case: str) -> float:
        """The median of the seconds that processors worked for a case."""
        return statistics.median(self.worked[case])

    def ratio(
        self,
        what: str,
        *,
        of: tuple[str, ...],
        to: str,
        aim: float | None = None,
    ) -> Ratio:
        """The medians of some cases, added, over that of another."""
        return Ratio(what, sum(self.median(case) for case in of) / self.median(to), aim)


@dataclass(frozen=True)
class Figure:
    """One result: all laps by case, and `facts`, what else was found."""

    name: str
    what: str
    cache: str = ""
    laps: Laps = field(default_factory=Laps)
    facts: Mapping[str, Any] = field(default_factory=dict)
    ratios: tuple[Ratio, ...] = ()

    def value(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "what": self.what,
            "cache": self.cache,
            "seconds": {
                case: {
                    "median": round(statistics.median(seconds), 4),
                    "all": [round(lap, 4) for lap in seconds],
                    "worked": round(statistics.median(self.laps.worked[case]), 2),
                    "disturbed": self.laps.disturbed.get(case, 0),
                }
                for case, seconds in self.laps.seconds.items()
            },
            "facts": dict(self.facts),
            "ratios": [
                {
                    "what": ratio.what,
                    "value": round(ratio.value, 4),
                    "aim": ratio.aim,
                    "at_least": ratio.at_least,
                    "met": ratio.met,
                }
                for ratio in self.ratios
            ],
        }


Benchmark = Callable[[Scale, Path], Figure]


@dataclass(frozen=True)
class Peaks:
    """The most memory of a process, in MiB. `resident` counts everything (`VmHWM`); `own` leaves
    out pages of files that are mapped into it, which the system takes back when it wants them
    (`RssAnon` and `RssShmem`, looked at a hundred times a second)."""

    resident_mib: float
    own_mib: float


def peaks_of(module: str, *arguments: str) -> Peaks:
    """Those of `python -m module`, which ends by calling `tell_peak`."""
    command = [sys.executable, "-m", module, *arguments]
    own_kib = 0
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=errors) as process:
            try:
                while process.poll() is None:
                    own_kib = max(own_kib, sum(_status_kib(process.pid, "RssAnon", "RssShmem")))
                    time.sleep(LOOK_SECONDS)
            except BaseException:
                process.kill()
                raise
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"{command} failed:\n{errors.read()}")
        resident = json.loads(output.readlines()[-1])["resident_mib"]
    return Peaks(resident, own_kib / 1024)


def tell_peak() -> None:
    """Print the largest resident size of this process so far. Not `ru_maxrss`, which begins with
    what the process that started this one had."""
    (peak_kib,) = _status_kib(os.getpid(), "VmHWM")
    print(json.dumps({"resident_mib": peak_kib / 1024}))


def _status_kib(pid: int, *names: str) -> list[int]:
    """Nothing of a process that ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return []
    return [int(line.split()[1]) for line in lines if line.startswith(names)]


def machine() -> dict[str, Any]:
    """The properties of this machine that figures depend on most. `load` is the number of other
    processes that wanted to run in the last minute: above 0.5 the times are not worth much, the
    ratios a little more."""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages * page / 2**30, 1),
        "load": round(os.getloadavg()[0], 1),
    }
