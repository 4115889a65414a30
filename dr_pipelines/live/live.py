"""The live side of a collection: the store it is served from, brought to what the log says.

An entry is marked applied only once nothing of it differs any more; until then it is pending, and
whoever comes next finishes it. The store's aliases move in `Live.apply`, for an entry that begins a
timeline; before the first entry, ingestion promotes the collection that it made.
"""

from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

import pyarrow as pa

from dr_pipelines.errors import AlreadyExists, InvalidRequest, NotFound
from dr_pipelines.live.apply import Writing, scan_documents
from dr_pipelines.live.keeping import kept_open
from dr_pipelines.live.left_out import (
    Left,
    read_left_out,
    write_left_out,
)
from dr_pipelines.live.observe import observe_store
from dr_pipelines.model.details import AppliedDetail, Mentioned
from dr_pipelines.model.misfit import NAMED, Misfit
from dr_pipelines.model.recovery_point import Manifest, SegmentRef, Timeline
from dr_pipelines.planning.serving import way_back
from dr_pipelines.protocols import Lease, VectorStore
from dr_pipelines.repository.history import History, NextEntry, Tip
from dr_pipelines.repository.reachability import attach
from dr_pipelines.repository.rows import strings


@dataclass(frozen=True, slots=True)
class Applied:
    """The result of bringing the store up to the log. Direct edits of the `retained` documents
    were left alone. `left_out` counts records that the engine refused, some by name: they are in
    the log and not in the store."""

    entries: tuple[int, ...] = ()
    written: int = 0
    retained: tuple[str, ...] = ()
    preimages: tuple[SegmentRef, ...] = ()
    taken_over: tuple[int, ...] = ()
    left_out: int = 0
    refused: tuple[Misfit, ...] = ()

    def then(self, later: "Applied") -> "Applied":
        """Both results as one; of the records that the engine refused, some stay named."""
        return Applied(
            entries=(*self.entries, *later.entries),
            written=self.written + later.written,
            retained=tuple(dict.fromkeys((*self.retained, *later.retained))),
            preimages=(*self.preimages, *later.preimages),
            taken_over=(*self.taken_over, *later.taken_over),
            left_out=self.left_out + later.left_out,
            refused=(*self.refused, *later.refused)[:NAMED],
        )


@dataclass(frozen=True, slots=True)
class Live:
    """A collection as it is served: the store that has it, the lease that its writers hold, and the
    name that readers ask for. Who only reads takes the store as a `VectorReader`."""

    store: VectorStore
    lease: Lease
    name: str

    def leased(self) -> AbstractContextManager[None]:
        """The lease; raises `Unavailable` where another writer keeps it."""
        return self.lease(self.name)

    def served(self) -> str | None:
        """The physical collection that the name is an alias of; None where it is none."""
        return self.store.aliases().get(self.name)

    def promote(self, physical: str) -> None:
        """Serve a physical collection under the name; one of that very name is served already."""
        if physical != self.name:
            self.store.promote(physical, alias=self.name)

    def follow(self, history: History) -> Applied:
        """Apply every entry that is not marked applied; nothing to do is nothing done.

        Raises `Unavailable` or `NotFound` when the store cannot be written: the entries stay
        pending.
        """
        if not history.head().pending:
            return Applied()
        with self.leased():
            return self.apply(history)

    def apply(self, history: History) -> Applied:
        """`follow` for a caller that holds the lease. Aliases move here, once the collection that a
        `restore` entry names is equal to the log."""
        tip = history.tip()
        manifest, pending = tip.manifest, tip.pending
        if manifest is None or not pending:
            return Applied()
        with kept_open(self.store, manifest.current.physical):
            done = self._writing(history, manifest).until_equal(pending)
        entries = [history.log.read(number)[0] for number in pending]
        if any(entry.kind == "restore" for entry in entries):
            self.promote(manifest.current.physical)
            self._move_others(manifest)
        writer = history.repository.writer
        result = Applied(
            entries=pending,
            written=done.written,
            retained=done.retained,
            preimages=done.preimages,
            taken_over=tuple(entry.i for entry in entries if entry.writer.id != writer.id),
            left_out=done.refused.total,
            refused=done.refused.named,
        )
        history.append("applied", _Mark(result, done.refused, manifest.current).at)
        return result

    def rewrite(self, history: History, documents: pa.Array) -> int:
        """Write the newest logged rows of documents that hold what an older logged version said.

        The caller holds the lease. Returns how many were written; direct edits are left alone. What
        is overwritten is kept and named in the log first: somebody may have put it back by hand.
        """
        manifest = history.manifest()
        if manifest is None or len(documents) == 0:
            return 0
        store, physical = self.store, manifest.current.physical
        with (
            kept_open(store, physical),
            history.fold(manifest, documents=documents) as state,
        ):
            writing = Writing(history, store, manifest.current, store.describe(physical))
            stored = scan_documents(store, physical, documents)
            observation = observe_store(state, stored, store=store, physical=physical)
            observation.leave_out(read_left_out(history.repository, manifest).table)
            plan = observation.differences()
            stale = plan.filter(plan["logged"])
            writing.save_preimages(manifest.spec, stale)
            documents = strings(stale["document_id"])
            refused = writing.write(state, documents, without=strings(observation.left_out()["id"]))
            if refused.total:
                raise InvalidRequest(f"{self.name}: the engine would not take {refused.named[0]}")
            return len(documents)

    def _writing(self, history: History, manifest: Manifest) -> Writing:
        bound = manifest.current
        if bound.physical not in self.store.collections():
            raise NotFound(
                f"{self.name!r} is served from {bound.physical!r}, which is not in the store: what "
                f"was ingested is safe in the log. Run: {way_back(self.name, bound.physical)}"
            )
        spec = self.store.describe(bound.physical)
        history.require_finished(manifest, spec.origin, physical=bound.physical)
        return Writing(history, self.store, bound, spec)

    def _move_others(self, manifest: Manifest) -> None:
        """Other aliases follow, where they are free or stand for what this collection was before.
        One that somebody took meanwhile is theirs: a recovery does not end on it."""
        own = {None, *(timeline.physical for timeline in manifest.timelines)}
        for alias in manifest.spec.aliases:
            if self.store.aliases().get(alias) in own:
                with suppress(AlreadyExists, InvalidRequest):
                    self.store.promote(manifest.current.physical, alias=alias)


@dataclass(frozen=True, slots=True)
class _Mark:
    """The entry that marks others applied."""

    result: Applied
    refused: Left
    bound: Timeline

    def at(self, tip: Tip) -> NextEntry:
        result, history = self.result, tip.history
        manifest = self._grown(tip.of_timeline(self.bound), history)
        return NextEntry(
            manifest=manifest,
            pending=tuple(n for n in tip.pending if n not in result.entries),
            objects=attach(history.repository, history.collection, result.preimages),
            detail=AppliedDetail(
                entries=result.entries,
                written=result.written,
                retained=Mentioned.of(result.retained),
                taken_over=result.taken_over,
                left_out=result.left_out,
            ),
        )

    def _grown(self, manifest: Manifest, history: History) -> Manifest | None:
        """With what was taken over and refused; None where nothing was."""
        taken_over = set(self.result.taken_over) - set(manifest.taken_over)
        update: dict[str, object] = {}
        if taken_over:
            update["taken_over"] = (*manifest.taken_over, *sorted(taken_over))
        if self.refused.total:
            left = read_left_out(history.repository, manifest) + self.refused
            update["left_out"] = write_left_out(history, left)
        return manifest.model_copy(update=update) if update else None
