"""Restore: build beside, prove, then switch. Nothing is ever restored over a collection being
served, and nothing is served that was not read back and found equal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from dr_pipelines import __version__
from dr_pipelines.apply import apply_pending, current_manifest
from dr_pipelines.errors import Conflict, Damaged, InvalidRequest, Refused
from dr_pipelines.ingest.lineage import Lineage
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery import Phase, Plan, Recovery, Route
from dr_pipelines.model.recovery_point import (
    Body,
    Digests,
    Head,
    Manifest,
    Partition,
    RecoveryPoint,
    SegmentRef,
    SourcePosition,
    Timeline,
)
from dr_pipelines.planning.recovery import choose_physical, origin_of
from dr_pipelines.protocols import Lease, Progress, VectorStore
from dr_pipelines.reembedding import reembed
from dr_pipelines.repository.ahead import ahead
from dr_pipelines.repository.fold import State, fold, fold_point
from dr_pipelines.repository.log import Draft
from dr_pipelines.repository.manifests import segments, write_manifest
from dr_pipelines.repository.observation import differences, observe
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.rows import newest_rows, strings
from dr_pipelines.tolerance import require_reproduced

NAMED = 5


@dataclass
class Stopwatch:
    """Times the phases of a recovery."""

    phases: list[Phase] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[list[int]]:
        """Time a phase; put the number of rows into the list that is yielded."""
        rows = [0]
        started = time.monotonic()
        yield rows
        self.phases.append(Phase(name, time.monotonic() - started, rows[0]))


def plan_restore(
    point: RecoveryPoint,
    *,
    repository: Repository,
    store: VectorStore,
    store_name: str,
    route: Route = Route.LOAD,
    lineage: Lineage | None = None,
    into: str | None = None,
    switch: bool = False,
) -> Plan:
    """What a restore will do; nothing is touched. Raises `Refused` for a target being served."""
    if route is Route.REPLAY and lineage is None:
        raise InvalidRequest(f"{point.collection}: --route replay needs an embedder in the policy")
    head = repository.log(point.collection).head()
    latest = current_manifest(repository, point.collection, head) or point.manifest
    made_by = lineage.provenance if route is Route.REPLAY and lineage else point.manifest.provenance
    origin = origin_of(point.id, route, made_by.fingerprint if made_by else None)
    origins = {name: store.describe(name).origin for name in store.collections()}
    physical = choose_physical(
        point.collection,
        point=point.id if route is Route.LOAD else f"{point.id}-replay",
        origin=origin,
        into=into,
        origins=origins,
        served=frozenset(store.aliases().values()),
        known=frozenset(t.physical for t in latest.timelines if t.store == store_name),
    )
    return Plan(
        collection=point.collection,
        point=point.id,
        route=route,
        physical=physical,
        store=store_name,
        switch=switch,
        records=point.manifest.counts.records,
        resumed=physical in origins,
    )


def restore(
    point: RecoveryPoint,
    plan: Plan,
    *,
    repository: Repository,
    store: VectorStore,
    lease: Lease,
    lineage: Lineage | None = None,
    progress: Progress | None = None,
) -> Recovery:
    """Carry out a plan. After a kill the same plan goes on where it stopped.

    Raises `Damaged` when an object is not what was written, or when what was restored does not
    read back equal: the collection is left aside, unserved.
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
            progress=progress,
        )


def _require_unserved(plan: Plan, *, repository: Repository, store: VectorStore) -> None:
    """Refuse a target that was switched to since the plan was made."""
    head = repository.log(plan.collection).head()
    latest = current_manifest(repository, plan.collection, head)
    known = {t.physical for t in latest.timelines if t.store == plan.store} if latest else set()
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
    progress: Progress | None,
) -> Recovery:
    watch = Stopwatch()
    embedded = 0
    manifest = _manifest_at(repository, point)
    if plan.route is Route.REPLAY and lineage is not None:
        with watch.phase("embed") as rows:
            made = reembed(point, lineage, repository=repository, progress=progress)
            rows[0] = embedded = made.embedded
        manifest = _replayed_manifest(manifest, made.segments, lineage, point)
    with fold(repository, manifest) as state:
        counts, digests = state.counts(), state.digests()
        identical = _require_expected(point, digests, repository=repository, route=plan.route)
        if not identical and lineage and manifest.provenance == point.manifest.provenance:
            with watch.phase("compare"):
                require_reproduced(point, state, repository=repository, embedder=lineage.embedder)
        manifest = manifest.model_copy(update={"counts": counts, "digests": digests})
        _build(state, manifest, plan, store=store, repository=repository, watch=watch)
    entry = None
    if plan.switch:
        with watch.phase("switch"):
            entry = switch(point, manifest, plan, repository=repository, store=store, lease=lease)
    return Recovery(
        plan=plan,
        phases=tuple(watch.phases),
        records=counts.records,
        documents=counts.documents,
        digests=digests,
        bit_identical=identical,
        switched=plan.switch,
        entry=entry,
        embedded=embedded,
    )


def switch(
    point: RecoveryPoint,
    manifest: Manifest,
    plan: Plan,
    *,
    repository: Repository,
    store: VectorStore,
    lease: Lease,
) -> int:
    """Start a new timeline on a restored collection and point the alias at it.

    The entry comes first: a crash before the alias moved is finished by whoever comes next, since
    the entry is pending until then.
    """
    with lease(plan.collection):
        build = partial(_switch_draft, point, manifest, plan, repository)
        head = repository.log(plan.collection).append("restore", build)
        apply_pending(plan.collection, repository=repository, store=store)
    return head.number


def _switch_draft(
    point: RecoveryPoint, manifest: Manifest, plan: Plan, repository: Repository, head: Head
) -> Draft:
    latest = current_manifest(repository, plan.collection, head)
    if latest is None:
        raise Conflict(f"{plan.collection}: the log became empty")
    timeline = Timeline(
        id=max(t.id for t in latest.timelines) + 1,
        parent=point.manifest.timeline,
        fork=point.number,
        physical=plan.physical,
        store=plan.store,
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
        "tool_version": __version__,
    }
    ref = write_manifest(repository, manifest.model_copy(update=update))
    detail = {"point": plan.point, "route": str(plan.route), "physical": plan.physical}
    return Draft(timeline.id, Body(manifest=ref, pending=(head.number + 1,), detail=detail))


def _manifest_at(repository: Repository, point: RecoveryPoint) -> Manifest:
    """The manifest of a point, cut where the point is."""
    cut = point.until
    if cut is None:
        return point.manifest
    partitions = {
        day: _cut_partition(partition, cut)
        for day, partition in point.manifest.partitions.items()
        if partition.after < cut.position
    }
    refs = tuple(
        ref.model_copy(update={"until": min(ref.until or cut, cut, key=_order)})
        for ref in segments(repository, point.manifest)
    )
    update = {"partitions": partitions, "pages": (), "segments": refs}
    return point.manifest.model_copy(update=update)


def _cut_partition(partition: Partition, cut: SourcePosition) -> Partition:
    through = min(partition.through, cut.position)
    return partition.model_copy(update={"through": through})


def _order(position: SourcePosition) -> tuple[int, int]:
    return position.epoch, position.position


def _replayed_manifest(
    manifest: Manifest, made: tuple[SegmentRef, ...], lineage: Lineage, point: RecoveryPoint
) -> Manifest:
    """Only the new segments: rows of two provenances never meet in one fold, and those that were
    lost are not referred to any more."""
    environment = lineage.embedder.environment
    numbered = tuple(ref.model_copy(update={"entry": point.number}) for ref in made)
    update = {
        "spec": lineage.spec.physical(manifest.collection),
        "provenance": lineage.provenance,
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
    if route is Route.LOAD:
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


def _build(
    state: State,
    manifest: Manifest,
    plan: Plan,
    *,
    store: VectorStore,
    repository: Repository,
    watch: Stopwatch,
) -> None:
    """Schema, records, index, verification: a collection beside the one being served."""
    made_by = manifest.provenance.fingerprint if manifest.provenance else None
    origin = origin_of(plan.point, plan.route, made_by)
    with watch.phase("schema"):
        store.create(manifest.spec.physical(plan.physical, origin=origin))
    with watch.phase("records") as rows:
        rows[0] = _fill(state, plan.physical, store=store, repository=repository)
    with watch.phase("index"):
        store.build_index(plan.physical)
    with watch.phase("verify") as rows:
        rows[0] = _require_equal(state, manifest, plan.physical, store=store)


def _fill(state: State, physical: str, *, store: VectorStore, repository: Repository) -> int:
    """Write what is not there yet; returns the rows written."""
    if store.status(physical).records == 0:
        written = 0
        for rows in ahead(newest_rows(repository, state)):
            store.write(physical, rows)
            written += rows.num_rows
        return written
    observe(state, store.scan(physical), spec=state.spec)
    documents = strings(differences(state)["document_id"])
    written, found = 0, set[str]()
    for rows in ahead(newest_rows(repository, state, documents=documents)):
        present = rows["document_id"].unique().to_pylist()
        store.write(physical, rows, replaces=present)
        found.update(present)
        written += rows.num_rows
    extra = [document for document in documents.to_pylist() if document not in found]
    store.write(physical, store_schema(state.spec).empty_table(), replaces=extra)
    return written


def _require_equal(state: State, manifest: Manifest, physical: str, *, store: VectorStore) -> int:
    """Scan what was restored and compare it with the fold, record by record, and with the counts
    and digests that a manifest says."""
    observed = observe(state, store.scan(physical), spec=state.spec)
    differing = strings(differences(state)["document_id"]).to_pylist()
    if differing or not observed.agrees_with(manifest.digests):
        raise Damaged(
            f"{physical!r} does not read back as it was written: {len(differing)} documents "
            f"differ, such as {differing[:NAMED]}. It is left aside and is not served"
        )
    expected = manifest.counts.records
    if observed.rows != expected:
        raise Damaged(f"{physical!r} holds {observed.rows} records, not {expected}")
    return observed.rows
