"""A new epoch: accepting by name that a source's history was rewritten.

Everything is read again under a new epoch number, which precedes nothing of the old one. One log
entry brings it all: the documents of the old epoch are deleted at the epoch's start, and what the
new history says follows. Applying it touches only documents whose rows really differ.

Where the source is the authority nothing else counts, so every document is deleted. Where the store
has one too (mixed), what only the store has is not the source's to take back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dr_pipelines import __version__
from dr_pipelines.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    Refused,
)
from dr_pipelines.ingestion.canaries import canaries_for, model_proof
from dr_pipelines.ingestion.days import Reading, plan_day, source_days
from dr_pipelines.ingestion.ingest import (
    DayCommit,
    Ingested,
    bind,
    partition_of,
    prepare_day,
    require_provenance,
)
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.ingestion.quarantine import open_lines
from dr_pipelines.live.live import Applied, Live
from dr_pipelines.model.details import EpochBegun, IngestDetail
from dr_pipelines.model.policy import Authority
from dr_pipelines.model.record import DOCUMENT_ROW, Presence, segment_schema
from dr_pipelines.model.recovery_point import (
    Manifest,
    SegmentRef,
    Timeline,
)
from dr_pipelines.protocols import Progress
from dr_pipelines.repository.accounting import advance
from dr_pipelines.repository.fold import NEWEST_FIRST
from dr_pipelines.repository.history import History, NextEntry, Tip
from dr_pipelines.repository.segments import write_segment

NAME_LIMIT = 64
TOMBSTONE_ROWS = 65_536

_ALL = "SELECT document_id FROM documents ORDER BY document_id"
_SAID_BY_SOURCE = f"""
WITH source AS (
    SELECT * FROM versions WHERE edit = 0
    QUALIFY row_number() OVER (PARTITION BY document_id ORDER BY {NEWEST_FIRST}) = 1)
SELECT d.document_id FROM documents d JOIN source s USING (document_id)
WHERE d.presence = '{Presence.PRESENT}' AND s.presence = '{Presence.PRESENT}'
ORDER BY d.document_id
"""  # noqa: S608 - built from constants


def accept_epoch(
    lineage: Lineage,
    name: str,
    *,
    history: History,
    live: Live,
    authority: Authority = "source",
    progress: Progress | None = None,
    on_day: Callable[[str], None] | None = None,
) -> Ingested:
    """Read the whole source as a new epoch and commit it in one entry.

    With authority `mixed` documents survive that the source never had, or deleted before somebody
    wrote them to the store.

    Resumable: what an interrupted run read and embedded is adopted. Raises `InvalidRequest` for
    the name that is in force already, `Refused` when the new history has no changes at all.
    """
    manifest = history.manifest()
    if manifest is None:
        raise NotFound(f"{lineage.collection}: nothing was ingested yet: no epoch to leave")
    require_new_name(manifest, name)
    bound = bind(lineage, history=history, live=live)
    live.follow(history)
    reading = Reading(manifest.epoch + 1, {})
    commits = []
    for found in source_days(lineage):
        day = plan_day(lineage, reading, found.day.isoformat())
        if on_day:
            on_day(day.name)
        commits.append(prepare_day(lineage, day, history=history, progress=progress))
    if not commits:
        raise Refused(
            f"{lineage.collection}: the source's new history is empty: accepting it would delete "
            "every document"
        )
    entry = _Epoch(lineage, EpochBegun(number=reading.epoch, name=name), commits, bound, authority)
    head = history.append("ingest", entry.at).head
    applied: Applied = live.follow(history)
    return Ingested(
        days=tuple(commit.day.name for commit in commits),
        records=sum(commit.rows for commit in commits),
        empty=sum(commit.empty for commit in commits),
        unread=open_lines(history.repository, manifest, lineage.source.unread()),
        entries=(head.number,),
        applied=applied,
    )


def require_new_name(manifest: Manifest, name: str) -> None:
    """Refuse a name that is none, or that of the epoch in force."""
    if not name.strip() or len(name) > NAME_LIMIT:
        raise InvalidRequest(f"epoch {name!r}: expected a name of 1 to {NAME_LIMIT} characters")
    if name == manifest.epoch_name:
        raise InvalidRequest(
            f"{manifest.collection}: epoch {name!r} is in force already; a new one needs a new name"
        )


@dataclass(frozen=True, slots=True)
class _Epoch:
    """A whole new history of the source as an entry; `begun` follows the epoch in force."""

    lineage: Lineage
    begun: EpochBegun
    commits: Sequence[DayCommit]
    bound: Timeline
    authority: Authority

    def at(self, tip: Tip) -> NextEntry:
        lineage, manifest = self.lineage, tip.of_timeline(self.bound)
        require_provenance(lineage, manifest)
        if manifest.epoch != self.begun.number - 1:
            raise Conflict(f"{lineage.collection}: another run accepted an epoch meanwhile")
        return NextEntry(
            manifest=self._replaced(manifest, tip),
            pending=(*tip.pending, tip.number),
            detail=IngestDetail(
                days_total=len(self.commits),
                records=sum(commit.rows for commit in self.commits),
                epoch=self.begun,
                canaries=model_proof(lineage),
            ),
        )

    def _replaced(self, manifest: Manifest, tip: Tip) -> Manifest:
        lineage, history = self.lineage, tip.history
        query = _ALL if self.authority == "source" else _SAID_BY_SOURCE
        gone = _tombstones(history, manifest, query, epoch=self.begun.number, generation=tip.number)
        added = [*gone, *(ref for commit in self.commits for ref in commit.segments)]
        grown = advance(history.repository, manifest, added, entry=tip.number)
        environment = lineage.embedder.environment
        update = {
            "epoch": self.begun.number,
            "epoch_name": self.begun.name,
            "since": lineage.source.baseline,
            "baseline": lineage.source.baseline,
            "partitions": {c.day.name: partition_of(c, entry=tip.number) for c in self.commits},
            "environments": grown.environments | {environment.fingerprint: environment},
            "canaries": canaries_for(lineage, history=history, manifest=manifest),
            "tool_version": __version__,
        }
        return grown.model_copy(update=update)


def _tombstones(
    history: History, manifest: Manifest, query: str, *, epoch: int, generation: int
) -> list[SegmentRef]:
    """A deletion of the documents that a query of the fold gives, at the start of an epoch: before
    its first position."""
    refs = []
    with history.fold(manifest) as state:
        for batch in state.batches(query, rows=TOMBSTONE_ROWS):
            rows = _deletions(batch["document_id"], manifest, epoch=epoch, generation=generation)
            refs.append(
                write_segment(
                    history.repository, manifest.collection, rows, spec=manifest.spec, kind="delta"
                )
            )
    return refs


def _deletions(
    documents: pa.ChunkedArray, manifest: Manifest, *, epoch: int, generation: int
) -> pa.Table:
    count = len(documents)
    values = {
        "epoch": epoch,
        "position": 0,
        "ordinal": 0,
        "edit": 0,
        "generation": generation,
        "chunk_index": DOCUMENT_ROW,
        "chunk_count": 0,
    }
    schema = segment_schema(manifest.spec)
    columns = {name: pa.nulls(count, schema.field(name).type) for name in schema.names}
    for name, value in values.items():
        columns[name] = pa.array(np.full(count, value), schema.field(name).type)
    columns["document_id"] = documents.cast(pa.string())
    columns["presence"] = pa.array([Presence.DELETED] * count, pa.string())
    return pa.table([columns[name] for name in schema.names], schema=schema)
