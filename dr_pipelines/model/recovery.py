"""The plan of a recovery, and its result."""

import re
from dataclasses import dataclass
from enum import StrEnum

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.compatibility import Note
from dr_pipelines.model.definitions import Definitions
from dr_pipelines.model.misfit import Misfit
from dr_pipelines.model.parts import PartFinding
from dr_pipelines.model.recovery_point import Digests

OWNER = re.compile(r"engine\.[a-z]+\.owner")


class Route(StrEnum):
    """`load` takes the vectors that were kept; `replay` embeds the kept chunks again; `native` lays
    out the engine's own files, indexes included, where they were kept too."""

    LOAD = "load"
    REPLAY = "replay"
    NATIVE = "native"


@dataclass(frozen=True, slots=True)
class Phase:
    """One timed step of a recovery."""

    name: str
    seconds: float
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """Decided before anything is touched. `spec` is what the store will be asked to create, `notes`
    say what becomes of parts that are not plainly the same there. `estimate` is how long each phase
    will take, going by the last recovery into such an engine; empty where there was none. `begins`
    is the timeline that a name begins which an earlier one had; None for a name that is new.
    `definitions` is what the engine will be told to execute, where it takes statements. `misfits`
    counts the records that the backup knows this engine to refuse, of which some are `refused`:
    they will be left out."""

    collection: str
    point: str
    route: Route
    physical: str
    store: str
    switch: bool
    records: int
    resumed: bool
    spec: CollectionSpec
    notes: tuple[Note, ...] = ()
    estimate: tuple[Phase, ...] = ()
    begins: int | None = None
    definitions: Definitions | None = None
    misfits: int = 0
    refused: tuple[Misfit, ...] = ()


@dataclass(frozen=True, slots=True)
class Recovery:
    """The result of a recovery. `digests` were computed by scanning the restored collection.
    `findings` are parts of the specification that the store reports differently, or not at all.
    `left_out` counts records that the engine refused, `refused` names the first of them: they
    stay in the recovery point.
    """

    plan: Plan
    phases: tuple[Phase, ...]
    records: int
    documents: int
    digests: Digests
    bit_identical: bool
    switched: bool
    entry: int | None
    embedded: int = 0
    findings: tuple[PartFinding, ...] = ()
    left_out: int = 0
    refused: tuple[Misfit, ...] = ()

    @property
    def missing(self) -> tuple[PartFinding, ...]:
        """Findings but for those that nobody can look at, and who owns it: no data, and said."""
        return tuple(
            finding
            for finding in self.findings
            if not finding.unreported and not OWNER.fullmatch(finding.part)
        )
