"""Facts of a log: its points, what proves them, and how long earlier recoveries took."""

from dataclasses import dataclass, field

from dr_pipelines.model.details import (
    IngestDetail,
    ProofEvidence,
    RecoveryEvidence,
    SnapshotDetail,
)
from dr_pipelines.model.fitness import unaccepted
from dr_pipelines.model.incident import (
    Measurement,
    PointFact,
    StateFact,
    Trouble,
)
from dr_pipelines.model.recovery_point import Digests, Manifest, ObjectRef, RecoveryPoint
from dr_pipelines.project.facts.measurements import ingestion, measured
from dr_pipelines.project.facts.troubles import noted
from dr_pipelines.repository.history import History
from dr_pipelines.repository.points import points

MOST_POINTS = 500
"""The newest points, which are looked at; how many are earlier is said."""
MOST_INGESTIONS = 20
"""The newest ingestions that are taken for measurements."""


@dataclass
class LogFacts:
    """The facts of a log. `newest` is the newest manifest that could be read."""

    points: list[PointFact] = field(default_factory=list)
    states: list[StateFact] = field(default_factory=list)
    measurements: tuple[Measurement, ...] = ()
    unread_reports: int = 0
    newest: RecoveryPoint | None = None
    head: int = 0
    head_sha256: str = ""

    @property
    def earlier(self) -> int:
        """Points that are older than those."""
        return self.points[0].number - 1 if self.points else 0


def log_facts(history: History, troubles: list[Trouble]) -> LogFacts:
    """The newest points, oldest first, each proven to follow the one before. Where the chain is
    broken those before the break are left, and the break is a trouble."""
    facts, walk = LogFacts(), _Walk()
    with noted(troubles, default="repository", place=f"log of {history.collection}"):
        head = history.head()
        facts.head, facts.head_sha256 = head.number, head.sha256
        if head.entry is None:
            troubles.append(_nothing_yet(history.collection))
            return facts
        for point in points(history, newest=MOST_POINTS):
            walk.add(point)
            facts.newest = point
    facts.points, facts.states = walk.finished(), walk.states
    if facts.newest is not None:
        of_recoveries = measured(history.repository, facts.newest.manifest, walk.reports)
        ingestions = walk.ingestions[-MOST_INGESTIONS:]
        facts.measurements = (*of_recoveries.measurements, *ingestions)
        facts.unread_reports = of_recoveries.unread
    return facts


def _nothing_yet(collection: str) -> Trouble:
    return Trouble(
        kind="repository",
        place=f"log of {collection}",
        message="nothing is backed up yet",
        way_out=f"dr backup {collection}, after dr ingest {collection} where it has a source",
    )


class _Walk:
    """Points as they come, and the states that they share."""

    def __init__(self) -> None:
        self.states: list[StateFact] = []
        self.ingestions: list[Measurement] = []
        self.reports: list[ObjectRef] = []
        self._points: list[PointFact] = []
        self._proofs: dict[int, int] = {}
        self._numbers: dict[tuple[StateFact, Digests], int] = {}
        self._manifest: tuple[Manifest, int] | None = None

    def add(self, point: RecoveryPoint) -> None:
        detail = point.entry.body.detail
        if isinstance(detail, ProofEvidence):
            self._proofs[detail.number] = point.number
        if isinstance(detail, RecoveryEvidence):
            self.reports += [o for o in point.entry.body.objects if o.key == detail.report]
        snapshot = detail if isinstance(detail, SnapshotDetail) else None
        if isinstance(detail, IngestDetail) and detail.seconds and detail.records:
            self.ingestions.append(ingestion(point.manifest, detail))
        self._points.append(
            PointFact(
                number=point.number,
                sha256=point.sha256,
                at=snapshot.began if snapshot else point.entry.at,
                kind=point.entry.kind,
                state=self._state(point.manifest),
                equal=snapshot.equal if snapshot else None,
            )
        )

    def finished(self) -> list[PointFact]:
        """All points, with the evidence that later entries gave of them."""
        return [p.model_copy(update={"proof": self._proofs.get(p.number)}) for p in self._points]

    def _state(self, manifest: Manifest) -> int:
        if self._manifest is not None and self._manifest[0] is manifest:
            return self._manifest[1]  # entries that share a manifest are given the same object
        state = _state(manifest)
        number = self._numbers.setdefault((state, manifest.digests), len(self.states))
        if number == len(self.states):
            self.states.append(state)
        self._manifest = (manifest, number)
        return number


def _state(manifest: Manifest) -> StateFact:
    fitness = manifest.fitness
    losses = unaccepted(fitness, manifest.accepted_losses) if fitness else ()
    return StateFact(
        records=manifest.counts.records,
        documents=manifest.counts.documents,
        epoch=manifest.epoch,
        frontier=manifest.coverage.frontier,
        spec=manifest.spec.model_copy(update={"origin": None}).fingerprint,
        provenance=manifest.provenance.fingerprint if manifest.provenance else None,
        chunks=tuple(sorted(manifest.coverage.chunks)),
        stored_bytes=manifest.segments.stored_bytes,
        unfit=tuple(f"{loss.part}: {loss.consequence}" for loss in losses),
    )
