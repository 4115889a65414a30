"""A restore into an engine that does not keep a record leaves nothing behind."""

from collections.abc import Sequence

import pyarrow as pa
import pytest

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.testing.memory_store import MemoryVectorStore
from tests.recovery.test_fitting import adopted, restored


class Narrow(MemoryVectorStore):
    """Keeps no record at all."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        key = batch.column("id")[0].as_py()
        raise InvalidRequest(f"record {key!r}: id has more than 0 bytes")


def test_a_record_that_an_engine_does_not_keep_leaves_no_half_of_a_collection() -> None:
    repository, other = adopted(MemoryVectorStore()), Narrow()
    with pytest.raises(InvalidRequest, match=r"record 'a': id has .*removed again.*another engine"):
        restored(repository, other, accept_loss=True)
    assert other.collections() == []
