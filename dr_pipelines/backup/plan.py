"""The plan of a backup: facts are gathered first, then decided upon."""

from dr_pipelines.backup.resources import Resources
from dr_pipelines.backup.unchanged import unchanged_since
from dr_pipelines.model.assurance import Assurance
from dr_pipelines.model.backup import BackupFacts, BackupPlan, BackupRequest
from dr_pipelines.model.unread import Unread
from dr_pipelines.planning.backup import decide_backup
from dr_pipelines.proof.points import newest_whole_at, snapshot_detail


def plan_backup(
    request: BackupRequest, resources: Resources, *, unread: Unread | None = None
) -> BackupPlan:
    """The plan for a request; `unread` is content of the source that no backup holds, if known."""
    return decide_backup(request, gather(request, resources, unread=unread))


def gather(
    request: BackupRequest, resources: Resources, *, unread: Unread | None = None
) -> BackupFacts:
    """Everything that a plan depends on. Reads the log and the store's catalog, no record."""
    history, live, required = resources.history, resources.live, resources.required
    whole_at, now = newest_whole_at(history), history.repository.clock()
    owed = Assurance.EVERY_VALUE if request.every_value else required.owed(whole_at, now=now)
    seen = None
    if owed is Assurance.SIGNS or (request.if_changed and not required.is_due(whole_at, now=now)):
        seen = unchanged_since(history, store=live.store, scratch=resources.scratch)
    physical = None if resources.has_source else live.served()
    return BackupFacts(
        store=resources.store_name,
        physical=physical or history.collection,
        has_source=resources.has_source,
        begun=history.head().entry is not None,
        owed=owed,
        unchanged=seen.i if seen else None,
        unfit=snapshot_detail(seen).unaccepted.names if seen else (),
        unread=unread,
    )
