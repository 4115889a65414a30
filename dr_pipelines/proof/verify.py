"""Verification of what is kept: findings are values, each names an object and what is wrong.

| level | does |
|---|---|
| 0 | the log chain; existence and size of everything reachable |
| 1 | checksums kept by the store, where it was proven to have them (none so far): like 0 |
| 2 | reads and hashes everything |
| 3 | also parses, folds and recomputes every digest: the code path of a restore, into nothing |
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from dr_pipelines.errors import Damaged, NotFound, Refused
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import index_schema, narrow_schema
from dr_pipelines.model.recovery_point import (
    CheckpointRef,
    LogEntry,
    Manifest,
    ObjectRef,
    RecoveryPoint,
    SegmentPageRef,
    SegmentRef,
)
from dr_pipelines.proof.listings import listings
from dr_pipelines.protocols import Progress
from dr_pipelines.repository import digest
from dr_pipelines.repository.checkpoints import (
    own_rows,
    read_chunks,
    read_documents,
    read_whole,
)
from dr_pipelines.repository.history import History
from dr_pipelines.repository.packed import check_page
from dr_pipelines.repository.prefetch import map_concurrently
from dr_pipelines.repository.reachability import attached, reachable
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segment_vectors import read_vectors
from dr_pipelines.repository.segments import (
    read_index,
    read_segment,
    records_only,
    require_fit,
    row_digests,
)
from dr_pipelines.repository.state import State

WAITING = 8
"""References that wait while two objects are checked: some take a tenth of the time of others."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written."""

    key: str
    problem: str


@dataclass(frozen=True, slots=True)
class Verification:
    """The number of things checked, and their problems. A check of nothing is never sound."""

    collection: str
    level: int
    points: int
    objects: int
    size_bytes: int
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def sound(self) -> bool:
        """True if something was checked and nothing was wrong."""
        return self.points > 0 and self.objects > 0 and not self.findings


def verify(
    history: History,
    *,
    level: int,
    point: RecoveryPoint | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Check one recovery point, or everything that any entry of the log refers to.

    Reads only. Level 3 folds the newest of the points.
    """
    started = time.monotonic()
    walk = _Walk(history, level, progress)
    if point is None:
        walk.every_point()
    else:
        walk.one_point(point)
    return Verification(
        history.collection,
        level,
        walk.points,
        len(walk.seen),
        sum(ref.size_bytes for ref in walk.seen.values()),
        tuple(walk.findings),
        time.monotonic() - started,
    )


class _Walk:
    def __init__(self, history: History, level: int, progress: Progress | None) -> None:
        self.history = history
        self.repository = history.repository
        self.level = level
        self.progress = progress
        self.points = 0
        self.seen: dict[str, ObjectRef] = {}
        self.findings: list[Finding] = []
        self.specs: dict[str, CollectionSpec] = {}
        self.lists: dict[str, Callable[[], object]] = {}
        self.last: tuple[ObjectRef, Manifest] | None = None
        self.walked: set[ObjectRef] = set()
        self.pages: set[ObjectRef] = set()
        self.packed: dict[str, set[CheckpointRef]] = {}

    def every_point(self) -> None:
        newest: RecoveryPoint | None = None
        for entry, sha256, manifest in self.chain():
            newest = RecoveryPoint(self.history.collection, entry.i, sha256, entry, manifest)
            self.collect(entry, manifest)
        self.check(newest)

    def one_point(self, point: RecoveryPoint) -> None:
        for _ in self.chain(last=point.number):
            pass
        self.points = 1
        self.collect(point.entry, point.manifest)
        self.check(point)

    def chain(self, last: int | None = None) -> Iterator[tuple[LogEntry, str, Manifest]]:
        """Entries with their manifests; the first break ends it, as a finding."""
        log = self.history.log
        try:
            for entry, sha256 in log.entries(last=last):
                self.points += 1
                manifest = self.manifest(entry)
                if manifest is not None:
                    yield entry, sha256, manifest
            if last is None:
                log.require_no_gap(self.points)
        except (Damaged, NotFound, Refused) as error:
            self.findings.append(Finding(f"{self.history.collection}/log", str(error)))

    def manifest(self, entry: LogEntry) -> Manifest | None:
        """The manifest of an entry, read once for all entries in a row that name it."""
        ref = entry.body.manifest
        try:
            if self.last is None or self.last[0] != ref:
                self.last = (ref, self.history.manifest_of(entry))
        except (Damaged, Refused) as error:
            self.findings.append(Finding(ref.key, str(error)))
            return None
        return self.last[1]

    def collect(self, entry: LogEntry, manifest: Manifest) -> None:
        """Note what an entry refers to: its manifest with its pages once, for all that name it.
        Pages that cannot be read are findings."""
        walked = entry.body.manifest in self.walked
        try:
            for ref in (
                attached(self.repository, entry, walked=self.pages)
                if walked
                else reachable(self.repository, entry, manifest, walked=self.pages)
            ):
                self.seen.setdefault(ref.key, ref)
                if isinstance(ref, CheckpointRef) and ref.first is not None:
                    self.packed.setdefault(ref.key, set()).add(ref)
                self.specs.setdefault(ref.key, manifest.spec)
            self.lists |= dict(listings(self.repository, entry, manifest))
            self.walked.add(entry.body.manifest)
        except (Damaged, Refused) as error:
            self.findings.append(Finding(entry.body.manifest.key, str(error)))

    def check(self, point: RecoveryPoint | None) -> None:
        """Every object that was noted, and at level 3 the state at a point beside them."""
        with ThreadPoolExecutor(1, "state") as beside:
            folded = point if self.level >= 3 else None
            state = beside.submit(self.check_state, folded) if folded else None
            refs = self.to_check()
            with closing(map_concurrently(self.check_object, refs, waiting=WAITING)) as results:
                for done, findings in enumerate(results, start=1):
                    self.findings += findings
                    if self.progress:
                        self.progress(done, len(refs))
            if state and (finding := state.result()):
                self.findings.append(finding)

    def to_check(self) -> list[ObjectRef]:
        """Objects that were noted; where rows are read, those beside a segment, or a page of
        segments, belong to it."""
        if self.level < 3:
            return list(self.seen.values())
        beside = {part.key for ref in self.seen.values() for part in _companions(ref)}
        return [ref for ref in self.seen.values() if ref.key not in beside]

    def check_object(self, ref: ObjectRef) -> list[Finding]:
        """Findings about an object; about one that cannot be proven, also those about each of the
        objects beside it."""
        findings = [attempt(ref.key, self.check_of(ref))]
        if findings[0] and self.level >= 3:
            for part in _companions(ref):
                whole = partial(require_whole, self.repository, part)
                findings.append(attempt(part.key, whole))
        return [finding for finding in findings if finding]

    def check_of(self, ref: ObjectRef) -> Callable[[], object]:
        """The check of an object at this level."""
        check: Callable[[], object]
        if self.level < 2:
            check = partial(require_size, self.repository, ref)
        elif self.level == 2:
            check = partial(require_whole, self.repository, ref)
        elif ref.key in self.packed:
            refs = sorted(self.packed[ref.key], key=lambda ref: ref.first or 0)
            check = partial(_check_packed, self.repository, refs, self.specs[ref.key])
        else:
            rows = partial(check_rows, self.repository, ref, self.specs[ref.key])
            check = self.lists.get(ref.key, rows)
        return check

    def check_state(self, point: RecoveryPoint) -> Finding | None:
        key = point.entry.body.manifest.key
        days = attempt(key, self.history.days(point.manifest).require_sums)
        return days or attempt(key, partial(require_state, self.history, point))


def _companions(ref: ObjectRef) -> tuple[ObjectRef, ...]:
    return ref.companions if isinstance(ref, SegmentRef | SegmentPageRef) else ()


def attempt(key: str, check: Callable[[], object]) -> Finding | None:
    """The finding of a check; None if nothing is wrong."""
    try:
        check()
    except (Damaged, NotFound, Refused) as error:
        return Finding(key, str(error))
    return None


def require_whole(repository: Repository, ref: ObjectRef) -> None:
    """The object is read and has its hash; raises `Damaged`, and `Refused` for one that only a
    newer version reads."""
    repository.fetch(ref)


def require_size(repository: Repository, ref: ObjectRef) -> None:
    """The object exists and has its size; raises `Damaged`."""
    try:
        size = repository.blobs.size(ref.key)
    except NotFound as error:
        raise Damaged(f"{ref.key} is missing from {repository.blobs.url}") from error
    if size != ref.size_bytes:
        raise Damaged(f"{ref.key} has {size} bytes, not {ref.size_bytes}")


def check_rows(repository: Repository, ref: ObjectRef, spec: CollectionSpec) -> None:
    """Parse an object and recompute every digest it holds; raises `Damaged`."""
    if isinstance(ref, SegmentRef):
        _check_segment(repository, ref, spec)
    elif isinstance(ref, SegmentPageRef):
        check_page(repository, ref, spec=spec)
    elif isinstance(ref, CheckpointRef) and ref.stage == "documents":
        read_documents(repository, ref)
    elif isinstance(ref, CheckpointRef):
        _check_chunks(read_chunks(repository, ref, spec=spec), ref, spec)
    else:
        repository.fetch(ref)


def _check_packed(
    repository: Repository, refs: Sequence[CheckpointRef], spec: CollectionSpec
) -> None:
    """Parse an object of many checkpoints once, and prove what each of them says of its rows."""
    whole = read_whole(repository, refs[0], spec=spec)
    for ref in refs:
        own_rows(whole, ref)
    if refs[0].stage == "chunks":
        _check_chunks(whole, refs[0], spec)


def _check_chunks(chunks: pa.Table, ref: CheckpointRef, spec: CollectionSpec) -> None:
    rows = records_only(chunks)
    _require(ref.key, rows["content_digest"], digest.content_digests(rows, spec))


def _check_segment(repository: Repository, ref: SegmentRef, spec: CollectionSpec) -> None:
    rows = read_segment(repository, ref, spec=spec, columns=narrow_schema(spec).names)
    records = records_only(rows)
    _require(ref.key, records["content_digest"], digest.content_digests(records, spec))
    require_fit(rows, ref)
    vectors = read_vectors(repository, ref, spec=spec)
    for field, column in zip(vectors.schema, vectors.columns, strict=True):
        records = records.append_column(field, column)
    _require(ref.key, records["vector_digest"], digest.vector_digests(records, spec))
    if row_digests(rows) != ref.digests:
        raise Damaged(f"{ref.key}: its rows do not add up to the digests in the manifest")
    if ref.index is None:
        return
    index = read_index(repository, ref, spec=spec)
    if not index.equals(rows.select(index_schema(spec).names)):
        raise Damaged(f"{ref.index.key}: differs from the segment it belongs to")


def require_state(
    history: History, point: RecoveryPoint, *, look: Callable[[State], None] | None = None
) -> None:
    """The fold gives the counts and digests that the manifest says, and may be looked at; raises
    `Damaged`."""
    with history.fold_point(point) as state:
        if look:
            look(state)
        if point.until is not None:
            return
        counts, digests = state.counts(), state.digests()
    manifest = point.manifest
    if digests != manifest.digests:
        raise Damaged(f"{point.id}: the rows kept do not add up to the digests in the manifest")
    if counts != manifest.counts:
        raise Damaged(f"{point.id}: the rows kept are {counts}, not {manifest.counts}")


def _require(key: str, recorded: pa.ChunkedArray, computed: pa.Array) -> None:
    if not recorded.combine_chunks().equals(computed):
        raise Damaged(f"{key}: its rows do not have the digests that it says")
