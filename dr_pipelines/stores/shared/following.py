"""Reading what an alias stands for while it moves."""

import time
from collections.abc import Callable
from typing import TypeVar

from dr_pipelines.errors import Damaged, NotFound, Unavailable

Result = TypeVar("Result")

PATIENCE_SECONDS = 30.0
"""After these no new try begins: a writer that is faster than a reader would outrun any number."""
MISSES = 3


def followed(
    name: str,
    target: Callable[[str], str | None],
    read: Callable[[str], Result],
    *,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Result:
    """Read a collection, or what an alias stands for: again, where another was promoted and the old
    one dropped meanwhile, which may show as damage where half of its files are gone. `target` says
    what an alias stands for: it may be the same collection again, made anew, so that a few misses
    prove nothing.

    Raises:
        Unavailable: it was replaced again and again.
    """
    standing, misses, deadline = target(name), 0, time.monotonic() + patience_seconds
    while True:
        try:
            return read(standing or name)
        except (NotFound, Damaged) as error:
            moved = target(name)
            misses = misses + 1 if moved == standing else 0
            if moved is None or misses >= (1 if isinstance(error, Damaged) else MISSES):
                raise
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{name!r} is replaced again and again; try again later"
                ) from error
            standing = moved
