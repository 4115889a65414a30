"""The code location: every collection of the policies, and nothing else."""

import os
from pathlib import Path

import dagster as dg

from dr_pipelines.project import open_project

from .checks import build_checks
from .chunks import build_chunks
from .collections import build_collection
from .documents import build_documents
from .embeddings import build_embeddings
from .jobs import ingest_job, snapshot_job
from .resources import ProjectResource, policies_path
from .restores import restore_job
from .sensors import build_rpo_sensor
from .snapshots import build_recovery_point, build_snapshot
from .tracked import Tracked, track

DAILY = (build_documents, build_chunks, build_embeddings, build_collection)


@dg.definitions
def defs() -> dg.Definitions:
    """What the policies file in force describes; raises `InvalidPolicy` with all that is wrong."""
    return build_definitions(policies_path())


def build_definitions(policies: Path) -> dg.Definitions:
    """What a policies file describes."""
    project = open_project(policies, os.environ)
    parts = [collection_definitions(tracked) for tracked in track(project)]
    return dg.Definitions.merge(
        *parts,
        dg.Definitions(
            jobs=[restore_job],
            resources={"project": ProjectResource(policies=str(policies))},
            executor=dg.in_process_executor,
        ),
    )


def collection_definitions(tracked: Tracked) -> dg.Definitions:
    """Assets, checks, jobs and the sensor of one collection."""
    checks = build_checks(tracked)
    snapshot = build_snapshot(tracked)
    blocking = [spec.key for check in checks for spec in check.check_specs if spec.blocking]
    proven = [snapshot, build_recovery_point(tracked, proving=blocking)]
    daily = [build(tracked) for build in DAILY] if tracked.has_source else []
    jobs = [*([ingest_job(tracked)] if tracked.has_source else []), snapshot_job(tracked)]
    return dg.Definitions(
        assets=[*daily, *proven],
        asset_checks=checks,
        jobs=jobs,
        sensors=[build_rpo_sensor(tracked, jobs)],
    )
