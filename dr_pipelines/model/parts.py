"""A part of a collection that is not as it was."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PartFinding:
    """A part that is not as it was: None where it is not there. `unreported` ones are as they were
    asked for, but nobody could look."""

    part: str
    expected: Any
    found: Any
    consequence: str
    unreported: bool = False
