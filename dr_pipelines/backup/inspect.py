"""Looking at a live store against the log: every record is read, every digest recomputed."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.backup.first import FirstContents, first_contents
from dr_pipelines.backup.hashed import Hashing, hashed_scan
from dr_pipelines.backup.passing import Passing
from dr_pipelines.errors import Refused
from dr_pipelines.live.apply import SCAN_DOCUMENTS, scan_documents
from dr_pipelines.live.left_out import (
    only,
    read_left_out,
    still_left_out,
)
from dr_pipelines.live.observe import observe_store
from dr_pipelines.model.assurance import Assurance
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery_point import (
    LeftOut,
    Manifest,
    SegmentRef,
    VectorStatistics,
)
from dr_pipelines.planning.plausibility import is_mass_absence
from dr_pipelines.planning.serving import way_beside
from dr_pipelines.proof.sampling import EdgeSample
from dr_pipelines.protocols import VectorReader
from dr_pipelines.repository.accounting import Sums, added_up, replaced, sums_of
from dr_pipelines.repository.history import History
from dr_pipelines.repository.misfit_tally import MisfitTally
from dr_pipelines.repository.observation import Observation, Observed, observe_digests
from dr_pipelines.repository.prefetch import prefetch
from dr_pipelines.repository.rows import (
    newest_rows,
    observed_rows,
    strings,
)
from dr_pipelines.repository.segment_rows import SegmentRows
from dr_pipelines.repository.segments import BASE_BYTES, write_segment
from dr_pipelines.repository.state import State

FIRST_DOCUMENTS = 256
"""Read before anything is known of how long records are."""
DELTA_BYTES = 2 * BASE_BYTES


@dataclass(frozen=True)
class Findings:
    """Documents that differ between store and log, by kind, each ascending. `stale` ones hold what
    an older version said, after another writer's entry was taken over: they are repaired."""

    changed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()

    @property
    def recorded(self) -> list[str]:
        """Those that a snapshot records, ascending."""
        return sorted({*self.changed, *self.added, *self.absent})

    def without(self, documents: frozenset[str]) -> "Findings":
        """Those that are not in a set."""
        kinds = (self.changed, self.added, self.absent, self.stale)
        return Findings(*(tuple(d for d in kind if d not in documents) for kind in kinds))


@dataclass(frozen=True)
class Inspection:
    """The result of reading the store: differences, the segments that record them, the records
    that the engine would refuse, a sample of those that it would accept, and the grounds on which
    all that rests. `sums` are those of the state that the manifest and these segments make; None
    where nothing differs."""

    observed: Observed
    findings: Findings
    delta: tuple[SegmentRef, ...]
    statistics: VectorStatistics
    misfits: MisfitTally
    sample: EdgeSample
    assurance: Assurance = Assurance.EVERY_VALUE
    left_out: LeftOut | None = None
    sums: Sums | None = None


def inspect(
    manifest: Manifest,
    *,
    store: VectorReader,
    history: History,
    live: CollectionSpec,
    accept_absence: bool,
    least: Assurance = Assurance.EVERY_VALUE,
    hashing: Hashing | None = None,
) -> Inspection:
    """Scan the collection that a manifest's timeline is served from, and write what differs as
    delta segments that no entry names yet. `live` is its specification as it is now. With `hashing`
    and where `least` is less than every value, files that never change are hashed instead.

    Raises `Refused` on mass absence, and when an empty log meets an empty collection.
    """
    if not manifest.segments:
        passing = Passing(live, store)
        first = first_contents(manifest, passing, store=store, history=history)
        if first is not None:
            return _first_inspection(first, passing)
    passing = Passing(live, store)
    physical, left = manifest.current.physical, read_left_out(history.repository, manifest)
    with history.fold(manifest) as state:
        observation, assurance = _observed(
            state, passing, store=store, physical=physical, least=least, hashing=hashing
        )
        observation.leave_out(left.table)
        findings = _findings(observation.differences(taken_over=manifest.taken_over))
        _require_presence(manifest, findings, observation.observed, accepted=accept_absence)
        observation.as_read(findings.recorded)
        written = tuple(_record(manifest, findings, observation, store=store, history=history))
        sums = _sums(manifest, findings, state, written)
        left_out = still_left_out(observation, manifest, history=history)
    delta = tuple(ref for ref, _ in written)
    inspection = _inspection(passing, observation.observed, findings, delta)
    return replace(inspection, left_out=left_out, assurance=assurance, sums=sums)


def _observed(
    state: State,
    passing: Passing,
    *,
    store: VectorReader,
    physical: str,
    least: Assurance,
    hashing: Hashing | None,
) -> tuple[Observation, Assurance]:
    """Every record beside the state, and the grounds on which it is known."""
    if hashing is not None and store.vector_tolerance == 0:
        whole = least is Assurance.EVERY_VALUE
        scan = hashed_scan(hashing, physical, passing, about=store.engine, whole=whole)
        if scan is not None:
            with closing(prefetch(scan.digests())) as digests:
                return observe_digests(state, digests), scan.assurance
    batches = passing.through(store.scan(physical, ordered=False))
    observation = observe_store(state, batches, store=store, physical=physical)
    return observation, Assurance.EVERY_VALUE


def _first_inspection(first: FirstContents, passing: Passing) -> Inspection:
    content, vectors = first.sums.digests.content, first.sums.digests.vectors
    observed = Observed(first.sums.counts.records, content, vectors)
    inspection = _inspection(passing, observed, Findings(), first.segments)
    return replace(inspection, sums=first.sums)


def _inspection(
    passing: Passing, observed: Observed, findings: Findings, delta: tuple[SegmentRef, ...]
) -> Inspection:
    return Inspection(
        observed, findings, delta, passing.statistics, passing.misfits, passing.sample
    )


def _findings(plan: pa.Table) -> Findings:
    stale = pc.and_(plan["logged"], plan["taken_over"])
    added = pc.invert(plan["known"])
    absent = pc.and_(pc.and_(plan["known"], plan["empty"]), pc.invert(stale))
    changed = pc.invert(pc.or_(pc.or_(stale, added), absent))
    kinds = (changed, added, absent, stale)
    return Findings(*(tuple(plan.filter(k)["document_id"].to_pylist()) for k in kinds))


def _require_presence(
    manifest: Manifest, findings: Findings, observed: Observed, *, accepted: bool
) -> None:
    absent, present = len(findings.absent), manifest.counts.documents
    if accepted or not is_mass_absence(absent=absent, present=present, stored_rows=observed.rows):
        return
    raise Refused(
        f"{absent} of {present} documents are missing from {manifest.current.physical!r}: that "
        "looks like a loss, not like edits, and was not recorded. Bring them back with: "
        f"{way_beside(manifest.collection, manifest.current.physical)}. If they were deleted on "
        f"purpose: dr backup {manifest.collection} --accept-absence"
    )


def _record(
    manifest: Manifest,
    findings: Findings,
    observation: Observation,
    *,
    store: VectorReader,
    history: History,
) -> Iterator[tuple[SegmentRef, Sums]]:
    """Delta segments with every record of each differing document, and the sums of each; versions
    come from the log."""
    documents = pa.array(findings.recorded, pa.string())
    for piece, stored in _in_pieces(documents, manifest, store):
        stored = _whole(stored, piece, observation)
        rows = _versioned(stored, piece, observation.state)
        ref = write_segment(
            history.repository, history.collection, rows, spec=manifest.spec, kind="delta"
        )
        yield ref, sums_of(ref, rows.narrow, manifest.spec)


def _sums(
    manifest: Manifest,
    findings: Findings,
    state: State,
    written: Sequence[tuple[SegmentRef, Sums]],
) -> Sums | None:
    """Of the state once the differing documents are as they were written."""
    if not written:
        return None
    before = Sums(*state.sums_of(pa.array(findings.recorded, pa.string())))
    whole = Sums(manifest.counts, manifest.digests)
    return replaced(whole, by=added_up(sums for _, sums in written), before=before)


def _whole(stored: pa.Table, documents: pa.Array, observation: Observation) -> pa.Table:
    """Records as the store has them, with those of their documents that were left out: a document
    that somebody edits does not lose them."""
    left_out = strings(observation.left_out()["id"])
    if not len(left_out):
        return stored
    logged = newest_rows(observation.state, documents=documents)
    return pa.concat_tables([stored, *(only(rows, left_out) for rows in logged)])


def _in_pieces(
    documents: pa.Array, manifest: Manifest, store: VectorReader
) -> Iterator[tuple[pa.Array, pa.Table]]:
    """Documents with all their records in the store, in pieces of at most `SCAN_DOCUMENTS` and
    about `DELTA_BYTES`. How long records are is only known once some were read."""
    begin = end = size = 0
    batches, step = list[pa.RecordBatch](), FIRST_DOCUMENTS
    while end < len(documents):
        piece = documents.slice(end, step)
        for batch in scan_documents(store, manifest.current.physical, piece):
            batches.append(batch)
            size += batch.nbytes
        end += len(piece)
        count = end - begin
        step = min(SCAN_DOCUMENTS - count, (DELTA_BYTES - size) * count // max(1, size))
        if step < 1 or end == len(documents):
            yield (
                documents.slice(begin, count),
                pa.Table.from_batches(batches, store_schema(manifest.spec)),
            )
            begin, size, batches = end, 0, []
            step = FIRST_DOCUMENTS


def _versioned(stored: pa.Table, documents: pa.Array, state: State) -> SegmentRows:
    versions = state.next_edits(documents)
    present = pc.is_in(documents, value_set=strings(pc.unique(stored["document_id"])))
    return observed_rows(
        stored, spec=state.spec, versions=versions, absent=documents.filter(pc.invert(present))
    )
