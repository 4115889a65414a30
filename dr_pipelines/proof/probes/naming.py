"""A few names in a sentence, and how many more there are."""

from collections.abc import Sequence

NAMED = 5


def few(names: Sequence[str]) -> str:
    """The first of some names, quoted, and the number of the others."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(map(repr, names[:NAMED])) + more
