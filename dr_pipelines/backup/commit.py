"""The entry of a snapshot: what differs, what is left out since it moves, what it is worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines import __version__
from dr_pipelines.backup.inspect import Inspection
from dr_pipelines.backup.result import LossAccepted, Snapshot
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.details import Mentioned, SnapshotDetail, SourceUnread
from dr_pipelines.model.fitness import (
    Acceptance,
    Fitness,
    still_accepted,
    unaccepted,
)
from dr_pipelines.model.parts import PartFinding
from dr_pipelines.model.recovery_point import (
    LeftOut,
    Manifest,
    SegmentRef,
)
from dr_pipelines.model.unread import Unread
from dr_pipelines.planning.parts import compare_parts, namespace
from dr_pipelines.repository.accounting import advance
from dr_pipelines.repository.history import History, NextEntry, Tip, require_timeline
from dr_pipelines.repository.segments import read_segment, write_segment


@dataclass(frozen=True, kw_only=True)
class SnapshotEntry(NextEntry):
    """An entry, and the snapshot that it records once it is committed."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A live store compared with the log, as an entry; `tip` is from before the scan. `whole_at` is
    when every value was read, where this did not."""

    tip: Tip
    engine: str
    began: datetime
    change_token: str | None
    unread: Unread | None
    whole_at: datetime | None
    base: Manifest
    live: CollectionSpec
    inspection: Inspection
    fitness: Fitness
    accepting: LossAccepted

    @property
    def history(self) -> History:
        return self.tip.history

    def at(self, tip: Tip) -> SnapshotEntry:
        """The entry that follows a tip: without documents that moved since the scan began."""
        manifest = tip.manifest or self.base
        require_timeline(manifest, self.base.current)
        later = range(self.tip.number, tip.number)
        moving = self.history.touched_documents(
            manifest, entries=(*self.tip.pending, *tip.pending, *later)
        )
        delta = self.without(moving)
        grown = self.grown(manifest, delta, entry=tip.number)
        snapshot = self.report(grown, delta, frozenset(moving.to_pylist()))
        detail = snapshot_detail_of(snapshot, change_token=self.change_token, unread=self.unread)
        return SnapshotEntry(manifest=grown, detail=detail, snapshot=snapshot)

    def grown(self, manifest: Manifest, delta: Sequence[SegmentRef], *, entry: int) -> Manifest:
        """The manifest with the delta, and with all that the comparison says of the store."""
        as_compared = manifest.segments == self.base.segments
        whole = as_compared and tuple(delta) == self.inspection.delta
        sums = self.inspection.sums if whole else None
        grown = advance(self.history.repository, manifest, delta, entry=entry, sums=sums)
        return grown.model_copy(
            update={
                "spec": self.live,
                "engine": self.engine,
                "tool_version": __version__,
                "vectors": self.inspection.statistics,
                "fitness": self.fitness,
                "accepted_losses": self.accepted(manifest),
                "left_out": self.left_out(manifest),
            }
        )

    def accepted(self, manifest: Manifest) -> tuple[Acceptance, ...]:
        """Acceptances in force: those from before that still name what would be lost, and new
        ones."""
        still_valid = still_accepted(self.fitness, manifest.accepted_losses)
        new = (
            Acceptance(
                part=loss.part,
                consequence=loss.consequence,
                reason=self.accepting.reason,
                by=self.accepting.by,
                at=self.began,
            )
            for loss in unaccepted(self.fitness, still_valid)
            if loss.part in self.accepting.parts
        )
        return (*still_valid, *new)

    def left_out(self, manifest: Manifest) -> LeftOut | None:
        """Records still left out; if another run left out more meanwhile, that run's account."""
        same = manifest.left_out == self.base.left_out
        return self.inspection.left_out if same else manifest.left_out

    def without(self, moving: pa.Array) -> list[SegmentRef]:
        """The delta without documents whose store value cannot be told apart from work in
        progress."""
        if len(moving) == 0:
            return list(self.inspection.delta)
        retained = []
        for ref in self.inspection.delta:
            read = partial(read_segment, self.history.repository, ref, spec=self.base.spec)
            documents = read(columns=["document_id"])["document_id"]
            keep = pc.invert(pc.is_in(documents, value_set=moving))
            if pc.all(keep).as_py():
                retained.append(ref)
            elif pc.any(keep).as_py():
                rows = read()
                retained.append(
                    write_segment(
                        self.history.repository,
                        self.history.collection,
                        rows.filter(keep),
                        spec=self.base.spec,
                        kind=ref.kind,
                    )
                )
        return retained

    def report(
        self, grown: Manifest, delta: Sequence[SegmentRef], moving: frozenset[str]
    ) -> Snapshot:
        """The snapshot to report; its place in the log is known only once it is committed."""
        findings = self.inspection.findings
        seen = {*findings.recorded, *findings.stale}
        stale = tuple(d for d in findings.stale if d not in moving)
        observed = self.inspection.observed
        return Snapshot(
            number=0,
            sha256="",
            position=grown.coverage.frontier,
            rows=observed.rows,
            omitted=observed.omitted,
            findings=findings.without(moving),
            indeterminate=tuple(sorted(moving & seen)),
            equal=not moving & seen and not stale and observed.agrees_with(grown.digests),
            counts=grown.counts,
            size_bytes=sum(ref.stored_bytes for ref in delta),
            began=self.began,
            assurance=self.inspection.assurance,
            whole_at=self.whole_at or self.began,
            reconfigured=self.reconfigured(),
            fitness=self.fitness,
            accepted=grown.accepted_losses,
            not_finite=self.inspection.statistics.not_finite,
            vectors=self.history.repository.vectors.of(delta),
        )

    def reconfigured(self) -> tuple[PartFinding, ...]:
        """Parts that the log has otherwise than the store. What ingestion asked for and no store
        has described yet is no change."""
        if not self.base.engine:
            return ()
        compared = compare_parts(self.base.spec, self.live, engine=namespace(self.engine))
        return tuple(finding for finding in compared if not finding.unreported)


def snapshot_detail_of(
    snapshot: Snapshot, *, change_token: str | None, unread: Unread | None
) -> SnapshotDetail:
    """The detail of the entry that records a snapshot."""
    source = None if unread is None else SourceUnread.model_validate(unread.facts())
    return SnapshotDetail(
        began=snapshot.began,
        equal=snapshot.equal,
        rows=snapshot.rows,
        left_out=snapshot.omitted,
        changed=Mentioned.of(snapshot.findings.changed),
        added=Mentioned.of(snapshot.findings.added),
        absent=Mentioned.of(snapshot.findings.absent),
        stale=Mentioned.of(snapshot.findings.stale),
        indeterminate=Mentioned.of(snapshot.indeterminate),
        reconfigured=Mentioned.of([finding.part for finding in snapshot.reconfigured]),
        fit=snapshot.fitness.word,
        unaccepted=Mentioned.of([loss.part for loss in snapshot.unaccepted]),
        change_token=change_token,
        assurance=snapshot.assurance,
        whole_at=snapshot.whole_at,
        source=source,
    )
