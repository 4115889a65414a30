"""Items made ahead are the same items, and what makes them is cleaned up."""

import threading
from collections.abc import Iterator

import pytest

from dr_pipelines.repository.ahead import ahead


def test_the_items_are_the_same_in_the_same_order() -> None:
    assert list(ahead(range(100))) == list(range(100))
    assert list(ahead([])) == []
    assert list(ahead([None, 0, False])) == [None, 0, False]


def test_an_item_is_made_while_the_one_before_is_used() -> None:
    made = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        made.set()
        yield 2

    found = ahead(items())
    assert next(found) == 1
    assert made.wait(30)
    assert list(found) == [2]


def test_no_more_than_one_item_waits() -> None:
    made = list[int]()

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    for number in ahead(items()):
        assert made[-1] <= number + 1


def test_a_failure_is_raised_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second")

    found = ahead(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="the second"):
        next(found)


def test_what_is_left_early_is_closed_on_the_thread_that_made_it() -> None:
    threads = list[str]()

    def items() -> Iterator[int]:
        try:
            threads.append(threading.current_thread().name)
            while True:
                yield 1
        finally:
            threads.append(threading.current_thread().name)

    found = ahead(items())
    next(found)
    found.close()

    assert len(threads) == 2
    assert threads[0] == threads[1] != threading.current_thread().name


def test_a_failure_that_nobody_waits_for_does_not_stop_the_closing() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("not asked for")

    found = ahead(items())
    next(found)
    found.close()
    assert list(found) == []
