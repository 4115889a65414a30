"""Ingest: append to the log what the source said, then bring the live store to it."""

import itertools
import time
from collections.abc import Callable, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date

from dr_pipelines import __version__
from dr_pipelines.errors import (
    UNREADABLE,
    AlreadyExists,
    Conflict,
    NotFound,
    ProvenanceChanged,
    Refused,
    Unavailable,
)
from dr_pipelines.host.extras import require_packages
from dr_pipelines.ingestion.canaries import canaries_for, model_proof
from dr_pipelines.ingestion.chunks import chunk_day
from dr_pipelines.ingestion.days import (
    Day,
    Reading,
    plan_days,
    require_same_source,
    source_days,
)
from dr_pipelines.ingestion.documents import DocumentsRead, read_day
from dr_pipelines.ingestion.embeddings import embed_day
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.ingestion.quarantine import open_lines
from dr_pipelines.ingestion.refusals import refusals_recorded
from dr_pipelines.live.live import Applied, Live
from dr_pipelines.model.details import IngestDetail
from dr_pipelines.model.misfit import NAMED
from dr_pipelines.model.recovery_point import (
    CheckpointRef,
    Digests,
    Head,
    Manifest,
    Partition,
    SegmentRef,
    Timeline,
)
from dr_pipelines.model.unread import NOTHING_UNREAD, Unread
from dr_pipelines.planning.serving import require_store
from dr_pipelines.planning.stored import NEW
from dr_pipelines.protocols import (
    Progress,
    SourcePartition,
    VectorStore,
)
from dr_pipelines.repository.accounting import advance
from dr_pipelines.repository.checkpoints import Embedded
from dr_pipelines.repository.digest import combine
from dr_pipelines.repository.history import History, NextEntry, Tip, require_timeline

CHECKED_BY = ("pandera",)
"""Checks rows before they are kept."""


@dataclass(frozen=True)
class DayCommit:
    """The content of a day's log entry; `seconds` is how long it took to make, whoever made it:
    what an earlier run or step had embedded counts with its own time."""

    day: Day
    read: DocumentsRead
    chunks: tuple[CheckpointRef, ...]
    segments: tuple[SegmentRef, ...]
    again: bool = False
    seconds: float | None = None

    @property
    def rows(self) -> int:
        return sum(ref.records for ref in self.segments)

    @property
    def empty(self) -> int:
        """Versions read now of which no chunk was made."""
        covered_refs = self.day.covered.chunks if self.day.covered else ()
        return sum(ref.empty for ref in self.chunks if ref not in covered_refs)


@dataclass(frozen=True)
class Ingested:
    """The result of an ingestion. `empty` versions gave no chunk, so no search finds them.
    `unread` lines of the source wait for somebody. `unapplied` is the reason if the live store
    could not be updated: what was ingested is safe in the log."""

    days: tuple[str, ...] = ()
    records: int = 0
    empty: int = 0
    unread: Unread = NOTHING_UNREAD
    entries: tuple[int, ...] = ()
    applied: Applied = field(default_factory=Applied)
    unapplied: str | None = None


def ingest(
    lineage: Lineage,
    *,
    history: History,
    live: Live,
    first: date | None = None,
    last: date | None = None,
    progress: Progress | None = None,
    on_day: Callable[[str], None] | None = None,
    on_changes: Progress | None = None,
) -> Ingested:
    """Ingest every day of the source that is not covered yet, oldest first, a log entry each.

    Idempotent: what is covered is not read again. Entries that an earlier run left unapplied are
    finished first. `on_changes` is told after each day how many of the source's changes are done.
    Raises `SourceRewritten`, `ProvenanceChanged` before anything is written.
    """
    bound = bind(lineage, history=history, live=live)
    report = _followed(Ingested(), history, live)
    manifest = history.manifest()
    require_same_source(lineage, Reading.of(manifest))
    source = source_days(lineage, first=first, last=last)
    waiting = {p.day.isoformat(): p.changes for p in source if not covers(manifest, p)}
    done, total = 0, sum(waiting.values())
    for name in [partition.day.isoformat() for partition in source]:
        if on_changes:
            on_changes(done, total)
        done += waiting.get(name, 0)
        reading = Reading.of(history.manifest())
        (day,) = plan_days(lineage, reading, [name], source=source)
        if day.fresh is None:
            continue
        if on_day:
            on_day(day.name)
        commit = prepare_day(lineage, day, history=history, progress=progress)
        head = append_days(lineage, [commit], history=history, bound=bound)
        report = replace(
            report,
            days=(*report.days, day.name),
            records=report.records + commit.rows,
            empty=report.empty + commit.empty,
            entries=(*report.entries, head.number),
        )
        report = _followed(report, history, live)
    if on_changes:
        on_changes(done, total)
    unread = lineage.source.unread()
    return replace(report, unread=open_lines(history.repository, history.manifest(), unread))


def covers(manifest: Manifest | None, source_day: SourcePartition) -> bool:
    """True if the log holds all changes that the source has for a day."""
    covered = manifest.partitions.get(source_day.day.isoformat()) if manifest else None
    return covered is not None and covered.through >= source_day.through


def bind(lineage: Lineage, *, history: History, live: Live) -> Timeline:
    """The line of history, and the physical collection, that this run writes for.

    A collection that no log knows yet is created, empty, and its alias pointed at it. Raises
    `ExtraMissing` where what checks the rows is not installed.
    """
    require_packages(CHECKED_BY, purpose=f"{lineage.collection}: embedding documents")
    manifest = history.manifest()
    if manifest is not None:
        with refusals_recorded(history):
            require_provenance(lineage, manifest)
            require_contract(lineage, manifest)
        require_store(lineage.collection, manifest.current, lineage.store_name)
        return manifest.current
    with live.leased():
        return Timeline(
            id=1,
            physical=_new_collection(lineage, history=history, live=live),
            store=lineage.store_name,
        )


def require_provenance(lineage: Lineage, manifest: Manifest) -> None:
    """Refuse to mix vectors of two provenances in one collection."""
    if manifest.provenance is None or manifest.provenance == lineage.provenance:
        return
    changed = "; ".join(manifest.provenance.differences(lineage.provenance))
    raise ProvenanceChanged(
        f"{lineage.collection}: the policy makes other vectors than the collection holds "
        f"({changed}). Build a whole new collection with it: dr restore {lineage.collection} "
        "--route replay --embedder NAME --switch"
    )


def require_contract(lineage: Lineage, manifest: Manifest) -> None:
    """Refuse to write rows of another schema into a collection."""
    if manifest.spec.same_contract(lineage.spec):
        return
    raise Refused(
        f"{lineage.collection}: the policy's fields, vectors or keyword index differ from the "
        f"collection's. Undo the change, or read everything again with the new schema: dr ingest "
        f"{lineage.collection} --accept-schema NAME"
    )


def prepare_day(
    lineage: Lineage,
    day: Day,
    *,
    history: History,
    again: bool = False,
    progress: Progress | None = None,
) -> DayCommit:
    """Run the three stages of a day. With `again`, also what is covered is embedded once more."""
    started = time.monotonic()
    tip = history.tip()
    read = read_day(lineage, day, history=history)
    chunks = chunk_day(lineage, day, read, history=history, generation=tip.number)
    reading = time.monotonic() - started
    made = embed_day(
        lineage,
        chunks,
        history=history,
        manifest=tip.manifest,
        generation=tip.number,
        covered=day.covered,
        again=again,
        progress=progress,
    )
    segments = tuple(embedded.segment for embedded in made)
    return DayCommit(day, read, chunks, segments, again, took(made, besides=reading))


def took(made: Sequence[Embedded], *, besides: float = 0.0) -> float | None:
    """Seconds in which some pieces were embedded; None where one of them was not measured."""
    measured = [embedded.seconds for embedded in made if embedded.seconds is not None]
    return besides + sum(measured) if len(measured) == len(made) else None


def append_days(
    lineage: Lineage,
    commits: Sequence[DayCommit],
    *,
    history: History,
    bound: Timeline,
) -> Head:
    """Commit one log entry for some days; it is pending until it is applied.

    Raises `Conflict` when another run covered a day meanwhile, `TimelineClosed` when a restore
    was switched to.
    """
    return history.append("ingest", _Days(lineage, commits, bound).at).head


@dataclass(frozen=True, slots=True)
class _Days:
    """Days of the source as an entry."""

    lineage: Lineage
    commits: Sequence[DayCommit]
    bound: Timeline

    def at(self, tip: Tip) -> NextEntry:
        lineage, commits = self.lineage, self.commits
        manifest = tip.manifest or _first_manifest(lineage, self.bound)
        require_timeline(manifest, self.bound)
        require_provenance(lineage, manifest)
        for commit in commits:
            _require_unmoved(lineage, commit, manifest)
        return NextEntry(
            manifest=self._grown(manifest, tip),
            pending=(*tip.pending, tip.number),
            detail=IngestDetail(
                days=tuple(commit.day.name for commit in commits),
                days_total=len(commits),
                records=sum(commit.rows for commit in commits),
                again=any(commit.again for commit in commits),
                seconds=_seconds(commits),
                canaries=model_proof(lineage),
            ),
        )

    def _grown(self, manifest: Manifest, tip: Tip) -> Manifest:
        lineage, history = self.lineage, tip.history
        added = [ref for commit in self.commits for ref in commit.segments]
        grown = advance(history.repository, manifest, added, entry=tip.number)
        environment = lineage.embedder.environment
        update = {
            "partitions": grown.partitions
            | {c.day.name: partition_of(c, entry=tip.number) for c in self.commits},
            "environments": grown.environments | {environment.fingerprint: environment},
            "provenance": lineage.provenance,
            "canaries": canaries_for(lineage, history=history, manifest=manifest),
            "tool_version": __version__,
        }
        return grown.model_copy(update=update)


def _seconds(commits: Sequence[DayCommit]) -> float | None:
    measured = [commit.seconds for commit in commits if commit.seconds is not None]
    return round(sum(measured), 3) if measured and len(measured) == len(commits) else None


def partition_of(commit: DayCommit, *, entry: int) -> Partition:
    """Coverage of a day once its commit is in the log."""
    covered, fresh = commit.day.covered, commit.read.fresh
    documents = commit.read.all
    whole = commit.again or covered is None
    through = covered.through if covered else documents[-1].through
    digests = [ref.digests for ref in commit.segments]
    if covered and not whole:
        digests.append(covered.digests)
    sums = Digests(
        content=combine(add=[d.content for d in digests]),
        vectors=combine(add=[d.vectors for d in digests]),
        documents=combine(add=[d.documents for d in digests]),
    )
    return Partition(
        epoch=documents[0].epoch,
        after=documents[0].after,
        through=fresh[-1].through if fresh else through,
        anchor=commit.read.anchor,
        entry=entry,
        anchored=fresh[-1].through if fresh or covered is None else covered.anchored,
        documents=documents,
        chunks=commit.chunks,
        quarantined=commit.read.quarantined,
        records=commit.rows + (0 if whole or covered is None else covered.records),
        digests=sums,
    )


def _require_unmoved(lineage: Lineage, commit: DayCommit, manifest: Manifest) -> None:
    now, planned = manifest.partitions.get(commit.day.name), commit.day.covered
    epochs = {ref.epoch for ref in commit.read.all}
    if _coverage(now) != _coverage(planned) or epochs != {manifest.epoch}:
        raise Conflict(
            f"{lineage.collection}: {commit.day.name} was ingested by another run meanwhile; "
            "run the command again"
        )


def _coverage(partition: Partition | None) -> tuple[object, ...]:
    """The part of a day that was read, and of which history; replays do not change it."""
    if partition is None:
        return ()
    return partition.epoch, partition.through, partition.anchor, partition.documents


def _first_manifest(lineage: Lineage, bound: Timeline) -> Manifest:
    return Manifest(
        collection=lineage.collection,
        spec=lineage.spec,
        timeline=bound.id,
        timelines=(bound,),
        provenance=lineage.provenance,
        since=lineage.source.baseline,
        baseline=lineage.source.baseline,
    )


def _new_collection(lineage: Lineage, *, history: History, live: Live) -> str:
    """An empty collection of our own making; one that a killed run left is used again."""
    store, served = live.store, live.served()
    if served and store.describe(served).origin != NEW:
        raise AlreadyExists(
            f"the store already serves {lineage.collection!r} from {served!r}, which no log knows. "
            f"Back it up as it is (authority: store), or name the collection differently"
        )
    name = served or _left_over(lineage, store) or _physical_name(lineage, history)
    store.create(store.fit(lineage.spec).spec.physical(name, origin=NEW))
    store.build_index(name)
    if served is None:
        live.promote(name)
    return name


def new_collection_beside(
    lineage: Lineage, *, history: History, live: Live, used: frozenset[str]
) -> str:
    """An empty collection that nothing is served from, none of those that were used before; one
    that a killed run left is used again. The caller holds the lease."""
    store = live.store
    left = _left_over(lineage, store, used=used)
    name = left if left and not store.status(left).records else None
    name = name or _free_name(lineage, history, taken=used | set(store.collections()))
    store.create(store.fit(lineage.spec).spec.physical(name, origin=NEW))
    store.build_index(name)
    return name


def _left_over(
    lineage: Lineage, store: VectorStore, *, used: frozenset[str] = frozenset()
) -> str | None:
    for name in store.collections():
        if name in used or not name.startswith(f"{lineage.collection}@"):
            continue
        with suppress(*UNREADABLE):  # it is nobody's then, and stays for somebody to look at
            spec = store.describe(name)
            if spec.origin == NEW and spec.same_contract(lineage.spec):
                return name
    return None


def _free_name(lineage: Lineage, history: History, *, taken: Set[str]) -> str:
    """A physical name that nothing has or had: one made within the same second has it already."""
    name = _physical_name(lineage, history)
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(free for free in itertools.chain([name], numbered) if free not in taken)


def _physical_name(lineage: Lineage, history: History) -> str:
    return f"{lineage.collection}@{history.repository.clock():%Y%m%dT%H%M%SZ}"


def _followed(report: Ingested, history: History, live: Live) -> Ingested:
    """Apply; a store that cannot follow is reported, since the log already has the changes."""
    try:
        applied = live.follow(history)
    except (NotFound, Unavailable) as error:
        return replace(report, unapplied=str(error))
    before = report.applied
    merged = Applied(
        entries=(*before.entries, *applied.entries),
        written=before.written + applied.written,
        retained=(*before.retained, *applied.retained),
        preimages=(*before.preimages, *applied.preimages),
        taken_over=(*before.taken_over, *applied.taken_over),
        left_out=before.left_out + applied.left_out,
        refused=(*before.refused, *applied.refused)[:NAMED],
    )
    return replace(report, applied=merged, unapplied=None)
