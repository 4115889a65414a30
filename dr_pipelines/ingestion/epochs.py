"""A new epoch: accepting by name that a source's history was rewritten.

Everything is read again under a new epoch number, which precedes nothing of the old one. One log
entry brings it all: the documents of the old epoch are deleted at the epoch's start, and what the
new history says follows. Applying it touches only documents whose rows really differ.

Where the source is the authority nothing else counts, so every document is deleted. Where the store
has one too (mixed), what only the store has is not the source's to take back.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dr_pipelines import __version__
from dr_pipelines.errors import (
    NotFound,
)
from dr_pipelines.ingestion.binding import (
    bind,
    require_provenance,
)
from dr_pipelines.ingestion.canaries import canaries_for, model_proof
from dr_pipelines.ingestion.ingest import (
    Ingested,
)
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.ingestion.reread import Reread, read_again, require_new_name
from dr_pipelines.live.live import Live
from dr_pipelines.model.collection_policy import Authority
from dr_pipelines.model.details import IngestDetail
from dr_pipelines.model.record import DOCUMENT_ROW, Presence, segment_schema
from dr_pipelines.model.recovery_point import (
    Coverage,
    Manifest,
    SegmentRef,
    Timeline,
)
from dr_pipelines.protocols import Progress
from dr_pipelines.repository.accounting import advance
from dr_pipelines.repository.history import History, NextEntry, Tip
from dr_pipelines.repository.segments import write_segment

TOMBSTONE_ROWS = 65_536


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
    left = live.follow(history)
    read = read_again(
        lineage, name, history=history, planned=manifest, progress=progress, on_day=on_day
    )
    head = history.append("ingest", _Epoch(read, bound, authority).at).head
    return read.ingested(head, left.then(live.follow(history)))


@dataclass(frozen=True, slots=True)
class _Epoch:
    """A whole new history of the source as an entry."""

    read: Reread
    bound: Timeline
    authority: Authority

    def at(self, tip: Tip) -> NextEntry:
        read, manifest = self.read, self.read.newest(tip, bound=self.bound)
        require_provenance(read.lineage, manifest)
        return NextEntry(
            manifest=self._replaced(manifest, tip),
            pending=(*tip.pending, tip.number),
            detail=IngestDetail(
                days_total=len(read.commits),
                records=read.records,
                epoch=read.begun,
                canaries=model_proof(read.lineage),
            ),
        )

    def _replaced(self, manifest: Manifest, tip: Tip) -> Manifest:
        lineage, history, begun = self.read.lineage, tip.history, self.read.begun
        gone = self._tombstones(manifest, tip)
        added = [*gone, *self.read.segments()]
        grown = advance(history.repository, manifest, added, entry=tip.number)
        environment = lineage.embedder.environment
        update = {
            "epoch": begun.number,
            "epoch_name": begun.name,
            "since": lineage.source.baseline,
            "baseline": lineage.source.baseline,
            "coverage": Coverage.of(self.read.partitions(entry=tip.number)),
            "environments": grown.environments | {environment.fingerprint: environment},
            "canaries": canaries_for(lineage, history=history, manifest=manifest),
            "tool_version": __version__,
        }
        return grown.model_copy(update=update)

    def _tombstones(self, manifest: Manifest, tip: Tip) -> list[SegmentRef]:
        """Deletions at the start of the epoch, before its first position: of every document, or
        where the store has a say of those that the source had."""
        history, begun, refs = tip.history, self.read.begun, []
        with history.fold(manifest) as state:
            gone = state.document_ids if self.authority == "source" else state.source_document_ids
            for documents in gone(rows=TOMBSTONE_ROWS):
                rows = _deletions(documents, manifest, epoch=begun.number, generation=tip.number)
                refs.append(
                    write_segment(
                        history.repository,
                        history.collection,
                        rows,
                        spec=manifest.spec,
                        kind="delta",
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
