"""Facts of collections that never were, of any size."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

from dr_pipelines.model.collection import CollectionSpec, Vector
from dr_pipelines.model.compatibility import CompatibilityReport
from dr_pipelines.model.incident import (
    Candidate,
    CollectionFact,
    DayFact,
    Incident,
    Measurement,
    ModelFact,
    PlannedRoute,
    PointFact,
    SavedFacts,
    SourceFact,
    StateFact,
    StorePlace,
)
from dr_pipelines.model.lineage import (
    ChunkerProvenance,
    EmbedderProvenance,
    Provenance,
    SourceProvenance,
)
from dr_pipelines.model.recovery import Facts, MakerFacts, PointFacts, StoreFacts
from dr_pipelines.model.recovery_point import Timeline

NOON = datetime(2026, 5, 31, 12, tzinfo=UTC)
SPEC = CollectionSpec(name="c0", vectors=(Vector(name="embedding", dimension=8),))


MAKER = MakerFacts(
    provenance=Provenance(
        source=SourceProvenance(connector="jsonl"),
        chunker=ChunkerProvenance(name="document"),
        embedder=EmbedderProvenance(name="m", dimension=8, normalized=True),
    ),
    chunks=sha256(b"chunks").hexdigest(),
    spec=SPEC,
)


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def state(frontier: int, *, spec: str = "spec") -> StateFact:
    return StateFact(
        records=1_000 + frontier,
        documents=100 + frontier,
        epoch=1,
        frontier=frontier,
        spec=digest(spec),
        chunks=(digest("chunks"),),
        stored_bytes=1 << 20,
    )


def point(number: int, *, proof: int | None = None) -> PointFact:
    """One an hour, the newest an hour ago."""
    return PointFact(
        number=number,
        sha256=digest(str(number)),
        at=NOON - timedelta(hours=100 - number),
        kind="snapshot" if proof else "ingest",
        state=number - 1,
        equal=bool(proof) or None,
        proof=proof,
    )


def restore_facts(name: str, number: int, *, files: bool = False) -> Facts:
    """Into an empty store, where nothing stands in the way."""
    spec = SPEC.physical(name)
    return Facts(
        point=PointFacts(
            collection=name,
            id=f"{number}-{digest(str(number))[:8]}",
            number=number,
            sha256=digest(str(number)),
            spec=spec,
            engine="duckdb 1",
            records=1_000 + number,
            chunks=(digest("chunks"),),
        ),
        timelines=(Timeline(id=1, physical=f"{name}@1", store="local"),),
        timeline=1,
        store=StoreFacts(name="local", engine="duckdb 1"),
        files=files,
        fitted=CompatibilityReport(spec),
    )


def measured(
    name: str, records: int, seconds: float, *, route: PlannedRoute = "load"
) -> Measurement:
    return Measurement(
        collection=name,
        engine="duckdb",
        route=route,
        records=records,
        dimension=8,
        phases={"records": seconds * 0.8, "switch": seconds * 0.2},
    )


def collection(
    name: str = "c0", *, points: int = 99, seconds: float = 10.0, measurements: int = 4
) -> CollectionFact:
    """With points log:1 to log:N, of which every tenth is proven, a source, and a model."""
    return CollectionFact(
        name=name,
        owner="team",
        escalation="oncall",
        priority=100,
        authority="source",
        store="local",
        rpo_seconds=3_600,
        rto_seconds=60,
        physical=f"{name}@1",
        dimension=8,
        head=points,
        head_sha256=digest(str(points)),
        states=tuple(state(number) for number in range(1, points + 1)),
        points=tuple(point(n, proof=n + 1 if n % 10 == 0 else None) for n in range(1, points + 1)),
        measurements=tuple(measured(name, 1_000, seconds) for _ in range(measurements)),
        source=SourceFact(
            same=True,
            head=points,
            days=tuple(
                DayFact(
                    day=(NOON + timedelta(days=n)).date().isoformat(),
                    after=n,
                    through=n + 1,
                    covered=n + 1,
                )
                for n in range(points)
            ),
        ),
        model=ModelFact(name="hashing", chunks=digest("chunks")),
        candidates=(Candidate(number=points, store="local", direct=restore_facts(name, points)),),
    )


def saved(*facts: CollectionFact, incident: Incident | None = None) -> SavedFacts:
    return SavedFacts(
        at=NOON,
        tool_version="1",
        incident=incident or Incident(kind="collection"),
        repository="repository",
        collections=facts,
        stores=(StorePlace(name="local", engine="duckdb 1"),),
    )
