"""The plan of a recovery: facts are gathered, then decided upon. Nothing is touched."""

from dr_pipelines.errors import UNREADABLE
from dr_pipelines.model.compatibility import CompatibilityReport
from dr_pipelines.model.details import BeginDetail
from dr_pipelines.model.recovery import (
    Facts,
    MakerFacts,
    Plan,
    PointFacts,
    Request,
    Route,
    StoreFacts,
)
from dr_pipelines.model.recovery_point import Head, Manifest, RecoveryPoint
from dr_pipelines.planning.candidate import is_of
from dr_pipelines.planning.parts import namespace
from dr_pipelines.planning.plan import decide, spec_for
from dr_pipelines.planning.refusals import impossible
from dr_pipelines.planning.way_back import taken_up
from dr_pipelines.protocols import Definer, VectorStore
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.repository.history import History
from dr_pipelines.repository.native_files import kept_for
from dr_pipelines.repository.points import resolve
from dr_pipelines.stores import engines

UNKNOWN = "unreadable"
"""The origin of what cannot be read: of none of our points."""


def plan_recovery(request: Request, resources: Resources) -> Plan:
    """The plan for a request; what stands in its way is in its refusals.

    Raises `NotFound` or `InvalidRequest` where `request.at` names no recovery point, and whatever
    reading the repository and the store raises.
    """
    return decide(request, gather(request, resources))


def gather(request: Request, resources: Resources) -> Facts:
    """Everything that a plan depends on. Reads the log and the store's catalog, no record.

    Of a store that executes definitions, those of the very collection that will be built: its name
    is decided first, from all the others.
    """
    store = resources.store
    history = History(resources.repository, request.collection)
    head = history.head()
    point = _begun(history, head, request) or resolve(history, request.at, clock=request.clock)
    newest = None if point.number == head.number else history.manifest_at(head)
    latest = newest or point.manifest
    point_facts, maker = _point_facts(point), _maker_facts(request, resources)
    facts = Facts(
        point=point_facts,
        timelines=latest.timelines,
        timeline=latest.timeline,
        store=_store_facts(request, resources),
        maker=maker,
        files=_files_kept(request, resources, history, point),
        fitted=_fitted(point_facts, maker, store),
        behind=None if _same_state(point, latest) else head.number,
        candidates={
            follower.physical: follower.timeline
            for follower in head.followers.values()
            if follower.store == resources.store_name
        },
    )
    values = engines.notes_on_values(facts.fitted.spec, into=namespace(store.engine))
    return _with_definitions(request, facts.model_copy(update={"values": values}), store)


def _begun(history: History, head: Head, request: Request) -> RecoveryPoint | None:
    """The point from which a candidate was begun that catches up: where the newest one is asked
    for, the same command goes on with it."""
    if request.at != "latest" or not head.followers:
        return None
    served = history.tip().existing().timeline
    for follower in sorted(head.followers.values(), key=lambda f: f.began, reverse=True):
        if (follower.store, follower.timeline) != (request.store, served):
            continue
        detail = history.log.read(follower.began)[0].body.detail
        if isinstance(detail, BeginDetail) and is_of(detail, request, follower.physical):
            point = history.point(int((detail.point or "").partition("-")[0]))
            if point.id == detail.point:
                return point
    return None


def _same_state(point: RecoveryPoint, latest: Manifest) -> bool:
    was = point.manifest
    return point.until is None and (was.digests, was.spec) == (latest.digests, latest.spec)


def _with_definitions(request: Request, facts: Facts, store: VectorStore) -> Facts:
    if not isinstance(store, Definer):
        return facts
    draft = decide(request, facts)
    if impossible(draft):
        return facts  # nothing will be built, under no name that could be asked about
    spec = draft.spec.physical(draft.physical, origin=draft.origin)
    definitions = store.definitions(spec, with_roles=request.with_roles)
    return facts.model_copy(update={"definitions": definitions})


def _point_facts(point: RecoveryPoint) -> PointFacts:
    manifest = point.manifest
    return PointFacts(
        collection=point.collection,
        id=point.id,
        number=point.number,
        sha256=point.sha256,
        until=point.until,
        spec=manifest.spec,
        engine=manifest.engine,
        provenance=manifest.provenance,
        records=manifest.counts.records,
        fitness=manifest.fitness,
        chunks=tuple(sorted(manifest.coverage.chunks)),
    )


def _maker_facts(request: Request, resources: Resources) -> MakerFacts | None:
    lineage = resources.lineage
    if request.route is not Route.REPLAY or lineage is None:
        return None
    return MakerFacts(
        provenance=lineage.provenance,
        chunks=lineage.chunks_fingerprint,
        spec=lineage.spec.physical(request.collection),
    )


def _store_facts(request: Request, resources: Resources) -> StoreFacts:
    store = resources.store
    return StoreFacts(
        name=resources.store_name,
        engine=store.engine,
        rules=engines.name_rules(namespace(store.engine), request.collection),
        origins={name: _origin(store, name) for name in sorted(store.collections())},
        aliases=dict(sorted(store.aliases().items())),
    )


def _origin(store: VectorStore, name: str) -> str | None:
    """The origin of a collection. One that cannot be read must not stop the restore of another:
    its origin is unknown, and its name is taken."""
    try:
        return store.describe(name).origin
    except UNREADABLE:
        return UNKNOWN


def _files_kept(
    request: Request, resources: Resources, history: History, point: RecoveryPoint
) -> bool:
    if request.route in (Route.LOAD, Route.REPLAY) or resources.native is None:
        return False
    engine = namespace(resources.store.engine)
    return kept_for(history, point, engine=engine) is not None


def _fitted(point: PointFacts, maker: MakerFacts | None, store: VectorStore) -> CompatibilityReport:
    spec = spec_for(point, maker, replayed=maker is not None)
    return store.fit(taken_up(spec, engine=namespace(store.engine)))
