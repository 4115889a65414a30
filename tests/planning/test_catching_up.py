"""Log entries that an observer has not been notified of yet."""

import pytest

from dr_pipelines.planning.catching_up import unheard

DAYS = {"2026-01-05": 1, "2026-01-06": 7, "2026-01-07": 3, "2026-01-08": 7}


@pytest.mark.parametrize(
    ("since", "today", "limit", "expected"),
    [
        (0, "2026-01-08", 9, (("2026-01-05", "2026-01-07", "2026-01-06", "2026-01-08"), 7, 0)),
        (0, "2026-01-08", 2, (("2026-01-05", "2026-01-07"), 3, 2)),
        (1, "2026-01-08", 2, (("2026-01-07", "2026-01-06", "2026-01-08"), 7, 0)),
        (0, "2026-01-07", 9, (("2026-01-05", "2026-01-07"), 3, 2)),  # one day is to come
        (3, "2026-01-07", 9, ((), 3, 2)),
        (7, "2026-01-08", 9, ((), 7, 0)),
    ],
)
def test_days_are_heard_of_in_the_order_of_the_log(
    since: int, today: str, limit: int, expected: tuple[tuple[str, ...], int, int]
) -> None:
    assert unheard(DAYS, since=since, today=today, limit=limit) == expected
