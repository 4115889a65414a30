"""A restore into an engine that does not keep a record leaves nothing behind."""

import threading
from collections.abc import Sequence
from contextlib import suppress

import pyarrow as pa
import pytest

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.repository import rows
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


class InPairs(MemoryVectorStore):
    """Begins a write when another one comes beside it."""

    def __init__(self, *, takes_two: bool) -> None:
        super().__init__()
        self._takes_two = takes_two
        self._pair = threading.Barrier(2)
        self._one = threading.Lock()

    def takes_two_writers(self, name: str) -> bool:
        return self._takes_two

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        with suppress(threading.BrokenBarrierError):
            self._pair.wait(timeout=10 if self._takes_two else 0.01)
        self.together = not self._pair.broken
        with self._one:
            super().write(name, batch, replaces=replaces)


@pytest.mark.parametrize("takes_two", [True, False], ids=["takes-two", "takes-one"])
def test_records_are_written_two_tables_at_a_time_where_a_store_gains_from_it(
    monkeypatch: pytest.MonkeyPatch, takes_two: bool
) -> None:
    repository = adopted(MemoryVectorStore(), documents="abcd")
    other = InPairs(takes_two=takes_two)
    for limit in ("ENOUGH_ROWS", "WRITE_ROWS"):
        monkeypatch.setattr(rows, limit, 1)  # a table for each document
    _, recovery = restored(repository, other, accept_loss=True)
    assert recovery is not None
    assert (recovery.records, recovery.bit_identical) == (4, True)
    assert other.together is takes_two
