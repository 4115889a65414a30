"""Items made ahead are the same items, and what makes them is cleaned up."""

import threading
import time
from collections.abc import Iterator

import pytest

from dr_pipelines.repository.prefetch import map_concurrently, prefetch


def test_the_items_are_the_same_in_the_same_order() -> None:
    assert list(prefetch(range(100))) == list(range(100))
    assert list(prefetch([])) == []
    assert list(prefetch([None, 0, False])) == [None, 0, False]


def test_an_item_is_made_while_the_one_before_is_used() -> None:
    made = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        made.set()
        yield 2

    fetched = prefetch(items())
    assert next(fetched) == 1
    assert made.wait(30)
    assert list(fetched) == [2]


def test_no_more_than_one_item_waits() -> None:
    made = list[int]()

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    for number in prefetch(items()):
        assert made[-1] <= number + 1


def test_a_failure_is_raised_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second")

    fetched = prefetch(items())
    assert next(fetched) == 1
    with pytest.raises(ValueError, match="the second"):
        next(fetched)


def test_what_is_left_early_is_closed_on_the_thread_that_made_it() -> None:
    threads = list[str]()

    def items() -> Iterator[int]:
        try:
            threads.append(threading.current_thread().name)
            while True:
                yield 1
        finally:
            threads.append(threading.current_thread().name)

    fetched = prefetch(items())
    next(fetched)
    fetched.close()

    assert len(threads) == 2
    assert threads[0] == threads[1] != threading.current_thread().name


def test_a_failure_that_nobody_waits_for_does_not_stop_the_closing() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("not asked for")

    fetched = prefetch(items())
    next(fetched)
    fetched.close()
    assert list(fetched) == []


def test_results_are_in_the_order_of_the_items() -> None:
    slow = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert slow.wait(30)
        slow.set()
        return number * number

    assert list(map_concurrently(work, range(20))) == [n * n for n in range(20)]
    assert list(map_concurrently(work, [])) == []


def test_two_items_are_worked_on_at_a_time_and_no_more_are_asked_for() -> None:
    both = threading.Barrier(2, timeout=30)
    taken = list[int]()

    def items() -> Iterator[int]:
        for number in range(6):
            taken.append(number)
            yield number

    def work(number: int) -> int:
        both.wait()
        return number

    for number in map_concurrently(work, items()):
        assert taken[-1] <= number + 2


def test_a_failure_of_some_work_is_raised_in_its_place() -> None:
    def work(number: int) -> int:
        if number == 1:
            raise ValueError("the second")
        return number

    results = map_concurrently(work, range(5))
    assert next(results) == 0
    with pytest.raises(ValueError, match="the second"):
        next(results)


def test_short_work_behind_a_long_one_goes_on() -> None:
    last_began = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert last_began.wait(30)
        if number == 3:
            last_began.set()
        return number

    assert list(map_concurrently(work, range(4), waiting=2)) == [0, 1, 2, 3]


@pytest.mark.parametrize("left_early", [True, False])
def test_what_only_waits_is_not_begun_after_a_failure(left_early: bool) -> None:
    begun, go_on = list[int](), threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if number in (1, 2):
            assert go_on.wait(30)
        if number == 1 and not left_early:
            raise ValueError("the second")
        if number > 2:
            time.sleep(0.3)  # the time there is to begin no more
        return number

    results = map_concurrently(work, range(9), waiting=4)
    assert next(results) == 0
    threading.Timer(0.2, go_on.set).start()
    if left_early:
        results.close()
    else:
        with pytest.raises(ValueError, match="the second"):
            next(results)
    assert max(begun) < (5 if left_early else 6)
    assert not [t for t in threading.enumerate() if t.name.startswith("side-by-side")]
