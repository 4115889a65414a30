"""The parts of a backup, opened as the policies name them."""

from typing import TYPE_CHECKING

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.assurance import Assurance
from dr_pipelines.project import adapters
from dr_pipelines.project.collection import ProtectedCollection
from dr_pipelines.project.project import Project

if TYPE_CHECKING:  # they bring Arrow, which reading a log does not need
    from dr_pipelines.backup.hashed import Hashing
    from dr_pipelines.backup.resources import Resources
    from dr_pipelines.model.backup import BackupRequest
    from dr_pipelines.protocols import NativeFiles


def open_for_backup(project: Project, request: "BackupRequest", *, run: str = "") -> "Resources":
    """Everything that a backup needs; the repository is made where there is none. `run` labels what
    is written.

    Raises `Refused` where the collection is served from another store than its policy names,
    `InvalidRequest` where the engine's files are to be kept and it has none.
    """
    from dr_pipelines.backup.resources import Resources

    protected = project.collection(request.collection)
    return Resources(
        live=protected.live(),
        native=native_files(project, request.collection) if request.files else None,
        history=protected.writable_history(run=run),
        store_name=protected.policy.store,
        has_source=protected.policy.source is not None,
        scratch=protected.scratch(),
        required=protected.policy.objectives.required,
        hashing=_hashing(project, protected),
    )


def _hashing(project: Project, protected: ProtectedCollection) -> "Hashing | None":
    """Files of the engine that prove what is in them, where the policy accepts that."""
    from dr_pipelines.backup.hashed import Hashing

    if not Assurance.FILES.meets(protected.policy.objectives.assurance):
        return None
    files = adapters.open_hashed(project.store(protected.policy.store))
    return None if files is None else Hashing(files, project.machine.pieces(protected.name))


def native_files(project: Project, collection: str) -> "NativeFiles":
    """The files of a collection's engine; raises `InvalidRequest` where it has none to keep."""
    from dr_pipelines.stores.engines import with_native_files

    name = project.collection(collection).policy.store
    files = project.native(name)
    if files is None:
        engine = project.store(name).engine
        able = ", ".join(f"{scheme.name}:" for scheme in with_native_files())
        raise InvalidRequest(f"--native: {engine} has no files of its own to keep; only {able} has")
    return files
