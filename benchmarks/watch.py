"""The cost of a look at a large feed that has grown by a little."""

import itertools
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks import sample
from benchmarks.harness import Figure, Laps, Ratio, Scale
from benchmarks.startup import POLICIES, call

WHAT = """\
`dr status`, as a process from its start to its end, of a collection whose JSONL feed has {size} in
lines of 4 KB. `whole` is the first look at it, which reads all of it; `grown` a look after {more}
came to it, `same` one after nothing did. What is ingested is the first day alone: the rest of the
feed is new to the log, which makes a look no cheaper."""
LINE_BYTES = 4096
APPENDED_BYTES = 2**20
AIM_SECONDS = 0.5
START = datetime(2026, 1, 5, 8, tzinfo=UTC)
FIRST_LINES = 4
LOOKED = (0, 3)
"""Exit codes of a look: an objective is missed as long as nobody ingests."""


def run(scale: Scale, directory: Path) -> Figure:
    """Each look must say how much of the feed it has read."""
    place = directory / "watch"
    place.mkdir()
    (place / "policies.yaml").write_text(POLICIES)
    feed, numbers = place / "feed.jsonl", itertools.count(1)
    _append(feed, FIRST_LINES * LINE_BYTES, numbers)
    dr = [sys.executable, "-m", "dr_pipelines"]
    call([*dr, "ingest", "handbook"], place)
    _append(feed, scale.feed_bytes, numbers)
    laps, status = Laps(), [*dr, "status", "--json"]
    with laps.lap("whole"):
        read = _read(call(status, place, codes=LOOKED))
    assert read >= scale.feed_bytes
    for _ in laps.turns(scale.repeats):
        _append(feed, APPENDED_BYTES, numbers)
        with laps.lap("grown"):
            read = _read(call(status, place, codes=LOOKED))
        assert APPENDED_BYTES <= read <= 2 * APPENDED_BYTES
        with laps.lap("same"):
            call(status, place, codes=LOOKED)
    sizes = {"size": f"{scale.feed_bytes / 2**20:,.0f} MiB", "more": "1 MiB"}
    ratio = Ratio(f"grown, CPU : {AIM_SECONDS} s", laps.worked_median("grown") / AIM_SECONDS, 1.0)
    facts = {"feed_bytes": feed.stat().st_size}
    return Figure("watch", WHAT.format(**sizes), sample.WARM, laps, facts, (ratio,))


def _append(feed: Path, size_bytes: int, numbers: "itertools.count[int]") -> None:
    """Lines of about that size altogether, a minute after one another."""
    text = "words of a document that is one of many " * (LINE_BYTES // 40)
    with feed.open("a") as lines:
        for seq in itertools.islice(numbers, size_bytes // LINE_BYTES + 1):
            at = START + timedelta(minutes=seq)
            change = {"seq": seq, "ts": at.isoformat().replace("+00:00", "Z"), "op": "upsert"}
            lines.write(json.dumps(change | {"id": f"d{seq}", "text": text[: LINE_BYTES - 80]}))
            lines.write("\n")


def _read(done: "subprocess.CompletedProcess[str]") -> int:
    """Bytes of the feed that a look has read."""
    (collection,) = json.loads(done.stdout)["collections"]
    return int(collection["source_read"]["new"])
