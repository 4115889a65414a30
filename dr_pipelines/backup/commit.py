"""The entry of a snapshot: what differs, what is left out since it moves, what it is worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

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
    Body,
    Head,
    LeftOut,
    Manifest,
    SegmentRef,
)
from dr_pipelines.model.unread import Unread
from dr_pipelines.planning.parts import compare_parts, namespace
from dr_pipelines.repository.accounting import advance
from dr_pipelines.repository.history import History, require_timeline
from dr_pipelines.repository.log import Draft
from dr_pipelines.repository.manifests import write_manifest
from dr_pipelines.repository.segments import read_segment, write_segment


@dataclass
class Commit:
    """Builds the entry, again after every lost race; remembers what the last build said."""

    history: History
    engine: str
    began: datetime
    change_token: str | None
    started: int
    unapplied: tuple[int, ...]
    unread: Unread | None
    base: Manifest
    live: CollectionSpec
    inspection: Inspection
    fitness: Fitness
    accepting: LossAccepted
    said: Snapshot | None = None

    def build(self, head: Head) -> Draft:
        history = self.history
        manifest = history.manifest_at(head) or self.base
        require_timeline(manifest, self.base.current)
        later = tuple(range(self.started + 1, head.number + 1))
        moving = history.touched_documents(
            manifest, entries=(*self.unapplied, *head.pending, *later)
        )
        moving_set = frozenset(moving.to_pylist())
        delta = self.without(moving)
        grown = advance(history.repository, manifest, delta, entry=head.number + 1)
        grown = grown.model_copy(
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
        self.said = self.report(head, grown, delta, moving_set)
        ref = write_manifest(history.repository, grown)
        detail = _detail(self.said, change_token=self.change_token, unread=self.unread)
        body = Body(manifest=ref, pending=head.pending, detail=detail)
        return Draft(manifest.timeline, body)

    def accepted(self, manifest: Manifest) -> tuple[Acceptance, ...]:
        """Acceptances in force: those from before that still name what would be lost, and new
        ones."""
        given = still_accepted(self.fitness, manifest.accepted_losses)
        new = (
            Acceptance(
                part=loss.part,
                consequence=loss.consequence,
                reason=self.accepting.reason,
                by=self.accepting.by,
                at=self.began,
            )
            for loss in unaccepted(self.fitness, given)
            if loss.part in self.accepting.parts
        )
        return (*given, *new)

    def left_out(self, manifest: Manifest) -> LeftOut | None:
        """What is still left out; where somebody left out more meanwhile, what they say."""
        same = manifest.left_out == self.base.left_out
        return self.inspection.left_out if same else manifest.left_out

    def without(self, moving: pa.Array) -> list[SegmentRef]:
        """The delta without documents whose store value cannot be told apart from work in
        progress."""
        if len(moving) == 0:
            return list(self.inspection.delta)
        kept = []
        for ref in self.inspection.delta:
            rows = read_segment(self.history.repository, ref, spec=self.base.spec)
            keep = pc.invert(pc.is_in(rows["document_id"], value_set=moving))
            if pc.all(keep).as_py():
                kept.append(ref)
            elif pc.any(keep).as_py():
                kept.append(
                    write_segment(
                        self.history.repository,
                        self.history.collection,
                        rows.filter(keep),
                        spec=self.base.spec,
                        kind=ref.kind,
                    )
                )
        return kept

    def report(
        self,
        head: Head,
        grown: Manifest,
        delta: Sequence[SegmentRef],
        moving: frozenset[str],
    ) -> Snapshot:
        """The snapshot that an entry after `head` records."""
        findings = self.inspection.findings
        seen = {*findings.recorded, *findings.stale}
        stale = tuple(d for d in findings.stale if d not in moving)
        observed = self.inspection.observed
        return Snapshot(
            number=head.number + 1,
            sha256="",
            position=grown.frontier(),
            rows=observed.rows,
            held=observed.held,
            findings=findings.without(moving),
            indeterminate=tuple(sorted(moving & seen)),
            equal=not moving & seen and not stale and observed.agrees_with(grown.digests),
            counts=grown.counts,
            size_bytes=sum(ref.size_bytes + ref.index.size_bytes for ref in delta),
            began=self.began,
            reconfigured=self.reconfigured(),
            fitness=self.fitness,
            accepted=grown.accepted_losses,
            not_finite=self.inspection.statistics.not_finite,
        )

    def reconfigured(self) -> tuple[PartFinding, ...]:
        """Parts that the log has otherwise than the store. What ingestion asked for and no store
        has described yet is no change."""
        if not self.base.engine:
            return ()
        compared = compare_parts(self.base.spec, self.live, engine=namespace(self.engine))
        return tuple(finding for finding in compared if not finding.unreported)


def _detail(said: Snapshot, *, change_token: str | None, unread: Unread | None) -> SnapshotDetail:
    source = None if unread is None else SourceUnread.model_validate(unread.facts())
    return SnapshotDetail(
        began=said.began,
        equal=said.equal,
        rows=said.rows,
        left_out=said.held,
        changed=Mentioned.of(said.findings.changed),
        added=Mentioned.of(said.findings.added),
        absent=Mentioned.of(said.findings.absent),
        stale=Mentioned.of(said.findings.stale),
        indeterminate=Mentioned.of(said.indeterminate),
        reconfigured=Mentioned.of([finding.part for finding in said.reconfigured]),
        fit=said.fitness.word,
        unaccepted=Mentioned.of([loss.part for loss in said.unaccepted]),
        change_token=change_token,
        source=source,
    )
