"""Fitness of a recovery point: how much of it can be restored into the engine it was taken from."""

from collections.abc import Iterator, Sequence

from dr_pipelines.model.base import Count, Sha256, Stored, Time
from dr_pipelines.model.compatibility import Note, Outcome
from dr_pipelines.model.misfit import NAMED, Misfit

RECORDS = "records"
"""The part that stands for records which the engine would not take."""
TRIAL = "trial"
"""The part that stands for what a trial found."""
SHOWN = 3
LOSSES = (Outcome.LOST, Outcome.REFUSED)


class Part(Stored):
    """A note of `compatibility`, in its stored form."""

    part: str
    outcome: Outcome
    consequence: str

    @classmethod
    def of(cls, note: Note) -> "Part":
        return cls(part=note.part, outcome=note.outcome, consequence=note.consequence)


class Acceptance(Stored):
    """Somebody takes a loss: this part, as long as this is what follows. A loss that becomes
    another one is not accepted."""

    part: str
    consequence: str
    reason: str
    by: str
    at: Time

    def covers(self, loss: Part) -> bool:
        return (self.part, self.consequence) == (loss.part, loss.consequence)


class Trial(Stored):
    """A sample of records was made in a scratch place of the same engine, read back and compared.
    `of` identifies what was tried: specification, edges of the values, engine."""

    of: Sha256
    at: Time
    place: str
    records: Count
    findings: tuple[Part, ...] = ()


class Fitness(Stored):
    """Fitness for a restore into the engine `engine`. `parts` are those that would be refused,
    lost, approximated or run as code. `misfits` counts records that the engine would refuse;
    some are `named`, and `together` is a digest of all of them. `trial` is the newest trial.
    `untried` is the reason if there is none, or none of the present state: the findings of the
    older one count until then. `tolerance` is that of the proof: 0 is bit for bit.
    """

    engine: str
    parts: tuple[Part, ...] = ()
    misfits: Count = 0
    named: tuple[Misfit, ...] = ()
    together: str = ""
    tolerance: float = 0.0
    trial: Trial | None = None
    untried: str = ""

    def losses(self) -> tuple[Part, ...]:
        """Losses of a restore: parts lost or refused, records, and findings of the trial."""
        return tuple(self._losses())

    def _losses(self) -> Iterator[Part]:
        yield from (part for part in self.parts if part.outcome in LOSSES)
        if self.misfits:
            yield Part(part=RECORDS, outcome=Outcome.REFUSED, consequence=self._records())
        if self.trial is not None:
            yield from (part for part in self.trial.findings if part.outcome in LOSSES)

    def _records(self) -> str:
        shown = "; ".join(str(misfit) for misfit in self.named[:SHOWN])
        rest = self.misfits - SHOWN  # an acceptance is of these, not of any others
        more = f"; and {rest} more (together {self.together})" if rest > 0 else ""
        noun = "record" if self.misfits == 1 else "records"
        return f"{self.misfits} {noun} the engine would not take: {shown}{more}"

    def remarks(self) -> tuple[Part, ...]:
        """Parts that come back, and work differently or run code."""
        tried = self.trial.findings if self.trial else ()
        return tuple(part for part in (*self.parts, *tried) if part.outcome not in LOSSES)

    @property
    def word(self) -> str:
        """`fits`, `tried`, or `does not fit`."""
        if self.losses():
            return "does not fit"
        return "tried" if self.trial is not None and not self.untried else "fits"


def unaccepted(fitness: Fitness, accepted: Sequence[Acceptance]) -> tuple[Part, ...]:
    """Losses that nobody has accepted as they are."""
    return tuple(
        loss
        for loss in fitness.losses()
        if not any(acceptance.covers(loss) for acceptance in accepted)
    )


def still_accepted(fitness: Fitness, accepted: Sequence[Acceptance]) -> tuple[Acceptance, ...]:
    """Acceptances of losses that are there: what is gone, or became another loss, is let go."""
    losses = fitness.losses()
    return tuple(
        acceptance for acceptance in accepted if any(acceptance.covers(loss) for loss in losses)
    )


def tolerance_text(tolerance: float) -> str:
    """How equal a proof means."""
    return "bit for bit" if tolerance == 0 else f"vectors within {tolerance:.1e} of a length of 1"


__all__ = [
    "NAMED",
    "RECORDS",
    "TRIAL",
    "Acceptance",
    "Fitness",
    "Part",
    "Trial",
    "still_accepted",
    "tolerance_text",
    "unaccepted",
]
