"""How much a look at a live store assures, and how much an objective asks for."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

DAYS = 7


class Assurance(StrEnum):
    """The grounds on which a snapshot says that store and log are equal; the strongest first.

    Damage that the engine does not notice is found where every value is read, and in files that
    are hashed; signs of change tell only what the engine itself has written.
    """

    EVERY_VALUE = "every value read"
    FILES = "files hashed"
    SIGNS = "signs of change only"

    def meets(self, least: "Assurance") -> bool:
        """True if it assures as much as `least`, or more."""
        strongest_first = list(Assurance)
        return strongest_first.index(self) <= strongest_first.index(least)


@dataclass(frozen=True, slots=True)
class Required:
    """The least that a snapshot must have assured to count, and the longest time for which less
    than every value may be read."""

    least: Assurance = Assurance.EVERY_VALUE
    read_every: timedelta = timedelta(days=DAYS)

    def counts(self, assurance: Assurance, *, began: datetime, whole_at: datetime) -> bool:
        """True if a snapshot protects, whose scan began then, when every value had last been read
        at `whole_at`."""
        if assurance is Assurance.EVERY_VALUE:
            return True
        return assurance.meets(self.least) and began - whole_at < self.read_every

    def owed(self, whole_at: datetime | None, *, now: datetime) -> Assurance:
        """The least that a backup has to assure now."""
        return Assurance.EVERY_VALUE if self.is_due(whole_at, now=now) else self.least

    def is_due(self, whole_at: datetime | None, *, now: datetime) -> bool:
        """True if every value is to be read again; None: it never was."""
        return whole_at is None or now - whole_at >= self.read_every


USUAL_REQUIREMENT = Required()
"""Every value is read by every snapshot that counts."""
