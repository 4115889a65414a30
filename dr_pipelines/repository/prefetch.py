"""Two things at a time: large hashes, Parquet and DuckDB let go of the interpreter, so that two
stages of a pipeline keep two cores busy."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(items: Iterable[Item]) -> Generator[Item, None, None]:
    """The same items, each made on another thread while the one before is used.

    At most one item waits. Everything that `items` does, its cleaning up included, happens on that
    one thread, and has happened when this ends; what it raises is raised here, in its place.
    """
    iterator = iter(items)
    with ThreadPoolExecutor(1, "ahead") as worker:
        coming = worker.submit(_next, iterator)
        try:
            while item := coming.result():
                coming = worker.submit(_next, iterator)
                yield item[0]
        finally:
            worker.submit(_close, iterator, coming).result()


def _next(iterator: Iterator[Item]) -> tuple[Item] | None:
    return next(((item,) for item in iterator), None)


def _close(iterator: Iterator[Item], coming: "Future[tuple[Item] | None]") -> None:
    """Give back what is held; a failure that nobody waited for ended the iterator already."""
    coming.exception()
    _end(iterator)


@contextmanager
def ending(items: Iterable[Item]) -> Iterator[Iterable[Item]]:
    """The same items, which end with the context: for who reads them within a generator that may
    be closed early. A generator that somebody else refers to, such as a traceback, would go on to
    hold what it has open."""
    try:
        yield items
    finally:
        _end(items)


def _end(items: Iterable[Item]) -> None:
    close = getattr(items, "close", None)
    if close:
        close()


def map_concurrently(
    work: Callable[[Item], Result], items: Iterable[Item], *, waiting: int = 0
) -> Generator[Result, None, None]:
    """The results of some work on each item, in order; two items are worked on at a time.

    As many more as `waiting` are taken and wait their turn: where some work is much longer than
    other, the short one behind the long one would otherwise leave a thread idle. What `work` raises
    is raised here, in its place, once what was begun has ended; what only waits is not begun then.
    """
    with ThreadPoolExecutor(2, "side-by-side") as workers:
        taken = deque[Future[Result]]()
        try:
            for item in items:
                taken.append(workers.submit(work, item))
                if len(taken) == 2 + waiting:  # before the next is taken, which may be large
                    yield taken.popleft().result()
            while taken:
                yield taken.popleft().result()
        finally:
            for future in taken:
                future.cancel()
