"""The state that a recovery builds: of the point, cut or made again, and proven by its digests."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from dr_pipelines.errors import Damaged, Refused
from dr_pipelines.ingestion.canaries import canaries_for, kept_tolerance
from dr_pipelines.ingestion.coverage import sums
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.ingestion.reproduced import require_reproduced
from dr_pipelines.model.recovery import Plan, Route
from dr_pipelines.model.recovery_point import (
    CanariesRef,
    Coverage,
    Digests,
    Manifest,
    RecoveryPoint,
    SegmentList,
    SegmentRef,
    SourcePosition,
)
from dr_pipelines.planning.recovery import configured_like
from dr_pipelines.protocols import Progress
from dr_pipelines.recovery.phases import Stopwatch
from dr_pipelines.recovery.reembed import reembed
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.repository.history import History
from dr_pipelines.repository.manifests import covered_days
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.state import State


@dataclass(frozen=True, slots=True)
class Expected:
    """The state to build: folded, with its manifest, whether its vectors are those of the point
    bit for bit, and how many were embedded now."""

    state: State
    manifest: Manifest
    identical: bool
    embedded: int


def planned_point(plan: Plan, repository: Repository) -> RecoveryPoint:
    """The recovery point of a plan. Raises `Damaged` where the log has another entry there."""
    point = History(repository, plan.collection).point(plan.number)
    if point.sha256 != plan.sha256:
        raise Damaged(
            f"{plan.collection}: log entry {plan.number} is not the one that was planned for, "
            f"{plan.point}: the log was rewritten. Make the plan again, or use a copy"
        )
    return RecoveryPoint(
        plan.collection, point.number, point.sha256, point.entry, point.manifest, plan.until
    )


@contextmanager
def expected_state(
    point: RecoveryPoint,
    plan: Plan,
    resources: Resources,
    *,
    manifest: Manifest,
    watch: Stopwatch,
    progress: Progress | None,
) -> Iterator[Expected]:
    """The state that a plan builds, from the manifest at its point (`manifest_at`), while the
    context lasts; the route `replay` embeds its vectors again.

    Raises `Damaged` where it does not add up to what the point says.
    """
    repository, lineage, embedded = resources.repository, resources.lineage, 0
    history = History(repository, point.collection)
    if plan.route is Route.REPLAY and lineage is not None:
        with watch.phase("embed") as rows:
            made = reembed(point, lineage, repository=repository, progress=progress)
            rows[0] = embedded = made.embedded
            canaries = canaries_for(lineage, history=history, manifest=manifest)
            manifest = _replayed_manifest(manifest, made.segments, lineage, point, canaries)
    with ExitStack() as stack:
        with watch.phase("fold") as rows:
            state = stack.enter_context(history.fold(manifest))
            counts, digests = state.counts(), state.digests()
            identical = _require_expected(point, digests, history=history, route=plan.route)
            rows[0] = counts.records
        if not identical and lineage and manifest.provenance == point.manifest.provenance:
            with watch.phase("compare"):
                require_reproduced(
                    point,
                    state,
                    embedder=lineage.embedder,
                    allowed=kept_tolerance(point.manifest, repository),
                )
        manifest = manifest.model_copy(update={"counts": counts, "digests": digests})
        yield Expected(state, manifest, identical, embedded)


def recounted(repository: Repository, manifest: Manifest, cut: SourcePosition) -> Manifest:
    """With the records and digests of what is left of a day that was cut. Where its checkpoints do
    not say any more they stay as they were: a restore needs none, and the audits name them."""
    days = covered_days(repository, manifest)
    partitions = {day: p for day, p in days.items() if p.through == cut.position}
    with suppress(Damaged, Refused):
        for day, partition in partitions.items():
            records, digests = sums(repository, manifest, day)
            partitions[day] = partition.model_copy(update={"records": records, "digests": digests})
    return manifest.model_copy(update={"coverage": Coverage.of({**days, **partitions})})


def manifest_at(history: History, point: RecoveryPoint) -> Manifest:
    """The manifest of a point, cut where the point is."""
    cut = point.until
    if cut is None:
        return point.manifest
    partitions = {
        day: partition.cut(cut.position)
        for day, partition in history.days(point.manifest).items()
        if partition.after < cut.position
    }
    refs = tuple(
        ref.model_copy(update={"until": min(ref.until or cut, cut, key=_order)})
        for ref in history.segments(point.manifest)
    )
    update = {"coverage": Coverage.of(partitions), "segments": SegmentList.of(refs)}
    return point.manifest.model_copy(update=update)


def _order(position: SourcePosition) -> tuple[int, int]:
    return position.epoch, position.position


def _replayed_manifest(
    manifest: Manifest,
    made: tuple[SegmentRef, ...],
    lineage: Lineage,
    point: RecoveryPoint,
    canaries: CanariesRef | None,
) -> Manifest:
    """Only the new segments: rows of two provenances never meet in one fold, and those that were
    lost are not referred to any more."""
    environment = lineage.embedder.environment
    numbered = tuple(ref.model_copy(update={"entry": point.number}) for ref in made)
    spec = configured_like(lineage.spec.physical(manifest.collection), manifest.spec)
    update = {
        "spec": spec,
        "provenance": lineage.provenance,
        "canaries": canaries,
        "environments": {environment.fingerprint: environment},
        "segments": SegmentList.of(numbered),
        "since": point.until.position if point.until else manifest.coverage.frontier,
    }
    return manifest.model_copy(update=update)


def _require_expected(
    point: RecoveryPoint, digests: Digests, *, history: History, route: Route
) -> bool:
    """True if a state's vectors are those of the point, bit for bit; its content must be."""
    expected = _expected(point, history)
    if (digests.content, digests.documents) != (expected.content, expected.documents):
        raise Damaged(
            f"{point.collection}: the rows kept for {point.id} do not add up to the digests of "
            "that recovery point. Use another point (dr points) or a copy"
        )
    if digests.vectors == expected.vectors:
        return True
    if route is not Route.REPLAY:
        raise Damaged(
            f"{point.collection}: the vectors kept for {point.id} do not add up to the digest of "
            "that recovery point. Use --route replay, or another point"
        )
    return False


def _expected(point: RecoveryPoint, history: History) -> Digests:
    if point.until is None:
        return point.manifest.digests
    with history.fold_point(point) as state:
        return state.digests()
