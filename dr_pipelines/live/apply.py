"""Bringing the live store to what the log says, and no further.

Apply is a loop: fold at the head, read the store, write where they differ, again until nothing
differs; only then is an entry marked applied. It never runs an entry's own rows, so it can be
repeated, interrupted and taken over at any point.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import (
    AlreadyExists,
    Conflict,
    InvalidRequest,
    NotFound,
)
from dr_pipelines.live.left_out import (
    NOTHING_LEFT,
    Filling,
    Left,
    held_ids,
    read_left_out,
    with_held,
    without,
    write_left_out,
)
from dr_pipelines.live.observe import observe_store
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.details import AppliedDetail, Mentioned, PreimageEvidence
from dr_pipelines.model.misfit import Misfit
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery_point import (
    Body,
    Head,
    LogEntry,
    Manifest,
    SegmentRef,
    Timeline,
)
from dr_pipelines.planning.serving import way_back
from dr_pipelines.protocols import Lease, VectorReader, VectorStore
from dr_pipelines.repository.evidence import record_evidence
from dr_pipelines.repository.fold import State
from dr_pipelines.repository.history import History, require_timeline
from dr_pipelines.repository.log import Draft
from dr_pipelines.repository.manifests import read_manifest, write_manifest
from dr_pipelines.repository.observation import differences
from dr_pipelines.repository.reachability import attach
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.rows import newest_rows, observed_rows, strings
from dr_pipelines.repository.segments import write_segment

ROUNDS = 8
SCAN_DOCUMENTS = 10_000
DELETE_DOCUMENTS = 10_000


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply did; `kept` documents hold direct edits that were left alone. `left_out` counts
    records that the engine refused, some by name: they are in the log and not in the store."""

    entries: tuple[int, ...] = ()
    written: int = 0
    kept: tuple[str, ...] = ()
    preimages: tuple[SegmentRef, ...] = ()
    taken_over: tuple[int, ...] = ()
    left_out: int = 0
    refused: tuple[Misfit, ...] = ()


def finish_pending(
    collection: str, *, repository: Repository, store: VectorStore, lease: Lease
) -> Applied:
    """Apply every entry that is not marked applied; nothing to do is nothing done.

    Raises `Unavailable` or `NotFound` when the store cannot be written: the entries stay pending.
    """
    if not History(repository, collection).head().pending:
        return Applied()
    with lease(collection):
        return apply_pending(collection, repository=repository, store=store)


def apply_pending(collection: str, *, repository: Repository, store: VectorStore) -> Applied:
    """`finish_pending` for a caller that holds the lease."""
    history = History(repository, collection)
    log, head = history.log, history.head()
    manifest, pending = history.manifest_at(head), head.pending
    if manifest is None or not pending:
        return Applied()
    bound = manifest.current
    if bound.physical not in store.collections():
        raise NotFound(
            f"{collection!r} is served from {bound.physical!r}, which is not in the store: what "
            f"was ingested is safe in the log. Run: {way_back(collection, bound.physical)}"
        )
    spec = store.describe(bound.physical)
    history.require_finished(manifest, spec.origin, physical=bound.physical)
    work = _Work(history, store, bound, spec)
    done = work.until_equal(pending)
    if any(log.read(number)[0].kind == "restore" for number in pending):
        if bound.physical != collection:
            store.promote(bound.physical, alias=collection)
        _move_others(manifest, store)
    result = Applied(
        entries=pending,
        written=done.written,
        kept=done.kept,
        preimages=done.preimages,
        taken_over=tuple(n for n in pending if _foreign(repository, log.read(n)[0])),
        left_out=done.refused.total,
        refused=done.refused.named,
    )
    log.append("applied", partial(_mark_applied, repository, result, done.refused, bound))
    return result


def _move_others(manifest: Manifest, store: VectorStore) -> None:
    """Other aliases follow, where they are free or stand for what this collection was before. One
    that somebody took meanwhile is theirs: a recovery does not end on it."""
    own = {None, *(timeline.physical for timeline in manifest.timelines)}
    for alias in manifest.spec.aliases:
        if store.aliases().get(alias) in own:
            with suppress(AlreadyExists, InvalidRequest):
                store.promote(manifest.current.physical, alias=alias)


def _mark_applied(
    repository: Repository, result: Applied, refused: Left, bound: Timeline, head: Head
) -> Draft:
    if head.entry is None:
        raise Conflict("the log became empty")
    body = head.entry.body
    manifest = read_manifest(repository, body.manifest, collection=_collection(body))
    require_timeline(manifest, bound)
    taken_over = set(result.taken_over) - set(manifest.taken_over)
    update: dict[str, object] = {}
    if taken_over:
        update["taken_over"] = (*manifest.taken_over, *sorted(taken_over))
    if refused.total:
        left = read_left_out(repository, manifest) + refused
        update["left_out"] = write_left_out(repository, manifest.collection, left)
    if update:
        body = body.model_copy(
            update={"manifest": write_manifest(repository, manifest.model_copy(update=update))}
        )
    detail = AppliedDetail(
        entries=result.entries,
        written=result.written,
        retained=Mentioned.of(result.kept),
        taken_over=result.taken_over,
        left_out=result.left_out,
    )
    pending = tuple(n for n in body.pending if n not in result.entries)
    objects = attach(repository, manifest.collection, result.preimages)
    return Draft(bound.id, body.following(detail, objects=objects, pending=pending))


@dataclass(frozen=True)
class _Done:
    """Documents written, documents left alone, the pre-images of what was overwritten, and the
    records that the engine refused."""

    written: int = 0
    kept: tuple[str, ...] = ()
    preimages: tuple[SegmentRef, ...] = ()
    refused: Left = NOTHING_LEFT

    def then(self, later: "_Done") -> "_Done":
        """With what a later round did; what it left alone is what counts."""
        return _Done(
            self.written + later.written,
            later.kept,
            (*self.preimages, *later.preimages),
            self.refused + later.refused,
        )


@dataclass(frozen=True, slots=True)
class _Work:
    history: History
    store: VectorStore
    bound: Timeline
    spec: CollectionSpec

    def until_equal(self, pending: tuple[int, ...]) -> "_Done":
        """Write documents, and look again, until nothing is left to write."""
        history = self.history
        done, rounds = _Done(), iter(range(ROUNDS))
        while True:
            head = history.head()
            manifest = history.manifest_at(head)
            if manifest is None:
                raise Conflict(f"{self.history.collection}: the log became empty")
            require_timeline(manifest, self.bound)
            documents = history.touched_documents(manifest, entries=pending)
            if len(documents) == 0:
                return replace(done, kept=())
            before = read_left_out(history.repository, manifest)
            with history.fold(manifest, documents=documents) as state:
                for _ in rounds:
                    wrote = self.one_round(
                        state, documents, left=before + done.refused, pending=head.pending
                    )
                    done = done.then(wrote)
                    if not wrote.written:
                        return done
                    if history.head().number != head.number:
                        break  # what was folded is not the newest any more
                else:
                    raise Conflict(
                        f"{history.collection}: the store kept changing during {ROUNDS} rounds "
                        "of applying: another program writes to the same documents"
                    )

    def one_round(
        self, state: State, documents: pa.Array, *, left: Left, pending: tuple[int, ...]
    ) -> "_Done":
        physical = self.bound.physical
        stored = scan_documents(self.store, physical, documents)
        observed = observe_store(
            state, stored, store=self.store, physical=physical, repository=self.history.repository
        )
        with_held(state, observed, left)
        plan = differences(state, pending=pending)
        overwrite = pc.or_(plan["fresh"], plan["logged"])
        unlogged = pc.invert(pc.or_(plan["logged"], plan["empty"]))
        saved = self.save_preimages(state.spec, plan.filter(pc.and_(plan["fresh"], unlogged)))
        write = strings(plan.filter(overwrite)["document_id"])
        refused = self.write(state, write, held=held_ids(state, left))
        kept = plan.filter(pc.invert(overwrite))["document_id"].to_pylist()
        return _Done(len(write), tuple(kept), tuple(saved), refused)

    def write(self, state: State, documents: pa.Array, *, held: pa.Array) -> Left:
        """Write the newest rows of documents, but for records that were left out before, and for
        those that the engine refuses now, which are returned; documents without rows are removed.
        """
        if len(documents) == 0:
            return NOTHING_LEFT
        left, physical = set[str](), self.bound.physical
        filling = Filling(self.store, physical, self.spec)
        for rows in newest_rows(self.history.repository, state, documents=documents):
            present = pc.unique(rows["document_id"])
            filling.write(without(rows, held), replaces=present.to_pylist())
            left |= set(present.to_pylist())
        gone = [document for document in documents.to_pylist() if document not in left]
        empty = store_schema(state.spec).empty_table()
        for start in range(0, len(gone), DELETE_DOCUMENTS):
            batch = gone[start : start + DELETE_DOCUMENTS]
            self.store.write(physical, empty, replaces=batch)
        return filling.left_out()

    def save_preimages(self, spec: CollectionSpec, plan: pa.Table) -> list[SegmentRef]:
        """Keep, and name in the log, what documents hold that are about to be overwritten."""
        documents = strings(plan["document_id"])
        if len(documents) == 0:
            return []
        stored = list(scan_documents(self.store, self.bound.physical, documents))
        rows = observed_rows(pa.Table.from_batches(stored, store_schema(spec)), spec=spec)
        if rows.num_rows == 0:
            return []
        saved = write_segment(
            self.history.repository, self.history.collection, rows, spec=spec, kind="delta"
        )
        # first: a crash between overwriting and `applied` must not leave it without a name
        detail = PreimageEvidence(documents=Mentioned.of(documents.to_pylist()))
        record_evidence(self.history, detail, objects=[saved])
        return [saved]


def scan_documents(
    store: VectorReader, physical: str, documents: pa.Array
) -> Iterator[pa.RecordBatch]:
    """The stored records of some documents, a bounded number of documents at a time."""
    for start in range(0, len(documents), SCAN_DOCUMENTS):
        wanted = documents.slice(start, SCAN_DOCUMENTS).to_pylist()
        yield from store.scan(physical, documents=wanted)


def _foreign(repository: Repository, entry: LogEntry) -> bool:
    return entry.writer.id != repository.writer.id


def _collection(body: Body) -> str:
    return body.manifest.key.split("/", 1)[0]


def rewrite_documents(
    collection: str, documents: pa.Array, *, repository: Repository, store: VectorStore
) -> int:
    """Write the newest logged rows of documents that hold what an older logged version said.

    The caller holds the lease. Returns how many were written; direct edits are left alone. What is
    overwritten is kept and named in the log first: somebody may have put it back by hand.
    """
    history = History(repository, collection)
    manifest = history.manifest()
    if manifest is None or len(documents) == 0:
        return 0
    spec = store.describe(manifest.current.physical)
    work = _Work(history, store, manifest.current, spec)
    with history.fold(manifest, documents=documents) as state:
        physical = manifest.current.physical
        stored = scan_documents(store, physical, documents)
        observed = observe_store(
            state, stored, store=store, physical=physical, repository=repository
        )
        left = read_left_out(repository, manifest)
        with_held(state, observed, left)
        plan = differences(state)
        stale = plan.filter(plan["logged"])
        work.save_preimages(manifest.spec, stale)
        documents = strings(stale["document_id"])
        refused = work.write(state, documents, held=held_ids(state, left))
        if refused.total:
            raise InvalidRequest(f"{collection}: the engine would not take {refused.named[0]}")
        return len(documents)
