"""Writing what the log holds into a store, document by document.

Writing is a loop: fold at the head, read the store, write where they differ, again until nothing
differs. It never runs an entry's own rows, so it can be repeated, interrupted and taken over at any
point.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import Conflict
from dr_pipelines.live.left_out import (
    NOTHING_LEFT,
    Filling,
    Left,
    all_but,
    read_left_out,
)
from dr_pipelines.live.observe import observe_store
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.details import Mentioned, PreimageEvidence
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery_point import SegmentRef, Timeline
from dr_pipelines.protocols import VectorReader, VectorStore
from dr_pipelines.repository.evidence import record_evidence
from dr_pipelines.repository.history import History
from dr_pipelines.repository.rows import newest_rows, observed_rows, strings
from dr_pipelines.repository.segments import write_segment
from dr_pipelines.repository.state import State

ROUNDS = 8
SCAN_DOCUMENTS = 10_000
DELETE_DOCUMENTS = 10_000


@dataclass(frozen=True)
class Written:
    """Documents written, documents left alone, the pre-images of what was overwritten, and the
    records that the engine refused."""

    written: int = 0
    retained: tuple[str, ...] = ()
    preimages: tuple[SegmentRef, ...] = ()
    refused: Left = NOTHING_LEFT

    def then(self, later: "Written") -> "Written":
        """This result combined with that of a later round, whose `retained` documents count."""
        return Written(
            self.written + later.written,
            later.retained,
            (*self.preimages, *later.preimages),
            self.refused + later.refused,
        )


@dataclass(frozen=True, slots=True)
class Writing:
    """Writes for one line of history into the physical collection that it is bound to."""

    history: History
    store: VectorStore
    bound: Timeline
    spec: CollectionSpec

    def until_equal(self, pending: tuple[int, ...]) -> Written:
        """Write documents, and look again, until nothing is left to write."""
        history = self.history
        done, rounds = Written(), iter(range(ROUNDS))
        while True:
            tip = history.tip()
            manifest = tip.of_timeline(self.bound)
            documents = history.touched_documents(manifest, entries=pending)
            if len(documents) == 0:
                return replace(done, retained=())
            before = read_left_out(history.repository, manifest)
            with history.fold(manifest, documents=documents) as state:
                for _ in rounds:
                    wrote = self.one_round(
                        state, documents, left=before + done.refused, pending=tip.pending
                    )
                    done = done.then(wrote)
                    if not wrote.written:
                        return done
                    if history.head().number != tip.head.number:
                        break  # what was folded is not the newest any more
                else:
                    raise Conflict(
                        f"{history.collection}: the store kept changing during {ROUNDS} rounds "
                        "of applying: another program writes to the same documents"
                    )

    def one_round(
        self, state: State, documents: pa.Array, *, left: Left, pending: tuple[int, ...]
    ) -> Written:
        """Read the documents, compare them with the fold, and write those that differ."""
        physical = self.bound.physical
        stored = scan_documents(self.store, physical, documents)
        observation = observe_store(state, stored, store=self.store, physical=physical)
        observation.leave_out(left.table)
        plan = observation.differences(pending=pending)
        overwrite = pc.or_(plan["fresh"], plan["logged"])
        unlogged = pc.invert(pc.or_(plan["logged"], plan["empty"]))
        saved = self.save_preimages(state.spec, plan.filter(pc.and_(plan["fresh"], unlogged)))
        write = strings(plan.filter(overwrite)["document_id"])
        refused = self.write(state, write, without=strings(observation.left_out()["id"]))
        retained = plan.filter(pc.invert(overwrite))["document_id"].to_pylist()
        return Written(len(write), tuple(retained), tuple(saved), refused)

    def write(self, state: State, documents: pa.Array, *, without: pa.Array) -> Left:
        """Write the newest rows of documents, but for records that were left out before, and for
        those that the engine refuses now, which are returned; documents without rows are removed.
        """
        if len(documents) == 0:
            return NOTHING_LEFT
        left, physical = set[str](), self.bound.physical
        filling = Filling(self.store, physical, self.spec)
        for rows in newest_rows(state, documents=documents):
            present = pc.unique(rows["document_id"])
            filling.write(all_but(rows, without), replaces=present.to_pylist())
            left |= set(present.to_pylist())
        gone = [document for document in documents.to_pylist() if document not in left]
        empty = store_schema(state.spec).empty_table()
        for start in range(0, len(gone), DELETE_DOCUMENTS):
            batch = gone[start : start + DELETE_DOCUMENTS]
            self.store.write(physical, empty, replaces=batch)
        return filling.left_out()

    def save_preimages(self, spec: CollectionSpec, plan: pa.Table) -> list[SegmentRef]:
        """Store the contents of documents that are about to be overwritten, and name these
        pre-images in the log."""
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
        piece = documents.slice(start, SCAN_DOCUMENTS).to_pylist()
        yield from store.scan(physical, documents=piece)
