"""Objects stored beside rows: references, coverage, timelines, manifests, log entries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, SerializeAsAny, model_validator
from pydantic import Field as Constraint

from dr_pipelines.model.base import Count, Day, Key, Sha256, Stored
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.details import KINDS, KNOWN_FEATURES, Detail
from dr_pipelines.model.fitness import Acceptance, Fitness
from dr_pipelines.model.lineage import Environment, Provenance
from dr_pipelines.model.misfit import Misfit
from dr_pipelines.model.reserved import EntryRange, SourceRange, parse_detail

MAX_OBJECT_BYTES = 1 << 30
"""Of any object in a repository."""


Encoding = Annotated[str, Constraint(pattern=r"^[a-z0-9][a-z0-9.+-]{0,63}$")]
REFERENCES = "references"
"""The encoding of an object that is a list of references, for a body that keeps more than fit."""
KNOWN_ENCODINGS = frozenset({"parquet", "json", REFERENCES})
MAX_OBJECTS = 64
"""References in a body; a longer list is an object of its own."""
ZERO = "0" * 64


def _is_none(value: object) -> bool:
    return value is None


def _is_empty(value: object) -> bool:
    return not value


SegmentKind = Literal["ingest", "replay", "delta", "base"]


class Sealed(Stored):
    """Reserved: how an object is encrypted, and the name of the key."""

    model_config = ConfigDict(frozen=True, extra="allow")
    scheme: str
    key: Annotated[str, Constraint(min_length=1, max_length=128)]


class ObjectRef(Stored):
    """An immutable object, by name and content.

    `encoding` says how it is encoded where that is not what its place says (Parquet for rows, JSON
    for what lists or states something); `sha256` and `size_bytes` are of the stored bytes. Both
    `encoding` and `crypto` are left out of the stored form where there is nothing to say.
    """

    key: Key
    sha256: Sha256
    size_bytes: Annotated[int, Constraint(ge=0, le=MAX_OBJECT_BYTES)]
    encoding: Encoding | None = Constraint(default=None, exclude_if=_is_none)
    crypto: Sealed | None = Constraint(default=None, exclude_if=_is_none)

    def needs(self) -> str | None:
        """The feature that a reader needs for this object and this version lacks; None if there
        is none."""
        if self.crypto is not None:
            return f"crypto:{self.crypto.scheme}"
        readable = self.encoding is None or self.encoding in KNOWN_ENCODINGS
        return None if readable else f"encoding:{self.encoding}"


class CanariesRef(ObjectRef):
    """Vectors that a model returned for sample texts when it was first used."""

    @classmethod
    def of(cls, key: str, data: bytes) -> "CanariesRef":
        """A reference to these bytes."""
        return cls(key=key, sha256=sha256(data).hexdigest(), size_bytes=len(data))


class Digests(Stored):
    """Sums modulo 2^256, as 64 hexadecimal digits; equal exactly when what they cover is.

    `content` and `vectors` cover records; `documents` covers the newest document row of every
    document, tombstones included.
    """

    content: Sha256 = ZERO
    vectors: Sha256 = ZERO
    documents: Sha256 = ZERO


class Counts(Stored):
    """The size of a state; `tenants` counts records by tenant ("" where null)."""

    records: Count = 0
    documents: Count = 0
    deleted: Count = 0
    tenants: dict[str, Count] = {}


class SourcePosition(Stored):
    """A place in the source's own order."""

    epoch: Annotated[int, Constraint(ge=0)]
    position: Annotated[int, Constraint(ge=0)]


@dataclass(frozen=True, slots=True)
class PositionRange:
    """Changes of one day at source positions in (after, through]."""

    day: str
    epoch: int
    after: int
    through: int


class SegmentRef(ObjectRef):
    """A segment and its index; `entry` is the log number that introduced it.

    `input` names the piece of a chunks checkpoint that was embedded (see `piece_of`). With `until`,
    only rows from the source (edit 0) at or before that position count: a restore to the middle
    of a segment.
    """

    index: ObjectRef
    kind: SegmentKind
    entry: Count
    rows: Count
    records: Count
    first_document: str
    last_document: str
    partition: Day | None = None
    provenance: Sha256 | None = None
    environment: Sha256 | None = None
    input: str | None = None
    digests: Digests = Digests()
    until: SourcePosition | None = None


class CheckpointRef(ObjectRef):
    """Output of a stage for the source's changes in (after, through]; `empty` counts versions that
    gave no chunk, such as an empty text.
    """

    stage: Literal["documents", "chunks"]
    partition: Day
    epoch: Count
    after: Count
    through: Count
    rows: Count
    provenance: Sha256
    empty: Count = 0


class Partition(Stored):
    """Coverage of one day: the source was read over (after, through].

    `anchor` identifies everything in the source up to the position `anchored`, which lies beyond
    `through` after a restore to the middle of what was read. `entry` is the log number that last
    brought or restored this day. `records` and `digests` are of every version in (after, through];
    the vectors' digest is known where the day's own segments still hold them all.
    """

    epoch: Count
    after: Count
    through: Count
    anchor: str
    anchored: Count
    entry: Count = 0
    documents: tuple[CheckpointRef, ...] = ()
    chunks: tuple[CheckpointRef, ...] = ()
    quarantined: Count = 0
    records: Count = 0
    digests: Digests = Digests()

    def cut(self, through: int) -> "Partition":
        """The coverage up to a position. A checkpoint that begins there is not part of it: its
        changes are read again.
        """
        retained = [i for i, ref in enumerate(self.documents) if ref.after < through]
        update = {
            "through": min(self.through, through),
            "documents": tuple(self.documents[i] for i in retained),
            "chunks": tuple(self.chunks[i] for i in retained),
        }
        return self.model_copy(update=update)


def extents(
    checkpoints: Sequence[CheckpointRef], through: int
) -> Iterator[tuple[CheckpointRef, int]]:
    """Checkpoints of a day, in the order they were made, each with the position up to which it
    counts: the end of the coverage, or where a later one begins after a restore to its middle.
    Those of which nothing counts are left out."""
    for i, ref in enumerate(checkpoints):
        end = min(ref.through, through, *(later.after for later in checkpoints[i + 1 :]))
        if end > ref.after:
            yield ref, end


class Made(Stored):
    """How a restored collection was made: into which engine, on which route, how many records, and
    the seconds that each phase took."""

    engine: str
    route: str
    records: Count
    phases: dict[str, float]


class Timeline(Stored):
    """A line of history; `fork` is the last log number it shares with its parent (0: none)."""

    id: Count
    parent: Count | None = None
    fork: Count = 0
    physical: str
    store: str
    made: Made | None = None


class VectorStatistics(Stored):
    """Norms of the first vector over the rows that a snapshot or compaction looked at. Vectors
    with a component that is NaN or infinite are counted, and have no norm."""

    rows: Count = 0
    nulls: Count = 0
    zeros: Count = 0
    not_finite: Count = 0
    norm_min: float = 0.0
    norm_mean: float = 0.0
    norm_max: float = 0.0


class LeftOut(Stored):
    """Records that are in the state and not in the store, because its engine refused them when they
    were restored: the object lists all of them with their digests, of which some are `named`."""

    records: ObjectRef
    total: Count
    named: tuple[Misfit, ...] = ()


class Exclusion(Stored):
    """Reserved: entries, and positions of the source, that do not count in a state."""

    entries: tuple[EntryRange, ...] = ()
    positions: tuple[SourceRange, ...] = ()


class External(Stored):
    """Reserved: a position in another system that belongs to a state, such as an offset in a queue,
    as that system writes it."""

    position: str
    at: datetime | None = None


class Barrier(Stored):
    """Reserved: the state is that of one moment for a whole group of collections."""

    group: str
    barrier: str


class Manifest(Stored):
    """Everything a recovery point consists of; it never needs its parent. The last six fields are
    reserved, and left out of the stored form where they say nothing."""

    v: Literal[1] = 1
    collection: str
    spec: CollectionSpec
    timeline: Count
    timelines: tuple[Timeline, ...]
    provenance: Provenance | None = None
    canaries: CanariesRef | None = None
    environments: dict[str, Environment] = {}
    epoch: Count = 1
    epoch_name: str = "first"
    partitions: dict[Day, Partition] = {}
    pages: tuple[ObjectRef, ...] = ()
    segments: tuple[SegmentRef, ...] = ()
    since: Count = 0  # every version from this source position on is here
    baseline: Count = 0  # what the source said up to here was only ever kept as one state
    taken_over: tuple[int, ...] = ()
    accepted: ObjectRef | None = None  # lines of the source that a decision let go
    counts: Counts = Counts()
    digests: Digests = Digests()
    vectors: VectorStatistics = VectorStatistics()
    fitness: Fitness | None = None
    accepted_losses: tuple[Acceptance, ...] = ()
    left_out: LeftOut | None = None
    engine: str = ""
    tool_version: str = ""
    features: tuple[str, ...] = Constraint(default=(), exclude_if=_is_empty)
    excluded: Exclusion | None = Constraint(default=None, exclude_if=_is_none)
    erased: ObjectRef | None = Constraint(default=None, exclude_if=_is_none)
    externals: dict[str, External] = Constraint(default={}, exclude_if=_is_empty)
    barrier: Barrier | None = Constraint(default=None, exclude_if=_is_none)
    repository_epoch: Count = Constraint(default=0, exclude_if=_is_empty)

    def needs(self) -> set[str]:
        """Features that a reader needs and this version lacks: without them the state would be
        another one."""
        unknown = set(self.features) - KNOWN_FEATURES
        for name in ("excluded", "erased"):
            if getattr(self, name) is not None:
                unknown.add(name)
        return unknown

    @property
    def current(self) -> Timeline:
        return next(t for t in self.timelines if t.id == self.timeline)

    def empty_versions(self) -> int:
        """Versions of documents that were read and of which no chunk was made: no search finds
        them."""
        return sum(ref.empty for p in self.partitions.values() for ref in p.chunks)

    def frontier(self) -> int:
        """The last position up to which the source was read without a gap."""
        reached = 0
        for partition in sorted(self.partitions.values(), key=lambda p: p.after):
            if partition.after > reached:
                break
            reached = max(reached, partition.through)
        return reached


class KeptFile(Stored):
    """A file of an engine, in objects of limited size; joined they are the file again."""

    path: str
    size_bytes: Count
    parts: tuple[ObjectRef, ...]


class KeptVersion(Stored):
    """The collection `physical` as files of its engine, at the version that the snapshot `snapshot`
    found equal to the log."""

    engine: str
    physical: str
    version: str
    snapshot: Count
    files: tuple[KeptFile, ...]


class Writer(Stored):
    """Who wrote; `id` is a UUIDv7 that no other process ever uses."""

    id: str
    host: str
    run: str = ""
    version: str


class Follower(Stored):
    """Reserved: a store that follows the log beside the one that is served, such as a warm standby
    or a candidate that catches up before a switch. It holds the timeline up to the entry
    `position`, but for those `pending`."""

    timeline: Count
    store: str
    physical: str
    position: Count
    pending: tuple[Count, ...] = ()


class Body(Stored):
    """The content of an entry: the state it leaves, the part of that state that is not in the live
    store yet, and the features that a reader must support to build upon it.

    `objects` are all that the entry keeps beside its manifest: at most `MAX_OBJECTS` references,
    one of which may be to a list of more (`REFERENCES`). `detail` names some of them by key.
    """

    manifest: ObjectRef
    pending: tuple[Count, ...] = ()
    followers: dict[str, Follower] = Constraint(default={}, exclude_if=_is_empty)
    features: tuple[str, ...] = ()
    objects: Annotated[tuple[SegmentRef | ObjectRef, ...], Constraint(max_length=MAX_OBJECTS)] = ()
    detail: SerializeAsAny[Detail]

    def following(
        self,
        detail: Detail,
        *,
        objects: Sequence[ObjectRef] = (),
        manifest: ObjectRef | None = None,
        pending: tuple[int, ...] | None = None,
    ) -> "Body":
        """The body of the next entry: a copy with these changes."""
        update: dict[str, object] = {"detail": detail, "objects": tuple(objects)}
        if manifest is not None:
            update["manifest"] = manifest
        if pending is not None:
            update["pending"] = pending
        return self.model_copy(update=update)


class Signature(Stored):
    """Reserved: whose key signed an entry, and what came of it. It is of the canonical JSON of the
    entry without `signature` and `checksum`."""

    key: Annotated[str, Constraint(min_length=1, max_length=128)]
    value: Annotated[str, Constraint(pattern=r"^[A-Za-z0-9+/=_-]{1,8192}$")]


class LogEntry(Stored):
    """One commit. `previous` is the SHA-256 of the entry before it, as stored. `signature` is kept
    by who reads an entry and not looked at; this version writes none."""

    v: Literal[1] = 1
    collection: str
    i: Annotated[int, Constraint(ge=1)]
    previous: Sha256
    transaction: str
    kind: str  # a Kind, or one of a newer version
    timeline: Count
    writer: Writer
    at: datetime
    body: Body
    signature: Signature | None = Constraint(default=None, exclude_if=_is_none)

    @model_validator(mode="before")
    @classmethod
    def _typed_detail(cls, value: Any) -> Any:
        """The detail is of the type that belongs to the entry's kind."""
        match value:
            case {"kind": str(kind), "body": {"detail": dict(detail), **body}}:
                return {**value, "body": {**body, "detail": parse_detail(kind, detail)}}
        return value

    def needs(self) -> set[str]:
        """Features of an entry that this version lacks, so that it must not build on it."""
        unknown = set(self.body.features) - KNOWN_FEATURES
        if self.kind not in KINDS:
            unknown.add(self.kind)
        if self.body.followers:
            unknown.add("followers")
        return unknown


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry of a log and its hash; `entry` is None for an empty log."""

    number: int
    sha256: str
    entry: LogEntry | None

    @property
    def pending(self) -> tuple[int, ...]:
        """Entries that the live store has not followed yet."""
        return self.entry.body.pending if self.entry else ()


@dataclass(frozen=True, slots=True)
class RecoveryPoint:
    """A committed log position; with `until`, cut at a position of the source."""

    collection: str
    number: int
    sha256: str
    entry: LogEntry
    manifest: Manifest
    until: SourcePosition | None = None

    @property
    def head(self) -> Head:
        """Its place in the log."""
        return Head(self.number, self.sha256, self.entry)

    @property
    def id(self) -> str:
        """Short, unique and usable in a name: `42-1a2b3c4d`, `42-1a2b3c4d.887` when cut."""
        cut = f".{self.until.position}" if self.until else ""
        return f"{self.number}-{self.sha256[:8]}{cut}"
