"""Records that an engine would not take, counted while they pass by."""

from hashlib import sha256

import pyarrow as pa

from dr_pipelines.model.misfit import NAMED, Misfit, Misfits
from dr_pipelines.repository import digest

LENGTH = 12


class MisfitTally:
    """Adds up misfits of batches: all counted, a few named, and the digests of their ids added up,
    in whatever order they pass."""

    def __init__(self) -> None:
        self.total = 0
        self.named: tuple[Misfit, ...] = ()
        self._ids = 0

    def add(self, misfits: Misfits, ids: pa.Array) -> None:
        """Count those of a batch, whose ids these are."""
        if not len(misfits):
            return
        self.total += len(misfits)
        named = (*self.named, *misfits.named)
        self.named = tuple(sorted(named, key=lambda misfit: misfit.record.encode())[:NAMED])
        those = ids.take(pa.array(misfits.rows)).cast(pa.binary()).to_pylist()
        self._ids += digest.total(pa.array([sha256(i).digest() for i in those], pa.binary(32)))

    def together(self, *others: str) -> str:
        """A short mark of exactly these records, and of `others`; none of none."""
        if not self.total and not any(others):
            return ""
        parts = (digest.to_hex(self._ids), *others)
        return sha256(" ".join(parts).encode()).hexdigest()[:LENGTH]
