"""How the seconds of each phase grow with records, in DuckDB and in PostgreSQL."""

import math
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks import sample
from benchmarks.full import restored
from benchmarks.harness import Figure, Laps, Ratio, Scale
from dr_pipelines.proof.verify import verify
from dr_pipelines.protocols import VectorStore
from dr_pipelines.repository.history import History
from dr_pipelines.stores.duckdb.store import duckdb_store
from dr_pipelines.stores.pgvector import open_store
from tests.servers.pgvector import running_postgres

WHAT = """\
Records with five fields beside text and vector, at each size once. `first` is a full backup of what
no log knows, `again` one that reads every value and finds it as the log has it, `verify` is level
3, and the phases of `restore` are those it reports. An exponent is the slope of a line through the
logarithms of records and seconds, by least squares: 1 means twice the time for twice the records.
Phases that take less than a twentieth of a second even at the largest size have none."""
SHORT_SECONDS = 0.05
"""Below it a time is mostly what does not depend on the size."""
SETTINGS = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
LINEAR = 1.05
ENGINES = ("duckdb", "pgvector")


def run(scale: Scale, directory: Path) -> Figure:
    """Every size of both engines; what is restored must be equal, bit for bit."""
    laps, facts = Laps(), dict[str, object]()
    seconds = dict[str, dict[int, float]]()
    for engine in ENGINES:
        for rows in scale.ladder:
            place = directory / f"{engine}-{rows}"
            place.mkdir()
            with _store(engine, place) as store:
                spent, measured = _measured(store, rows, place, laps, f"{engine}, {rows:,}")
            for phase, took in spent.items():
                seconds.setdefault(f"{engine}, {phase}", {})[rows] = took
            facts[f"{engine}, {rows:,}"] = measured
            shutil.rmtree(place)
    facts |= {
        phase: {f"{r:,}": round(s, 2) for r, s in by.items()} for phase, by in seconds.items()
    }
    slopes = {phase: exponent(by) for phase, by in seconds.items()}
    ratios = [Ratio(f"{p}: exponent", s, LINEAR) for p, s in slopes.items() if s is not None]
    return Figure("ladder", WHAT, sample.WARM, laps, facts, tuple(ratios))


def exponent(seconds: Mapping[int, float]) -> float | None:
    """The slope of log seconds over log records; None where there are no two sizes to compare."""
    counted = [(rows, took) for rows, took in seconds.items() if took > 0]
    if len(counted) < 2 or counted[-1][1] < SHORT_SECONDS:
        return None
    records, spent = ([math.log(pair[place]) for pair in counted] for place in (0, 1))
    return statistics.linear_regression(records, spent).slope


@contextmanager
def _store(engine: str, place: Path) -> Iterator[VectorStore]:
    if engine == "duckdb":
        yield duckdb_store(place / "store")
        return
    with running_postgres(18, **SETTINGS) as server:
        yield open_store(server.url(server.create_database()), base=place)


def _measured(
    store: VectorStore, rows: int, place: Path, laps: Laps, label: str
) -> tuple[dict[str, float], dict[str, int]]:
    """Seconds by phase, and the bytes and objects that a full backup is."""
    store.create(sample.described_spec())
    spent = dict[str, float]()
    with _lap(laps, f"{label}, write", spent):
        for batch in sample.described_batches(np.arange(rows)):
            store.write(sample.PHYSICAL, batch)
        store.build_index(sample.PHYSICAL)
    repository = sample.new_repository(place / "first")
    with _lap(laps, f"{label}, first", spent):
        taken = sample.backed_up(store, repository, place)
    assert taken.counts.records == rows
    objects = [path for path in (place / "first").rglob("*") if path.is_file()]
    with _lap(laps, f"{label}, again", spent):
        again = sample.backed_up(store, repository, place, first=False)
    assert again.equal
    with _lap(laps, f"{label}, verify", spent):
        assert verify(History(repository, sample.COLLECTION), level=3).sound
    with _lap(laps, f"{label}, restore", spent):
        done = restored(repository, store, place, into="sample@back")
    assert done.bit_identical
    by_phase = {f"restore: {phase.name}": phase.seconds for phase in done.phases}
    return spent | by_phase, {"bytes": taken.size_bytes, "objects": len(objects)}


@contextmanager
def _lap(laps: Laps, case: str, spent: dict[str, float]) -> Iterator[None]:
    with laps.lap(case):
        yield
    spent[case.rpartition(", ")[2]] = laps.seconds[case][-1]


def sizes(facts: Mapping[str, object], engine: str) -> Sequence[int]:
    """The sizes that an engine was measured at, ascending."""
    labels = [name.split(", ", 1)[1] for name in facts if name.startswith(f"{engine}, ")]
    return sorted(int(label.replace(",", "")) for label in labels if label[:1].isdigit())
