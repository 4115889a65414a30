"""Definitions of the collections of a policies file, for this code location and for others."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

import dagster as dg

from dr_pipelines.project.project import open_project

from .checks import build_checks
from .chunks import build_chunks
from .collections import build_collection
from .documents import build_documents
from .embeddings import build_embeddings
from .jobs import ingest_job, snapshot_job
from .readiness import build_readiness, readiness_job, readiness_schedule
from .recoveries import build_recovery_job
from .resources import PROJECT, ProjectResource, policies_path, project_resource
from .restores import build_restore_job
from .sensors import build_rpo_sensor
from .snapshots import build_recovery_point, build_snapshot
from .tracked import Naming, Tracked, track

DAILY = (build_documents, build_chunks, build_embeddings, build_collection)


def build_defs(
    policies: str | Path | None = None,
    *,
    collections: Collection[str] | None = None,
    key_prefix: Sequence[str] = (),
    group_name: str | None = None,
    name_prefix: str = "",
    executor: dg.ExecutorDefinition | None = None,
    project: ProjectResource | None = None,
) -> dg.Definitions:
    """The definitions of a policies file: assets, checks, jobs and sensors of its collections.

    Args:
        policies: The file; by default what `DR_POLICIES` names, or `policies.yaml` in the working
            directory. It is read now, and again by every step.
        collections: Only these; by default all.
        key_prefix: What every asset key begins with; the collection and the asset follow.
        group_name: One group for all assets; by default each collection is a group.
        name_prefix: What the names of jobs and sensors begin with, where others have such names.
        executor: What runs assets outside of the jobs given here, which run in one process. A code
            location has one: leave it out where another part says.
        project: Another clock or another way to open the policies, for tests.

    Raises:
        InvalidPolicy: With all that is wrong with the file.
        NotFound: A collection that the file does not have.
    """
    path = Path(policies).absolute() if policies is not None else policies_path()
    naming = Naming(tuple(key_prefix), group_name, name_prefix)
    tracked = track(open_project(path, os.environ), naming, only=collections)
    return dg.Definitions.merge(
        *(collection_definitions(each) for each in tracked),
        dg.Definitions(
            jobs=[build_restore_job(name_prefix), build_recovery_job(name_prefix)],
            resources={PROJECT: project or project_resource(str(path))},
            executor=executor,
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
    readiness = readiness_job(tracked)
    return dg.Definitions(
        assets=[*daily, *proven],
        asset_checks=[*checks, build_readiness(tracked)],
        jobs=[*jobs, readiness],
        schedules=[readiness_schedule(tracked, readiness)],
        sensors=[build_rpo_sensor(tracked, jobs)],
    )
