"""How much an ingestion has before it, in days, changes, records, bytes and time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.ingestion.binding import (
    require_contract,
    require_provenance,
)
from dr_pipelines.ingestion.days import (
    Reading,
    plan_days,
    require_same_source,
    source_days,
)
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.ingestion.quarantine import open_lines
from dr_pipelines.model.details import IngestDetail
from dr_pipelines.model.recovery_point import Head, Manifest, PositionRange
from dr_pipelines.model.unread import Unread
from dr_pipelines.repository.history import History

SAMPLE_CHANGES = 512
SAMPLE_DAYS = 16
LOOK_BACK = 512
"""Entries that are looked at for a rate, newest first."""
FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Forecast:
    """A forecast of the work that `dr ingest` would do now.

    Records are counted where all changes were `sampled`, else estimated from those.
    `bytes_measured`: by what records took so far, else by their vectors and texts. `duration` goes
    by `rate`, the records a second that the log has measured; None where it has none.
    """

    days: tuple[str, ...]
    changes: int
    sampled: int
    records: int
    size_bytes: int
    bytes_measured: bool
    rate: float | None
    duration: timedelta | None
    unread: Unread

    @property
    def counted(self) -> bool:
        """True if `records` is exact."""
        return self.sampled == self.changes


@dataclass(frozen=True, slots=True)
class _Sample:
    changes: int = 0
    records: int = 0
    text_bytes: int = 0


def forecast(lineage: Lineage, *, history: History) -> Forecast:
    """Look ahead. Some documents are cut, none is embedded. Raises as `ingest` does."""
    head = history.head()
    manifest = history.manifest_at(head)
    if manifest is not None:
        require_provenance(lineage, manifest)
        require_contract(lineage, manifest)
    reading, source = Reading.of(history, manifest), source_days(lineage)
    require_same_source(lineage, reading)
    planned = plan_days(lineage, reading, [p.day.isoformat() for p in source], source=source)
    fresh = [day.fresh for day in planned if day.fresh is not None]
    whole = {p.day.isoformat(): (p.after, p.changes) for p in source}
    changes = sum(
        _changes(lineage, position_range, *whole[position_range.day]) for position_range in fresh
    )
    sample = _sample(lineage, fresh, changes)
    records = round(sample.records * changes / sample.changes) if sample.changes else 0
    each, measured = _bytes_each(lineage, manifest, sample)
    rate = _rate(history, head)
    return Forecast(
        days=tuple(position_range.day for position_range in fresh),
        changes=changes,
        sampled=sample.changes,
        records=records,
        size_bytes=round(each * records),
        bytes_measured=measured,
        rate=rate,
        duration=timedelta(seconds=records / rate) if rate else None,
        unread=open_lines(history.repository, manifest, lineage.source.unread()),
    )


def _changes(lineage: Lineage, position_range: PositionRange, after: int, changes: int) -> int:
    """How many changes a stretch has: all of its day's, or those that came since."""
    if position_range.after == after:
        return changes
    return sum(
        b.num_rows for b in lineage.source.changes(position_range.after, position_range.through)
    )


def _sample(lineage: Lineage, fresh: Sequence[PositionRange], changes: int) -> _Sample:
    """Cut all changes where they are few, else some of as many days, evenly apart."""
    few = changes <= SAMPLE_CHANGES
    step = 1 if few else -(-len(fresh) // min(SAMPLE_DAYS, SAMPLE_CHANGES))
    chosen = fresh[::step]
    each = changes if few else max(SAMPLE_CHANGES // len(chosen), 1)
    samples = [_cut(lineage, position_range, limit=each) for position_range in chosen]
    return _Sample(
        sum(s.changes for s in samples),
        sum(s.records for s in samples),
        sum(s.text_bytes for s in samples),
    )


def _cut(lineage: Lineage, position_range: PositionRange, *, limit: int) -> _Sample:
    left, records, text_bytes = limit, 0, 0
    for batch in lineage.source.changes(position_range.after, position_range.through):
        rows = pa.Table.from_batches([batch.slice(0, left)]).combine_chunks()
        titles, texts = (rows[name].combine_chunks() for name in ("title", "text"))
        pieces = lineage.chunker.split(_one(titles), _one(texts))
        records += pieces.num_rows
        text_bytes += pc.sum(pc.binary_length(pieces["text"])).as_py() or 0
        left -= rows.num_rows
        if not left:
            break
    return _Sample(limit - left, records, text_bytes)


def _one(column: "pa.Array | pa.ChunkedArray") -> pa.Array:
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column


def _bytes_each(lineage: Lineage, manifest: Manifest | None, sample: _Sample) -> tuple[float, bool]:
    """Bytes that a record takes, and whether they were measured."""
    if manifest is not None and manifest.segments.records:
        return manifest.segments.stored_bytes / manifest.segments.records, True
    vectors = sum(v.dimension for v in lineage.spec.vectors) * FLOAT_BYTES
    return vectors + sample.text_bytes / max(sample.records, 1), False


def _rate(history: History, head: Head) -> float | None:
    """Records a second, over the newest entries that say how long their days took."""
    records, seconds = 0, 0.0
    for entry in history.entries_back(head, limit=LOOK_BACK):
        detail = entry.body.detail
        if isinstance(detail, IngestDetail) and detail.seconds:
            records, seconds = records + detail.records, seconds + detail.seconds
    return records / seconds if records and seconds else None
