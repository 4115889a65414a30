"""How a repository stores vectors: as they are, or compressed where sending them is slow."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from dr_pipelines.model.recovery_point import SegmentRef
from dr_pipelines.model.vector_encoding import Compression, VectorEncoding

SLOW_BYTES_PER_SECOND = 55_000_000
"""Compressing saves a tenth of the bytes and takes ten times the work of copying them: where bytes
leave faster than this, it takes longer (docs/decisions)."""
MEASURED_BYTES = 16 * 2**20
"""Sent before a rate is believed: the first segments lie as they are."""
COUNTED_BYTES = 1 << 20
"""Of an object: how long smaller ones take says how far away the store is, not how fast."""


@dataclass(frozen=True, slots=True)
class VectorsStored:
    """How vectors are encoded, and why."""

    encoding: VectorEncoding
    reason: str


class RateMemory(Protocol):
    """The rate that earlier processes measured."""

    def read(self) -> float | None:
        """Bytes a second; None where none is known."""
        ...

    def write(self, bytes_per_second: float) -> None:
        """Remember a rate; where that is not possible, the next process measures anew."""
        ...


class NoMemory:
    """Nothing is remembered."""

    def read(self) -> float | None:
        return None

    def write(self, bytes_per_second: float) -> None:
        del bytes_per_second


class UploadRate:
    """Bytes a second while any object is sent; several may be at a time. What this process measures
    goes to a memory each time that twice as much was sent."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, memory: RateMemory | None = None
    ) -> None:
        self._clock = clock
        self._memory = memory or NoMemory()
        self._remembered: list[float | None] = []
        self._remember_at = MEASURED_BYTES
        self._lock = threading.Lock()
        self._running = 0
        self._since = self._seconds = 0.0
        self._sent = 0

    @contextmanager
    def sending(self, size_bytes: int) -> Iterator[None]:
        """Count an object that is sent meanwhile, if it is large enough to tell."""
        if size_bytes < COUNTED_BYTES:
            yield
            return
        with self._lock:
            self._since = self._since if self._running else self._clock()
            self._running += 1
        sent = 0
        try:
            yield
            sent = size_bytes
        finally:
            with self._lock:
                now = self._clock()
                self._seconds, self._since = self._seconds + now - self._since, now
                self._running -= 1
                self._sent += sent
            self._remember()

    def bytes_per_second(self) -> float | None:
        """As this process measured it; None before enough was sent."""
        with self._lock:
            enough = self._sent >= MEASURED_BYTES and self._seconds > 0
            return self._sent / self._seconds if enough else None

    def remembered(self) -> float | None:
        """As an earlier process measured it; None where none has."""
        if not self._remembered:  # asked once: it is of use until this process has measured
            self._remembered.append(self._memory.read())
        return self._remembered[0]

    def _remember(self) -> None:
        measured = self.bytes_per_second()
        if measured is None or self._sent < self._remember_at:
            return
        self._remember_at = 2 * self._sent
        self._memory.write(measured)


@dataclass(frozen=True)
class VectorStorage:
    """The policy on compression, and the rate measured of a `remote` repository."""

    compression: Compression = "auto"
    remote: bool = False
    rate: UploadRate = field(default_factory=UploadRate, repr=False)

    def now(self) -> VectorsStored:
        """How the next vectors are stored."""
        if self.compression == "always":
            return VectorsStored("arrow+zstd", "the policy says compressed")
        if self.compression == "never":
            return VectorsStored("arrow", "the policy says as they are")
        if not self.remote:
            return VectorsStored("arrow", "the repository is on this machine")
        return self._measured()

    def _measured(self) -> VectorsStored:
        measured, when = self.rate.bytes_per_second(), ""
        if measured is None:
            measured, when = self.rate.remembered(), " by an earlier process"
        if measured is None:
            needed = MEASURED_BYTES // 2**20
            return VectorsStored("arrow", f"less than {needed} MiB were sent: no rate is known")
        rate = f"{measured / 1e6:.0f} MB/s were measured{when}, the limit is"
        reason = f"{rate} {SLOW_BYTES_PER_SECOND / 1e6:.0f} MB/s"
        return VectorsStored("arrow+zstd" if measured < SLOW_BYTES_PER_SECOND else "arrow", reason)

    def of(self, segments: Iterable[SegmentRef]) -> VectorsStored | None:
        """How the vectors of some segments were stored; None where they have none. `now` may say
        otherwise of the next ones."""
        encodings: set[VectorEncoding] = {
            "arrow+zstd" if ref.encoding == "arrow+zstd" else "arrow"
            for segment in segments
            for ref in segment.vectors
        }
        if not encodings:
            return None
        now = self.now()
        earlier = sorted(encodings - {now.encoding})
        if not earlier:
            return now
        reason = f"{now.reason}; {earlier[0]} where that was not known yet"
        encoding = now.encoding if now.encoding in encodings else encodings.pop()
        return replace(now, encoding=encoding, reason=reason)
