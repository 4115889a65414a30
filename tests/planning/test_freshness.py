"""Decisions of what is due and when, from values alone."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr_pipelines.planning.freshness import (
    FIRST_PAUSE,
    LATENCY,
    RUN_CHANGES,
    Action,
    Attempts,
    DayRange,
    Need,
    Protection,
    ProtectionStatus,
    backup_due,
    confirmation_due,
    expected_duration,
    exposure,
    freshness_windows,
    needs,
    next_attempt,
    next_range,
    pause_after,
    protection,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
TAKES = {Action.INGEST: 5 * MINUTE, Action.SNAPSHOT: 10 * MINUTE}
SHA = "0" * 64


def protection_status(**fields: object) -> ProtectionStatus:
    return ProtectionStatus(head=7, head_sha256=SHA, **fields)  # type: ignore[arg-type]


def due(status: ProtectionStatus, *, now: datetime = NOW) -> tuple[Need, ...]:
    return needs(status, rpo=HOUR, now=now, takes=TAKES)


def test_a_quiet_collection_needs_nothing_however_old_its_proof() -> None:
    status = protection_status(proven=6, proven_at=NOW - 300 * HOUR)

    assert exposure(status, now=NOW) == timedelta(0)
    assert protection(status, rpo=HOUR, now=NOW) is Protection.QUIET
    assert due(status) == ()


def test_exposure_is_the_age_of_the_oldest_unread_change() -> None:
    status = protection_status(behind=1, unread_since=NOW - 20 * MINUTE)

    assert exposure(status, now=NOW) == 20 * MINUTE
    assert protection(status, rpo=HOUR, now=NOW) is Protection.WITHIN
    assert protection(status, rpo=20 * MINUTE, now=NOW) is Protection.BREACHED


def test_a_change_from_the_future_is_no_exposure() -> None:
    status = protection_status(behind=1, unread_since=NOW + HOUR)

    assert exposure(status, now=NOW) == timedelta(0)
    assert due(status) == ()


def test_a_change_behind_one_from_the_future_is_exposed_since_its_own_time() -> None:
    ahead, dated = NOW + 100 * HOUR, NOW - 2 * HOUR
    status = protection_status(behind=1, unread_since=ahead, unread_said=dated)

    assert exposure(status, now=NOW) == 2 * HOUR
    assert [need.since for need in due(status)] == [dated]


def test_what_was_never_proven_is_not_quiet() -> None:
    assert protection(protection_status(), rpo=HOUR, now=NOW) is Protection.WITHIN


def test_reading_starts_early_enough_to_end_within_the_objective() -> None:
    since = NOW - HOUR + TAKES[Action.INGEST] + LATENCY
    status = protection_status(behind=1, unread_since=since, unread_after=41)

    assert due(status) == (Need(Action.INGEST, since, "1-41"),)
    assert due(status, now=NOW - timedelta(seconds=1)) == ()


def test_a_slower_snapshot_starts_earlier() -> None:
    age = HOUR - LATENCY - 10 * MINUTE

    assert backup_due(HOUR, exposed=age, takes=10 * MINUTE)
    assert not backup_due(HOUR, exposed=age, takes=9 * MINUTE)


def test_what_was_read_is_proven_within_another_objective() -> None:
    status = protection_status(unproven_since=NOW - HOUR, proven=3, proven_at=NOW - 2 * HOUR)

    assert exposure(status, now=NOW) == timedelta(0)
    assert protection(status, rpo=HOUR, now=NOW) is Protection.WITHIN
    assert due(status) == (Need(Action.SNAPSHOT, NOW - HOUR, "after-3"),)


def test_reading_comes_before_proving() -> None:
    status = protection_status(behind=1, unread_since=NOW - HOUR, unproven_since=NOW - 2 * HOUR)

    assert [need.action for need in due(status)] == [Action.INGEST, Action.SNAPSHOT]


def test_edits_that_only_a_snapshot_reveals_are_exposed_since_the_last_one() -> None:
    status = protection_status(edited=True, proven=5, proven_at=NOW - 50 * MINUTE)

    assert exposure(status, now=NOW) == 50 * MINUTE
    assert due(status) == (Need(Action.SNAPSHOT, NOW - 50 * MINUTE, "after-5"),)


def test_what_was_never_backed_up_is_due_at_once() -> None:
    status = protection_status(edited=True)

    assert exposure(status, now=NOW) == timedelta.max
    assert protection(status, rpo=HOUR, now=NOW) is Protection.BREACHED
    assert due(status) == (Need(Action.SNAPSHOT, None, "after-0"),)


def test_a_need_keeps_its_name_while_the_source_goes_on() -> None:
    first = protection_status(behind=1, unread_since=NOW - HOUR, unread_after=41)
    later = protection_status(behind=2, unread_since=NOW - HOUR, unread_after=41)

    assert due(first)[0].key == due(later)[0].key


def test_a_failed_snapshot_keeps_the_name_of_its_need() -> None:
    before = protection_status(unproven_since=NOW - HOUR, proven=3)
    after = ProtectionStatus(head=9, head_sha256=SHA, unproven_since=NOW - HOUR, proven=3)

    assert due(before)[0].key == due(after)[0].key


def test_the_first_try_waits_for_nothing() -> None:
    assert next_attempt(Attempts(), rpo=HOUR, now=NOW) == 1


def test_a_try_in_vain_is_followed_by_a_pause() -> None:
    tried = Attempts(count=1, ended=NOW)

    assert next_attempt(tried, rpo=HOUR, now=NOW + FIRST_PAUSE - timedelta(seconds=1)) is None
    assert next_attempt(tried, rpo=HOUR, now=NOW + FIRST_PAUSE) == 2


def test_pauses_double_up_to_a_quarter_of_the_objective() -> None:
    pauses = [pause_after(n, rpo=HOUR) / MINUTE for n in range(1, 8)]

    assert pauses == [1, 2, 4, 8, 15, 15, 15]


@given(st.integers(1, 10_000), st.timedeltas(min_value=timedelta(seconds=1)))
def test_a_pause_is_never_shorter_than_the_first_nor_longer_than_half_an_hour(
    attempts: int, rpo: timedelta
) -> None:
    assert FIRST_PAUSE <= pause_after(attempts, rpo=rpo) <= 30 * MINUTE


def test_a_run_is_expected_to_take_as_long_as_the_slowest_of_the_last() -> None:
    assert expected_duration([MINUTE, 3 * MINUTE, 2 * MINUTE], rpo=HOUR) == 3 * MINUTE
    assert expected_duration([], rpo=HOUR) == 15 * MINUTE


@pytest.mark.parametrize(
    ("behind", "complete", "stretch"),
    [
        ({"2026-01-05": 1}, (), ("2026-01-05", "2026-01-05")),
        ({"2026-01-05": 1, "2026-01-07": 1}, (), ("2026-01-05", "2026-01-07")),
        ({"2026-01-05": 1, "2026-01-09": 1}, ("2026-01-07",), ("2026-01-05", "2026-01-05")),
        ({"2026-01-05": 1, "2026-01-09": 1}, ("2026-01-04",), ("2026-01-05", "2026-01-09")),
        ({"2026-01-05": 1, "2036-01-05": 1}, (), ("2026-01-05", "2026-01-05")),
        ({"2026-01-05": RUN_CHANGES + 1, "2026-01-06": 1}, (), ("2026-01-05", "2026-01-05")),
        ({"2026-01-05": RUN_CHANGES - 1, "2026-01-06": 1}, (), ("2026-01-05", "2026-01-06")),
        ({"2026-01-05": RUN_CHANGES - 1, "2026-01-06": 2}, (), ("2026-01-05", "2026-01-05")),
    ],
    ids=(
        "one day",
        "a quiet day between",
        "a complete day between",
        "a complete day before",
        "ten years later",
        "more changes than a run takes",
        "as many changes as a run takes",
        "one change more than a run takes",
    ),
)
def test_a_run_takes_the_oldest_days_as_many_as_it_may_and_none_that_is_complete(
    behind: dict[str, int], complete: tuple[str, ...], stretch: tuple[str, str]
) -> None:
    assert next_range(list(behind.items()), complete) == DayRange(*stretch)


def test_days_to_come_are_left_out_of_a_run() -> None:
    stretch = DayRange("2026-01-05", "2026-03-02")

    assert stretch.until("2026-03-02") == stretch
    assert stretch.until("2026-01-06") == DayRange("2026-01-05", "2026-01-06")
    assert stretch.until("2026-01-04") is None
    assert next_range([], ()) is None


@pytest.mark.parametrize(
    ("changes_a_day", "runs"), [(1, 1), (13, 1), (100, 8)], ids=("one a day", "some", "many")
)
def test_fifteen_hundred_days_are_caught_up_in_as_many_runs_as_their_changes_ask_for(
    changes_a_day: int, runs: int
) -> None:
    first = date(2022, 1, 1)
    behind = [((first + timedelta(days=n)).isoformat(), changes_a_day) for n in range(1500)]
    done, taken = list[str](), 0
    while stretch := next_range(behind, done):
        done += [day for day, _ in behind if day <= stretch.last]
        behind = [(day, changes) for day, changes in behind if day > stretch.last]
        taken += 1

    assert taken == runs


def test_a_proof_may_grow_two_objectives_old_before_anybody_is_warned() -> None:
    assert freshness_windows(HOUR) == (3 * HOUR, 2 * HOUR)


def test_a_quiet_collection_is_confirmed_once_an_objective() -> None:
    assert confirmation_due(None, rpo=HOUR, now=NOW)
    assert not confirmation_due(NOW, rpo=HOUR, now=NOW + 59 * MINUTE)
    assert confirmation_due(NOW, rpo=HOUR, now=NOW + HOUR)
