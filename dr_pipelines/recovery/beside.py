"""An index that is built while its records are read back."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from dr_pipelines.protocols import BulkLoad, Progress


class _Stopped(Exception):
    """Nobody waits for the index any more."""


@contextmanager
def building_beside(
    store: BulkLoad, name: str, progress: Progress | None
) -> Iterator[Callable[[], None]]:
    """Build on a thread of its own as long as the context lasts. What is yielded waits for the end,
    and raises what ended it; to leave the context without that ends the building early."""
    left = threading.Event()

    def look(done: int, total: int) -> None:
        if left.is_set():
            raise _Stopped
        if progress is not None:
            progress(done, total)

    with ThreadPoolExecutor(1, "index") as worker:
        building = worker.submit(store.build_beside_readers, name, progress=look)
        try:
            yield building.result
        finally:
            left.set()
