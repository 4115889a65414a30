"""Stores that replace too little or too much, refuse by halves, or cannot repeat a write."""

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import DrError
from dr_pipelines.model.collection import CollectionStatus
from dr_pipelines.testing.memory_store import MemoryVectorStore


class ForgetsReplaces(MemoryVectorStore):
    """A write adds its batch, and removes nothing of the documents it replaces."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        del replaces
        super().write(name, batch)


class ReplacesOnlyWhatComesBack(MemoryVectorStore):
    """A deletion, an empty batch, does nothing."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        coming = set(batch.column("document_id").to_pylist())
        super().write(name, batch, replaces=[d for d in replaces if d in coming])


class ReplacesByPrefix(MemoryVectorStore):
    """A document whose id begins like that of a replaced one is gone too."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        documents = self.newest(name).table.column("document_id").to_pylist()
        super().write(name, batch, replaces=[d for d in documents if d.startswith(tuple(replaces))])


class DeletesBeforeItChecks(MemoryVectorStore):
    """A refused batch has already removed what it was to replace."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        super().write(name, self.newest(name).table.slice(0, 0), replaces=replaces)
        super().write(name, batch)


class AppendsAgain(MemoryVectorStore):
    """A repeated write leaves records twice."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        before = self.newest(name).table
        super().write(name, batch, replaces=replaces)
        again = before.filter(pc.is_in(before.column("id"), value_set=batch.column("id")))
        after = self.newest(name)
        doubled = pa.concat_tables([after.table, again])
        self.tables[name] = replace(after, table=doubled.sort_by("id"))


class CountsWhatWasWritten(MemoryVectorStore):
    """Deleted records still count."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        super().write(name, batch, replaces=replaces)
        self._written = getattr(self, "_written", 0) + len(batch)

    def status(self, name: str) -> CollectionStatus:
        records = getattr(self, "_written", 0)
        return super().status(name).model_copy(update={"records": records})


class AcceptsNaN(MemoryVectorStore):
    """A vector with a component that is no number is taken."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        try:
            super().write(name, batch, replaces=replaces)
        except DrError as error:
            if "component" not in str(error):
                raise


BROKEN: dict[type[MemoryVectorStore], str] = {
    ForgetsReplaces: "test_other_records_of_replaced_documents_are_gone",
    ReplacesOnlyWhatComesBack: "test_an_empty_batch_that_replaces_is_a_deletion",
    ReplacesByPrefix: "test_an_empty_batch_that_replaces_is_a_deletion",
    DeletesBeforeItChecks: "test_a_wrong_batch_is_refused_whole",
    AppendsAgain: "test_a_repeated_write_changes_nothing",
    CountsWhatWasWritten: "test_an_empty_batch_that_replaces_is_a_deletion",
    AcceptsNaN: "test_a_wrong_batch_is_refused_whole",
}
"""Each broken store and the test of the contract that catches it."""
