"""What a recovery will do, and what it did."""

from dataclasses import dataclass
from enum import StrEnum

from dr_pipelines.model.recovery_point import Digests


class Route(StrEnum):
    """`load` takes the vectors that were kept; `replay` embeds the kept chunks again."""

    LOAD = "load"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True)
class Plan:
    """Decided before anything is touched."""

    collection: str
    point: str
    route: Route
    physical: str
    store: str
    switch: bool
    records: int
    resumed: bool


@dataclass(frozen=True, slots=True)
class Phase:
    """One timed step of a recovery."""

    name: str
    seconds: float
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a recovery did. `digests` were recomputed by scanning what was restored."""

    plan: Plan
    phases: tuple[Phase, ...]
    records: int
    documents: int
    digests: Digests
    bit_identical: bool
    switched: bool
    entry: int | None
    embedded: int = 0
