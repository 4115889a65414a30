"""The phases of a recovery, timed one by one."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dr_pipelines.model.recovery import Phase


@dataclass
class Stopwatch:
    """Times the phases of a recovery."""

    phases: list[Phase] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[list[int]]:
        """Time a phase; put the number of rows into the list that is yielded."""
        rows = [0]
        started = time.monotonic()
        yield rows
        self.phases.append(Phase(name, time.monotonic() - started, rows[0]))
