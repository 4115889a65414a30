"""Norms of vectors, tallied while they pass by."""

import numpy as np
import pyarrow as pa

from dr_pipelines.model.collection import CollectionSpec, VectorKind
from dr_pipelines.model.recovery_point import VectorStatistics


class VectorTally:
    """Adds up statistics of the first dense vector over batches of records."""

    def __init__(self, spec: CollectionSpec) -> None:
        dense = (v.name for v in spec.vectors if v.kind is VectorKind.DENSE)
        self._column = next(dense, None)
        self._rows = self._nulls = self._zeros = self._not_finite = 0
        self._low, self._high, self._sum = np.inf, 0.0, 0.0

    def add(self, batch: pa.RecordBatch | pa.Table) -> pa.Array:
        """Count a batch; returns the norms of its vectors, for `add_norms`."""
        norms = self._norms_of(batch)
        self.add_norms(norms)
        return norms

    def _norms_of(self, batch: pa.RecordBatch | pa.Table) -> pa.Array:
        if self._column is None:
            return pa.nulls(batch.num_rows, pa.float64())
        column = batch.column(self._column)
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        norms = np.zeros(len(array))
        present = array.is_valid().to_numpy(zero_copy_only=False)
        values = array.drop_null()
        width = array.type.list_size  # there may be no vector to tell it from
        matrix = values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), width)
        with np.errstate(invalid="ignore"):
            norms[present] = np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64))
        return pa.array(norms, mask=~present)

    def add_norms(self, of: pa.Array) -> None:
        """Count vectors by their norms, null where a record has none."""
        self._rows += len(of)
        if self._column is None:
            return
        self._nulls += of.null_count
        norms = of.drop_null().to_numpy(zero_copy_only=False)
        if len(norms) == 0:
            return
        finite = np.isfinite(norms)  # in double precision no finite float32 overflows
        self._not_finite += int(len(norms) - np.count_nonzero(finite))
        norms = norms[finite]
        if len(norms) == 0:
            return
        self._zeros += int(np.count_nonzero(norms == 0))
        self._low, self._high = min(self._low, norms.min()), max(self._high, norms.max())
        self._sum += float(norms.sum())

    def result(self) -> VectorStatistics:
        """The statistics so far."""
        counted = self._rows - self._nulls - self._not_finite
        if counted == 0:
            return VectorStatistics(rows=self._rows, nulls=self._nulls, not_finite=self._not_finite)
        return VectorStatistics(
            rows=self._rows,
            nulls=self._nulls,
            zeros=self._zeros,
            not_finite=self._not_finite,
            norm_min=float(self._low),
            norm_mean=self._sum / counted,
            norm_max=float(self._high),
        )
