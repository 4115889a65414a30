"""Who is at work on a collection, and who only seems to be."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Run:
    """A scheduler's run that has not ended. `queued_since` is given while it only waits for its
    turn; `ours` are those that this watch has started; `gone` are those that are said to run, but
    whose process is known to have ended."""

    id: str
    queued_since: datetime | None = None
    ours: bool = False
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Runs by what is to be made of them: `working` keep others from starting, `gone` are to be
    marked as failed, `stale` are to be cancelled, `passed` wait longer than the objective allows
    but are somebody else's: they are left alone, and waited for no more."""

    working: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()


def occupancy(runs: Iterable[Run], *, rpo: timedelta, now: datetime) -> Occupancy:
    """Tell apart who is at work on a collection.

    A run that has waited for its turn for as long as the objective protects nothing: whatever it
    waits for, the next one must not wait for it.
    """
    working, gone, stale, passed = list[str](), list[str](), list[str](), list[str]()
    for run in runs:
        if run.gone:
            gone.append(run.id)
        elif run.queued_since is None or now - run.queued_since < rpo:
            working.append(run.id)
        elif run.ours:
            stale.append(run.id)
        else:
            passed.append(run.id)
    return Occupancy(tuple(working), tuple(gone), tuple(stale), tuple(passed))
