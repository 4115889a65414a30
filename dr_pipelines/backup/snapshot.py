"""Backup: prove what the log says of the live store, record what differs, and say so."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines import __version__
from dr_pipelines.backup.inspect import Findings, Inspection, inspect
from dr_pipelines.errors import InvalidRequest, NotFound, Refused
from dr_pipelines.live.live import Live
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.details import Mentioned, SnapshotDetail, SourceUnread
from dr_pipelines.model.fitness import (
    Acceptance,
    Fitness,
    Part,
    still_accepted,
    unaccepted,
)
from dr_pipelines.model.misfit import NAMED, Misfit
from dr_pipelines.model.parts import PartFinding
from dr_pipelines.model.recovery_point import (
    Body,
    Counts,
    Head,
    LeftOut,
    LogEntry,
    Manifest,
    SegmentRef,
    Timeline,
)
from dr_pipelines.model.unread import Unread
from dr_pipelines.planning.parts import compare_parts, namespace
from dr_pipelines.planning.serving import way_back
from dr_pipelines.proof.trial import Scratch, trial_due, tried
from dr_pipelines.protocols import VectorReader
from dr_pipelines.repository.accounting import advance
from dr_pipelines.repository.history import History, require_timeline
from dr_pipelines.repository.log import Draft
from dr_pipelines.repository.manifests import write_manifest
from dr_pipelines.repository.segments import read_segment, write_segment

NOWHERE = Scratch(why_not="no scratch place was given")
"""Of a caller that has none: nothing is tried."""


@dataclass(frozen=True)
class Snapshot:
    """What a snapshot found. `equal`: the live store was proven to hold exactly what the log says
    at `number`. Documents that an entry touched meanwhile are `indeterminate`; `reconfigured` are
    parts of its configuration that the log had otherwise, and has as they are now. `fitness` is
    what is known of putting it back, `accepted` the losses that somebody takes.
    `not_finite` vectors have a component that is NaN or infinite."""

    number: int
    sha256: str
    position: int
    rows: int
    held: int
    findings: Findings
    indeterminate: tuple[str, ...]
    equal: bool
    counts: Counts
    size_bytes: int
    began: datetime
    fitness: Fitness
    reconfigured: tuple[PartFinding, ...] = ()
    accepted: tuple[Acceptance, ...] = ()
    not_finite: int = 0

    @property
    def unaccepted(self) -> tuple[Part, ...]:
        """What cannot be put back, and nobody said that it need not."""
        return unaccepted(self.fitness, self.accepted)


@dataclass(frozen=True, slots=True)
class LossAccepted:
    """Losses of these parts are taken, by whom and why."""

    parts: tuple[str, ...] = ()
    reason: str = ""
    by: str = ""


@dataclass
class _Commit:
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


def backup(
    history: History,
    *,
    live: Live,
    adopt: Timeline | None = None,
    accept_absence: bool = False,
    unread: Unread | None = None,
    accepting: LossAccepted = LossAccepted(),
    scratch: Scratch = NOWHERE,
) -> Snapshot:
    """Finish what is pending, take a snapshot, and repair what a displaced writer left behind.

    Raises `NotFound` when the collection is gone from the store, `Refused` on mass absence or
    another schema; nothing is committed then.
    """
    live.follow(history)
    snapshot = take_snapshot(
        history,
        store=live.store,
        adopt=adopt,
        accept_absence=accept_absence,
        unread=unread,
        accepting=accepting,
        scratch=scratch,
    )
    if snapshot.findings.stale:
        stale = pa.array(snapshot.findings.stale, pa.string())
        with live.held():
            live.rewrite(history, stale)
    return snapshot


def unchanged_since(
    history: History,
    *,
    store: VectorReader,
    scratch: Scratch = NOWHERE,
) -> LogEntry | None:
    """The snapshot that found the live store equal to the log, if the engine says by a glance that
    no record changed since, its configuration and aliases are those that were recorded, what can be
    put back of it is what this release said, no trial is due, and nothing was logged but evidence.
    None where that is not certain.

    It reads no record: what changed behind the engine's back is only found by a snapshot.
    """
    head = history.head()
    manifest = history.manifest_at(head)
    entries = history.entries_back(head)
    entry = next((entry for entry in entries if entry.kind != "evidence"), None)
    if manifest is None or entry is None or entry.kind != "snapshot" or entry.body.pending:
        return None
    detail, physical = entry.body.detail, manifest.current.physical
    if not isinstance(detail, SnapshotDetail) or not detail.equal or detail.change_token is None:
        return None
    if physical not in store.collections():
        return None
    same = (
        store.change_token(physical) == detail.change_token
        and manifest.tool_version == __version__  # another one may foresee more
        and _live_spec(manifest, store, history) == manifest.spec
        and manifest.fitness is not None
        and (manifest.fitness.engine, manifest.fitness.parts)
        == (store.engine, _parts(physical, store))
        and not trial_due(manifest.fitness, scratch=scratch, now=history.repository.clock())
    )
    return entry if same else None


def take_snapshot(
    history: History,
    *,
    store: VectorReader,
    adopt: Timeline | None = None,
    accept_absence: bool = False,
    unread: Unread | None = None,
    accepting: LossAccepted = LossAccepted(),
    scratch: Scratch = NOWHERE,
) -> Snapshot:
    """Compare every record of the live store with the log and commit what differs.

    The position is read before the scan. A document that an entry touched since, or that is not
    applied yet, is left out and listed. A document is recorded whole, with its version from the
    log. `adopt` names the physical collection to begin a log with, where there is none yet;
    `unread` is what the source holds beyond its changes: the entry says that it is not in here.

    What would not come back into this engine is found on the way, tried in `scratch` where a trial
    is due, and is part of the snapshot. `accepting` takes some of it by name; `InvalidRequest`
    where there is no such loss.
    """
    collection = history.collection
    began = history.repository.clock()  # first: an edit made during the scan may not have been seen
    head = history.head()
    base = history.manifest_at(head)
    if base is None:
        base = _first_manifest(collection, adopt, store)
    live = _live_spec(base, store, history)
    change_token = store.change_token(
        base.current.physical
    )  # before the scan: what comes later is not in it
    parts = _parts(base.current.physical, store)
    inspection = inspect(
        base, store=store, history=history, live=live, accept_absence=accept_absence
    )
    if head.entry is None and inspection.observed.rows == 0:
        raise Refused(
            f"{base.current.physical!r} is empty and nothing is known of it: there is nothing to "
            "back up yet"
        )
    trial, untried = tried(
        collection,
        live,
        inspection.sample,
        store=store,
        scratch=scratch,
        before=base.fitness.trial if base.fitness else None,
        now=began,
    )
    fitness = Fitness(
        engine=store.engine,
        parts=parts,
        misfits=inspection.misfits.total + inspection.observed.held,
        named=_named(inspection),
        together=inspection.misfits.together(_list_of(inspection)),
        tolerance=store.vector_tolerance,
        trial=trial,
        untried=untried,
    )
    _require_losses(collection, accepting.parts, fitness)
    commit = _Commit(
        history,
        store.engine,
        began,
        change_token,
        head.number,
        head.pending,
        unread,
        base,
        live,
        inspection,
        fitness,
        accepting,
    )
    committed = history.log.append("snapshot", commit.build)
    if commit.said is None:
        raise Refused(f"{collection}: the snapshot was not built")
    return replace(commit.said, number=committed.number, sha256=committed.sha256)


def _named(inspection: Inspection) -> tuple[Misfit, ...]:
    """Records that the engine would not take: those it refused already, and those it has."""
    before = inspection.left_out.named if inspection.left_out else ()
    return (*before, *inspection.misfits.named)[:NAMED]


def _list_of(inspection: Inspection) -> str:
    """The list of the records that were refused already."""
    return inspection.left_out.records.sha256 if inspection.left_out else ""


def _parts(physical: str, store: VectorReader) -> tuple[Part, ...]:
    return tuple(Part.of(note) for note in store.compatibility(physical))


def _require_losses(collection: str, parts: Sequence[str], fitness: Fitness) -> None:
    """Nobody accepts by a slip of the pen what is not lost."""
    there = [loss.part for loss in fitness.losses()]
    for part in parts:
        if part not in there:
            raise InvalidRequest(
                f"{collection}: {part!r} is nothing that would be lost; there are: "
                f"{', '.join(there) or 'none'}"
            )


def _first_manifest(collection: str, adopt: Timeline | None, store: VectorReader) -> Manifest:
    if adopt is None:
        raise NotFound(f"{collection}: nothing is known of it yet. Run: dr ingest {collection}")
    if adopt.physical not in store.collections():
        store.describe(adopt.physical)  # which says why there is none
        raise NotFound(f"{collection}: the store has no collection {adopt.physical!r}")
    spec = store.describe(adopt.physical).physical(collection)
    return Manifest(collection=collection, spec=spec, timeline=adopt.id, timelines=(adopt,))


def _live_spec(base: Manifest, store: VectorReader, history: History) -> CollectionSpec:
    """What the store says of the collection now, under the collection's name, with the other
    aliases under which it is served."""
    physical = base.current.physical
    if physical not in store.collections():
        raise NotFound(
            f"{base.collection!r} is served from {physical!r}, which is not in the store. "
            f"Bring it back: {way_back(base.collection, physical)}"
        )
    live = store.describe(physical)
    history.require_finished(base, live.origin, physical=physical)
    if not live.same_contract(base.spec):
        raise Refused(
            f"{physical!r} has another schema than {base.collection!r} had when it was backed up: "
            "restore it, or start a new collection for the new schema"
        )
    others = {alias for alias, to in store.aliases().items() if to == physical} - {base.collection}
    return live.physical(base.collection).model_copy(update={"aliases": tuple(sorted(others))})


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
