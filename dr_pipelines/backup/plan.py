"""The plan of a backup: facts are gathered first, then decided upon."""

from dr_pipelines.backup.resources import Resources
from dr_pipelines.backup.unchanged import unchanged_since
from dr_pipelines.model.backup import BackupFacts, BackupPlan, BackupRequest
from dr_pipelines.model.unread import Unread
from dr_pipelines.planning.backup import decide_backup
from dr_pipelines.proof.points import snapshot_detail


def plan_backup(
    request: BackupRequest, resources: Resources, *, unread: Unread | None = None
) -> BackupPlan:
    """The plan for a request; `unread` is content of the source that no backup holds, if known."""
    return decide_backup(request, gather(request, resources, unread=unread))


def gather(
    request: BackupRequest, resources: Resources, *, unread: Unread | None = None
) -> BackupFacts:
    """Everything that a plan depends on. Reads the log and the store's catalog, no record."""
    history, live = resources.history, resources.live
    seen = None
    if request.if_changed:
        seen = unchanged_since(history, store=live.store, scratch=resources.scratch)
    physical = None if resources.has_source else live.served()
    return BackupFacts(
        store=resources.store_name,
        physical=physical or history.collection,
        has_source=resources.has_source,
        begun=history.head().entry is not None,
        unchanged=seen.i if seen else None,
        unfit=snapshot_detail(seen).unaccepted.names if seen else (),
        unread=unread,
    )
