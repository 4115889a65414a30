"""Everything that a policies file names, opened when it is asked for and kept while it lasts.

The command line and the Dagster code location both start here.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dr_pipelines.errors import NotFound
from dr_pipelines.host.permissions import (
    Access,
    too_open,
    umask_for,
    use_temporary_directory,
)
from dr_pipelines.model.components import StorePolicy
from dr_pipelines.model.notation import did_you_mean
from dr_pipelines.model.policy import Policies
from dr_pipelines.project import adapters, repository_access
from dr_pipelines.project.adapters import PolicyContext
from dr_pipelines.project.collection import ProtectedCollection
from dr_pipelines.project.machine import Machine
from dr_pipelines.project.policy_file import load_policies

if TYPE_CHECKING:  # they bring Arrow, which `dr --help` does not need
    from dr_pipelines.protocols import (
        BlobStore,
        Catalog,
        Embedder,
        Lease,
        NativeFiles,
        VectorStore,
    )
    from dr_pipelines.repository.repository import Repository


def open_project(policies_path: Path, environ: Mapping[str, str]) -> "Project":
    """Read a policies file; nothing it names is opened yet. Raises `InvalidPolicy`.

    From then on the files of this process are made for those whom `access` names, and its temporary
    files lie under `state`.
    """
    project = Project(
        policies=load_policies(policies_path, environ),
        context=PolicyContext(policies_path.resolve().parent, environ),
    )
    machine = project.machine
    os.umask(umask_for(project.store_directories(), machine.access))
    use_temporary_directory(machine.temporary, machine.access)
    return project


@dataclass
class Project:
    """The named parts of a policies file; each is opened once."""

    policies: Policies
    context: PolicyContext
    _stores: "dict[str, VectorStore]" = field(default_factory=dict, repr=False)
    _embedders: "dict[str, Embedder]" = field(default_factory=dict, repr=False)
    _collections: "dict[str, ProtectedCollection]" = field(default_factory=dict, repr=False)
    _repository: "Repository | None" = field(default=None, repr=False)

    @cached_property
    def machine(self) -> Machine:
        """This machine's own directory: leases, witnessed heads."""
        return Machine(self.context.path(self.policies.state), Access(self.policies.access))

    @property
    def lease(self) -> "Lease":
        """The lease on a collection among the processes of this machine."""
        return self.machine.lease

    def store_directories(self) -> list[Path]:
        """The directories of embedded stores."""
        policies = self.policies.stores.values()
        places = (adapters.store_directory(policy, self.context) for policy in policies)
        return [place for place in places if place is not None]

    def exposed(self) -> list[str]:
        """A sentence for each directory that others may look into than `access` says."""
        repository = adapters.repository_directory(self.policies.repository, self.context)
        places = [*([repository] if repository else []), self.machine.state]
        warnings = (too_open(place, self.machine.access) for place in places)
        return [warning for warning in warnings if warning]

    def collection(self, name: str) -> "ProtectedCollection":
        """A collection; raises `NotFound` with the known names."""
        policies = self.policies.collections
        if name not in policies:
            raise _unknown("collection", name, policies)
        if name not in self._collections:
            self._collections[name] = ProtectedCollection(name, policies[name], self)
        return self._collections[name]

    def store_policy(self, name: str) -> StorePolicy:
        """The policy of a store; raises `NotFound` with the known names."""
        if name not in self.policies.stores:
            raise _unknown("store", name, self.policies.stores)
        return self.policies.stores[name]

    def store(self, name: str) -> "VectorStore":
        """A named store; raises `NotFound` with the known names."""
        policy = self.store_policy(name)
        if name not in self._stores:
            names = self.policies.stored_names(name)
            self._stores[name] = adapters.open_store(policy, self.context, names=names)
        return self._stores[name]

    def catalog(self, name: str) -> "Catalog":
        """The names in a named store; reads no collection, and needs no engine where it can."""
        policy, names = self.store_policy(name), self.policies.stored_names(name)
        opened = self._stores.get(name)
        return opened or adapters.open_catalog(policy, self.context, names=names)

    def native(self, name: str) -> "NativeFiles | None":
        """A named store's collections as files of their engine, where it has such files."""
        return adapters.open_native(self.store(name))

    def require_embedder(self, name: str) -> None:
        """Raise `NotFound`, with the known names, for one that the policies do not name."""
        if name not in self.policies.embedders:
            raise _unknown("embedder", name, self.policies.embedders)

    def embedder(self, name: str) -> "Embedder":
        """A named embedder; raises `NotFound` with the known names."""
        self.require_embedder(name)
        if name not in self._embedders:
            policy = self.policies.embedders[name]
            self._embedders[name] = adapters.open_embedder(policy, self.context)
        return self._embedders[name]

    def repository(self, *, run: str = "") -> "Repository":
        """The repository, made on first use where there was none; `run` labels what is written.

        Raises `Damaged` where this machine remembers a repository that is gone.
        """
        if self._repository is None:
            blobs = self._open_blobs()
            self._repository = repository_access.open_repository(
                blobs, self.machine, run=run, compression=self.policies.compression
            )
        return self._repository

    def reading(self, *, run: str = "") -> "Repository":
        """The repository for those who only read. Where there is none nothing is made: what they
        get has empty logs. Raises `Damaged` as `repository` does."""
        if self._repository is None:
            blobs = self._open_blobs()
            if not repository_access.is_there(blobs, self.machine):
                return repository_access.empty_repository(blobs, self.machine)
        return self.repository(run=run)

    def _open_blobs(self) -> "BlobStore":
        return adapters.open_blobs(
            self.policies.repository, self.context, access=self.machine.access
        )


def _unknown(what: str, name: str, existing: Iterable[str]) -> NotFound:
    names = sorted(existing)
    return NotFound(
        f"no {what} {name!r} in the policies; known are: {', '.join(names)}"
        f"{did_you_mean(name, names)}"
    )
