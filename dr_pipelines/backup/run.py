"""A backup's plan carried out: snapshot, then proof, then the engine's files."""

from dataclasses import dataclass

from dr_pipelines.backup import snapshot as verb
from dr_pipelines.backup.confirm import confirm
from dr_pipelines.backup.native import Kept, keep_native
from dr_pipelines.backup.plan import plan_backup
from dr_pipelines.backup.resources import Resources
from dr_pipelines.backup.result import LossAccepted, Snapshot, Terms
from dr_pipelines.errors import InvalidRequest, NotFound
from dr_pipelines.model.backup import BackupPlan, BackupRequest
from dr_pipelines.model.unread import Unread
from dr_pipelines.planning.parts import namespace
from dr_pipelines.proof.points import newest_proof, record_proof
from dr_pipelines.proof.restorable import check_restorable
from dr_pipelines.proof.verify import Verification
from dr_pipelines.protocols import Progress
from dr_pipelines.repository.history import History
from dr_pipelines.repository.native_files import kept_for

CHECKS = ("equal", "restorable")
"""Checks that the proof of a backup names."""


@dataclass(frozen=True, slots=True)
class Backup:
    """The result of a backup. `snapshot` is None where nothing changed since `plan.unchanged`;
    `proof` None where the snapshot is not equal to the live store, or somebody else proves it.
    `files` are those of the engine that were kept now: None where those of this state were kept
    already, none are to be kept, or the snapshot is not equal."""

    plan: BackupPlan
    snapshot: Snapshot | None = None
    proof: Verification | None = None
    files: Kept | None = None

    @property
    def taken(self) -> Snapshot:
        """The snapshot, for who asked for one whatever the engine says; raises `NotFound`."""
        if self.snapshot is None:
            raise NotFound(f"{self.plan.request.collection}: nothing changed, so none was taken")
        return self.snapshot

    @property
    def unkept(self) -> bool:
        """True if files of the engine were to be kept and could not be: they are not proven."""
        return "files" in self.plan.steps and self.snapshot is not None and not self.snapshot.equal


def back_up(
    request: BackupRequest, resources: Resources, *, unread: Unread | None = None
) -> Backup:
    """Plan a backup and carry it out, for who need not read the plan first."""
    return run_backup(plan_backup(request, resources, unread=unread), resources)


def run_backup(
    plan: BackupPlan, resources: Resources, *, progress: Progress | None = None
) -> Backup:
    """Carry out a plan; repeating it is harmless. `progress` is of the engine's files.

    Raises `NotFound` when the collection is gone from the store, `Refused` on mass absence or
    another schema, `InvalidRequest` for a plan of another collection or store; nothing is
    committed then.
    """
    _require_planned(plan, resources)
    snapshot = _taken(plan, resources)
    if snapshot is not None and not snapshot.equal:
        return Backup(plan, snapshot)  # there is nothing that could be proven
    number = _number(plan, snapshot)
    proof = _prove(resources.history, number) if "prove" in plan.steps else None
    files = _keep_files(resources, number, progress) if "files" in plan.steps else None
    return Backup(plan, snapshot, proof, files)


def _require_planned(plan: BackupPlan, resources: Resources) -> None:
    """Refuse to carry out a plan with other things than it was made for."""
    planned = (plan.request.collection, plan.store)
    opened = (resources.history.collection, resources.store_name)
    if planned != opened:
        raise InvalidRequest(
            "the plan is for {} in store {!r}, not for {} in store {!r}".format(*planned, *opened)
        )


def _taken(plan: BackupPlan, resources: Resources) -> Snapshot | None:
    """A scan, or the record that none is needed; None where the plan has neither."""
    if "snapshot" in plan.steps:
        return _snapshot(plan, resources)
    if "confirm" not in plan.steps:
        return None
    confirmed = confirm(
        resources.history,
        store=resources.live.store,
        scratch=resources.scratch,
        unread=plan.unread,
    )
    return confirmed or _snapshot(plan, resources)  # it changed since it was planned


def _snapshot(plan: BackupPlan, resources: Resources) -> Snapshot:
    request = plan.request
    terms = Terms(
        adopt=plan.adopt,
        accept_absence=request.accept_absence,
        unread=plan.unread,
        accepting=LossAccepted(request.accept_losses, request.reason, request.by),
        least=plan.assurance,
    )
    return verb.backup(
        resources.history,
        live=resources.live,
        terms=terms,
        scratch=resources.scratch,
        hashing=resources.hashing,
    )


def _number(plan: BackupPlan, snapshot: Snapshot | None) -> int:
    """The snapshot that later steps are of: another process may have taken a newer one."""
    number = snapshot.number if snapshot else plan.unchanged
    if number is None:
        raise InvalidRequest(f"{plan.request.collection}: the plan has no snapshot")
    return number


def _prove(history: History, number: int) -> Verification:
    """Read what a restore of the snapshot would read; if it is sound, the log says so."""
    point, proven = history.point(number), newest_proof(history)
    verification = check_restorable(history, point, proven=proven.number)
    if verification.sound:
        record_proof(history, point, checks=CHECKS)
    return verification


def _keep_files(resources: Resources, number: int, progress: Progress | None) -> Kept | None:
    """Keep an engine's files, unless those of the snapshot's very state are kept already."""
    history, store, native = resources.history, resources.live.store, resources.native
    if native is None:
        raise InvalidRequest(f"{store.engine} has no files of its own to keep")
    if kept_for(history, history.point(number), engine=namespace(store.engine)) is not None:
        return None
    return keep_native(history, store=store, native=native, progress=progress)
