"""Jobs of one collection, for sensors and people to start."""

from typing import TYPE_CHECKING

import dagster as dg

from .readiness import readiness_key
from .tracked import COLLECTION_TAG, Tracked

if TYPE_CHECKING:  # what `define_asset_job` returns has no public name
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

DAILY = ("documents", "chunks", "embeddings", "collection")
PROOF = ("snapshot", "recovery_point")


def ingest_job(tracked: Tracked) -> "UnresolvedAssetJobDefinition":
    """The four stages of some days, and the checks of what they leave."""
    return dg.define_asset_job(
        tracked.named("ingest"),
        selection=dg.AssetSelection.assets(*(tracked.key(name) for name in DAILY)),
        description=f"Read, cut, embed and commit days of {tracked.name}.",
        tags={COLLECTION_TAG: tracked.name},
        executor_def=dg.in_process_executor,
    )


def snapshot_job(tracked: Tracked) -> "UnresolvedAssetJobDefinition":
    """A snapshot, its checks, and the recovery point that they prove; without the daily check of
    that, which no snapshot waits for."""
    return dg.define_asset_job(
        tracked.named("snapshot"),
        selection=dg.AssetSelection.assets(*(tracked.key(name) for name in PROOF))
        - dg.AssetSelection.checks(readiness_key(tracked)),
        description=f"Compare {tracked.name} with its log, and prove a recovery point.",
        tags={COLLECTION_TAG: tracked.name},
        executor_def=dg.in_process_executor,
    )
