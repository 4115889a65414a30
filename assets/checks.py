"""Asset checks. Each is a function of what is checked; `CHECKS` lists them with their assets.

Checks of `collection` look at the days of their run, or at every day where they run alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property, partial
from inspect import getdoc
from typing import Any

import dagster as dg

from dr_pipelines.model.display import displayed, displayed_values
from dr_pipelines.model.fitness import unaccepted
from dr_pipelines.project.collection import ProtectedCollection
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


@dataclass(frozen=True)
class Subject:
    """A collection that is checked in a run."""

    tracked: Tracked
    run: dg.DagsterRun
    instance: dg.DagsterInstance
    resource: ProjectResource

    @cached_property
    def protected(self) -> ProtectedCollection:
        return self.resource.open().collection(self.tracked.name)

    @cached_property
    def history(self) -> History:
        return self.protected.writable_history(run=self.run.run_id)

    def now(self) -> datetime:
        return self.resource.now()


def audited(audit: Callable[..., Audit], subject: Subject) -> dg.AssetCheckResult:
    """One property of the days that were ingested."""
    answer = audit(
        subject.protected.lineage(),
        history=subject.history,
        days=days_of_run(subject.run.tags),
    )
    return check_result(answer.passed, answer.summary, {"examined": answer.examined})


def equal(subject: Subject) -> dg.AssetCheckResult:
    """When it was taken, the live store held exactly what the log says."""
    point = newest_snapshot(subject.history)
    problems = equality_problems(point)
    rows = {"rows": snapshot_detail(point.entry).rows, "log_entry": point.number}
    return check_result(not problems, "; ".join(problems), rows)


def restorable(subject: Subject) -> dg.AssetCheckResult:
    """Every object is there, what is new reads back as it was written, and folding it all gives
    the counts and digests of the manifest: what a restore does, into nothing."""
    history = subject.history
    point, proven = newest_snapshot(history), newest_proof(history).number
    verification = check_restorable(history, point, proven=proven)
    problems = [f"{finding.key}: {finding.problem}" for finding in verification.findings]
    facts = {
        "objects": verification.objects,
        "bytes_read": verification.size_bytes,
        "findings": len(verification.findings),
        "seconds": round(verification.seconds, 3),
        "log_entry": point.number,
    }
    return check_result(verification.sound, named(problems), facts)


def fits(subject: Subject) -> dg.AssetCheckResult:
    """The snapshot can be restored into the engine that it was taken from, except for
    accepted losses. Not blocking: a snapshot with losses is worth keeping, and the objective
    is missed until each loss is gone or accepted."""
    point = newest_snapshot(subject.history)
    fitness, accepted = point.manifest.fitness, point.manifest.accepted_losses
    if fitness is None:
        return check_result(False, "the snapshot does not say", {"log_entry": point.number})
    lost = [f"{loss.part}: {loss.consequence}" for loss in unaccepted(fitness, accepted)]
    facts = {"log_entry": point.number, **fit_metadata(point)}
    return check_result(not lost, named(lost), facts)


def lists_every_partition(subject: Subject) -> dg.AssetCheckResult:
    """Every day that was ingested is in it as it is now, and so is every day that Dagster takes
    for materialized and the source has changes on. Dagster does not see that an asset without
    partitions is older than some partition before it; this does."""
    point = newest_snapshot(subject.history)
    listed = subject.history.days(point.manifest)
    newest = subject.history.days(subject.history.latest().manifest)
    claimed = subject.instance.get_materialized_partitions(subject.tracked.key("collection"))
    problems = [
        *partitions_missing(newest, listed),
        *claims_missing(subject.protected.lineage(), claimed, listed),
    ]
    facts = {"days": len(listed), "claimed": len(claimed), "log_entry": point.number}
    return check_result(not problems, named(problems), facts)


def nothing_unread(subject: Subject) -> dg.AssetCheckResult:
    """The source holds nothing that cannot be read. What it holds is in no recovery point, and
    those that are made without it are recovery points all the same."""
    seen = subject.protected.look(subject.history)
    if seen.protection_status is None:
        return check_result(False, seen.problem or "", {})
    unread = seen.protection_status.unread
    lines = named([line.sentence for line in unread.lines], total=unread.count)
    sentences = "; ".join(filter(None, [*unread.sentences(), lines]))
    late = unread.tail_late(subject.now(), rpo=subject.tracked.policy.objectives.rpo)
    return check_result(not unread.count and not late, sentences, unread_metadata(unread))


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check of an asset. What is `blocking` keeps the assets after it from being made; what
    `needs_source` is not there for a collection of a store alone."""

    asset: str
    run: Callable[[Subject], dg.AssetCheckResult]
    description: str
    blocking: bool = False
    needs_source: bool = False


def _of_days(audit: Callable[..., Audit], description: str) -> Check:
    return Check(
        asset="collection",
        run=partial(audited, audit),
        description=description,
        needs_source=True,
    )


def _of_snapshot(
    run: Callable[[Subject], dg.AssetCheckResult],
    *,
    blocking: bool = False,
    needs_source: bool = False,
) -> Check:
    return Check(
        asset="snapshot",
        run=run,
        description=getdoc(run) or "",
        blocking=blocking,
        needs_source=needs_source,
    )


CHECKS: Mapping[str, Check] = {
    "schema": _of_days(ingested.audit_schema, "Every kept row keeps the rules of its stage."),
    "counts": _of_days(
        ingested.audit_counts,
        "Every change of the source was read, cut and embedded, and none was quarantined.",
    ),
    "provenance": _of_days(
        ingested.audit_provenance,
        "Everything kept was made by what the policy names: one source, one chunker, one model.",
    ),
    "partition_digests": _of_days(
        ingested.audit_digests,
        "Digests recomputed from the values that are kept are those of the manifest, each day.",
    ),
    "equal": _of_snapshot(equal, blocking=True),
    "restorable": _of_snapshot(restorable, blocking=True),
    "fits": _of_snapshot(fits),
    "lists_every_partition": _of_snapshot(lists_every_partition, blocking=True, needs_source=True),
    "nothing_unread": _of_snapshot(nothing_unread, needs_source=True),
}


def build_checks(tracked: Tracked) -> list[dg.AssetChecksDefinition]:
    """All checks of a collection."""
    return [
        _definition(tracked, name, check)
        for name, check in CHECKS.items()
        if tracked.has_source or not check.needs_source
    ]


def _definition(tracked: Tracked, name: str, check: Check) -> dg.AssetChecksDefinition:
    def checked(
        context: dg.AssetCheckExecutionContext, dr_project: ProjectResource
    ) -> dg.AssetCheckResult:
        return check.run(Subject(tracked, context.run, context.instance, dr_project))

    declare = dg.asset_check(
        asset=tracked.key(check.asset),
        name=name,
        description=check.description,
        blocking=check.blocking,
        pool=tracked.name,
    )
    return declare(explained(noted(checked)))


def named(problems: Sequence[str], *, total: int | None = None) -> str:
    """Some of them, and how many more there are."""
    more = (len(problems) if total is None else total) - len(problems[:NAMED])
    return "; ".join([*problems[:NAMED], *([f"and {more} more"] if more > 0 else [])])


def check_result(passed: bool, problems: str, facts: dict[str, Any]) -> dg.AssetCheckResult:
    """The result of a check, with what was seen as its metadata."""
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
