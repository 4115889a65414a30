"""Metadata of assets, checks and observations: the figures that Dagster shows and draws.

A new figure goes here; it is computed by `dr_pipelines`.
"""

from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from dr_pipelines.ingestion.by_stage import DayDone
from dr_pipelines.model.details import SnapshotDetail
from dr_pipelines.model.display import displayed_values
from dr_pipelines.model.fitness import tolerance_text
from dr_pipelines.model.recovery_point import Digests, RecoveryPoint
from dr_pipelines.model.unread import Unread
from dr_pipelines.monitoring.exposure import Look
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.vector_storage import VectorsStored

Metadata = dict[str, Any]


def day_metadata(done: DayDone, *, seconds: float) -> Metadata:
    """Metadata of a day that a step has done."""
    facts: Metadata = {
        "dagster/partition_row_count": done.rows or done.records,
        "outcome": done.outcome.value,
        "size_bytes": done.size_bytes,
        "quarantined": done.quarantined,
        "without_chunks": done.empty,
        "seconds": round(seconds, 3),
    }
    if done.rows:
        facts["rows_per_second"] = round(done.rows / max(seconds, 1e-9), 1)
    if done.reused:
        facts["reused"] = done.reused
    if done.head:
        facts |= head_metadata(done.head.number, done.head.sha256)
    facts |= encoding_metadata(done.vectors)
    return facts | (digest_metadata(done.digests) if done.digests else {})


def head_metadata(number: int, sha256: str) -> Metadata:
    """Metadata of a log entry: a tail of the log that is cut off later is detected against it."""
    return {"log_entry": number, "log_sha256": sha256}


def digest_metadata(digests: Digests) -> Metadata:
    return {"content_digest": digests.content, "vector_digest": digests.vectors}


def exposure_metadata(exposed: timedelta | None) -> Metadata:
    """Seconds; nothing where it cannot be known."""
    return {} if exposed is None else {"exposure_seconds": round(exposed.total_seconds(), 3)}


def look_metadata(look: Look, now: datetime) -> Metadata:
    """How exposed a collection is, and what of its source is unread; or why neither is known."""
    if look.protection_status is None:
        return {"source_problem": look.problem or "unknown"}
    refused: Metadata = displayed_values({"refused": look.protection_status.refused})
    return (
        exposure_metadata(look.exposed(now))
        | unread_metadata(look.protection_status.unread)
        | refused
    )


def unread_metadata(unread: Unread) -> Metadata:
    """Metadata of a source's content beyond its changes."""
    facts = {name: value for name, value in unread.facts().items() if value is not None}
    shown: Metadata = displayed_values(facts)
    return shown


def fit_metadata(point: RecoveryPoint) -> Metadata:
    """Metadata that says whether a recovery point can be restored into its own engine."""
    fitness, accepted = point.manifest.fitness, point.manifest.accepted_losses
    if fitness is None:
        return {"fits": "not known"}
    trial = fitness.trial
    facts = {
        "fits": fitness.word,
        "losses": [f"{loss.part}: {loss.consequence}" for loss in fitness.losses()],
        "remarks": [f"{p.part}: {p.outcome}: {p.consequence}" for p in fitness.remarks()],
        "accepted_losses": [f"{a.part}: {a.reason} ({a.by})" for a in accepted],
        "equal": tolerance_text(fitness.tolerance),
        "vectors_not_finite": point.manifest.vectors.not_finite,
        "tried": trial.at.isoformat() if trial and not fitness.untried else "not tried",
        "not_tried_because": fitness.untried,
    }
    shown: Metadata = displayed_values(facts)
    return shown


def point_metadata(point: RecoveryPoint, *, repository: Repository) -> Metadata:
    """Metadata of a recovery point."""
    manifest = point.manifest
    detail = point.entry.body.detail
    snapshot = detail if isinstance(detail, SnapshotDetail) else None
    unread = snapshot.source if snapshot else None
    source = {} if unread is None else unread.model_dump(mode="json")
    return {
        **displayed_values({name: value for name, value in source.items() if value is not None}),
        "dagster/row_count": manifest.counts.records,
        "dagster/uri": repository.blobs.url,
        "documents": manifest.counts.documents,
        "deleted": manifest.counts.deleted,
        "versions_without_chunks": manifest.coverage.empty,
        "position": manifest.coverage.frontier,
        "days": manifest.coverage.days,
        "size_bytes": manifest.segments.stored_bytes,
        **head_metadata(point.number, point.sha256),
        **digest_metadata(manifest.digests),
        **fit_metadata(point),
        **({"assurance": snapshot.assurance.value} if snapshot else {}),
        **({"every_value_read_at": snapshot.whole_at.isoformat()} if snapshot else {}),
        "restore": dg.MetadataValue.md(
            f"`dr restore {point.collection} --at log:{point.number} --switch`, or the job "
            f"`restore` with `collection: {point.collection}` and `at: log:{point.number}`"
        ),
    }


def encoding_metadata(stored: VectorsStored | None) -> Metadata:
    """How vectors that were stored are encoded, and why; empty where none were."""
    return {} if stored is None else {"vectors": f"{stored.encoding}: {stored.reason}"}
