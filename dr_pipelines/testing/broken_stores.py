"""Vector stores that break one promise each, to prove that the contract suite bites."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import DrError
from dr_pipelines.model.collection import CollectionSpec, CollectionStatus
from dr_pipelines.model.query import And, Equals, Filter, FloatArray, Hit, In, Mode, Not, Query
from dr_pipelines.stores.memory import MemoryVectorStore


def _with_column(batch: pa.Table, name: str, column: pa.Array) -> pa.Table:
    index = batch.schema.get_field_index(name)
    return batch.set_column(index, batch.schema.field(name), column)


class ForgetsReplaces(MemoryVectorStore):
    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        del replaces
        super().write(name, batch)


class ReplacesOnlyWhatComesBack(MemoryVectorStore):
    """A deletion, an empty batch, does nothing."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        coming = set(batch.column("document_id").to_pylist())
        super().write(name, batch, replaces=[d for d in replaces if d in coming])


class ReplacesByPrefix(MemoryVectorStore):
    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        documents = self._resolved(name).table.column("document_id").to_pylist()
        super().write(name, batch, replaces=[d for d in documents if d.startswith(tuple(replaces))])


class DeletesBeforeItChecks(MemoryVectorStore):
    """A refused batch has already removed what it was to replace."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        super().write(name, self._resolved(name).table.slice(0, 0), replaces=replaces)
        super().write(name, batch)


class AppendsAgain(MemoryVectorStore):
    """A repeated write leaves records twice."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        before = self._resolved(name).table
        super().write(name, batch, replaces=replaces)
        again = before.filter(pc.is_in(before.column("id"), value_set=batch.column("id")))
        after = self._resolved(name)
        doubled = pa.concat_tables([after.table, again])
        self._collections[name] = replace(after, table=doubled.sort_by("id"))


class ReturnsInOrderOfWriting(MemoryVectorStore):
    def scan(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
    ) -> Iterator[pa.RecordBatch]:
        batches = super().scan(name, columns=columns, documents=documents, batch_rows=batch_rows)
        return (b.take(pa.array(range(len(b) - 1, -1, -1), pa.int64())) for b in batches)


class MissesTheLastBatch(MemoryVectorStore):
    def scan(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
    ) -> Iterator[pa.RecordBatch]:
        batches = [*super().scan(name, columns=columns, documents=documents, batch_rows=batch_rows)]
        return iter(batches[:-1] if len(batches) > 1 else batches)


class IgnoresDocuments(MemoryVectorStore):
    def scan(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
    ) -> Iterator[pa.RecordBatch]:
        del documents
        return super().scan(name, columns=columns, batch_rows=batch_rows)


class ScansWhatIsThereNow(MemoryVectorStore):
    """Every batch is read from the newest state."""

    def scan(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
    ) -> Iterator[pa.RecordBatch]:
        for number in range(1_000_000):
            batches = super().scan(
                name, columns=columns, documents=documents, batch_rows=batch_rows
            )
            batch = next((b for i, b in enumerate(batches) if i == number), None)
            if batch is None:
                return
            yield batch


class DropsEmptyStrings(MemoryVectorStore):
    """The empty string becomes null, as in some databases."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        texts = pc.if_else(pc.equal(batch.column("text"), ""), None, batch.column("text"))
        super().write(name, _with_column(batch, "text", texts), replaces=replaces)


class FillsNulls(MemoryVectorStore):
    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        uris = pc.fill_null(batch.column("uri"), "")
        super().write(name, _with_column(batch, "uri", uris), replaces=replaces)


class TruncatesTexts(MemoryVectorStore):
    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        texts = pc.utf8_slice_codeunits(batch.column("text"), 0, 65_535)
        super().write(name, _with_column(batch, "text", texts), replaces=replaces)


class SortsLists(MemoryVectorStore):
    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        if "groups" in batch.column_names:
            lists = batch.column("groups").to_pylist()
            ordered = [v and sorted(v, key=lambda item: (item is None, item)) for v in lists]
            column = pa.array(ordered, pa.list_(pa.string()))
            batch = _with_column(batch, "groups", column)
        super().write(name, batch, replaces=replaces)


class _ChangesVectors(MemoryVectorStore):
    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        super().write(name, batch, replaces=replaces)
        stored = self._resolved(name)
        for vector in stored.spec.vectors:
            column = stored.table.column(vector.name).to_pylist()
            changed = [v and self.changed(np.array(v, np.float32)).tolist() for v in column]
            array = pa.array(changed, pa.list_(pa.float32(), vector.dimension))
            stored = replace(stored, table=_with_column(stored.table, vector.name, array))
        self._collections[name] = stored

    def changed(self, vector: FloatArray) -> FloatArray:
        raise NotImplementedError


class NormalisesVectors(_ChangesVectors):
    def changed(self, vector: FloatArray) -> FloatArray:
        norm = np.float32(np.linalg.norm(vector.astype(np.float64)))
        return vector / norm if norm > 0 else vector


class LosesTheSignOfZero(_ChangesVectors):
    def changed(self, vector: FloatArray) -> FloatArray:
        return vector + np.float32(0)


class FlushesSubnormals(_ChangesVectors):
    def changed(self, vector: FloatArray) -> FloatArray:
        tiny = (np.abs(vector) < np.finfo(np.float32).tiny) & (vector != 0)
        return np.where(tiny, np.float32(0), vector)


class AliasIsAbsentForAMoment(MemoryVectorStore):
    def promote(self, name: str, *, alias: str) -> None:
        self.describe(name)
        self._aliases.pop(alias, None)
        time.sleep(0.001)
        super().promote(name, alias=alias)


class AliasOfAnything(MemoryVectorStore):
    def promote(self, name: str, *, alias: str) -> None:
        self._aliases[alias] = name


class DropsWhatIsServed(MemoryVectorStore):
    def drop(self, name: str) -> None:
        self._collections.pop(name, None)


class CreatesAfresh(MemoryVectorStore):
    """The same spec again empties the collection."""

    def create(self, spec: CollectionSpec) -> None:
        self._collections.pop(spec.name, None)
        super().create(spec)


class ForgetsTheOrigin(MemoryVectorStore):
    def describe(self, name: str) -> CollectionSpec:
        return super().describe(name).model_copy(update={"origin": None})


class IgnoresFilters(MemoryVectorStore):
    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        return super().search(name, replace(query, filter=None), limit=limit)


class FiltersAfterTheLimit(MemoryVectorStore):
    """Keeps what matches of the best `limit` records, not the best `limit` of what matches."""

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        if query.filter is None:
            return super().search(name, query, limit=limit)
        best = {hit.id for hit in super().search(name, replace(query, filter=None), limit=limit)}
        return [hit for hit in super().search(name, query, limit=limit) if hit.id in best]


class NullIsNeverNot(MemoryVectorStore):
    """Three-valued logic, as plain SQL has it."""

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        kept = query.filter and _three_valued(query.filter)
        return super().search(name, replace(query, filter=kept), limit=limit)


def _three_valued(kept: Filter) -> Filter:
    match kept:
        case Not(Equals("product", _)):
            known = In("product", ("search", "mail", "", "Search", "sé"))
            return And((kept, known))
        case _:
            return kept


class ReturnsOneMore(MemoryVectorStore):
    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        return super().search(name, query, limit=max(limit, 0) and limit + 1)


class SkipsTheBest(MemoryVectorStore):
    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        return super().search(name, query, limit=max(limit, 0) and limit + 1)[1:]


class BreaksTiesBackwards(MemoryVectorStore):
    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        hits = super().search(name, query, limit=limit)
        backwards = hits[::-1]
        return sorted(backwards, key=lambda hit: -hit.score)


class IndexesOnce(MemoryVectorStore):
    """Keywords of later writes are not found."""

    def build_index(self, name: str) -> None:
        super().build_index(name)
        self._indexed_ids = set(self._resolved(name).table.column("id").to_pylist())

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        hits = super().search(name, query, limit=limit)
        if query.mode is not Mode.KEYWORD:
            return hits
        return [hit for hit in hits if hit.id in self._indexed_ids]


class CountsWhatWasWritten(MemoryVectorStore):
    """Deleted records still count."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        super().write(name, batch, replaces=replaces)
        self._written = getattr(self, "_written", 0) + len(batch)

    def status(self, name: str) -> CollectionStatus:
        records = getattr(self, "_written", 0)
        return super().status(name).model_copy(update={"records": records})


class AcceptsNaN(MemoryVectorStore):
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
    ReturnsInOrderOfWriting: "test_a_scan_ascends_bytewise",
    MissesTheLastBatch: "test_a_scan_is_complete_in_batches_of_any_size",
    IgnoresDocuments: "test_a_scan_of_documents_gives_only_theirs",
    ScansWhatIsThereNow: "test_a_scan_does_not_see_what_is_written_during_it",
    DropsEmptyStrings: "test_every_value_comes_back_as_it_was",
    FillsNulls: "test_every_value_comes_back_as_it_was",
    TruncatesTexts: "test_every_value_comes_back_as_it_was",
    SortsLists: "test_every_value_comes_back_as_it_was",
    NormalisesVectors: "test_vectors_come_back_bit_for_bit",
    LosesTheSignOfZero: "test_vectors_come_back_bit_for_bit",
    FlushesSubnormals: "test_vectors_come_back_bit_for_bit",
    AliasIsAbsentForAMoment: "test_a_reader_never_sees_an_alias_absent_or_half_switched",
    AliasOfAnything: "test_what_does_not_exist_is_not_found_by_any_call",
    DropsWhatIsServed: "test_a_collection_that_is_served_is_not_dropped",
    CreatesAfresh: "test_creating_again_keeps_the_records",
    ForgetsTheOrigin: "test_a_specification_is_kept_whole",
    IgnoresFilters: "test_a_filter_means_the_same_in_every_mode",
    FiltersAfterTheLimit: "test_a_filter_comes_before_the_limit",
    NullIsNeverNot: "test_a_filter_means_the_same_in_every_mode",
    ReturnsOneMore: "test_a_search_gives_the_best_and_no_more_than_asked",
    SkipsTheBest: "test_a_search_gives_the_best_and_no_more_than_asked",
    BreaksTiesBackwards: "test_ties_are_broken_by_id",
    IndexesOnce: "test_keywords_follow_later_writes",
    CountsWhatWasWritten: "test_an_empty_batch_that_replaces_is_a_deletion",
    AcceptsNaN: "test_a_wrong_batch_is_refused_whole",
}
"""Each broken store and the test of the contract that catches it."""
