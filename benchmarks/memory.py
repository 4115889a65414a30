"""Peak memory of a backup and of a restore, each in a process of its own."""

import shutil
import sys
from pathlib import Path

from benchmarks import sample
from benchmarks.full import restored
from benchmarks.harness import Figure, Ratio, Scale, peaks_of, tell_peak
from dr_pipelines.stores.duckdb.store import duckdb_store

WHAT = """\
The most memory of its own of a process that imports the package and does one thing to a DuckDB
collection of so many records: a first backup, a backup that scans and finds nothing, a restore by
load with its verification. Pages of files that are mapped into it do not count: the system takes
them back when it wants them."""
ENOUGH = 768.0
"""MiB, for any number of records."""
ACTIONS = ("backup", "scan", "restore")


def run(scale: Scale, directory: Path) -> Figure:
    """Both sizes; what each process did is checked by itself."""
    peaks: dict[str, dict[str, float]] = {action: {} for action in ACTIONS}
    for rows in (scale.rows, scale.large_rows):
        place = directory / f"memory-{rows}"
        sample.filled_store(place, rows)
        for action in ACTIONS:
            peak = peaks_of("benchmarks.memory", action, str(place), str(rows))
            peaks[action][str(rows)] = round(peak.own_mib, 1)
        shutil.rmtree(place)
    ratios = [
        Ratio(
            f"{action}: {scale.large_rows:,} : {scale.rows:,} records",
            figures[str(scale.large_rows)] / figures[str(scale.rows)],
            1.1,
        )
        for action, figures in peaks.items()
    ]
    largest = max(mib for figures in peaks.values() for mib in figures.values())
    return Figure(
        "memory",
        WHAT,
        sample.WARM,
        facts={"peak_mib": peaks},
        ratios=(*ratios, Ratio("largest peak : 0.75 GiB", largest / ENOUGH, 1.0)),
    )


def _do(action: str, place: Path, rows: int) -> None:
    store = duckdb_store(place / "store")
    repository = sample.new_repository(place)
    if action == "restore":
        recovery = restored(repository, store, place, into="sample@back")
        assert recovery.bit_identical
        assert recovery.records == rows
        return
    taken = sample.backed_up(store, repository, place, first=action == "backup")
    assert taken.rows == rows


if __name__ == "__main__":
    _do(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    tell_peak()
