"""Everything that a policies file names, opened when it is asked for and kept while it lasts.

The command line and the Dagster code location both start here. This is where the clock, the
process's identity and the state of this machine come from.
"""

import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from dr_pipelines import __version__
from dr_pipelines.errors import (
    Damaged,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from dr_pipelines.host.permissions import (
    Access,
    make_directory,
    too_open,
    umask_for,
    use_temporary_directory,
)
from dr_pipelines.model.components import StorePolicy
from dr_pipelines.model.notation import did_you_mean
from dr_pipelines.model.policy import CollectionPolicy, Policies
from dr_pipelines.project import adapters

if TYPE_CHECKING:  # they bring Arrow, which `dr --help` does not need
    from dr_pipelines.ingestion.lineage import Feed, Lineage
    from dr_pipelines.live.live import Live
    from dr_pipelines.model.recovery_point import Manifest, Writer
    from dr_pipelines.planning.freshness import ProtectionStatus
    from dr_pipelines.proof.trial import Scratch
    from dr_pipelines.protocols import (
        BlobStore,
        Catalog,
        Embedder,
        Lease,
        NativeFiles,
        VectorStore,
    )
    from dr_pipelines.repository.history import History
    from dr_pipelines.repository.repository import Repository


def now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """A UUIDv7: unique for ever, ordered by time."""
    from uuid6 import uuid7

    return str(uuid7())


def open_project(policies_path: Path, environ: Mapping[str, str]) -> "Project":
    """Read a policies file; nothing it names is opened yet. Raises `InvalidPolicy`.

    From then on the files of this process are made for those whom `access` names, and its temporary
    files lie under `state`.
    """
    project = Project(
        policies=adapters.load_policies(policies_path, environ),
        base=policies_path.resolve().parent,
        environ=environ,
    )
    os.umask(umask_for(project.store_directories(), project.access))
    use_temporary_directory(project.state / "temporary", project.access)
    return project


@dataclass
class Project:
    """Objects for the names in a policies file; each is made once."""

    policies: Policies
    base: Path
    environ: Mapping[str, str]
    _stores: "dict[str, VectorStore]" = field(default_factory=dict, repr=False)
    _lineages: "dict[tuple[str, str | None], Lineage]" = field(default_factory=dict, repr=False)
    _embedders: "dict[str, Embedder]" = field(default_factory=dict, repr=False)
    _repository: "Repository | None" = field(default=None, repr=False)

    @property
    def state(self) -> Path:
        """This machine's own directory: leases, witnessed heads."""
        return adapters.place(self.policies.state, base=self.base, environ=self.environ)

    @property
    def access(self) -> Access:
        """Who may look into what is made on this machine."""
        return Access(self.policies.access)

    def store_directories(self) -> list[Path]:
        """The directories of embedded stores."""
        places = (
            adapters.store_directory(policy, base=self.base, environ=self.environ)
            for policy in self.policies.stores.values()
        )
        return [place for place in places if place is not None]

    def exposed(self) -> list[str]:
        """A sentence for each directory that others may look into than `access` says."""
        repository = adapters.repository_directory(
            self.policies.repository, base=self.base, environ=self.environ
        )
        places = [*([repository] if repository else []), self.state]
        return [warning for place in places if (warning := too_open(place, self.access))]

    @property
    def lease(self) -> "Lease":
        """The lease on a collection among the processes of this machine."""
        from dr_pipelines.repository.lease import FileLease

        return FileLease(self.state / "leases", access=self.access)

    def collection(self, name: str) -> CollectionPolicy:
        """The policy of a collection; raises `NotFound` with the known names."""
        try:
            return self.policies.collections[name]
        except KeyError:
            raise _unknown("collection", name, self.policies.collections) from None

    def store_of(self, collection: str) -> "VectorStore":
        """The store that a collection is served from and its policy names.

        Raises `Refused` where a restore switched to another one and the policy was left as it was.
        """
        return self._store_for(collection, self.newest(collection))

    def served_from(self, collection: str, manifest: "Manifest | None") -> "VectorStore":
        """`store_of`, for who asks for the name, and has the newest manifest.

        Raises `NotFound` where a restore is building what the name stands for.
        """
        store = self._store_for(collection, manifest)
        if manifest is not None:
            self.require_whole(collection, manifest, store)
        return store

    def require_whole(
        self, collection: str, manifest: "Manifest", store: "VectorStore | None" = None
    ) -> None:
        """Raise `NotFound` where a name stands for a collection that a restore is building. What is
        served as an alias is whole."""
        store = store or self._store_for(collection, manifest)
        if collection not in store.aliases() and collection in store.collections():
            origin = store.describe(collection).origin
            self.history(collection).require_finished(manifest, origin, physical=collection)

    def newest(self, collection: str) -> "Manifest | None":
        """The newest manifest; None where nothing is logged."""
        return self.history(collection).manifest()

    def history(self, collection: str) -> "History":
        """The log of a collection for those who only read; see `reading`."""
        from dr_pipelines.repository.history import History

        return History(self.reading(), collection)

    def writable_history(self, collection: str, *, run: str = "") -> "History":
        """The log of a collection for those who append to it; see `repository`."""
        from dr_pipelines.repository.history import History

        return History(self.repository(run=run), collection)

    def live(self, collection: str) -> "Live":
        """A collection as it is served, for those who write to it; raises as `store_of` does."""
        from dr_pipelines.live.live import Live

        return Live(self.store_of(collection), self.lease, collection)

    def _store_for(self, collection: str, manifest: "Manifest | None") -> "VectorStore":
        from dr_pipelines.planning.serving import require_store

        name = self.collection(collection).store
        if manifest is not None:
            require_store(collection, manifest.current, name)
        return self.store(name)

    def store(self, name: str) -> "VectorStore":
        """A named store; raises `NotFound` with the known names."""
        policy = self.store_policy(name)
        if name not in self._stores:
            self._stores[name] = adapters.open_store(
                policy,
                base=self.base,
                environ=self.environ,
                names=self.policies.stored_names(name),
            )
        return self._stores[name]

    def scratch(self, collection: str) -> "Scratch":
        """Where a collection may be tried: what its policy names; for an embedded engine a
        directory that is made for it; else nowhere, and why."""
        from dr_pipelines.proof.trial import EVERY, Scratch

        policy = self.collection(collection)
        trial, served = policy.trial, self.store_policy(policy.store)
        every, machine = trial.every if trial else EVERY, _machine(self.state)
        if trial is not None and trial.store is not None:
            named = partial(self._scratch_store, collection, trial.store)
            return Scratch(f"store {trial.store}", named, machine=machine, every=every)
        if adapters.is_embedded(served, self.environ):
            twin = partial(self._twin, collection, served)
            place = "a directory of its own"
            return Scratch(place, twin, machine=machine, every=every)
        why = f"the policy names no scratch store (collections.{collection}.trial.store)"
        return Scratch(why_not=why, every=every)

    @contextmanager
    def _scratch_store(self, collection: str, name: str) -> "Iterator[VectorStore]":
        with self.lease(f"{collection}.trial"):
            yield self.store(name)

    @contextmanager
    def _twin(self, collection: str, policy: StorePolicy) -> "Iterator[VectorStore]":
        """An empty twin of the store. What a killed trial left is removed first: holding the lease
        proves that no other trial is running.
        """
        place = self.state / "trials" / collection
        with self.lease(f"{collection}.trial"):
            rmtree(place, ignore_errors=True)
            make_directory(place, self.access)
            try:
                yield adapters.open_twin(policy, place, self.environ)
            finally:
                rmtree(place, ignore_errors=True)

    def native(self, name: str) -> "NativeFiles | None":
        """A named store's collections as files of their engine, where it has such files."""
        return adapters.open_native(self.store(name))

    def catalog_of(self, collection: str) -> "Catalog":
        """The names in the store that a collection's policy names; reads no collection."""
        name = self.collection(collection).store
        policy, opened = self.store_policy(name), self._stores.get(name)
        return opened or adapters.open_catalog(
            policy,
            base=self.base,
            environ=self.environ,
            names=self.policies.stored_names(name),
        )

    def lineage(self, name: str, *, embedder: str | None = None) -> "Lineage":
        """A collection's way from source to vectors, by its own embedder or a named other one.

        Raises `InvalidRequest` for a collection that is backed up from its store alone.
        """
        if (name, embedder) not in self._lineages:
            self._lineages[name, embedder] = self._open_lineage(name, embedder)
        return self._lineages[name, embedder]

    def embedder(self, name: str) -> "Embedder":
        """A named embedder; raises `NotFound` with the known names."""
        self.require_embedder(name)
        if name not in self._embedders:
            policy = self.policies.embedders[name]
            self._embedders[name] = adapters.open_embedder(
                policy, base=self.base, environ=self.environ
            )
        return self._embedders[name]

    def feed(self, name: str) -> "Feed":
        """The source of a collection; its chunker and embedder are not opened.

        Raises `InvalidRequest` for a collection that is backed up from its store alone.
        """
        from dr_pipelines.ingestion.lineage import Feed

        policy = self.collection(name)
        if policy.source is None:
            raise _without_source(name)
        source = adapters.open_source(
            policy.source,
            base=self.base,
            environ=self.environ,
            fields=adapters.declared_fields(policy),
            start=policy.partitions_start,
        )
        return Feed(name, source)

    def protection_status(self, name: str) -> "ProtectionStatus":
        """Where a collection stands, by its source and its log. The source is read only where it or
        the log changed since this machine last looked. Raises as `exposure.standing` does."""
        from dr_pipelines.monitoring.exposure import CachedStatusFile, cached_status

        policy, cache = (
            self.collection(name),
            CachedStatusFile(self.state / "sightings", name, access=self.access),
        )
        last = cache.last()
        seen = cached_status(
            self.history(name),
            feed=self.feed(name) if policy.source else None,
            edited=policy.authority != "source",
            last=last,
        )
        if seen != last and seen.protection_status.head:  # before the first entry nothing is made
            cache.keep(seen)
        return seen.protection_status

    def repository(self, *, run: str = "") -> "Repository":
        """The repository, made on first use where there was none; `run` labels what is written.

        Raises `Damaged` where this machine remembers a repository that is gone.
        """
        if self._repository is None:
            self._repository = self._open_repository(run)
        return self._repository

    def reading(self, *, run: str = "") -> "Repository":
        """The repository for those who only read. Where there is none nothing is made: what they
        get has empty logs. Raises `Damaged` as `repository` does."""
        if self._repository is None:
            blobs = self._open_blobs()
            if not self._exists(blobs, self._remembered(blobs)):
                return self._vacant(blobs)
        return self.repository(run=run)

    def require_embedder(self, name: str) -> None:
        """Raise `NotFound`, with the known names, for one that the policies do not name."""
        if name not in self.policies.embedders:
            raise _unknown("embedder", name, self.policies.embedders)

    def store_policy(self, name: str) -> StorePolicy:
        """The policy of a store; raises `NotFound` with the known names."""
        try:
            return self.policies.stores[name]
        except KeyError:
            raise _unknown("store", name, self.policies.stores) from None

    def _open_lineage(self, name: str, embedder: str | None) -> "Lineage":
        from dr_pipelines.ingestion.lineage import Lineage

        policy = self.collection(name)
        chosen = embedder or policy.embedder
        if policy.source is None or chosen is None:
            raise _without_source(name)
        model = self.embedder(chosen)
        base, environ, embedders = self.base, self.environ, self.policies.embedders
        chunker = adapters.open_chunker(policy, embedders, base=base, environ=environ)
        adapters.require_readable(name, chunker, model, embedder=chosen)
        return Lineage(
            collection=name,
            spec=adapters.collection_spec(
                name, policy, embedder_dimension=model.provenance.dimension
            ),
            source=adapters.open_source(
                policy.source,
                base=base,
                environ=environ,
                fields=adapters.declared_fields(policy),
                start=policy.partitions_start,
            ),
            chunker=chunker,
            embedder=model,
            store_name=policy.store,
        )

    def _open_repository(self, run: str) -> "Repository":
        from dr_pipelines.repository.repository import Repository
        from dr_pipelines.repository.witness import FileWitness

        blobs = self._open_blobs()
        remembered = self._remembered(blobs)
        probed = self._exists(blobs, remembered)
        repository = Repository.open_or_create(
            blobs,
            capabilities={} if probed else _capabilities(blobs),
            witness=FileWitness(self.state / "heads" / _place(blobs), self.access),
            writer=_writer(run),
            clock=now,
            new_id=new_id,
        )
        if remembered and remembered != repository.identity.id:
            raise Damaged(
                f"{blobs.url} holds another repository than the one this machine knows there. If "
                f"that is meant, remove {self._memory(blobs)}"
            )
        self._remember(blobs, repository.identity.id)
        return repository

    def _open_blobs(self) -> "BlobStore":
        return adapters.open_blobs(
            self.policies.repository, base=self.base, environ=self.environ, access=self.access
        )

    def _vacant(self, blobs: "BlobStore") -> "Repository":
        from dr_pipelines.blobs.empty import VacantBlobStore
        from dr_pipelines.repository.repository import Identity, Repository
        from dr_pipelines.repository.witness import FileWitness

        identity = Identity(id=new_id(), created_at=now())
        witness = FileWitness(self.state / "heads" / _place(blobs), self.access)
        return Repository(VacantBlobStore(blobs.url), identity, witness, _writer(), now, new_id)

    def _exists(self, blobs: "BlobStore", remembered: str | None) -> bool:
        from dr_pipelines.repository.repository import IDENTITY_KEY

        try:
            blobs.size(IDENTITY_KEY)
        except NotFound:
            pass
        except Unavailable:
            if not blobs.url.startswith("file:"):
                raise  # a directory that does not exist yet is made; anything else is out of reach
        else:
            return True
        if remembered:
            raise Damaged(
                f"{blobs.url} holds no repository, but this machine has used one there: is it "
                f"mounted, is it the right place? To begin anew, remove {self._memory(blobs)}"
            )
        return False

    def _memory(self, blobs: "BlobStore") -> Path:
        return self.state / "heads" / _place(blobs) / "repository.id"

    def _remembered(self, blobs: "BlobStore") -> str | None:
        path = self._memory(blobs)
        try:
            return str(json.loads(path.read_text())["id"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise Damaged(
                f"{path} is not readable, which says what repository this machine has used: remove "
                f"it if {blobs.url} is the right one"
            ) from None
        except OSError as error:
            raise Unavailable(f"{path} cannot be read: {error.strerror}") from error

    def _remember(self, blobs: "BlobStore", identity: str) -> None:
        path = self._memory(blobs)
        if path.exists():
            return
        make_directory(path.parent, self.access)
        whole = path.with_suffix(f".{new_id()}.tmp")
        whole.touch(0o600)
        whole.chmod(self.access.file_mode)
        whole.write_text(json.dumps({"id": identity, "url": blobs.url}))
        whole.replace(path)  # in one step: half of it would stop every command


def _capabilities(blobs: "BlobStore") -> dict[str, Any]:
    from dr_pipelines.blobs.capabilities import probe

    return probe(blobs, prefix="probe", now=now()).model_dump(mode="json")


def _unknown(what: str, name: str, existing: Iterable[str]) -> NotFound:
    names = sorted(existing)
    return NotFound(
        f"no {what} {name!r} in the policies; known are: {', '.join(names)}"
        f"{did_you_mean(name, names)}"
    )


def _machine(state: Path) -> str:
    """Who shares our leases: this state on this machine."""
    return sha256(f"{socket.gethostname()}\0{state.resolve()}".encode()).hexdigest()[:8]


def _without_source(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"{name!r} is backed up from its store alone (authority: store): it has no source"
    )


def _writer(run: str = "") -> "Writer":
    from dr_pipelines.model.recovery_point import Writer

    return Writer(id=new_id(), host=socket.gethostname(), run=run, version=__version__)


def _place(blobs: "BlobStore") -> str:
    return sha256(blobs.url.encode()).hexdigest()[:16]
