"""How a collection stands, from whatever can be reached: log, source, store."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from dr_pipelines.errors import DrError
from dr_pipelines.model.assurance import Assurance
from dr_pipelines.model.collection_policy import CollectionPolicy
from dr_pipelines.model.fitness import Acceptance, Fitness
from dr_pipelines.model.recovery_point import Follower, Head, Manifest
from dr_pipelines.model.source_reading import SourceReading
from dr_pipelines.model.unread import Unread
from dr_pipelines.planning.freshness import (
    Protection,
    ProtectionStatus,
    exposure,
    protection,
)
from dr_pipelines.planning.serving import elsewhere, way_back
from dr_pipelines.protocols import Catalog
from dr_pipelines.repository.history import History
from dr_pipelines.repository.repository import Repository


@dataclass(frozen=True, slots=True)
class Report:
    """The status of a collection. None stands for what could not be established; each entry of
    `problems` says what is wrong, or could not be looked at, and what to do.

    `exposed` is the age of the oldest change that no recovery point covers; `met` says whether it
    is younger than the objective, and the point can be restored except for accepted losses.
    `candidates` are what recoveries build that go on with the log, none of it served.
    `assurance` is what the proven point rests on, `uncounted` a newer one that rests on less than
    the objective accepts.
    `fitness` is what the newest snapshot found. Where the store was not `looked_at`,
    nothing is known of what it serves but by the log.
    """

    collection: str
    owner: str
    escalation: str
    store: str
    rpo: timedelta
    physical: str | None = None
    looked_at: bool = True
    log: int | None = None
    kind: str | None = None
    at: datetime | None = None
    proven: int | None = None
    proven_at: datetime | None = None
    assurance: Assurance | None = None
    uncounted: int | None = None
    frontier: int | None = None
    documents: int | None = None
    records: int | None = None
    empty: int | None = None
    not_finite: int | None = None
    pending: tuple[int, ...] = ()
    timeline: int | None = None
    candidates: tuple[Follower, ...] = ()
    behind: int | None = None
    unread: Unread | None = None
    reading: SourceReading | None = None
    refused: str = ""
    refused_since: datetime | None = None
    exposed: timedelta | None = None
    met: bool | None = None
    fitness: Fitness | None = None
    accepted: tuple[Acceptance, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """What should be mended in the store, which says nothing of this collection."""


def report(
    collection: str,
    policy: CollectionPolicy,
    *,
    repository: Callable[[], Repository],
    catalog: Callable[[], Catalog],
    require_whole: Callable[[Manifest], None],
    stands: Callable[[], ProtectionStatus],
    now: datetime,
) -> Report:
    """The status of a collection. Each part is opened here, so that one that fails becomes a
    problem in the report and stops nothing. `require_whole` raises if a restore has not ended."""
    problems = list[str]()
    head, manifest = _log(collection, policy, repository, problems)
    protection = _standing(stands, problems)
    warnings = list[str]()

    def opened() -> Catalog:
        listing = catalog()
        warnings.extend(f"store {policy.store}: {warning}" for warning in listing.warnings())
        return listing

    store, physical, looked_at = _served(
        collection, policy, manifest, opened, require_whole, problems
    )
    exposed, met = _exposure(policy, protection, now)
    problems += (
        protection.unread.sentences()[: 1 if protection.unread.count else 0] if protection else []
    )
    problems += _left_out(manifest) if manifest else []
    entry = head.entry if head else None
    problems += _refused(protection)
    return Report(
        collection=collection,
        owner=policy.owner,
        escalation=policy.escalation or policy.owner,
        store=store,
        rpo=policy.objectives.rpo,
        physical=physical,
        looked_at=looked_at,
        log=head.number if head else None,
        kind=entry.kind if entry else None,
        at=entry.at if entry else None,
        proven=protection.proven if protection else None,
        proven_at=protection.proven_at if protection else None,
        assurance=protection.assurance if protection else None,
        uncounted=protection.uncounted if protection else None,
        frontier=manifest.coverage.frontier if manifest else None,
        documents=manifest.counts.documents if manifest else None,
        records=manifest.counts.records if manifest else None,
        empty=manifest.coverage.empty if manifest else None,
        not_finite=manifest.vectors.not_finite if manifest else None,
        pending=entry.body.pending if entry else (),
        timeline=manifest.timeline if manifest else None,
        candidates=tuple(head.followers.values()) if head else (),
        behind=protection.behind if protection else None,
        unread=protection.unread if protection else None,
        reading=protection.reading if protection else None,
        refused=protection.refused if protection else "",
        refused_since=protection.refused_since if protection else None,
        exposed=exposed,
        met=met,
        fitness=manifest.fitness if manifest else None,
        accepted=manifest.accepted_losses if manifest else (),
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def _left_out(manifest: Manifest) -> list[str]:
    """Records that the store refused since the newest snapshot, which says those that it met."""
    left, misfits = manifest.left_out, manifest.fitness.misfits if manifest.fitness else 0
    if left is None or left.total <= misfits:
        return []
    refused = next((f", such as {misfit}" for misfit in left.named), "")
    return [
        f"store: {left.total} records are safe in the log and not in the store, whose engine "
        f"refused them{refused}"
    ]


@contextmanager
def _noted(part: str, problems: list[str]) -> Iterator[None]:
    """Whatever goes wrong inside is a problem of that part of this collection: it never keeps the
    others from being looked at."""
    try:
        yield
    except DrError as error:
        problems.append(f"{part}: {error}")
    except Exception as error:  # noqa: BLE001 - a defect, and said to be one
        first = (str(error).splitlines() or [""])[0]
        problems.append(
            f"{part}: {type(error).__name__}: {first}. This is a defect in dr_pipelines: please "
            "report it"
        )


def _log(
    collection: str,
    policy: CollectionPolicy,
    repository: Callable[[], Repository],
    problems: list[str],
) -> tuple[Head | None, Manifest | None]:
    with _noted("repository", problems):
        history = History(repository(), collection)
        head = history.head()
        if head.entry is None:
            verb = "ingest" if policy.source else "backup"
            problems.append(f"nothing is backed up yet. Run: dr {verb} {collection}")
            return head, None
        if unknown := head.entry.needs():
            problems.append(
                f"a newer version wrote here and uses {sorted(unknown)}: this one reads the log "
                "and writes nothing to it. Upgrade dr_pipelines on this machine"
            )
        return head, history.manifest_at(head)
    return None, None


def _standing(
    stands: Callable[[], ProtectionStatus], problems: list[str]
) -> ProtectionStatus | None:
    """Nothing where the repository cannot be read: that is said already."""
    if problems and problems[0].startswith("repository: "):
        return None
    with _noted("source", problems):
        return stands()
    return None


def _refused(protection: ProtectionStatus | None) -> list[str]:
    """Why the newest ingestion embedded nothing, where it was refused."""
    if protection is None or protection.refused_since is None:
        return []
    return [
        f"embedding, refused since {protection.refused_since:%Y-%m-%d %H:%M}: {protection.refused}"
    ]


def _served(
    collection: str,
    policy: CollectionPolicy,
    manifest: Manifest | None,
    catalog: Callable[[], Catalog],
    require_whole: Callable[[Manifest], None],
    problems: list[str],
) -> tuple[str, str | None, bool]:
    """The store, the physical collection behind the name, if it is there, and whether the store
    could be looked at. Where the policy
    names another store than the log, the log's word is taken and neither is looked at."""
    wrong = elsewhere(manifest.current.store, policy.store) if manifest else None
    if wrong is None or manifest is None:
        return policy.store, *_there(collection, manifest, catalog, require_whole, problems)
    problems.append(f"store: {wrong}")
    return manifest.current.store, manifest.current.physical, False


def _there(
    collection: str,
    manifest: Manifest | None,
    catalog: Callable[[], Catalog],
    require_whole: Callable[[Manifest], None],
    problems: list[str],
) -> tuple[str | None, bool]:
    """The physical collection behind the name, if it is there, and whether that could be seen."""
    physical, there = None, None
    with _noted("store", problems):
        opened = catalog()
        physical = opened.aliases().get(collection)
        there = set(opened.collections())
        if physical is None and collection in there:
            if manifest is not None:
                require_whole(manifest)
                problems.extend(_by_another_name(collection, manifest.current.physical))
            return collection, True
    if there is None or (physical is None and collection in there):  # what is wrong was noted
        return None, there is not None
    if physical is not None and physical not in there:
        problems.append(
            f"store: {physical!r}, which it is served from, is gone. "
            f"Bring it back: {way_back(collection, physical)}"
        )
        return None, True
    if physical is None and manifest is not None:
        problems.append(
            "store: nothing is served under this name. Bring it back: "
            f"{way_back(collection, manifest.current.physical)}"
        )
    return physical, True


def _by_another_name(collection: str, physical: str) -> list[str]:
    if physical == collection:
        return []
    return [
        f"store: {collection!r} is a collection of that name, and no alias of {physical!r}, which "
        f"is what was backed up last. Remove it, then: dr restore {collection} --switch"
    ]


def _exposure(
    policy: CollectionPolicy, stands: ProtectionStatus | None, now: datetime
) -> tuple[timedelta | None, bool | None]:
    if stands is None:
        return None, None
    rpo = policy.objectives.rpo
    met = protection(stands, rpo=rpo, now=now) is not Protection.BREACHED
    exposed = exposure(stands, now=now)
    return (None if exposed == timedelta.max else exposed), met
