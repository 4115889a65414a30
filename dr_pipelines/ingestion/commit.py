"""Days of a source as entries of the log: made stage by stage, then appended."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dr_pipelines import __version__
from dr_pipelines.errors import (
    Conflict,
)
from dr_pipelines.ingestion.binding import require_provenance
from dr_pipelines.ingestion.canaries import canaries_for, model_proof
from dr_pipelines.ingestion.chunks import chunk_day
from dr_pipelines.ingestion.days import (
    Day,
)
from dr_pipelines.ingestion.documents import DocumentsRead, read_day
from dr_pipelines.ingestion.embeddings import embed_day
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.model.details import IngestDetail
from dr_pipelines.model.recovery_point import (
    CheckpointRef,
    Digests,
    Head,
    Manifest,
    Partition,
    SegmentRef,
    Timeline,
)
from dr_pipelines.protocols import (
    Progress,
)
from dr_pipelines.repository.accounting import advance
from dr_pipelines.repository.checkpoints import Embedded
from dr_pipelines.repository.digest import combine
from dr_pipelines.repository.history import History, NextEntry, Tip, require_timeline


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
    seconds = total_seconds(made)
    return DayCommit(
        day, read, chunks, segments, again, None if seconds is None else reading + seconds
    )


def total_seconds(parts: Sequence[Embedded | DayCommit]) -> float | None:
    """The seconds that some parts took together; None where one of them was not measured."""
    measured = [part.seconds for part in parts if part.seconds is not None]
    return sum(measured) if len(measured) == len(parts) else None


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
        days = tip.history.days(manifest)
        for commit in commits:
            _require_unmoved(lineage, commit, days, epoch=manifest.epoch)
        return NextEntry(
            manifest=self._grown(manifest, tip),
            pending=(*tip.pending, tip.number),
            detail=IngestDetail(
                days=tuple(commit.day.name for commit in commits),
                days_total=len(commits),
                records=sum(commit.rows for commit in commits),
                again=any(commit.again for commit in commits),
                seconds=_rounded(total_seconds(commits)),
                canaries=model_proof(lineage),
            ),
        )

    def _grown(self, manifest: Manifest, tip: Tip) -> Manifest:
        lineage, history = self.lineage, tip.history
        added = [ref for commit in self.commits for ref in commit.segments]
        grown = advance(history.repository, manifest, added, entry=tip.number)
        environment = lineage.embedder.environment
        update = {
            "coverage": history.days(manifest).with_days(
                {c.day.name: partition_of(c, entry=tip.number) for c in self.commits}
            ),
            "environments": grown.environments | {environment.fingerprint: environment},
            "provenance": lineage.provenance,
            "canaries": canaries_for(lineage, history=history, manifest=manifest),
            "tool_version": __version__,
        }
        return grown.model_copy(update=update)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


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


def _require_unmoved(
    lineage: Lineage, commit: DayCommit, days: Mapping[str, Partition], *, epoch: int
) -> None:
    now, planned = days.get(commit.day.name), commit.day.covered
    epochs = {ref.epoch for ref in commit.read.all}
    if _coverage(now) != _coverage(planned) or epochs != {epoch}:
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
