"""The plan of a recovery from an incident: points, routes, expectations, and obstacles.

`model.recovery.Plan` is the plan of one restore; this one is of everything that an incident takes.
"""

from typing import Literal

from dr_pipelines.model.base import Count, Sha256, Stored, Time
from dr_pipelines.model.incident import Incident, PlannedRoute, TroubleKind
from dr_pipelines.model.recovery import Request

Outlook = Literal["will be met", "not met", "not measured"]


class Span(Stored):
    """Expected seconds with the bounds of a 90 % interval."""

    expected: float
    low: float
    high: float

    def plus(self, other: "Span") -> "Span":
        """One after the other; the bounds add up, which is wider than 90 % needs."""
        return Span(
            expected=round(self.expected + other.expected, 3),
            low=round(self.low + other.low, 3),
            high=round(self.high + other.high, 3),
        )


class ExpectedPhase(Stored):
    """A phase of a recovery; `span` is None where it was not measured often enough."""

    name: str
    span: Span | None = None


class Obstacle(Stored):
    """Something that keeps a recovery from being carried out, and the way out. `collection` is
    None for one of all."""

    kind: TroubleKind
    collection: str | None = None
    place: str
    message: str
    way_out: str


class RouteOutlook(Stored):
    """A route, and why it can or cannot be taken now."""

    route: PlannedRoute
    feasible: bool
    reason: str


class PartitionRoute(Stored):
    """Days of the source, first and last, that come back on one route."""

    first: str
    last: str
    days: Count
    route: PlannedRoute
    reason: str


class PlannedPoint(Stored):
    """The recovery point of a plan. `proof` is the log entry with the evidence that it passed its
    checks, None where it was not proven itself."""

    id: str
    number: Count
    sha256: Sha256
    at: Time
    records: Count
    documents: Count
    proof: Count | None = None
    reasons: tuple[str, ...] = ()


class ExcludedPoints(Stored):
    """Points that are passed over, first and last, and why."""

    first: Count
    last: Count
    reason: str


class ExpectedLoss(Stored):
    """Data that will not come back: seconds up to the incident, at most, and documents, None where
    that cannot be known; `reason` says what it rests on."""

    seconds: float | None
    documents: Count | None
    reason: str


class ObjectiveOutlook(Stored):
    """An objective, `rpo` or `rto`, and what would meet it where it is not met."""

    name: Literal["rpo", "rto"]
    limit_seconds: float
    outlook: Outlook
    reason: str
    would_meet: str = ""


class CollectionPlan(Stored):
    """The recovery of one collection. It is carried out by `request` where there is one, else by
    the `commands`, which a person gives. `span` is its own, `ready` that from the beginning of the
    whole until it is served. `measurements` counts the earlier recoveries that the expectation
    rests on, `measured_by` says which. `no_point` is why there is none. `store_sha256` is the
    digest of the store's URL."""

    collection: str
    owner: str
    escalation: str
    head: Count
    head_sha256: str
    store_sha256: str = ""
    point: PlannedPoint | None = None
    no_point: str = ""
    excluded: tuple[ExcludedPoints, ...] = ()
    route: PlannedRoute | None = None
    reason: str = ""
    routes: tuple[RouteOutlook, ...] = ()
    partitions: tuple[PartitionRoute, ...] = ()
    request: Request | None = None
    phases: tuple[ExpectedPhase, ...] = ()
    span: Span | None = None
    ready: Span | None = None
    measurements: Count = 0
    measured_by: str = ""
    loss: ExpectedLoss
    objectives: tuple[ObjectiveOutlook, ...] = ()
    commands: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


class RecoveryPlan(Stored):
    """The plan for an incident, made of the facts with this digest; equal for equal facts, byte
    for byte. Collections are in the order in which they are recovered."""

    v: Literal[1] = 1
    incident: Incident
    facts: Sha256
    at: Time
    repository: str
    collections: tuple[CollectionPlan, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()

    @property
    def feasible(self) -> bool:
        """True if every collection has a point and a route, and nothing stands in the way."""
        ready = all(plan.request is not None for plan in self.collections)
        return bool(self.collections) and ready and not self.obstacles
