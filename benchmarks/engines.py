"""Every engine: what a backup costs at first and after few changes, a restore, memory; and
LanceDB's own files beside copying its directory."""

import shutil
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import sample
from benchmarks.full import restored
from benchmarks.harness import Figure, Laps, Peaks, Ratio, Scale, peaks_of, tell_peak
from benchmarks.incremental import drawn
from dr_pipelines.backup.native import keep_native
from dr_pipelines.model.collection import VectorIndex
from dr_pipelines.model.components import StorePolicy
from dr_pipelines.model.recovery import Route
from dr_pipelines.project import adapters
from dr_pipelines.protocols import VectorStore
from dr_pipelines.repository.history import History
from tests.servers.pgvector import running_postgres

WHAT = """\
Records with five fields beside text and vector, in each engine: embedded where it can be,
PostgreSQL 18 as a server that syncs. `full` is a first backup; `changed` a backup after 1 % of the
records got another text and vector, which scans everything and must find exactly those; `restore`
loads, builds what searches need but no vector index, scans and compares. Milvus (milvus-lite) and
Chroma take a tenth of the records. `files` keeps LanceDB's own files, an index of vectors among
them; `files, changed` does it again after those changes; `files, restore` lays them out and
compares every record; `load` restores the same from the segments, and builds the index; `copy`
copies the directory. Memory of its own leaves out pages of the engine's files that are mapped into
the process, which the system takes back when it wants them; the resident size counts them."""
URLS = {
    "qdrant": "qdrant+edge:store",
    "lancedb": "lance:store",
    "milvus": "milvus+lite:store",
    "chroma": "chroma+local:store",
}
SLOW = ("milvus", "chroma")
INDEX = VectorIndex(kind="ivf_pq", parameters={"lists": 64, "sub_vectors": 48})
TENTH = 10


def run(scale: Scale, directory: Path) -> Figure:
    """One engine after the other; what is found and restored must be exactly what is there."""
    laps, facts = Laps(), dict[str, object]()
    ratios, peaks = list[Ratio](), dict[str, dict[str, Peaks]]()
    with ExitStack() as servers:
        server = servers.enter_context(running_postgres(18, fsync="on"))
        urls = {"pgvector": server.url(server.create_database()), **URLS}
        for engine, url in urls.items():
            rows = scale.rows // TENTH if engine in SLOW else scale.rows
            place = directory / engine
            place.mkdir()
            bytes_ratio = _engine(engine, url, place, replace(scale, rows=rows), laps)
            peaks[engine] = {
                action: peaks_of("benchmarks.engines", action, url, str(place), str(rows))
                for action in ("backup", "restore")
            }
            own = max(figures.own_mib for figures in peaks[engine].values())
            ratios += [
                Ratio(f"{engine}: bytes, changed : full", bytes_ratio, 0.03),
                laps.ratio(
                    f"{engine}: changed : full",
                    of=(f"{engine}, changed",),
                    to=f"{engine}, full",
                    aim=0.5,
                ),
                Ratio(f"{engine}: largest peak of its own memory : 0.75 GiB", own / 768, 1.0),
            ]
            if engine == "lancedb":
                facts |= _files(place, rows, scale.repeats, laps)
            shutil.rmtree(place)
    for case in ("files", "files, changed", "files, restore"):
        ratios.append(laps.ratio(f"{case} : copy", of=(case,), to="copy"))
    ratios.append(laps.ratio("files, restore : load", of=("files, restore",), to="load", aim=1.0))
    for kind in ("resident", "own"):
        facts[f"peak_{kind}_mib"] = {
            engine: {
                action: round(getattr(figures, f"{kind}_mib"))
                for action, figures in actions.items()
            }
            for engine, actions in peaks.items()
        }
    what = f"{scale.rows:,} records. {WHAT}"
    return Figure("engines", what, sample.WARM, laps, facts, tuple(ratios))


def opened(url: str, place: Path) -> VectorStore:
    """A store, as policies open it."""
    return adapters.open_store(StorePolicy(url=url), adapters.PolicyContext(place))


def _engine(engine: str, url: str, place: Path, scale: Scale, laps: Laps) -> float:
    """The bytes that a backup of few changes writes, over those of a full one."""
    store = opened(url, place)
    with laps.lap(f"{engine}, write"):
        store.create(sample.described_spec())
        for batch in sample.described_batches(np.arange(scale.rows)):
            store.write(sample.PHYSICAL, batch)
    store.build_index(sample.PHYSICAL)
    small = full = 0
    for number in laps.turns(scale.repeats):
        repository = sample.new_repository(place / f"lap-{number}")
        with laps.lap(f"{engine}, full"):
            full = sample.backed_up(store, repository, place).size_bytes
        changed = drawn(scale.rows, seed=number)
        for batch in sample.described_batches(changed, seed=number + 1):
            store.write(sample.PHYSICAL, batch)
        with laps.lap(f"{engine}, changed"):
            taken = sample.backed_up(store, repository, place, first=False)
        assert taken.findings.changed == tuple(f"document-{n:08d}" for n in changed.tolist())
        small = max(small, taken.size_bytes)
        with laps.lap(f"{engine}, restore"):
            done = restored(repository, store, place, into=f"sample@back-{number}")
        assert done.bit_identical or store.vector_tolerance > 0
        store.drop(f"sample@back-{number}")
        shutil.rmtree(place / f"lap-{number}")
    return small / full


def _files(place: Path, rows: int, repeats: int, laps: Laps) -> dict[str, object]:
    """LanceDB's files, kept twice and laid out again, beside a copy of its directory."""
    store = opened("lance:indexed", place)
    native = adapters.open_native(store)
    assert native is not None
    store.create(sample.described_spec(index=INDEX))
    for batch in sample.described_batches(np.arange(rows)):
        store.write(sample.PHYSICAL, batch)
    with laps.lap("index"):
        store.build_index(sample.PHYSICAL)
    facts = dict[str, object]()
    for number in laps.turns(repeats):
        repository = sample.new_repository(place / f"files-{number}")
        sample.backed_up(store, repository, place)
        with laps.lap("copy"):
            shutil.copytree(place / "indexed", place / f"copy-{number}")
        with laps.lap("files"):
            whole = keep_native(History(repository, sample.COLLECTION), store=store, native=native)
        for batch in sample.described_batches(drawn(rows, seed=number + 50), seed=number + 60):
            store.write(sample.PHYSICAL, batch)
        sample.backed_up(store, repository, place, first=False)
        with laps.lap("files, changed"):
            again = keep_native(History(repository, sample.COLLECTION), store=store, native=native)
        for case, route in (("files, restore", Route.NATIVE), ("load", Route.LOAD)):
            name = f"sample@{route}-{number}"
            with laps.lap(case):
                done = restored(repository, store, place, into=name, route=route, native=native)
            assert done.bit_identical
            phases = {phase.name: round(phase.seconds, 2) for phase in done.phases}
            facts[f"{case}, phases_seconds"] = phases
            store.drop(name)
        facts |= {"files_bytes": whole.size_bytes, "files_changed_bytes": again.new_bytes}
        shutil.rmtree(place / f"files-{number}")
        shutil.rmtree(place / f"copy-{number}")
    return facts


def _do(action: str, url: str, place: Path, rows: int) -> None:
    store, repository = opened(url, place), sample.new_repository(place / "peak")
    if action == "backup":
        assert sample.backed_up(store, repository, place).rows == rows
        return
    assert restored(repository, store, place, into="sample@peak").records == rows
    store.drop("sample@peak")


if __name__ == "__main__":
    _do(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    tell_peak()
