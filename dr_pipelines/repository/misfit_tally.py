"""Records that an engine would not take, counted while they pass by."""

from hashlib import sha256

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.model.misfit import NAMED, Misfit, Misfits

LENGTH = 12


class MisfitTally:
    """Adds up misfits of batches: all counted, the first named, and their ids, in the order in
    which they pass, hashed."""

    def __init__(self) -> None:
        self.total = 0
        self.named: tuple[Misfit, ...] = ()
        self._ids = sha256()
        self._lengths = sha256()

    def add(self, misfits: Misfits, ids: pa.Array) -> None:
        """Count those of a batch, whose ids these are."""
        if not len(misfits):
            return
        self.total += len(misfits)
        self.named = (*self.named, *misfits.named)[:NAMED]
        those = ids.take(pa.array(misfits.rows))  # a copy: its buffers hold nothing else
        lengths = pc.binary_length(those).cast(pa.int64())
        self._lengths.update(lengths.to_numpy().astype("<i8").tobytes())
        self._ids.update(b"".join(those.cast(pa.binary()).to_pylist()))

    def together(self, *others: str) -> str:
        """A short mark of exactly these records, and of `others`; none of none."""
        if not self.total and not any(others):
            return ""
        parts = (self._ids.hexdigest(), self._lengths.hexdigest(), *others)
        return sha256(" ".join(parts).encode()).hexdigest()[:LENGTH]
