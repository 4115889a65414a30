"""Has recall fallen? Decided by an interval of the loss against what sound rebuilds lose."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Literal

SIZES = (500, 1_000, 2_000, 4_000)
"""Queries, and how many of them there are when the interval has not decided."""
DEVIATIONS = 2.81
"""Half the width of the interval, in standard errors: 99.5 % each time, so 98 % over four looks."""


@dataclass(frozen=True)
class Null:
    """The recall of sound rebuilds, and how much less is still one: their spread. Until somebody
    measured them, no recall of an engine is known, and less than 90 % is damage."""

    recall: float = 1.0
    tolerance: float = 0.1
    measured: int = 0

    @property
    def source(self) -> str:
        """Where it comes from, in words."""
        if self.measured:
            return f"{self.recall:.4f} ± {self.tolerance:.4f} by {self.measured:,} sound rebuilds"
        return "no rebuild was measured: 0.9 by default"


Decision = Literal["sound", "damaged", "undecided"]


@dataclass(frozen=True)
class Loss:
    """The loss of recall against the null, query by query: mean and interval."""

    mean: float
    low: float
    high: float

    def decision(self, null: Null) -> Decision:
        """Sound where the whole interval is within the tolerance, damaged where it is beyond."""
        if self.high <= null.tolerance:
            return "sound"
        return "damaged" if self.low > null.tolerance else "undecided"


def loss_of(recalls: Sequence[float], null: Null) -> Loss:
    """The loss of the recalls of some queries, at least one."""
    losses = [null.recall - recall for recall in recalls]
    mean = fmean(losses)
    error = stdev(losses) / sqrt(len(losses)) if len(losses) > 1 else 0.0
    return Loss(mean, mean - DEVIATIONS * error, mean + DEVIATIONS * error)
