"""The project of a policies file, as commands open it, and names checked against it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dr_pipelines.cli.output import Mistake
from dr_pipelines.errors import Damaged, NotFound, Unavailable

if TYPE_CHECKING:  # imported by the commands that need them
    from dr_pipelines.model.recovery_point import RecoveryPoint
    from dr_pipelines.project.project import Project
    from dr_pipelines.protocols import VectorStore


def open_project(policies: Path, *collections: str) -> "Project":
    """The project of a policies file; raises `Mistake` for a collection that it does not name."""
    from dr_pipelines.project import project

    opened = project.open_project(policies, os.environ)
    for name in collections:
        try:
            opened.collection(name)
        except NotFound as error:
            raise Mistake(str(error)) from error
    return opened


def named_store(project: "Project", name: str | None, collection: str) -> str:
    """The store that an option names, or else the collection's own."""
    [chosen] = stores_asked_for(project, name or project.collection(collection).policy.store)
    return chosen


def stores_asked_for(project: "Project", name: str | None) -> list[str]:
    """The store that an option names, or all of the policies, ascending."""
    if name is None:
        return sorted(project.policies.stores)
    try:
        project.store_policy(name)
    except NotFound as error:
        raise Mistake(str(error)) from error
    return [name]


def live_store(project: "Project", collection: str) -> "VectorStore":
    """The store that a collection is served from, for who only reads it. Where the log cannot be
    asked, it is that of the policy, and nobody knows whether a restore is building in it.

    Raises `NotFound` where one is.
    """
    try:
        manifest = project.collection(collection).history().manifest()
    except (Damaged, Unavailable):
        return project.store(project.collection(collection).policy.store)
    return project.collection(collection).served(manifest)


def require_head(project: "Project", collection: str, sha256: str | None) -> None:
    """Require the log entry that `--expect-head` names; raises `Refused`. Nothing without it."""
    if sha256 is not None:
        project.collection(collection).history().log.require_descent(sha256)


def point_at(project: "Project", collection: str, at: str) -> "RecoveryPoint":
    """The recovery point that `--at` names."""
    from dr_pipelines.cli.output import asking
    from dr_pipelines.project.recovery import clock_of, require_begun
    from dr_pipelines.repository.points import resolve

    require_begun(project, collection)
    clock = clock_of(project.collection(collection).policy)
    with asking():
        return resolve(project.collection(collection).history(), at, clock=clock)
