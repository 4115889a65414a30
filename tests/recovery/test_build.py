"""A restore into an engine that does not keep a record leaves nothing behind."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pytest

from dr_pipelines.errors import Damaged, InvalidRequest
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.definitions import Call, Definitions
from dr_pipelines.model.recovery import Request
from dr_pipelines.protocols import Progress
from dr_pipelines.recovery.plan import plan_recovery
from dr_pipelines.recovery.report import chosen_lines, recovery_value
from dr_pipelines.recovery.run import recover
from dr_pipelines.repository import rows
from dr_pipelines.testing.memory_store import MemoryVectorStore
from tests.recovery.test_fitting import adopted, into, restored

PHASES = ["access", "fold", "schema", "records", "prove", "index", "probe", "warm"]
"""Where an index is built while records are read back."""


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

    def build_beside_readers(self, name: str, *, progress: Progress | None = None) -> None:
        self.build_index(name, progress=progress)

    def chosen(self, name: str) -> dict[str, str]:
        return {"pairs": "some"}

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
    writers = [("writers", "2")] if takes_two else []
    beside = [("index", "while records were read back"), ("pairs", "some")]
    assert list(recovery.chosen) == [*beside, *writers]
    assert recovery_value(recovery)["chosen"] == dict(recovery.chosen)
    (line,) = chosen_lines(recovery)
    assert line.startswith("chosen: index while records were read back, pairs some")


class Meeting(InPairs):
    """Builds no index before somebody reads, and lets nobody read before it builds one."""

    def __init__(self) -> None:
        super().__init__(takes_two=False)
        self._both = threading.Barrier(2)

    def build_beside_readers(self, name: str, *, progress: Progress | None = None) -> None:
        self._both.wait(timeout=10)
        super().build_beside_readers(name, progress=progress)

    def scan(self, name: str, **options: Any) -> Iterator[pa.RecordBatch]:
        if "columns" not in options:
            self._both.wait(timeout=10)
        return super().scan(name, **options)


def test_an_index_is_built_while_records_are_read_back() -> None:
    other = Meeting()
    _, recovery = restored(adopted(MemoryVectorStore()), other, accept_loss=True)
    assert recovery is not None
    assert [phase.name for phase in recovery.phases] == PHASES
    assert other.status(recovery.plan.physical).indexed


class Calling(Meeting):
    """Its definitions call code of others, which somebody consented to."""

    def definitions(self, spec: CollectionSpec, *, with_roles: bool) -> Definitions:
        return Definitions(spec, code=(Call("index i", "public.f", "is somebody's"),))

    def before_rights(self, spec: CollectionSpec) -> CollectionSpec:
        return spec

    def open_up(self, name: str) -> None:
        pass

    def remove(self, name: str) -> tuple[str, ...]:
        self.drop(name)
        return ()

    def scan(self, name: str, **options: Any) -> Iterator[pa.RecordBatch]:
        assert self.status(name).indexed  # what an index calls may write: it is over by now
        return MemoryVectorStore.scan(self, name, **options)


def test_an_index_that_calls_code_of_others_is_built_before_records_are_read_back() -> None:
    other, repository = Calling(), adopted(MemoryVectorStore())
    request = Request(collection="items", store="second", accept_loss=True)
    plan = plan_recovery(request, into(other, repository, "second"))
    assert plan.definitions is not None
    agreed = request.model_copy(update={"accept_code": plan.definitions.digest})
    recovery = recover(agreed, into(other, repository, "second"))
    assert [phase.name for phase in recovery.phases][2:6] == ["schema", "records", "index", "prove"]
    assert dict(recovery.chosen) == {"pairs": "some"}


class Differing(InPairs):
    """Builds until it is told to stop, and returns another text than it was given."""

    stopped = False

    def build_beside_readers(self, name: str, *, progress: Progress | None = None) -> None:
        assert progress is not None
        try:
            for done in range(1000):
                progress(done, 1000)
                time.sleep(0.01)
        except Exception:
            self.stopped = True
            raise

    def scan(self, name: str, **options: Any) -> Iterator[pa.RecordBatch]:
        for batch in super().scan(name, **options):
            names = batch.schema.names
            arrays = [pa.array(["b"]) if n == "text" else batch.column(n) for n in names]
            yield pa.RecordBatch.from_arrays(arrays, schema=batch.schema)


def test_an_index_beside_is_not_waited_for_where_records_differ() -> None:
    other = Differing(takes_two=False)
    with pytest.raises(Damaged, match="does not read back"):
        restored(adopted(MemoryVectorStore()), other, accept_loss=True)
    assert other.stopped
