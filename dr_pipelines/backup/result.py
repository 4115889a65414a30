"""A snapshot's result, and losses that somebody accepts with it."""

from dataclasses import dataclass
from datetime import datetime

from dr_pipelines.backup.inspect import Findings
from dr_pipelines.model.fitness import Acceptance, Fitness, Part, unaccepted
from dr_pipelines.model.parts import PartFinding
from dr_pipelines.model.recovery_point import Counts


@dataclass(frozen=True)
class Snapshot:
    """What a snapshot found. `equal`: the live store was proven to hold exactly what the log says
    at `number`. Documents that an entry touched meanwhile are `indeterminate`; `reconfigured` are
    parts of its configuration that the log had otherwise, and has as they are now. `fitness` is
    what is known of putting it back, `accepted` the losses that somebody takes.
    `not_finite` vectors have a component that is NaN or infinite."""

    number: int
    sha256: str
    position: int
    rows: int
    held: int
    findings: Findings
    indeterminate: tuple[str, ...]
    equal: bool
    counts: Counts
    size_bytes: int
    began: datetime
    fitness: Fitness
    reconfigured: tuple[PartFinding, ...] = ()
    accepted: tuple[Acceptance, ...] = ()
    not_finite: int = 0

    @property
    def unaccepted(self) -> tuple[Part, ...]:
        """What cannot be put back, and nobody said that it need not."""
        return unaccepted(self.fitness, self.accepted)


@dataclass(frozen=True, slots=True)
class LossAccepted:
    """Losses of these parts are taken, by whom and why."""

    parts: tuple[str, ...] = ()
    reason: str = ""
    by: str = ""


NOTHING_ACCEPTED = LossAccepted()
