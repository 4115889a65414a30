"""Log entries that an observer has not been notified of yet."""

from collections.abc import Mapping


def unheard(
    entries: Mapping[str, int], *, since: int, today: str, limit: int
) -> tuple[tuple[str, ...], int, int]:
    """Days whose newest entry is after `since`, oldest entry first.

    At most about `limit` of them: days of one entry stay together. A day to come waits until it is
    there. Returns them, the entry up to which everything is heard of then, and how many are left;
    where none is, that entry is no bound: everything up to the log's head is heard of.
    """
    new = sorted((entry, day) for day, entry in entries.items() if entry > since)
    ahead = min((entry for entry, day in new if day > today), default=None)
    ready = [(entry, day) for entry, day in new if ahead is None or entry < ahead]
    last = ready[min(limit, len(ready)) - 1][0] if ready else since
    days = tuple(day for entry, day in ready if entry <= last)
    return days, last, len(new) - len(days)
