"""Documents: what the source said on a day, read in bounded pieces."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import SourceRewritten
from dr_pipelines.ingestion.days import Day
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.ingestion.rows import check_changes
from dr_pipelines.model.record import CHANGE_SCHEMA
from dr_pipelines.model.recovery_point import CheckpointRef, PositionRange
from dr_pipelines.repository.checkpoints import find_documents, write_checkpoint
from dr_pipelines.repository.history import History

DOCUMENTS_ROWS = 5_000
DOCUMENTS_BYTES = 32 << 20


@dataclass(frozen=True)
class DocumentsRead:
    """Documents checkpoints of a day in source order; `anchor` is the source's at their end."""

    covered: tuple[CheckpointRef, ...]
    fresh: tuple[CheckpointRef, ...]
    anchor: str
    quarantined: int
    adopted: int = 0

    @property
    def all(self) -> tuple[CheckpointRef, ...]:
        return (*self.covered, *self.fresh)


def read_day(
    lineage: Lineage, day: Day, *, history: History, adopt_only: bool = False
) -> DocumentsRead:
    """The documents checkpoints of a day; what none holds yet is read from the source.

    With `adopt_only` nothing is read: the stage before is expected to have done it.
    """
    covered = day.covered.documents if day.covered else ()
    anchor = day.covered.anchor if day.covered else ""
    if day.fresh is None:
        return DocumentsRead(covered, (), anchor, day.quarantined)
    chain = _adopted_documents(lineage, day.fresh, history=history)
    adopted = len(chain)
    position = chain[-1][0].through if chain else day.fresh.after
    if position < day.fresh.through and not adopt_only:
        rest = PositionRange(day.name, day.fresh.epoch, position, day.fresh.through)
        chain += list(_read_documents(lineage, rest, history=history))
    anchor = chain[-1][1] if chain else anchor
    return DocumentsRead(covered, tuple(r for r, _ in chain), anchor, day.quarantined, adopted)


def _adopted_documents(
    lineage: Lineage, fresh: PositionRange, *, history: History
) -> list[tuple[CheckpointRef, str]]:
    """Checkpoints that continue each other from the start of a stretch, read from this source."""
    left = find_documents(
        history,
        position_range=fresh,
        provenance=lineage.source.provenance.fingerprint,
        fields=lineage.fields_fingerprint,
    )
    chain, position = list[tuple[CheckpointRef, str]](), fresh.after
    while True:
        following = [
            (ref, anchor)
            for ref, anchor in left
            if ref.after == position and lineage.source.anchor(ref.through) == anchor
        ]
        if not following:
            return chain
        chain.append(max(following, key=lambda item: item[0].through))
        position = chain[-1][0].through


def _read_documents(
    lineage: Lineage, position_range: PositionRange, *, history: History
) -> Iterator[tuple[CheckpointRef, str]]:
    after = position_range.after
    for rows, through in _bounded(lineage, position_range):
        check_changes(rows)
        anchor = lineage.source.anchor(through)
        if anchor is None:
            raise SourceRewritten(f"{lineage.collection}: the source shrank while it was read")
        part = PositionRange(position_range.day, position_range.epoch, after, through)
        yield (
            write_checkpoint(
                history,
                rows,
                stage="documents",
                schema=CHANGE_SCHEMA,
                position_range=part,
                provenance=lineage.source.provenance.fingerprint,
                input_sha256=anchor,
                fields=lineage.fields_fingerprint,
            ),
            anchor,
        )
        after = through


def _bounded(lineage: Lineage, position_range: PositionRange) -> Iterator[tuple[pa.Table, int]]:
    """The changes of a stretch in tables of bounded size, each ending with a whole position."""
    pending: pa.Table = CHANGE_SCHEMA.empty_table()
    for batch in lineage.source.changes(position_range.after, position_range.through):
        pending = pa.concat_tables([pending, pa.Table.from_batches([batch])])
        if pending.num_rows < DOCUMENTS_ROWS and pending.nbytes < DOCUMENTS_BYTES:
            continue
        last = pending["position"][-1]
        whole = pc.less(pending["position"], last)
        ready = pending.filter(whole)
        if ready.num_rows:
            yield ready.combine_chunks(), ready["position"][-1].as_py()
            pending = pending.filter(pc.invert(whole))
    if pending.num_rows:
        yield pending.combine_chunks(), position_range.through
