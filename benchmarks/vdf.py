"""Full backups beside exports by vdf-io, which writes what a vector store holds into Parquet files.

vdf-io pins packages of its own, so it lives in an environment of its own: DR_VDF_PYTHON is that
environment's interpreter (`pip install --no-deps vdf-io`, then pandas, pyarrow, tqdm, halo, pillow,
qdrant-client, lancedb, pylance, chromadb, pymilvus). It reads Qdrant from servers alone, which have
no package."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks import sample
from benchmarks.engines import SLOW, TENTH, URLS, opened
from benchmarks.harness import Figure, Laps, Ratio, Scale
from tests.servers.milvus import running_milvus

WHAT = """\
Records with five fields beside text and vector. `backup` is a first full backup: scan, digests,
segments that are decoded again and synced, fold, commit. `vdf-io` exports the same collection to
Parquet files, neither compared nor synced, timed inside its process after everything is imported.
Chroma and Milvus (milvus-lite as a server) take a tenth of the records. vdf-io 0.1.248 cannot make
its exporter of Milvus, a class that lacks two methods that it never calls: it is made without."""
INTERPRETER = "DR_VDF_PYTHON"
EXPORTERS: dict[str, tuple[str, dict[str, object]]] = {
    "lancedb": (
        "lancedb_export.ExportLanceDB",
        {"endpoint": "store", "batch_size": 10_000},
    ),
    "chroma": (
        "chroma_export.ExportChroma",
        {"persistent_path": "store", "batch_size": 1_000},
    ),
    "milvus": ("milvus_export.ExportMilvus", {}),
}
PROGRAM = """
import importlib, json, sys, time
module, name = sys.argv[1].split(".")
made = getattr(importlib.import_module("vdf_io.export_vdf." + module), name)
made.__abstractmethods__ = frozenset()
exporter = made({"library_version": "0", **json.loads(sys.argv[2])})
started = time.perf_counter()
exporter.get_data()
print("SECONDS", time.perf_counter() - started)
"""


def run(scale: Scale, directory: Path) -> Figure:
    """Every engine in turn; without an environment for vdf-io there is nothing to compare with."""
    interpreter = os.environ.get(INTERPRETER)
    if not interpreter:
        raise SystemExit(f"set {INTERPRETER} to the interpreter of an environment with vdf-io")
    laps, ratios = Laps(), list[Ratio]()
    for engine, (exporter, arguments) in EXPORTERS.items():
        rows = scale.rows // TENTH if engine in SLOW else scale.rows
        place = directory / engine
        place.mkdir()
        with ExitStack() as servers:
            url, more = URLS[engine], dict[str, object]()
            if engine == "milvus":
                server = servers.enter_context(running_milvus(place / "server"))
                url, more = server.url(), {"uri": server.uri}
            store = opened(url, place)
            store.create(sample.described_spec())
            for batch in sample.described_batches(np.arange(rows)):
                store.write(sample.PHYSICAL, batch)
            store.build_index(sample.PHYSICAL)
            for number in laps.turns(scale.repeats):
                repository = sample.new_repository(place / f"lap-{number}")
                with laps.lap(f"{engine}, backup"):
                    sample.backed_up(store, repository, place)
                with laps.lap(f"{engine}, vdf-io") as watch:
                    watch.own = _export(interpreter, exporter, arguments | more, place)
                shutil.rmtree(place / f"lap-{number}")
        ratio = laps.median(f"{engine}, vdf-io") / laps.median(f"{engine}, backup")
        ratios.append(Ratio(f"{engine}: vdf-io : backup", ratio, 1.3, at_least=True))
    return Figure(
        "vdf",
        f"{scale.rows:,} records. {WHAT}",
        sample.WARM,
        laps,
        {"vdf_io": _version(interpreter)},
        tuple(ratios),
    )


def _export(interpreter: str, exporter: str, arguments: Mapping[str, object], place: Path) -> float:
    done = subprocess.run(
        [interpreter, "-c", PROGRAM, exporter, json.dumps(arguments)],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"vdf-io failed: {done.stderr[-2000:]}")
    for made in place.glob("vdf_*"):
        assert list(made.rglob("*.parquet"))
        shutil.rmtree(made)
    return float(done.stdout.rsplit("SECONDS", 1)[1])


def _version(interpreter: str) -> str:
    program = "from importlib.metadata import version; print(version('vdf-io'))"
    done = subprocess.run([interpreter, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()
