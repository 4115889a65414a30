"""A collection of the policies, with everything that belongs to it alone."""

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection_policy import CollectionPolicy
from dr_pipelines.model.components import SourcePolicy
from dr_pipelines.project import adapters
from dr_pipelines.project.trials import TrialPlaces

if TYPE_CHECKING:  # they bring Arrow, which `dr --help` does not need
    from dr_pipelines.ingestion.lineage import Feed, Lineage
    from dr_pipelines.live.live import Live
    from dr_pipelines.model.recovery_point import Manifest
    from dr_pipelines.monitoring.exposure import Look
    from dr_pipelines.planning.freshness import ProtectionStatus
    from dr_pipelines.project.project import Project
    from dr_pipelines.proof.trial import Scratch
    from dr_pipelines.protocols import (
        Catalog,
        Source,
        VectorStore,
    )
    from dr_pipelines.repository.history import History
    from dr_pipelines.sources.marks_file import Trust


@dataclass
class ProtectedCollection:
    """A collection of the policies, with what is opened for it."""

    name: str
    policy: CollectionPolicy
    _project: "Project" = field(repr=False)
    _lineages: "dict[str | None, Lineage]" = field(default_factory=dict, repr=False)

    def history(self) -> "History":
        """Its log for those who only read; see `Project.reading`."""
        from dr_pipelines.repository.history import History

        return History(self._project.reading(), self.name)

    def writable_history(self, *, run: str = "") -> "History":
        """Its log for those who append to it; see `Project.repository`."""
        from dr_pipelines.repository.history import History

        return History(self._project.repository(run=run), self.name)

    def live(self) -> "Live":
        """It as it is served, for those who write to it; raises as `store` does."""
        from dr_pipelines.live.live import Live

        return Live(self.store(), self._project.lease, self.name)

    def store(self) -> "VectorStore":
        """The store that it is served from and its policy names.

        Raises `Refused` where a restore switched to another one and the policy was left as it was.
        """
        return self._store_at(self.history().manifest())

    def served(self, manifest: "Manifest | None") -> "VectorStore":
        """`store` for who asks for the name, and has the newest manifest.

        Raises `NotFound` where a restore is building what the name stands for.
        """
        if manifest is not None:
            self.require_whole(manifest)
        return self._store_at(manifest)

    def require_whole(self, manifest: "Manifest") -> None:
        """Raise `NotFound` where its name stands for a collection that a restore is building. What
        is served as an alias is whole."""
        name, store = self.name, self._store_at(manifest)
        if name not in store.aliases() and name in store.collections():
            origin = store.describe(name).origin
            self.history().require_finished(manifest, origin, physical=name)

    def catalog(self) -> "Catalog":
        """The names in the store that its policy names; reads no collection."""
        return self._project.catalog(self.policy.store)

    def feed(self) -> "Feed":
        """The source of the collection for those who look at it: by signs it is believed that what
        this machine read of it is as it was. Its chunker and embedder are not opened.

        Raises `InvalidRequest` for a collection that is backed up from its store alone.
        """
        from dr_pipelines.sources.marks_file import Trust

        return self._feed(Trust.SIGNS)

    def proven_feed(self) -> "Feed":
        """The same for those who write to the log: what was read of it is proven by its hash."""
        from dr_pipelines.sources.marks_file import Trust

        return self._feed(Trust.PROOF)

    def lineage(self, *, embedder: str | None = None) -> "Lineage":
        """Its way from source to vectors, by its own embedder or a named other one.

        Raises `InvalidRequest` for a collection that is backed up from its store alone.
        """
        if embedder not in self._lineages:
            self._lineages[embedder] = self._open_lineage(embedder)
        return self._lineages[embedder]

    def scratch(self) -> "Scratch":
        """Where it may be tried: what its policy names; for an embedded engine a directory that is
        made for it; else nowhere, and why."""
        from dr_pipelines.proof.trial import EVERY, Scratch

        project, trial = self._project, self.policy.trial
        places, served = TrialPlaces(self.name, project.machine), self.policy.store
        every, machine = trial.every if trial else EVERY, project.machine.id
        if trial is not None and trial.store is not None:
            named = partial(places.named, partial(project.store, trial.store))
            return Scratch(f"store {trial.store}", named, machine=machine, every=every)
        if adapters.is_embedded(project.store_policy(served), project.context):
            twin = partial(places.twin, project.store_policy(served), project.context)
            return Scratch("a directory of its own", twin, machine=machine, every=every)
        why = f"the policy names no scratch store (collections.{self.name}.trial.store)"
        return Scratch(why_not=why, every=every)

    def protection_status(self) -> "ProtectionStatus":
        """Where it stands, by its source and its log. The source is read only where it or the log
        changed since this machine last looked. Raises as `exposure.cached_status` does."""
        from dr_pipelines.monitoring.exposure import cached_status

        cache = self._project.machine.cached_status(self.name)
        last = cache.last()
        seen = cached_status(
            self.history(),
            feed=self.feed() if self.policy.source else None,
            edited=self.policy.authority != "source",
            last=last,
            required=self.policy.objectives.required,
        )
        if seen != last and seen.protection_status.head:  # before the first entry nothing is made
            cache.keep(seen)
        return seen.protection_status

    def look(self, history: "History") -> "Look":
        """Where it stands by its source and a log of it, or why that cannot be known."""
        from dr_pipelines.monitoring.exposure import look

        feed = self.feed() if self.policy.source else None
        required = self.policy.objectives.required
        edited = self.policy.authority != "source"
        return look(history, feed=feed, edited=edited, required=required)

    def _store_at(self, manifest: "Manifest | None") -> "VectorStore":
        from dr_pipelines.planning.serving import require_store

        if manifest is not None:
            require_store(self.name, manifest.current, self.policy.store)
        return self._project.store(self.policy.store)

    def _feed(self, trust: "Trust") -> "Feed":
        from dr_pipelines.ingestion.lineage import Feed

        if self.policy.source is None:
            raise self._without_source()
        return Feed(self.name, self._open_source(self.policy.source, trust))

    def _open_source(self, source: SourcePolicy, trust: "Trust") -> "Source":
        return adapters.open_source(
            source,
            self._project.context,
            fields=adapters.declared_fields(self.policy),
            start=self.policy.partitions_start,
            marks=self._project.machine.marks(self.name, trust),
        )

    def _without_source(self) -> InvalidRequest:
        return InvalidRequest(
            f"{self.name!r} is backed up from its store alone (authority: store): it has no source"
        )

    def _open_lineage(self, embedder: str | None) -> "Lineage":
        from dr_pipelines.ingestion.lineage import Lineage
        from dr_pipelines.sources.marks_file import Trust

        project, policy = self._project, self.policy
        chosen = embedder or policy.embedder
        if policy.source is None or chosen is None:
            raise self._without_source()
        model = project.embedder(chosen)
        chunker = adapters.open_chunker(policy, project.policies.embedders, project.context)
        adapters.require_readable(self.name, chunker, model, embedder=chosen)
        dimension = model.provenance.dimension
        return Lineage(
            collection=self.name,
            spec=adapters.collection_spec(self.name, policy, embedder_dimension=dimension),
            source=self._open_source(policy.source, Trust.PROOF),
            chunker=chunker,
            embedder=model,
            store_name=policy.store,
        )
