"""Shards of the engine in this process, each open for one operation at a time.

The engine locks nothing: two processes that have a shard open at the same time corrupt it. So each
operation holds a lock on the shard's directory. Opening takes 10 ms, of 50,000 points 0.25 s, and
up to 0.3 s more while the write-ahead log is long; where another thread of this process waits for
the shard, or a verb keeps it, the next one gets it as it is, open.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from dr_pipelines.errors import NotFound, Unavailable
from dr_pipelines.host.locks import POLL_SECONDS
from dr_pipelines.stores.qdrant.edge_errors import vendor


@dataclass
class _Slot:
    """A shard that a thread uses, how many wait for it, and how many want it to stay open."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: int = 0
    keepers: int = 0
    shard: Any = None
    descriptor: int | None = None

    def close(self) -> None:
        """Let other processes have it."""
        try:
            if self.shard is not None:
                self.shard.close()
        finally:
            self.shard = None
            if self.descriptor is not None:
                os.close(self.descriptor)  # which unlocks it
                self.descriptor = None


class Shards:
    """The shards below a directory. Thread-safe; who waits does so for `wait_seconds` at most."""

    def __init__(self, directory: Path, *, wait_seconds: float) -> None:
        self._directory = directory
        self._wait_seconds = wait_seconds
        self._guard = threading.Lock()
        self._slots: dict[str, _Slot] = {}

    def where(self, name: str) -> str:
        return f"collection {name!r} in {self._directory}"

    @contextmanager
    def opened(self, name: str) -> Iterator[Any]:
        """The shard, for this thread alone.

        Raises:
            NotFound: there is none. Unavailable: it was in use. Damaged: it does not open.
        """
        with self._turn(name) as slot:
            if slot.shard is None:
                slot.descriptor = self._locked(name)
                with vendor(self.where(name)):
                    slot.shard = edge.EdgeShard.load(str(self._directory / name))
            yield slot.shard

    @contextmanager
    def closed(self, name: str) -> Iterator[None]:
        """Nobody has the shard open, here or elsewhere."""
        with self._turn(name) as slot:
            slot.close()
            slot.descriptor = self._locked(name)
            try:
                yield
            finally:
                slot.close()

    @contextmanager
    def keeping(self, name: str) -> Iterator[None]:
        """Once it was opened, the shard stays so until this ends, unless something fails in
        between."""
        with self._guard:
            slot = self._slots.setdefault(name, _Slot())
            slot.keepers += 1
        try:
            yield
        finally:
            with self._guard:
                slot.keepers -= 1
                alone = not slot.keepers + slot.waiting and slot.lock.acquire(blocking=False)
            if alone:  # else whoever has it, or waits for it, closes it
                try:
                    slot.close()
                finally:
                    slot.lock.release()

    @contextmanager
    def _turn(self, name: str) -> Iterator[_Slot]:
        with self._guard:
            slot = self._slots.setdefault(name, _Slot())
            slot.waiting += 1
        mine = slot.lock.acquire(timeout=self._wait_seconds)
        with self._guard:
            slot.waiting -= 1
            # it may have been handed over to us, open, since we gave up
            mine = mine or slot.lock.acquire(blocking=False)
        if not mine:
            raise self._busy(name)
        whole = False
        try:
            yield slot
            whole = True
        finally:
            with self._guard:
                handed_over = whole and slot.waiting + slot.keepers > 0
                if handed_over:  # while nobody can stop waiting
                    slot.lock.release()
            if not handed_over:
                try:
                    slot.close()
                finally:
                    slot.lock.release()

    def _locked(self, name: str) -> int:
        path = self._directory / name
        deadline = time.monotonic() + self._wait_seconds
        while True:
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                raise NotFound(f"{self.where(name)} is gone; read again") from None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                if time.monotonic() >= deadline:
                    raise self._busy(name) from None
                time.sleep(POLL_SECONDS)
                continue
            if _same(descriptor, path):
                return descriptor
            os.close(descriptor)  # it was dropped while we waited; there may be a new one

    def _busy(self, name: str) -> Unavailable:
        return Unavailable(
            f"{self.where(name)} was in use for {self._wait_seconds:g} s; try again later"
        )


def _same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
