"""Recording that nothing changed since the newest snapshot, by the engine's own word."""

from dataclasses import replace

from dr_pipelines.backup.commit import SnapshotEntry, snapshot_detail_of
from dr_pipelines.backup.inspect import Findings
from dr_pipelines.backup.result import Snapshot
from dr_pipelines.backup.unchanged import unchanged_since
from dr_pipelines.errors import Conflict
from dr_pipelines.model.assurance import Assurance
from dr_pipelines.model.recovery_point import LogEntry, Manifest
from dr_pipelines.model.unread import Unread
from dr_pipelines.proof.points import snapshot_detail
from dr_pipelines.proof.trial import Scratch
from dr_pipelines.protocols import VectorReader
from dr_pipelines.repository.history import History, Tip


def confirm(
    history: History,
    *,
    store: VectorReader,
    scratch: Scratch,
    unread: Unread | None,
) -> Snapshot | None:
    """Commit a snapshot that rests on signs of change only, and names the state of the one before;
    None where it is not certain that nothing changed. Reads no record.

    Raises `Conflict` where somebody writes to the log meanwhile.
    """
    began = history.repository.clock()  # first: what comes later is in none of the signs
    since = unchanged_since(history, store=store, scratch=scratch)
    if since is None:
        return None
    before = snapshot_detail(since)
    snapshot = replace(_unchanged(since, history.manifest_of(since)), began=began)

    def following(tip: Tip) -> SnapshotEntry:
        entry = tip.head.entry
        if entry is None or entry.body.manifest != since.body.manifest or tip.pending:
            raise Conflict(f"{history.collection}: somebody wrote to the log meanwhile; try again")
        detail = snapshot_detail_of(snapshot, change_token=before.change_token, unread=unread)
        return SnapshotEntry(detail=detail, snapshot=snapshot)

    head = history.append("snapshot", following).head
    return replace(snapshot, number=head.number, sha256=head.sha256)


def _unchanged(since: LogEntry, manifest: Manifest) -> Snapshot:
    """The state that a snapshot has proven, with nothing found and nothing read."""
    before = snapshot_detail(since)
    if manifest.fitness is None:
        raise Conflict(f"{manifest.collection}: log:{since.i} does not say whether it fits; scan")
    return Snapshot(
        number=0,
        sha256="",
        position=manifest.coverage.frontier,
        rows=0,
        omitted=before.left_out,
        findings=Findings(),
        indeterminate=(),
        equal=True,
        counts=manifest.counts,
        size_bytes=0,
        began=before.began,
        assurance=Assurance.SIGNS,
        whole_at=before.whole_at,
        fitness=manifest.fitness,
        accepted=manifest.accepted_losses,
        not_finite=manifest.vectors.not_finite,
    )
