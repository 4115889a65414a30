"""Records looked at while they pass by: statistics of vectors, those that would not be taken, and
the edges of what would."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.misfit import Misfits
from dr_pipelines.model.recovery_point import VectorStatistics
from dr_pipelines.proof.sampling import EdgeSample
from dr_pipelines.protocols import VectorReader
from dr_pipelines.repository.misfit_tally import MisfitTally
from dr_pipelines.repository.prefetch import ending
from dr_pipelines.repository.statistics import VectorTally


class Passing:
    """The tallies of one scan."""

    def __init__(self, spec: CollectionSpec, store: VectorReader) -> None:
        self.spec = spec
        self.misfits = MisfitTally()
        self.sample = EdgeSample(spec)
        self._store = store
        self._vectors = VectorTally(spec)

    def through(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The same batches, each looked at before it is passed on."""
        with ending(batches):
            for batch in batches:
                self.look(batch, sample=self.sample)
                yield batch

    def look(self, batch: pa.RecordBatch, *, sample: EdgeSample) -> tuple[pa.Array, Misfits]:
        """Count a batch, and sample its edges; returns the norms of its vectors and its misfits."""
        norms = self._vectors.add(batch)
        misfits = self._store.misfits(self.spec, batch)
        self.misfits.add(misfits, batch.column("id"))
        sample.add(_without(batch, misfits))
        return norms, misfits

    def count(self, ids: pa.Array, *, norms: pa.Array, misfits: Misfits) -> None:
        """Count records that were looked at before."""
        self._vectors.add_norms(norms)
        self.misfits.add(misfits, ids)

    @property
    def statistics(self) -> VectorStatistics:
        """Of the vectors so far."""
        return self._vectors.result()


def _without(batch: pa.RecordBatch, misfits: Misfits) -> pa.RecordBatch:
    if not len(misfits):
        return batch
    keep = np.ones(batch.num_rows, bool)
    keep[misfits.rows] = False
    return batch.filter(pa.array(keep))
