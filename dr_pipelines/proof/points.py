"""Proven recovery points: snapshots that passed their checks, and the evidence of it in the log."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dr_pipelines.errors import (
    Damaged,
    NotFound,
    Refused,
    Unavailable,
)
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.model.assurance import Assurance, Required
from dr_pipelines.model.details import BESIDE, ProofEvidence, SnapshotDetail
from dr_pipelines.model.recovery_point import (
    Head,
    LogEntry,
    Partition,
    RecoveryPoint,
)
from dr_pipelines.repository.evidence import record_evidence
from dr_pipelines.repository.history import History

ANY = Required(Assurance.SIGNS, timedelta.max)
"""Whatever a snapshot rests on."""
UNCHANGING = frozenset({"applied", "snapshot"}) | BESIDE
"""Entries after which nothing new has to be proven."""
LOOK_BACK = 512
"""Entries that are looked at for the newest proof, each read from the repository. An older proof
does not count: a new one is due then, whatever the entries since were."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The newest proven snapshot, its log number (0: none) and when its scan began, since edits
    made during it may be missing; since when there are entries that it does not cover; the
    parts of it that cannot be restored and that nobody accepted (a few of them); and what it rests
    on. `uncounted` is a newer one that rests on less than was required."""

    number: int = 0
    at: datetime | None = None
    unproven_since: datetime | None = None
    unfit: tuple[str, ...] = ()
    assurance: Assurance | None = None
    uncounted: int | None = None


def newest_whole_at(history: History) -> datetime | None:
    """When the newest snapshot's newest whole scan began: the last time that every value was read,
    as far as the newest `LOOK_BACK` entries say; None where none of them does."""
    for entry in history.entries_back(history.head(), limit=LOOK_BACK):
        if isinstance(entry.body.detail, SnapshotDetail):
            return entry.body.detail.whole_at
    return None


def newest_snapshot(history: History) -> RecoveryPoint:
    """The newest snapshot; raises `NotFound` where there is none."""
    for entry in history.entries_back(history.head()):
        if entry.kind == "snapshot":
            return history.point(entry.i)
    collection = history.collection
    raise NotFound(f"{collection}: there is no snapshot yet. Run: dr backup {collection}")


def newest_proof(history: History, *, required: Required = ANY) -> Proof:
    """The newest proof of a collection that rests on what is required, and the time of the oldest
    entry that it does not cover."""
    head, uncounted = history.head(), None
    unproven = list[LogEntry]()
    for entry in history.entries_back(head, limit=LOOK_BACK):
        if isinstance(entry.body.detail, ProofEvidence):
            number = entry.body.detail.number
            snapshot = snapshot_detail(history.log.read(number)[0])
            if _counts(snapshot, required):
                later = [other.at for other in unproven if other.i > number]
                since = min(later, default=None)
                unfit, rests = _unfit(snapshot), snapshot.assurance
                return Proof(number, snapshot.began, since, unfit, rests, uncounted)
            uncounted = uncounted or number
        out_of_sight = head.number - entry.i == LOOK_BACK - 1 and entry.i > 1
        if entry.kind not in UNCHANGING or out_of_sight:
            unproven.append(entry)
    since = min((entry.at for entry in unproven), default=None)
    return Proof(unproven_since=since, uncounted=uncounted)


def _counts(snapshot: SnapshotDetail, required: Required) -> bool:
    return required.counts(snapshot.assurance, began=snapshot.began, whole_at=snapshot.whole_at)


def record_proof(history: History, point: RecoveryPoint, *, checks: Sequence[str]) -> Head:
    """Record that a snapshot passed its checks. Raises `Refused` for one that was not equal to the
    live store."""
    if not snapshot_detail(point.entry).equal:
        raise Refused(
            f"{point.collection}: snapshot {point.id} is not equal to the live store: no proof"
        )
    detail = ProofEvidence(
        number=point.number,
        sha256=point.sha256,
        position=point.manifest.coverage.frontier,
        checks=tuple(checks),
        run=history.repository.writer.run,
    )
    return record_evidence(history, detail)


def snapshot_detail(entry: LogEntry) -> SnapshotDetail:
    """The detail of a snapshot's entry; raises `Damaged` for another one, which no proof names."""
    if not isinstance(entry.body.detail, SnapshotDetail):
        raise Damaged(f"log entry {entry.i} of {entry.collection} is not the snapshot it should be")
    return entry.body.detail


def equality_problems(point: RecoveryPoint) -> list[str]:
    """Reasons why a snapshot does not prove that the live store equals the log."""
    detail, counts = snapshot_detail(point.entry), point.manifest.counts
    problems = []
    if not detail.equal:
        problems.append(
            f"the live store was not equal to the log: {detail.stale.total} documents were stale, "
            f"{detail.indeterminate.total} were being written"
        )
    read = detail.assurance is not Assurance.SIGNS
    if read and detail.rows != counts.records - detail.left_out:
        beside = f", {detail.left_out} of them left out by a restore" if detail.left_out else ""
        problems.append(f"{detail.rows} rows were read, the log has {counts.records}{beside}")
    if not counts.records + counts.deleted:
        problems.append("there is nothing in it, not even a deleted document")
    return problems


def partitions_missing(
    newest: Mapping[str, Partition], listed: Mapping[str, Partition]
) -> list[str]:
    """Days of the newest coverage that a point does not list, or lists with other digests."""
    missing = [f"{day}: not listed" for day in newest if day not in listed]
    other = [
        f"{day}: listed through {listed[day].through}, not {newest[day].through}"
        if listed[day].through != newest[day].through
        else f"{day}: listed with other digests"
        for day in newest
        if day in listed
        and (listed[day].through, listed[day].digests) != (newest[day].through, newest[day].digests)
    ]
    return sorted(missing + other)


def claims_missing(
    lineage: Lineage, claimed: Collection[str], listed: Collection[str]
) -> list[str]:
    """Days that somebody takes for ingested and the source has changes on, but a point does not
    list. Days without changes are in no point; a source out of reach says nothing."""
    open_claims = set(claimed) - set(listed)
    if not open_claims:
        return []
    try:
        days = {partition.day.isoformat() for partition in lineage.source.partitions()}
    except (NotFound, Unavailable):
        return []
    return [
        f"{day}: ingested according to the log, but not listed"
        for day in sorted(open_claims & days)
    ]


def _unfit(snapshot: SnapshotDetail) -> tuple[str, ...]:
    """Some of the parts that cannot be restored, and how many more there are."""
    unaccepted = snapshot.unaccepted
    more = unaccepted.total - len(unaccepted.names)
    return (*unaccepted.names, f"and {more} more") if more > 0 else unaccepted.names
