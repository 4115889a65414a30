"""A manifest: everything that a recovery point consists of, and the values in it."""

from typing import Literal

from pydantic import Field as Constraint

from dr_pipelines.model.base import Count, Stored, Time
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.details import KNOWN_FEATURES
from dr_pipelines.model.fitness import Acceptance, Fitness
from dr_pipelines.model.lineage import Environment, Provenance
from dr_pipelines.model.misfit import Misfit
from dr_pipelines.model.recovery_point.lists import Coverage, SegmentList
from dr_pipelines.model.recovery_point.references import (
    CanariesRef,
    Digests,
    ObjectRef,
    is_empty,
    is_none,
)
from dr_pipelines.model.reserved import EntryRange, SourceRange


class Counts(Stored):
    """The size of a state; `tenants` counts records by tenant ("" where null)."""

    records: Count = 0
    documents: Count = 0
    deleted: Count = 0
    tenants: dict[str, Count] = {}


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
    """Norms of the first dense vector over the records that the last snapshot read from the store.
    Vectors with a component that is null, NaN or infinite are counted, and have no norm."""

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
    at: Time | None = None


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
    coverage: Coverage = Coverage()
    segments: SegmentList = SegmentList()
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
    features: tuple[str, ...] = Constraint(default=(), exclude_if=is_empty)
    excluded: Exclusion | None = Constraint(default=None, exclude_if=is_none)
    erased: ObjectRef | None = Constraint(default=None, exclude_if=is_none)
    externals: dict[str, External] = Constraint(default={}, exclude_if=is_empty)
    barrier: Barrier | None = Constraint(default=None, exclude_if=is_none)
    repository_epoch: Count = Constraint(default=0, exclude_if=is_empty)

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
