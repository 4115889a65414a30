"""Asset checks: each opens the project, looks at what is kept, and says what it found.

Checks of `collection` look at the days of their run, or at every day where they run alone.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg

from dr_pipelines.model.display import displayed, displayed_values
from dr_pipelines.model.fitness import unaccepted
from dr_pipelines.monitoring.exposure import look
from dr_pipelines.proof import ingested
from dr_pipelines.proof.ingested import Audit
from dr_pipelines.proof.points import (
    claims_missing,
    equality_problems,
    newest_proof,
    newest_snapshot,
    partitions_missing,
    snapshot_detail,
)
from dr_pipelines.proof.restorable import check_restorable
from dr_pipelines.repository.history import History

from .failures import explained
from .metadata import fit_metadata, unread_metadata
from .resources import ProjectResource
from .run_process import noted
from .tracked import Tracked

ONE_DAY = "dagster/partition"
FIRST_DAY, LAST_DAY = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
NAMED = 10
Declare = Callable[[Callable[..., Any]], dg.AssetChecksDefinition]

AUDITS: Mapping[str, tuple[Callable[..., Audit], str]] = {
    "schema": (ingested.audit_schema, "Every kept row keeps the rules of its stage."),
    "counts": (
        ingested.audit_counts,
        "Every change of the source was read, cut and embedded, and none was quarantined.",
    ),
    "provenance": (
        ingested.audit_provenance,
        "Everything kept was made by what the policy names: one source, one chunker, one model.",
    ),
    "partition_digests": (
        ingested.audit_digests,
        "Digests recomputed from the values that are kept are those of the manifest, each day.",
    ),
}


def build_checks(tracked: Tracked) -> list[dg.AssetChecksDefinition]:
    """All checks of a collection."""
    audits = [_audit(tracked, name) for name in AUDITS] if tracked.has_source else []
    listing = [_lists_every_partition(tracked)] if tracked.has_source else []
    reading = [_nothing_unread(tracked)] if tracked.has_source else []
    proving = [_equal(tracked), _restorable(tracked), _fits(tracked)]
    return [*audits, *proving, *listing, *reading]


def _audit(tracked: Tracked, name: str) -> dg.AssetChecksDefinition:
    auditor, description = AUDITS[name]

    @_check(tracked, "collection", name=name, description=description)
    def audited(
        context: dg.AssetCheckExecutionContext, dr_project: ProjectResource
    ) -> dg.AssetCheckResult:
        opened = dr_project.open()
        protected = opened.collection(tracked.name)
        audit = auditor(
            protected.lineage(),
            repository=opened.repository(run=context.run.run_id),
            days=days_of_run(context.run.tags),
        )
        return check_result(audit.passed, audit.summary, {"examined": audit.examined})

    return audited


def _equal(tracked: Tracked) -> dg.AssetChecksDefinition:
    @_check(tracked, "snapshot", blocking=True)
    def equal(
        context: dg.AssetCheckExecutionContext, dr_project: ProjectResource
    ) -> dg.AssetCheckResult:
        """When it was taken, the live store held exactly what the log says."""
        point = newest_snapshot(_history(context, dr_project, tracked))
        problems = equality_problems(point)
        rows = {"rows": snapshot_detail(point.entry).rows, "log_entry": point.number}
        return check_result(not problems, "; ".join(problems), rows)

    return equal


def _restorable(tracked: Tracked) -> dg.AssetChecksDefinition:
    @_check(tracked, "snapshot", blocking=True)
    def restorable(
        context: dg.AssetCheckExecutionContext, dr_project: ProjectResource
    ) -> dg.AssetCheckResult:
        """Every object is there, what is new reads back as it was written, and folding it all gives
        the counts and digests of the manifest: what a restore does, into nothing."""
        history = _history(context, dr_project, tracked)
        point, proven = newest_snapshot(history), newest_proof(history).number
        verification = check_restorable(history.repository, point, proven=proven)
        problems = named([f"{finding.key}: {finding.problem}" for finding in verification.findings])
        facts = {
            "objects": verification.objects,
            "bytes_read": verification.size_bytes,
            "findings": len(verification.findings),
            "seconds": round(verification.seconds, 3),
            "log_entry": point.number,
        }
        return check_result(verification.sound, problems, facts)

    return restorable


def _fits(tracked: Tracked) -> dg.AssetChecksDefinition:
    @_check(tracked, "snapshot", blocking=False)
    def fits(
        context: dg.AssetCheckExecutionContext, dr_project: ProjectResource
    ) -> dg.AssetCheckResult:
        """The snapshot can be restored into the engine that it was taken from, except for
        accepted losses. Not blocking: a snapshot with losses is worth keeping, and the objective
        is missed until each loss is gone or accepted."""
        point = newest_snapshot(_history(context, dr_project, tracked))
        fitness, accepted = point.manifest.fitness, point.manifest.accepted_losses
        if fitness is None:
            return check_result(False, "the snapshot does not say", {"log_entry": point.number})
        lost = [f"{loss.part}: {loss.consequence}" for loss in unaccepted(fitness, accepted)]
        facts = {"log_entry": point.number, **fit_metadata(point)}
        return check_result(not lost, named(lost), facts)

    return fits


def _lists_every_partition(tracked: Tracked) -> dg.AssetChecksDefinition:
    @_check(tracked, "snapshot", blocking=True)
    def lists_every_partition(
        context: dg.AssetCheckExecutionContext, dr_project: ProjectResource
    ) -> dg.AssetCheckResult:
        """Every day that was ingested is in it as it is now, and so is every day that Dagster takes
        for materialized and the source has changes on. Dagster does not see that an asset without
        partitions is older than some partition before it; this does."""
        history = _history(context, dr_project, tracked)
        point = newest_snapshot(history)
        listed = point.manifest.partitions
        newest = history.latest().manifest.partitions
        claimed = context.instance.get_materialized_partitions(tracked.key("collection"))
        problems = [
            *partitions_missing(newest, listed),
            *claims_missing(dr_project.open().collection(tracked.name).lineage(), claimed, listed),
        ]
        facts = {"days": len(listed), "claimed": len(claimed), "log_entry": point.number}
        return check_result(not problems, named(problems), facts)

    return lists_every_partition


def _nothing_unread(tracked: Tracked) -> dg.AssetChecksDefinition:
    @_check(tracked, "snapshot")
    def nothing_unread(
        context: dg.AssetCheckExecutionContext, dr_project: ProjectResource
    ) -> dg.AssetCheckResult:
        """The source holds nothing that cannot be read. What it holds is in no recovery point, and
        those that are made without it are recovery points all the same."""
        protected = dr_project.open().collection(tracked.name)
        seen = look(
            protected.writable_history(run=context.run.run_id),
            feed=protected.feed(),
            edited=tracked.edited,
        )
        if seen.protection_status is None:
            return check_result(False, seen.problem or "", {})
        unread = seen.protection_status.unread
        lines = named([line.sentence for line in unread.lines], total=unread.count)
        sentences = "; ".join(filter(None, [*unread.sentences(), lines]))
        late = unread.tail_late(dr_project.now(), rpo=tracked.policy.objectives.rpo)
        return check_result(not unread.count and not late, sentences, unread_metadata(unread))

    return nothing_unread


def _check(tracked: Tracked, asset: str, **more: Any) -> Declare:
    """Declare a check of an asset, with what all checks of a collection have; its name is the
    function's unless another is given."""
    declare = dg.asset_check(asset=tracked.key(asset), pool=tracked.name, **more)
    return lambda function: declare(explained(noted(function)))


def _history(
    context: dg.AssetCheckExecutionContext, dr_project: ProjectResource, tracked: Tracked
) -> History:
    return dr_project.open().collection(tracked.name).writable_history(run=context.run.run_id)


def named(problems: Sequence[str], *, total: int | None = None) -> str:
    """Some of them, and how many more there are."""
    more = (len(problems) if total is None else total) - len(problems[:NAMED])
    return "; ".join([*problems[:NAMED], *([f"and {more} more"] if more > 0 else [])])


def check_result(passed: bool, problems: str, facts: dict[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=displayed(problems) or None,
        metadata=displayed_values(facts),
    )


def days_of_run(tags: Mapping[str, str]) -> frozenset[str] | None:
    """The days a run is about, by its tags; None where it is about none."""
    if ONE_DAY in tags:
        return frozenset({tags[ONE_DAY]})
    if FIRST_DAY not in tags:
        return None
    first, last = date.fromisoformat(tags[FIRST_DAY]), date.fromisoformat(tags[LAST_DAY])
    return frozenset(
        (first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)
    )
