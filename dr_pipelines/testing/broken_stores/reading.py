"""Stores that a backup cannot rely on: scans lose or mix records, change tokens mislead."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import pyarrow as pa

from dr_pipelines.testing.broken_stores.columns import with_column
from dr_pipelines.testing.memory_store import MemoryVectorStore


class ReturnsInOrderOfWriting(MemoryVectorStore):
    """The last record of a batch comes first."""

    def scan(self, name: str, **more: Any) -> Iterator[pa.RecordBatch]:
        batches = super().scan(name, **more)
        return (b.take(pa.array(range(len(b) - 1, -1, -1), pa.int64())) for b in batches)


class MissesTheLastBatch(MemoryVectorStore):
    """A scan of several batches ends before the last one."""

    def scan(self, name: str, **more: Any) -> Iterator[pa.RecordBatch]:
        batches = [*super().scan(name, **more)]
        return iter(batches[:-1] if len(batches) > 1 else batches)


class RepeatsOutOfOrder(MemoryVectorStore):
    """A scan in any order begins each batch but the first with a record that comes twice."""

    def scan(self, name: str, *, ordered: bool = True, **more: Any) -> Iterator[pa.RecordBatch]:
        for number, batch in enumerate(super().scan(name, ordered=ordered, **more)):
            if number and not ordered:
                yield batch.slice(0, 1)
            yield batch


class AllColumnsOutOfOrder(MemoryVectorStore):
    """A scan in any order gives every column, whatever is asked for."""

    def scan(self, name: str, *, ordered: bool = True, **more: Any) -> Iterator[pa.RecordBatch]:
        options = more if ordered else more | {"columns": None}
        return super().scan(name, ordered=ordered, **options)


class IgnoresDocumentsOutOfOrder(MemoryVectorStore):
    """A scan of some documents in any order gives all of them."""

    def scan(self, name: str, *, ordered: bool = True, **more: Any) -> Iterator[pa.RecordBatch]:
        options = more if ordered else more | {"documents": None}
        return super().scan(name, ordered=ordered, **options)


class IgnoresDocuments(MemoryVectorStore):
    """A scan of some documents gives all of them."""

    def scan(self, name: str, **more: Any) -> Iterator[pa.RecordBatch]:
        return super().scan(name, **more | {"documents": None})


class ScansWhatIsThereNow(MemoryVectorStore):
    """Every batch is read from the newest state."""

    def scan(self, name: str, **more: Any) -> Iterator[pa.RecordBatch]:
        for number in range(1_000_000):
            batches = super().scan(name, **more)
            batch = next((b for i, b in enumerate(batches) if i == number), None)
            if batch is None:
                return
            yield batch


class TearsRecords(MemoryVectorStore):
    """Texts are read a moment after everything else."""

    def scan(self, name: str, **more: Any) -> Iterator[pa.RecordBatch]:
        first = list(super().scan(name, **more))
        time.sleep(0.005)
        now = self.newest(name).table
        texts = dict(zip(now["id"].to_pylist(), now["text"].to_pylist(), strict=True))
        for batch in first:
            read = [texts.get(key) for key in batch.column("id").to_pylist()]
            torn = with_column(pa.Table.from_batches([batch]), "text", pa.array(read, pa.string()))
            yield from torn.combine_chunks().to_batches()


class PagesByNumber(MemoryVectorStore):
    """Each batch is what stands at its place then: a deletion moves the others past the reader."""

    scans_one_moment: ClassVar[bool] = False

    def scan(self, name: str, *, batch_rows: int = 8192, **more: Any) -> Iterator[pa.RecordBatch]:
        start = 0
        while True:
            batches = super().scan(name, **more)
            page = pa.Table.from_batches([*batches]).slice(start, batch_rows).combine_chunks()
            if not len(page):
                return
            yield page.to_batches()[0]
            start += batch_rows


class ChangeTokenNeverChanges(MemoryVectorStore):
    """The token tells which collection it is, and nothing of its records."""

    def change_token(self, name: str) -> str | None:
        return super().describe(name).name


class ChangeTokenCountsWrites(MemoryVectorStore):
    """A collection that was dropped and made again begins to count again."""

    def __init__(self) -> None:
        super().__init__()
        self._writes = dict[str, int]()

    def drop(self, name: str) -> None:
        super().drop(name)
        self._writes.pop(name, None)

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        super().write(name, batch, replaces=replaces)
        self._writes[name] = self._writes.get(name, 0) + 1

    def change_token(self, name: str) -> str | None:
        return str(self._writes.get(super().describe(name).name, 0))


class ChangeTokenCounts(MemoryVectorStore):
    """A record that is replaced by another leaves the count as it was."""

    def change_token(self, name: str) -> str | None:
        return str(self.status(name).records)


class ChangeTokenAlwaysChanges(MemoryVectorStore):
    """Two tokens differ although nothing was written between them."""

    _tokens = 0

    def change_token(self, name: str) -> str | None:
        super().change_token(name)
        self._tokens += 1
        return str(self._tokens)


BROKEN: dict[type[MemoryVectorStore], str] = {
    ReturnsInOrderOfWriting: "test_a_scan_ascends_bytewise",
    MissesTheLastBatch: "test_a_scan_is_complete_in_batches_of_any_size",
    RepeatsOutOfOrder: "test_a_scan_is_complete_in_batches_of_any_size",
    AllColumnsOutOfOrder: "test_a_scan_gives_the_columns_asked_for_in_their_order",
    IgnoresDocumentsOutOfOrder: "test_a_scan_of_documents_gives_only_theirs",
    IgnoresDocuments: "test_a_scan_of_documents_gives_only_theirs",
    ScansWhatIsThereNow: "test_a_scan_does_not_see_what_is_written_during_it",
    TearsRecords: "test_a_scan_under_a_writer_gives_whole_records",
    PagesByNumber: "test_a_scan_does_not_see_what_is_written_during_it",
    ChangeTokenNeverChanges: "test_a_change_token_is_equal_while_nothing_changes",
    ChangeTokenCountsWrites: "test_a_change_token_is_equal_while_nothing_changes",
    ChangeTokenCounts: "test_a_change_token_is_equal_while_nothing_changes",
    ChangeTokenAlwaysChanges: "test_a_change_token_is_equal_while_nothing_changes",
}
"""Each broken store and the test of the contract that catches it."""
