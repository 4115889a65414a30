"""Differences of the line that is served from what a recovery is about to serve in its place."""

from dr_pipelines.errors import UNREADABLE
from dr_pipelines.model.details import MENTIONED, LeftBehind, Mentioned, short_reason
from dr_pipelines.model.recovery_point import RecoveryPoint
from dr_pipelines.planning.parts import compare_parts, namespace
from dr_pipelines.proof.points import LOOK_BACK
from dr_pipelines.repository.history import History, Tip
from dr_pipelines.repository.two_states import Change, Changes


def left_behind(history: History, point: RecoveryPoint, tip: Tip) -> LeftBehind | None:
    """Everything that the newest state has and a recovery point has not, or has otherwise; None
    where that is nothing. What cannot be compared is said to be so: the newest state may be what
    was damaged."""
    manifest, was = tip.existing(), point.manifest
    same = (manifest.digests, manifest.spec) == (was.digests, was.spec)
    if same and point.until is None:
        return None
    stretch = LeftBehind(first=point.number + 1, last=tip.head.number)
    try:
        with history.fold_point(point) as before, history.fold(manifest) as after:
            changes = Changes(before, after)
            mentioned = {str(change): _mention(changes, change) for change in _CHANGES}
    except UNREADABLE as error:
        return stretch.model_copy(update={"problem": short_reason(str(error))})
    parts = compare_parts(manifest.spec, was.spec, engine=namespace(manifest.engine))
    reconfigured = Mentioned.of([finding.part for finding in parts])
    if not reconfigured.total and not any(each.total for each in mentioned.values()):
        return None
    return stretch.model_copy(update={**mentioned, "reconfigured": reconfigured})


def unseen_since(history: History, tip: Tip) -> int | None:
    """The newest entry at which the store that is served was compared with the log: what was
    changed in it by hand afterwards is in no entry. 0: there is none. None: none of the newest
    `LOOK_BACK` entries is."""
    for entry in history.entries_back(tip.head, limit=LOOK_BACK):
        if entry.kind in ("snapshot", "restore"):
            return entry.i
    return None if tip.head.number > LOOK_BACK else 0


_CHANGES: tuple[Change, ...] = ("added", "changed", "removed")


def _mention(changes: Changes, change: Change) -> Mentioned:
    names = Mentioned.of(changes.documents(change, limit=MENTIONED))
    return names.model_copy(update={"total": changes.total(change)})
