"""A snapshot's result, and losses that somebody accepts with it."""

from dataclasses import dataclass
from datetime import datetime

from dr_pipelines.backup.inspect import Findings
from dr_pipelines.model.assurance import Assurance
from dr_pipelines.model.fitness import Acceptance, Fitness, Part, unaccepted
from dr_pipelines.model.parts import PartFinding
from dr_pipelines.model.recovery_point import Counts, Timeline
from dr_pipelines.model.unread import Unread
from dr_pipelines.repository.vector_storage import VectorsStored


@dataclass(frozen=True)
class Snapshot:
    """The result of a snapshot. `equal`: the live store was proven to hold exactly the state of
    the log at `number`. Documents that an entry touched meanwhile are `indeterminate`;
    `reconfigured` are parts of the configuration that differ from the log, which now has them as
    they are. `fitness` is the forecast of a restore, `accepted` the losses that somebody
    accepted. `not_finite` vectors have a component that is NaN or infinite. `assurance` says on
    which grounds they are equal, `whole_at` when every value was last read. `vectors` says how
    those are encoded that were stored, if any were."""

    number: int
    sha256: str
    position: int
    rows: int
    omitted: int
    findings: Findings
    indeterminate: tuple[str, ...]
    equal: bool
    counts: Counts
    size_bytes: int
    began: datetime
    assurance: Assurance
    whole_at: datetime
    fitness: Fitness
    reconfigured: tuple[PartFinding, ...] = ()
    accepted: tuple[Acceptance, ...] = ()
    not_finite: int = 0
    vectors: VectorsStored | None = None

    @property
    def unaccepted(self) -> tuple[Part, ...]:
        """Parts that cannot be restored, and whose loss nobody has accepted."""
        return unaccepted(self.fitness, self.accepted)


@dataclass(frozen=True, slots=True)
class LossAccepted:
    """Losses of these parts are taken, by whom and why."""

    parts: tuple[str, ...] = ()
    reason: str = ""
    by: str = ""


NOTHING_ACCEPTED = LossAccepted()


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms that a snapshot is taken on. `adopt` is the timeline to begin a log with, where
    there is none yet; `accept_absence` records that many documents are gone; `unread` is what the
    source holds beyond its changes; `accepting` are losses taken by name; `least` is the least that
    it must assure."""

    adopt: Timeline | None = None
    accept_absence: bool = False
    unread: Unread | None = None
    accepting: LossAccepted = NOTHING_ACCEPTED
    least: Assurance = Assurance.EVERY_VALUE


USUAL = Terms()
"""Nothing is adopted or accepted, and nothing is known of the source."""
