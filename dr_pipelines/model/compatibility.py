"""Forecasts of how a collection will differ in another engine, made before anything is touched."""

from dataclasses import dataclass
from enum import StrEnum

from dr_pipelines.model.collection import CollectionSpec

AS_IT_WAS = "as it was"
"""The consequence of a part that is carried without any."""


class Outcome(StrEnum):
    """`carried`: it is there and works as before. `approximated`: it is there and works
    differently. `lost`: it is not in force; what was kept of it stays in the manifest. `refused`:
    the engine will not take it; it is kept in the recovery point, and the rest is restored without
    it. `code`: bringing it back means running somebody's code (`dr restore --plan` shows it)."""

    CARRIED = "carried"
    APPROXIMATED = "approximated"
    LOST = "lost"
    REFUSED = "refused"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Note:
    """The outcome for one part, such as `vectors.embedding.index` or `engine.pgvector.policies`,
    and its consequence for those who search.
    """

    part: str
    outcome: Outcome
    consequence: str


@dataclass(frozen=True, slots=True)
class CompatibilityReport:
    """The specification that a store will be asked to create, with the same contract, and a note
    for every part that is not plainly the same."""

    spec: CollectionSpec
    notes: tuple[Note, ...] = ()

    @property
    def lost(self) -> tuple[Note, ...]:
        """Notes on parts that are not in force afterwards: lost, or refused by the engine."""
        return tuple(note for note in self.notes if note.outcome in (Outcome.LOST, Outcome.REFUSED))
