"""`snapshot` and `recovery_point`: the live store compared with the log, and the proof of it."""

from collections.abc import Sequence

import dagster as dg

from dr_pipelines.backup.plan import plan_backup
from dr_pipelines.backup.run import run_backup
from dr_pipelines.model.backup import BackupRequest
from dr_pipelines.planning.freshness import freshness_windows
from dr_pipelines.project.backup import open_for_backup
from dr_pipelines.proof.points import newest_snapshot, record_proof

from .declare import asset
from .metadata import encoding_metadata, look_metadata, point_metadata
from .resources import ProjectResource
from .tracked import Tracked


def build_snapshot(tracked: Tracked) -> dg.AssetsDefinition:
    """The asset of any collection."""
    parents = [tracked.key("collection")] if tracked.has_source else []

    every_day = [dg.AssetDep(key, partition_mapping=dg.AllPartitionMapping()) for key in parents]

    @asset(tracked, "snapshot", kinds={"parquet"}, deps=every_day)
    def snapshot(
        context: dg.AssetExecutionContext, dr_project: ProjectResource
    ) -> dg.MaterializeResult[None]:
        """Every record of the live store compared with the log. What was changed in the store
        itself is recorded and reported; a loss that looks like an accident is refused."""
        opened = dr_project.open()
        request = BackupRequest(collection=tracked.name, prove=False)  # the checks do
        resources = open_for_backup(opened, request, run=context.run.run_id)
        history = resources.history
        seen = opened.collection(tracked.name).look(history)
        started = dr_project.elapsed()
        plan = plan_backup(
            request,
            resources,
            unread=seen.protection_status.unread if seen.protection_status else None,
        )
        taken = run_backup(plan, resources).taken
        seconds = dr_project.elapsed() - started
        facts = {
            "equal": taken.equal,
            "changed": len(taken.findings.changed),
            "added": len(taken.findings.added),
            "absent": len(taken.findings.absent),
            "repaired": len(taken.findings.stale),
            "indeterminate": len(taken.indeterminate),
            "delta_bytes": taken.size_bytes,
            **encoding_metadata(taken.vectors),
            "rows_per_second": round(taken.rows / max(seconds, 1e-9), 1),
            "seconds": round(seconds, 3),
        }
        point = newest_snapshot(history)
        return dg.MaterializeResult(
            metadata=point_metadata(point, repository=history.repository) | facts
        )

    return snapshot


def build_recovery_point(
    tracked: Tracked, *, proving: Sequence[dg.AssetCheckKey]
) -> dg.AssetsDefinition:
    """The asset of any collection; it is made only where the blocking checks `proving` passed."""
    fail, warn = freshness_windows(tracked.policy.objectives.rpo)

    @asset(
        tracked,
        "recovery_point",
        kinds={"parquet"},
        deps=[dg.AssetDep(tracked.key("snapshot"))],
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=fail, warn_window=warn),
    )
    def recovery_point(
        context: dg.AssetExecutionContext, dr_project: ProjectResource
    ) -> dg.MaterializeResult[None]:
        """A snapshot that was proven: equal to the live store, complete, and restorable. The proof
        is recorded in the log. While nothing changes the sensor confirms it without a run."""
        opened = dr_project.open()
        history = opened.collection(tracked.name).writable_history(run=context.run.run_id)
        point = newest_snapshot(history)
        proof = record_proof(history, point, checks=sorted(check.name for check in proving))
        seen = opened.collection(tracked.name).look(history)
        facts = {"proof_entry": proof.number, "proof_sha256": proof.sha256}
        return dg.MaterializeResult(
            metadata=point_metadata(point, repository=history.repository)
            | facts
            | look_metadata(seen, dr_project.now())
        )

    return recovery_point
