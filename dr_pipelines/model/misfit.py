"""Records that an engine would not take, by id and reason: a few named, all counted."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from dr_pipelines.model.base import Stored

if TYPE_CHECKING:  # NumPy is imported by those who have rows
    import numpy as np
    import numpy.typing as npt

NAMED = 20
"""Records that are named; of the others it is said how many there are."""


LONGEST = 500


def shortened(text: str) -> str:
    """An id, or a reason, of which an engine may make one as long as the value that it is about."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


class Misfit(Stored):
    """A record, the column that keeps an engine from taking it, and the reason, `shortened`."""

    record: str
    column: str
    reason: Annotated[str, AfterValidator(shortened)]

    def __str__(self) -> str:
        return f"record {shortened(self.record)!r}: {self.reason}"


@dataclass(frozen=True, slots=True, eq=False)
class Misfits:
    """Rows of a batch that an engine would not take: `rows` are the places of all of them,
    ascending, each once; `named` are the first `NAMED`, each with the first reason."""

    rows: "npt.NDArray[np.int64]"
    named: tuple[Misfit, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Misfit]:
        return iter(self.named)
