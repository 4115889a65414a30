"""Restore: build beside, prove, then switch. Nothing is ever restored over a collection being
served, and nothing is served that was not read back and found equal."""

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from functools import partial

from dr_pipelines import __version__
from dr_pipelines.errors import Conflict, Damaged, Refused
from dr_pipelines.ingestion.canaries import canaries_for, kept_tolerance
from dr_pipelines.ingestion.coverage import sums
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.ingestion.reproduced import require_reproduced
from dr_pipelines.live.apply import apply_pending
from dr_pipelines.live.left_out import write_left_out
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.details import RestoreDetail
from dr_pipelines.model.recovery import (
    Phase,
    Plan,
    Recovery,
    Route,
)
from dr_pipelines.model.recovery_point import (
    Body,
    CanariesRef,
    Digests,
    Head,
    Made,
    Manifest,
    RecoveryPoint,
    SegmentRef,
    SourcePosition,
    Timeline,
)
from dr_pipelines.planning.parts import compare_parts, namespace
from dr_pipelines.planning.recovery import configured_like, left_as_it_is, next_timeline
from dr_pipelines.protocols import (
    Lease,
    NativeFiles,
    Progress,
    VectorStore,
)
from dr_pipelines.recovery.build import Building, Stopwatch
from dr_pipelines.recovery.reembed import reembed
from dr_pipelines.repository.fold import fold, fold_point
from dr_pipelines.repository.history import History
from dr_pipelines.repository.log import Draft
from dr_pipelines.repository.manifests import segments, write_manifest
from dr_pipelines.repository.repository import Repository


def restore(
    point: RecoveryPoint,
    plan: Plan,
    *,
    repository: Repository,
    store: VectorStore,
    lease: Lease,
    lineage: Lineage | None = None,
    native: NativeFiles | None = None,
    progress: Progress | None = None,
) -> Recovery:
    """Carry out a plan; after a kill the same plan goes on where it stopped. Route `native` needs
    `native`.

    Raises `Damaged` when an object is not what was written, or when what was restored does not
    read back equal: the collection is left aside, unserved, or where its name is what is served.
    """
    with lease(plan.physical):  # two restores of one point build under one name
        _require_unserved(plan, repository=repository, store=store)
        return _restore(
            point,
            plan,
            repository=repository,
            store=store,
            lease=lease,
            lineage=lineage,
            native=native,
            progress=progress,
        )


def _require_unserved(plan: Plan, *, repository: Repository, store: VectorStore) -> None:
    """Refuse a target that was switched to since the plan was made."""
    latest = History(repository, plan.collection).manifest()
    timelines = latest.timelines if latest else ()
    known = {t.physical for t in timelines if t.store == plan.store}
    if timelines and plan.begins == next_timeline(timelines):
        known = set()  # what had the name is gone, and nothing was switched to since
    if plan.physical in known or plan.physical in store.aliases().values():
        raise Refused(
            f"{plan.physical!r} was switched to by another restore meanwhile: nothing is ever "
            "restored over a collection being served. Run the command again if it is still needed"
        )


def _restore(
    point: RecoveryPoint,
    plan: Plan,
    *,
    repository: Repository,
    store: VectorStore,
    lease: Lease,
    lineage: Lineage | None,
    native: NativeFiles | None,
    progress: Progress | None,
) -> Recovery:
    watch = Stopwatch()
    embedded = 0
    manifest = _manifest_at(repository, point)
    if plan.route is Route.REPLAY and lineage is not None:
        with watch.phase("embed") as rows:
            made = reembed(point, lineage, repository=repository, progress=progress)
            rows[0] = embedded = made.embedded
        canaries = canaries_for(lineage, repository=repository, manifest=manifest)
        manifest = _replayed_manifest(manifest, made.segments, lineage, point, canaries)
    with fold(repository, manifest) as state:
        counts, digests = state.counts(), state.digests()
        identical = _require_expected(point, digests, repository=repository, route=plan.route)
        if not identical and lineage and manifest.provenance == point.manifest.provenance:
            with watch.phase("compare"):
                require_reproduced(
                    point,
                    state,
                    repository=repository,
                    embedder=lineage.embedder,
                    allowed=kept_tolerance(point.manifest, repository),
                )
        manifest = manifest.model_copy(update={"counts": counts, "digests": digests})
        make = Building(point, plan, repository=repository, store=store, watch=watch)
        if plan.route is Route.NATIVE:
            make.of_files(manifest, native)
        else:
            make.of_rows(state, manifest)
        make.index(progress)
        observed = make.verified(state, manifest)
    described = _described(plan, store=store)
    if make.open_up():
        described = _described(plan, store=store)
    left_out = write_left_out(repository, plan.collection, make.left) if plan.switch else None
    update = {
        "spec": described,
        "engine": store.engine,
        "fitness": None,  # what fits is for the next snapshot to say
        "accepted_losses": (),
        "left_out": left_out,
    }
    manifest = manifest.model_copy(update=update)
    entry = None
    if plan.switch:
        with watch.phase("switch"):
            entry = switch(
                point,
                manifest,
                plan,
                phases=watch.phases,
                repository=repository,
                store=store,
                lease=lease,
            )
    # what waits for its place is there by now
    found = _described(plan, store=store) if plan.switch else described
    return Recovery(
        plan=plan,
        phases=tuple(watch.phases),
        records=counts.records,
        documents=counts.documents,
        digests=digests,
        bit_identical=identical and observed.rounded == 0,
        switched=plan.switch,
        entry=entry,
        embedded=embedded,
        findings=compare_parts(plan.spec, found, engine=namespace(store.engine)),
        left_out=make.left.total,
        refused=make.left.named,
    )


def _described(plan: Plan, *, store: VectorStore) -> CollectionSpec:
    """What the store says that was built, under the collection's name. Raises `Damaged` where its
    columns are not those that were asked for."""
    found = store.describe(plan.physical)
    if not found.same_contract(plan.spec):
        raise Damaged(
            f"{plan.physical!r} has other columns than were asked for. {left_as_it_is(plan)}"
        )
    named = found.physical(plan.collection)
    return named.model_copy(update={"aliases": plan.spec.aliases})


def switch(
    point: RecoveryPoint,
    manifest: Manifest,
    plan: Plan,
    *,
    phases: Sequence[Phase],
    repository: Repository,
    store: VectorStore,
    lease: Lease,
) -> int:
    """Start a new timeline on a restored collection and point the alias at it.

    The entry comes first: a crash before the alias moved is finished by whoever comes next, since
    the entry is pending until then.
    """
    if point.until is not None:
        manifest = _recounted(repository, manifest, point.until)
    held = plan.physical == plan.collection  # by who builds it
    with nullcontext() if held else lease(plan.collection):
        made = Made(
            engine=namespace(store.engine),
            route=str(plan.route),
            records=manifest.counts.records,
            phases={phase.name: phase.seconds for phase in phases},
        )
        build = partial(_switch_draft, point, manifest, plan, repository, made)
        head = repository.log(plan.collection).append("restore", build)
        apply_pending(plan.collection, repository=repository, store=store)
    return head.number


def _switch_draft(
    point: RecoveryPoint,
    manifest: Manifest,
    plan: Plan,
    repository: Repository,
    made: Made,
    head: Head,
) -> Draft:
    latest = History(repository, plan.collection).manifest_at(head)
    if latest is None:
        raise Conflict(f"{plan.collection}: the log became empty")
    number = next_timeline(latest.timelines)
    if plan.begins not in (None, number):
        raise Conflict(
            f"{plan.collection}: another restore switched meanwhile. Drop {plan.physical!r} and "
            "run the command again if it is still needed"
        )
    timeline = Timeline(
        id=number,
        parent=point.manifest.timeline,
        fork=point.number,
        physical=plan.physical,
        store=plan.store,
        made=made,
    )
    partitions = {
        day: partition.model_copy(update={"entry": head.number + 1})
        for day, partition in manifest.partitions.items()
    }
    update = {
        "partitions": partitions,
        "timeline": timeline.id,
        "timelines": (*latest.timelines, timeline),
        "taken_over": (),
        "accepted": latest.accepted,  # a decision is about the source, not about this state
        "tool_version": __version__,
    }
    ref = write_manifest(repository, manifest.model_copy(update=update))
    detail = RestoreDetail(point=plan.point, route=str(plan.route), physical=plan.physical)
    return Draft(timeline.id, Body(manifest=ref, pending=(head.number + 1,), detail=detail))


def _manifest_at(repository: Repository, point: RecoveryPoint) -> Manifest:
    """The manifest of a point, cut where the point is."""
    cut = point.until
    if cut is None:
        return point.manifest
    partitions = {
        day: partition.cut(cut.position)
        for day, partition in point.manifest.partitions.items()
        if partition.after < cut.position
    }
    refs = tuple(
        ref.model_copy(update={"until": min(ref.until or cut, cut, key=_order)})
        for ref in segments(repository, point.manifest)
    )
    update = {"partitions": partitions, "pages": (), "segments": refs}
    return point.manifest.model_copy(update=update)


def _recounted(repository: Repository, manifest: Manifest, cut: SourcePosition) -> Manifest:
    """With the records and digests of what is left of a day that was cut. Where its checkpoints do
    not say any more they stay as they were: a restore needs none, and the audits name them."""
    found = {day: p for day, p in manifest.partitions.items() if p.through == cut.position}
    with suppress(Damaged):
        for day, partition in found.items():
            records, digests = sums(repository, manifest, day)
            found[day] = partition.model_copy(update={"records": records, "digests": digests})
    return manifest.model_copy(update={"partitions": manifest.partitions | found})


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
        "pages": (),
        "segments": numbered,
        "since": point.until.position if point.until else manifest.frontier(),
    }
    return manifest.model_copy(update=update)


def _require_expected(
    point: RecoveryPoint, digests: Digests, *, repository: Repository, route: Route
) -> bool:
    """Whether a state's vectors are those of the point, bit for bit; its content must be."""
    expected = _expected(point, repository=repository)
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


def _expected(point: RecoveryPoint, *, repository: Repository) -> Digests:
    if point.until is None:
        return point.manifest.digests
    with fold_point(repository, point) as state:
        return state.digests()
