"""The cost of a backup when one record in a hundred has changed: discovered by a scan, or
delivered by ingestion."""

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks import sample
from benchmarks.feed import SampleFeed, lineage
from benchmarks.harness import Figure, Laps, Ratio, Scale
from dr_pipelines.ingestion.binding import (
    bind,
)
from dr_pipelines.ingestion.commit import (
    append_days,
    prepare_day,
)
from dr_pipelines.ingestion.days import Reading, plan_days
from dr_pipelines.ingestion.ingest import (
    ingest,
)
from dr_pipelines.live.live import Live
from dr_pipelines.protocols import VectorStore
from dr_pipelines.repository.history import History
from dr_pipelines.stores.duckdb.store import duckdb_store
from dr_pipelines.upkeep.compaction import compact

WHAT = """\
1 % of the records, scattered, get another text and vector, and one bit of one more vector is
flipped. `full` is a first backup of the changed collection. `scan` is `backup` on top of an
earlier one: every record of the store is read, its digests recomputed from its values and compared
with the log; it must name exactly the changed documents and the one with the flipped bit. `append`
is what ingestion adds once its embeddings checkpoint is there, which is the segment: fold of the
documents it touches, manifest, log entry, for the same number of changed documents."""


def run(scale: Scale, directory: Path) -> Figure:
    """Time each in turn; what is found must be exactly what was changed."""
    store = sample.filled_store(directory / "edited", scale.rows)
    place = directory / "incremental"
    repository = sample.new_repository(place)
    taken = sample.backed_up(store, repository, place)
    ingested = _Ingested(scale, directory / "ingested")
    laps, sizes, full_bytes = Laps(), list[int](), taken.size_bytes
    for number in laps.turns(scale.repeats):
        changed = drawn(scale.rows, seed=number)
        expected = _edit(store, changed, seed=number + 1)
        with laps.lap("scan"):
            taken = sample.backed_up(store, repository, place, first=False)
        assert taken.findings.changed == expected
        assert not taken.findings.added
        assert not taken.findings.absent
        sizes.append(taken.size_bytes)
        _full(store, directory / f"again-{number}", laps)
        ingested.append(changed, laps)
    bytes_ratio = max(sizes) / full_bytes
    return Figure(
        "incremental",
        f"{scale.rows:,} records. {WHAT}",
        sample.WARM,
        laps,
        {"full_bytes": full_bytes, "scan_bytes": max(sizes), "changed": len(expected)},
        (
            Ratio("bytes, scan : full", bytes_ratio, 0.03),
            laps.ratio("scan : full", of=("scan",), to="full", aim=0.5),
            laps.ratio("append : full", of=("append",), to="full", aim=0.05),
            laps.ratio("adopt and append : full", of=("adopt", "append"), to="full"),
        ),
    )


def drawn(rows: int, *, seed: int) -> npt.NDArray[np.int64]:
    """One record in a hundred, ascending."""
    random = np.random.default_rng(seed)
    return np.sort(random.choice(rows - 1, max(1, rows // 100), replace=False))


def _edit(store: VectorStore, changed: npt.NDArray[np.int64], *, seed: int) -> tuple[str, ...]:
    """Change records and flip the lowest bit of the first component of one more."""
    flipped = next(n for n in range(len(changed) + 1) if n not in changed)
    document = f"document-{flipped:08d}"
    stored = pa.Table.from_batches(list(store.scan(sample.PHYSICAL, documents=[document])))
    values = stored["embedding"].combine_chunks().flatten().to_numpy().copy()
    values.view(np.uint32)[0] ^= 1
    column = pa.FixedSizeListArray.from_arrays(pa.array(values), sample.DIMENSION)
    place = stored.column_names.index("embedding")
    store.write(sample.PHYSICAL, stored.set_column(place, stored.schema.field(place), column))
    store.write(sample.PHYSICAL, sample.records(changed, seed=seed))
    return tuple(sorted([document, *(f"document-{n:08d}" for n in changed.tolist())]))


def _full(store: VectorStore, place: Path, laps: Laps) -> None:
    repository = sample.new_repository(place)
    with laps.lap("full"):
        sample.backed_up(store, repository, place)
    shutil.rmtree(place)


class _Ingested:
    """The same table, come in through ingestion and compacted, so that the log is of one size."""

    def __init__(self, scale: Scale, directory: Path) -> None:
        self.rows = scale.rows
        self.feed = SampleFeed(directory / "feed.jsonl", scale.rows)
        self.lineage = lineage(directory / "feed.jsonl")
        self.repository = sample.new_repository(directory)
        self.store = duckdb_store(directory / "store")
        self.lease = sample.lease(directory)
        self.ingest()
        compact(
            History(self.repository, sample.COLLECTION),
            live=Live(self.store, self.lease, sample.COLLECTION),
        )

    def ingest(self) -> None:
        """Everything that the feed has."""
        ingest(
            self.lineage,
            history=History(self.repository, self.lineage.collection),
            live=Live(self.store, self.lease, self.lineage.collection),
        )

    def append(self, changed: npt.NDArray[np.int64], laps: Laps) -> None:
        """Another day with these documents: what comes after its embeddings is timed."""
        name = self.feed.add_day(changed)
        bound = bind(
            self.lineage,
            history=History(self.repository, self.lineage.collection),
            live=Live(self.store, self.lease, self.lineage.collection),
        )
        history = History(self.repository, sample.COLLECTION)
        reading = Reading.of(history, history.latest().manifest)
        (day,) = plan_days(self.lineage, reading, [name], source=self.lineage.source.partitions())
        made = prepare_day(
            self.lineage, day, history=History(self.repository, self.lineage.collection)
        )
        with laps.lap("adopt"):
            adopted = prepare_day(
                self.lineage, day, history=History(self.repository, self.lineage.collection)
            )
        assert adopted.segments == made.segments  # nothing was embedded twice
        with laps.lap("append"):
            append_days(
                self.lineage,
                [adopted],
                history=History(self.repository, self.lineage.collection),
                bound=bound,
            )
        self.ingest()  # brings the store to it
        newest = History(self.repository, sample.COLLECTION).latest()
        assert newest.manifest.counts.records == self.rows
