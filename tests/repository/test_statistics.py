"""Norms of vectors, of batches that may have none."""

import pyarrow as pa
import pytest

from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery_point import VectorStatistics
from dr_pipelines.repository.statistics import VectorTally
from tests.repository.builders import SPEC


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_batch_without_a_vector_has_no_norms(rows: int) -> None:
    schema = store_schema(SPEC)
    batch = pa.table([pa.nulls(rows, field.type) for field in schema], schema=schema)
    tally = VectorTally(SPEC)
    assert tally.add(batch).to_pylist() == [None] * rows
    assert tally.result() == VectorStatistics(rows=rows, nulls=rows)
