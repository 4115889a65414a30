"""How long a recovery will take, from how long the last one took."""

from collections.abc import Iterable

from dr_pipelines.model.recovery import Phase
from dr_pipelines.model.recovery_point import Timeline

IN_PROPORTION = ("fold", "records", "files", "index", "prove", "prove-again", "embed", "compare")
"""Phases that take longer the more records there are; the others take what they took."""


def estimated(
    timelines: Iterable[Timeline], *, engine: str, route: str, records: int
) -> tuple[Phase, ...]:
    """The phases of a recovery of `records` records, going by the newest timeline that was made on
    the same route into the same engine; none where there is none.

    In proportion: an index that is built in n log n takes up to a fifth longer than that for ten
    times as many records.
    """
    made = [t.made for t in sorted(timelines, key=lambda t: t.id) if t.made is not None]
    alike = [m for m in made if (m.engine, m.route) == (engine, route) and m.records]
    if not alike:
        return ()
    factor = records / alike[-1].records
    return tuple(
        Phase(name, seconds * (factor if name in IN_PROPORTION else 1.0))
        for name, seconds in alike[-1].phases.items()
    )
