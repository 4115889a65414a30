"""Telling without a scan that nothing changed since the newest snapshot."""

from dr_pipelines import __version__
from dr_pipelines.backup.served import live_spec, parts_of
from dr_pipelines.model.details import BESIDE, SnapshotDetail
from dr_pipelines.model.recovery_point import LogEntry
from dr_pipelines.proof.trial import NOWHERE, Scratch, trial_due
from dr_pipelines.protocols import VectorReader
from dr_pipelines.repository.history import History


def unchanged_since(
    history: History,
    *,
    store: VectorReader,
    scratch: Scratch = NOWHERE,
) -> LogEntry | None:
    """The snapshot that found the live store equal to the log, if the engine's change token is the
    one recorded there, configuration and aliases are too, this release said what of it can be
    restored, no trial is due, and nothing was logged since but evidence and what a candidate does.
    None where that is not certain.

    It reads no record: what changed behind the engine's back is only found by a snapshot.
    """
    head = history.head()
    manifest = history.manifest_at(head)
    entries = history.entries_back(head)
    entry = next((entry for entry in entries if entry.kind not in BESIDE), None)
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
        and live_spec(manifest, store, history) == manifest.spec
        and manifest.fitness is not None
        and (manifest.fitness.engine, manifest.fitness.parts)
        == (store.engine, parts_of(physical, store))
        and not trial_due(manifest.fitness, scratch=scratch, now=history.repository.clock())
    )
    return entry if same else None
