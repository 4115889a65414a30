"""An incident, and the facts that a plan of recovery is made of: gathered first, saved as JSON."""

from typing import Literal

from dr_pipelines.model.base import Count, Sha256, Stored, Time
from dr_pipelines.model.recovery import Facts
from dr_pipelines.model.recovery_point import SourcePosition

IncidentKind = Literal[
    "collection",
    "documents",
    "store",
    "repository-site",
    "corruption-since",
    "bad-batch",
    "wrong-embeddings",
    "wrong-schema",
]
PlannedRoute = Literal["native", "load", "replay", "reingest"]
"""The routes of a recovery, and `reingest`: read the source anew."""
TroubleKind = Literal[
    "secret",
    "store",
    "disk",
    "model",
    "weights",
    "golden",
    "alias",
    "engine",
    "code",
    "clock",
    "repository",
    "source",
    "server",
    "fit",
    "unknown",
]
"""Obstacles to a recovery. `engine`: none that is installed takes the store's URL, or its version;
`server`: an extension or a role that the database lacks; `fit`: the store would not take all of
the point; `unknown`: an error that nobody foresaw."""


class Incident(Stored):
    """An event to recover from, and what somebody consents to beforehand. No collection named
    means all of the policies, or all that `store` serves. `at` names the point to return to, if
    somebody chose one; `since` is when the damage began, `entries` are the log entries that brought
    it. `into` is the store to recover into, by default the one that served."""

    kind: IncidentKind
    collections: tuple[str, ...] = ()
    store: str | None = None
    at: str = "latest"
    since: Time | None = None
    entries: tuple[Count, ...] = ()
    documents: tuple[str, ...] = ()
    into: str | None = None
    accept_loss: bool = False
    accept_code: tuple[Sha256, ...] = ()


class Trouble(Stored):
    """Something that stands in the way of a recovery; `place` is what it is about. `way_out` is
    there where it is another one than that of its kind."""

    kind: TroubleKind
    place: str
    message: str
    way_out: str = ""


class StateFact(Stored):
    """A state of a collection, which several points may share. `spec` and `provenance` are
    fingerprints, `chunks` those of what made its chunks; `unfit` are losses that nobody accepted.
    """

    records: Count
    documents: Count
    epoch: Count
    frontier: Count
    spec: Sha256
    provenance: Sha256 | None = None
    chunks: tuple[Sha256, ...] = ()
    stored_bytes: Count = 0
    unfit: tuple[str, ...] = ()


class PointFact(Stored):
    """A recovery point. `state` is an index into the states. `at` is when it was committed, for a
    snapshot when its scan began. `equal`: that snapshot found the live store equal to the log;
    `proof` is the entry with the evidence that it passed its checks."""

    number: Count
    sha256: Sha256
    at: Time
    kind: str
    state: Count
    equal: bool | None = None
    proof: Count | None = None


class Measurement(Stored):
    """An earlier recovery, or an ingestion (route `reingest`), with the seconds of each phase.
    `dimension` is that of the collection's first dense vector."""

    collection: str
    engine: str
    route: PlannedRoute
    records: Count
    dimension: Count
    phases: dict[str, float]


class DayFact(Stored):
    """A day of the source: the positions (after, through] that it has, and how far the newest point
    covers them."""

    day: str
    after: Count
    through: Count
    covered: Count


class SourceFact(Stored):
    """The source of a collection as it is now. `same`: it still is the one that was read, by its
    anchor. Of `days` only those that the newest point does not cover whole are listed."""

    same: bool
    head: Count = 0
    days: tuple[DayFact, ...] = ()
    problem: str = ""


class ModelFact(Stored):
    """The embedder of the policy as it can be had without a network. `provenance` is the
    fingerprint of the whole way from source to vectors, `chunks` that of the way to chunks;
    `differences` are those of the newest point's provenance. One that is `hosted` elsewhere was not
    asked."""

    name: str
    provenance: Sha256 | None = None
    chunks: Sha256 | None = None
    differences: tuple[str, ...] = ()
    hosted: bool = False
    problem: str = ""


class DocumentFact(Stored):
    """A document that was lost: the newest log number at which it is in the state, None where it
    is in none that the log still tells."""

    id: str
    number: Count | None = None


class Candidate(Stored):
    """All that a restore of the point `number` into `store` depends on, where that could be
    gathered: `direct` for vectors that were stored, `remade` for vectors to be made again.
    `damage` names the objects of the point that are not there and that every restore reads,
    `chunks_damage` those that only a replay reads."""

    number: Count
    until: SourcePosition | None = None
    store: str
    direct: Facts | None = None
    remade: Facts | None = None
    damage: str = ""
    chunks_damage: str = ""


class CollectionFact(Stored):
    """A collection: its policy as far as a plan depends on it, its points oldest first, of which
    the `earlier` ones were not looked at, and what can be done with them now. `targets` are points
    by the name that somebody gave them; `unread_reports` counts those of earlier recoveries that
    could not be read. Of the RTO people need `allowance_seconds`. `dimension` is that of its first
    dense vector, 0 without one."""

    name: str
    owner: str
    escalation: str
    priority: Count
    depends_on: tuple[str, ...] = ()
    authority: Literal["source", "store", "mixed"]
    store: str
    rpo_seconds: float
    rto_seconds: float
    allowance_seconds: float = 0.0
    physical: str = ""
    dimension: Count = 0
    head: Count = 0
    head_sha256: str = ""
    states: tuple[StateFact, ...] = ()
    points: tuple[PointFact, ...] = ()
    earlier: Count = 0
    measurements: tuple[Measurement, ...] = ()
    unread_reports: Count = 0
    source: SourceFact | None = None
    model: ModelFact | None = None
    documents: tuple[DocumentFact, ...] = ()
    targets: dict[str, Candidate] = {}
    candidates: tuple[Candidate, ...] = ()
    troubles: tuple[Trouble, ...] = ()

    def state_of(self, point: PointFact) -> StateFact:
        """The state at a point."""
        return self.states[point.state]

    def candidate(self, number: int, store: str) -> Candidate | None:
        """The point of this number as it can be restored into a store now; None where that was
        not gathered."""
        here = (c for c in self.candidates if (c.number, c.store) == (number, store))
        return next(here, None)

    def restore_facts(self, number: int, store: str, *, remade: bool) -> Facts | None:
        """All that a restore of the point depends on; `remade` for vectors made again. None where
        that could not be gathered."""
        candidate = self.candidate(number, store)
        if candidate is None:
            return None
        return candidate.remade if remade else candidate.direct


class StorePlace(Stored):
    """A store: its engine, empty where it could not be opened, the names that are served there
    now, and the bytes that are free where it keeps its files; None where that cannot be seen from
    here. `trouble` is why it could not be asked. `url_sha256` is the digest of its URL as the
    policies write it, where secrets are variables."""

    name: str
    url_sha256: str = ""
    engine: str = ""
    serves: tuple[str, ...] = ()
    free_bytes: Count | None = None
    trouble: Trouble | None = None


class SavedFacts(Stored):
    """Everything that a plan is made of, at one time. `troubles` are those of no single
    collection."""

    v: Literal[1] = 1
    at: Time
    tool_version: str
    incident: Incident
    repository: str
    scratch_bytes: Count | None = None
    collections: tuple[CollectionFact, ...] = ()
    stores: tuple[StorePlace, ...] = ()
    troubles: tuple[Trouble, ...] = ()

    def place(self, store: str) -> StorePlace:
        """A store by its name, as it is; one that was not looked at has no engine."""
        return next((s for s in self.stores if s.name == store), StorePlace(name=store))
