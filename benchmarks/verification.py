"""Verification of a repository, beside hashing and reading the same files."""

import hashlib
from pathlib import Path

import pyarrow.parquet as pq
from pyarrow import ipc

from benchmarks import sample
from benchmarks.harness import Figure, Laps, Scale
from dr_pipelines.proof.verify import verify
from dr_pipelines.repository.history import History

WHAT = """\
`level 2` reads and hashes every object that the log reaches; `sha256` reads and hashes the same
files. `level 3` also parses them, recomputes every digest from its values, folds, and compares
with the manifest; `read` is pyarrow's reading of the same files. Vectors lie as they are used, so
reading them is next to nothing, and SHA-256 of every record is most of level 3: where vectors were
compressed, reading took 1.58 s and level 3 took 2.35 s on this machine."""


def run(scale: Scale, directory: Path) -> Figure:
    """Time each in turn over one full backup; it must be sound, and not after a bit is flipped."""
    store = sample.filled_store(directory, scale.rows)
    place = directory / "verified"
    repository = sample.new_repository(place)
    sample.backed_up(store, repository, place)
    files = sorted(p for p in (place / "repository" / sample.COLLECTION).rglob("*") if p.is_file())
    tables = [path for path in files if path.suffix == ".parquet"]
    vectors = [path for path in files if path.suffix == ".arrow"]
    laps = Laps()
    for _ in laps.turns(scale.repeats):
        with laps.lap("sha256"):
            for path in files:
                hashlib.sha256(path.read_bytes()).hexdigest()
        with laps.lap("level 2"):
            second = verify(History(repository, sample.COLLECTION), level=2)
        with laps.lap("read"):
            for path in tables:
                pq.read_table(path)
            for path in vectors:
                ipc.open_file(path.read_bytes()).read_all()
        with laps.lap("level 3"):
            third = verify(History(repository, sample.COLLECTION), level=3)
        assert second.sound
        assert third.sound
        assert second.size_bytes >= sum(path.stat().st_size for path in (*tables, *vectors))
    _flip(max((*tables, *vectors), key=lambda path: path.stat().st_size))
    assert not verify(History(repository, sample.COLLECTION), level=2).sound
    assert not verify(History(repository, sample.COLLECTION), level=3).sound
    return Figure(
        "verification",
        f"{scale.rows:,} records. {WHAT}",
        sample.WARM,
        laps,
        {"bytes": sum(path.stat().st_size for path in files), "files": len(files)},
        (
            laps.ratio("level 2 : sha256", of=("level 2",), to="sha256", aim=1.1),
            laps.ratio("level 3 : read", of=("level 3",), to="read", aim=1.5),
        ),
    )


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
