"""Making the next item while the last one is used: hashing, Parquet and DuckDB let go of the
interpreter, so two stages of a pipeline keep two cores busy."""

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item]) -> Generator[Item, None, None]:
    """The same items, each made on another thread while the one before is used.

    At most one item waits. Everything that `items` does, its cleaning up included, happens on that
    one thread, and has happened when this ends; what it raises is raised here, in its place.
    """
    iterator = iter(items)
    with ThreadPoolExecutor(1, "ahead") as worker:
        coming = worker.submit(_next, iterator)
        try:
            while found := coming.result():
                coming = worker.submit(_next, iterator)
                yield found[0]
        finally:
            worker.submit(_close, iterator, coming).result()


def _next(iterator: Iterator[Item]) -> tuple[Item] | None:
    return next(((item,) for item in iterator), None)


def _close(iterator: Iterator[Item], coming: "Future[tuple[Item] | None]") -> None:
    """Give back what is held; a failure that nobody waited for ended the iterator already."""
    coming.exception()
    close = getattr(iterator, "close", None)
    if close:
        close()
