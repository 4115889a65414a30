"""Another schema for a collection: everything read again into a new collection beside, then served.

A field's type, a vector or the keyword index cannot change in place: what was recorded has the
former schema, and its recovery points keep it. The source is read as a new epoch with the new one.
The entry is like a restore's: a new timeline, bound to a collection that nothing is served from
until all of it is written.
"""

from collections.abc import Callable
from dataclasses import dataclass

from dr_pipelines import __version__
from dr_pipelines.errors import NotFound, Refused
from dr_pipelines.ingestion.binding import (
    new_collection_beside,
    require_provenance,
)
from dr_pipelines.ingestion.canaries import canaries_for, model_proof
from dr_pipelines.ingestion.ingest import (
    Ingested,
)
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.ingestion.quarantine import open_lines
from dr_pipelines.ingestion.reread import Reread, read_again, require_new_name
from dr_pipelines.live.live import Live
from dr_pipelines.model.collection_policy import Authority
from dr_pipelines.model.details import RestoreDetail
from dr_pipelines.model.recovery_point import (
    Coverage,
    Manifest,
    Timeline,
)
from dr_pipelines.planning.recovery import next_timeline
from dr_pipelines.planning.serving import require_store
from dr_pipelines.protocols import Progress
from dr_pipelines.repository.accounting import advance
from dr_pipelines.repository.history import History, NextEntry, Tip


def accept_schema(
    lineage: Lineage,
    name: str,
    *,
    history: History,
    live: Live,
    authority: Authority = "source",
    progress: Progress | None = None,
    on_day: Callable[[str], None] | None = None,
) -> Ingested:
    """Give a collection the schema that its policy has now, as an epoch of that name.

    Resumable: what an interrupted run read and embedded is adopted, and one that it had logged is
    applied. Raises `Refused` where the schema is the same under another name, the source is empty,
    or the store has a say (mixed): its edits have the former schema; `InvalidRequest` for the name
    that is in force already.
    """
    manifest = _known_manifest(lineage, history)
    if manifest.epoch_name == name and manifest.spec.same_contract(lineage.spec):
        done = live.follow(history)
        unread = lineage.source.unread()
        return Ingested(applied=done, unread=open_lines(history.repository, manifest, unread))
    _require_change(lineage, manifest, authority=authority)
    require_new_name(manifest, name)
    left = live.follow(history)
    read = read_again(
        lineage, name, history=history, planned=manifest, progress=progress, on_day=on_day
    )
    with live.leased():
        used = frozenset(timeline.physical for timeline in manifest.timelines)
        physical = new_collection_beside(lineage, history=history, live=live, used=used)
    head = history.append("restore", _Schema(read, physical).at).head
    return read.ingested(head, left.then(live.follow(history)))


def _known_manifest(lineage: Lineage, history: History) -> Manifest:
    manifest = history.manifest()
    if manifest is None:
        raise NotFound(f"{lineage.collection}: nothing was ingested yet: any schema is its first")
    require_provenance(lineage, manifest)
    require_store(lineage.collection, manifest.current, lineage.store_name)
    return manifest


def _require_change(lineage: Lineage, manifest: Manifest, *, authority: Authority) -> None:
    if manifest.spec.same_contract(lineage.spec):
        raise Refused(f"{lineage.collection} has the policy's fields, vectors and keyword index")
    if authority != "source":
        raise Refused(
            f"{lineage.collection}: records edited in the store have the former schema and would "
            "be lost (authority: mixed). Give the new schema a collection of its own"
        )


@dataclass(frozen=True, slots=True)
class _Schema:
    """A whole new history in the collection `physical` as an entry."""

    read: Reread
    physical: str

    def at(self, tip: Tip) -> NextEntry:
        read = self.read
        begun = self._begun(read.newest(tip, bound=read.planned.current), tip)
        return NextEntry(
            manifest=advance(tip.history.repository, begun, read.segments(), entry=tip.number),
            pending=(tip.number,),
            detail=RestoreDetail(
                route="schema",
                physical=self.physical,
                epoch=read.begun,
                days_total=len(read.commits),
                canaries=model_proof(read.lineage),
            ),
        )

    def _begun(self, latest: Manifest, tip: Tip) -> Manifest:
        read, lineage = self.read, self.read.lineage
        timeline = Timeline(
            id=next_timeline(latest.timelines),
            parent=latest.timeline,
            fork=tip.head.number,
            physical=self.physical,
            store=lineage.store_name,
        )
        environment = lineage.embedder.environment
        return Manifest(
            collection=lineage.collection,
            spec=lineage.spec.model_copy(update={"aliases": latest.spec.aliases}),
            timeline=timeline.id,
            timelines=(*latest.timelines, timeline),
            provenance=lineage.provenance,
            environments={environment.fingerprint: environment},
            canaries=canaries_for(lineage, history=tip.history, manifest=latest),
            epoch=read.begun.number,
            epoch_name=read.begun.name,
            coverage=Coverage.of(read.partitions(entry=tip.number)),
            since=lineage.source.baseline,
            baseline=lineage.source.baseline,
            accepted=latest.accepted,
            tool_version=__version__,
        )
