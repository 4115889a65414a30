"""Stores that give back other values or vectors than they were given."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import Vector, VectorKind, VectorType
from dr_pipelines.model.query import FloatArray
from dr_pipelines.stores.shared.batches import checked_batch
from dr_pipelines.stores.shared.floats import parsed
from dr_pipelines.stores.shared.narrowing import narrowed
from dr_pipelines.testing.broken_stores.columns import Column, with_column
from dr_pipelines.testing.memory_store import MemoryVectorStore

NUMBER = re.compile(r"-?\d+\.\d+(e[-+]?\d+)?")


class DropsEmptyStrings(MemoryVectorStore):
    """The empty string becomes null, as in some databases."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        texts = pc.if_else(pc.equal(batch.column("text"), ""), None, batch.column("text"))
        super().write(name, with_column(batch, "text", texts), replaces=replaces)


class FillsNulls(MemoryVectorStore):
    """A missing URI becomes an empty one."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        uris = pc.fill_null(batch.column("uri"), "")
        super().write(name, with_column(batch, "uri", uris), replaces=replaces)


class DropsFalse(MemoryVectorStore):
    """False becomes null, as where only what is true is written."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        if "current" in batch.column_names:
            flags = pc.if_else(batch.column("current"), True, None)
            batch = with_column(batch, "current", flags)
        super().write(name, batch, replaces=replaces)


class TruncatesTexts(MemoryVectorStore):
    """A text ends after 65,535 characters."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        texts = pc.utf8_slice_codeunits(batch.column("text"), 0, 65_535)
        super().write(name, with_column(batch, "text", texts), replaces=replaces)


class SortsLists(MemoryVectorStore):
    """A list comes back in the order of its values, not its own."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        if "groups" in batch.column_names:
            lists = batch.column("groups").to_pylist()
            ordered = [v and sorted(v, key=lambda item: (item is None, item)) for v in lists]
            column = pa.array(ordered, pa.list_(pa.string()))
            batch = with_column(batch, "groups", column)
        super().write(name, batch, replaces=replaces)


class ReadsDecimals(MemoryVectorStore):
    """A number is its digits as a float, by a power of ten as a float: a bit is lost of some."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        if "weight" in batch.column_names:
            read = [w and parsed(w) for w in batch.column("weight").to_pylist()]
            batch = with_column(batch, "weight", pa.array(read, pa.float64()))
        super().write(name, batch, replaces=replaces)


class ReadsDecimalsOfExtra(MemoryVectorStore):
    """`extra` is read and written again, with 16 digits."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        rounded = [
            extra and NUMBER.sub(lambda digits: f"{float(digits[0]):.16g}", extra)
            for extra in batch.column("extra").to_pylist()
        ]
        super().write(name, with_column(batch, "extra", pa.array(rounded)), replaces=replaces)


class _KeepsNoNaN(MemoryVectorStore):
    refuses: ClassVar[frozenset[str]] = frozenset(["nan"])

    def _without(self, batch: pa.Table) -> pa.Table:
        weights = batch.column("weight")
        return with_column(
            batch, "weight", pc.if_else(pc.fill_null(pc.is_nan(weights), False), None, weights)
        )

    def _refused(self, batch: pa.Table) -> list[str]:
        if "weight" not in batch.column_names:
            return []
        nan = pc.fill_null(pc.is_nan(batch.column("weight")), False)
        refused: list[str] = batch.column("id").filter(nan).to_pylist()
        return refused


class AcceptsWhatItCannotKeep(_KeepsNoNaN):
    """NaN becomes null instead of an error."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        writable = self._without(batch) if self._refused(batch) else batch
        super().write(name, writable, replaces=replaces)


class RefusesNamelessly(_KeepsNoNaN):
    """Which of the records it is has to be guessed."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        if self._refused(batch):
            raise InvalidRequest(f"batch for {name!r}: a value that cannot be kept")
        super().write(name, batch, replaces=replaces)


class RefusesHalf(_KeepsNoNaN):
    """Writes the valid rows of a batch that it refuses."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        refused = self._refused(batch)
        if not refused:
            return super().write(name, batch, replaces=replaces)
        good = pc.invert(pc.is_in(batch.column("id"), value_set=pa.array(refused)))
        super().write(name, checked_batch(batch, self.describe(name)).filter(good))
        raise InvalidRequest(f"batch for {name!r}: record {refused[0]!r} cannot be kept")


class _ChangesColumns(MemoryVectorStore):
    """Keeps other values than it was given, of some vectors."""

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        super().write(name, batch, replaces=replaces)
        stored = self.newest(name)
        table = stored.table
        for vector in stored.spec.vectors:
            changed = self.changed(table.column(vector.name), vector)
            table = with_column(table, vector.name, changed)
        self.tables[name] = replace(stored, table=table)

    def changed(self, column: pa.ChunkedArray, vector: Vector) -> Column:
        raise NotImplementedError


class ForgetsSparseVectors(_ChangesColumns):
    """Every sparse vector becomes null."""

    def changed(self, column: pa.ChunkedArray, vector: Vector) -> Column:
        return pa.nulls(len(column), column.type) if vector.kind is VectorKind.SPARSE else column


class KeepsOneOfSeveralVectors(_ChangesColumns):
    """Of several vectors of a record only the first is kept."""

    def changed(self, column: pa.ChunkedArray, vector: Vector) -> Column:
        if vector.kind is not VectorKind.MULTI:
            return column
        return pa.array([several and several[:1] for several in column.to_pylist()], column.type)


class EmptyVectorsAreMissing(_ChangesColumns):
    """A sparse vector without components, or no vectors, becomes null."""

    def changed(self, column: pa.ChunkedArray, vector: Vector) -> Column:
        """One column, as such a store gives it back."""
        match vector.kind:
            case VectorKind.SPARSE:
                values = [v if v and v["indices"] else None for v in column.to_pylist()]
            case VectorKind.MULTI:
                values = [several or None for several in column.to_pylist()]
            case _:
                return column
        return pa.array(values, column.type)


class RoundsNarrowTypes(_ChangesColumns):
    """Keeps float16 as bfloat16, which has fewer digits."""

    def changed(self, column: pa.ChunkedArray, vector: Vector) -> Column:
        if vector.dtype is not VectorType.FLOAT16 or vector.kind is not VectorKind.DENSE:
            return column
        values = np.array(column.to_pylist(), np.float32)
        rounded = narrowed(values.ravel(), VectorType.BFLOAT16)
        return pa.FixedSizeListArray.from_arrays(pa.array(rounded), type=column.type)


class RoundsMoreThanItSays(_ChangesColumns):
    """Says that components differ by a millionth, and they differ by a thousandth."""

    @property
    def vector_tolerance(self) -> float:
        return 1e-6

    def changed(self, column: pa.ChunkedArray, vector: Vector) -> Column:
        if vector.kind is not VectorKind.DENSE:
            return column
        rows = [v and np.round(np.array(v), 3).tolist() for v in column.to_pylist()]
        return pa.array(rows, column.type)


class _ChangesVectors(_ChangesColumns):
    """Keeps another vector than it was given, of every record."""

    def changed(self, column: pa.ChunkedArray, vector: Vector) -> Column:
        del vector
        rows = [v and self.stored(np.array(v, np.float32)).tolist() for v in column.to_pylist()]
        return pa.array(rows, column.type)

    def stored(self, vector: FloatArray) -> FloatArray:
        raise NotImplementedError


class NormalisesVectors(_ChangesVectors):
    """Vectors come back with a length of one."""

    def stored(self, vector: FloatArray) -> FloatArray:
        norm = np.float32(np.linalg.norm(vector.astype(np.float64)))
        return vector / norm if norm > 0 else vector


class LosesTheSignOfZero(_ChangesVectors):
    """A component of -0.0 comes back as 0.0."""

    def stored(self, vector: FloatArray) -> FloatArray:
        return vector + np.float32(0)


class FlushesSubnormals(_ChangesVectors):
    """A component too small for a normal number becomes zero."""

    def stored(self, vector: FloatArray) -> FloatArray:
        tiny = (np.abs(vector) < np.finfo(np.float32).tiny) & (vector != 0)
        return np.where(tiny, np.float32(0), vector)


BROKEN: dict[type[MemoryVectorStore], str] = {
    DropsEmptyStrings: "test_every_value_comes_back_as_it_was",
    DropsFalse: "test_every_value_comes_back_as_it_was",
    FillsNulls: "test_every_value_comes_back_as_it_was",
    TruncatesTexts: "test_every_value_comes_back_as_it_was",
    SortsLists: "test_every_value_comes_back_as_it_was",
    ReadsDecimals: "test_every_double_comes_back_bit_for_bit",
    ReadsDecimalsOfExtra: "test_every_double_comes_back_bit_for_bit",
    AcceptsWhatItCannotKeep: "test_what_cannot_be_kept_is_refused_by_name",
    RefusesNamelessly: "test_what_cannot_be_kept_is_refused_by_name",
    RefusesHalf: "test_what_cannot_be_kept_is_refused_by_name",
    ForgetsSparseVectors: "test_sparse_and_several_vectors_come_back",
    KeepsOneOfSeveralVectors: "test_sparse_and_several_vectors_come_back",
    EmptyVectorsAreMissing: "test_an_empty_vector_is_not_a_missing_one",
    RoundsNarrowTypes: "test_vectors_of_narrower_types_come_back",
    RoundsMoreThanItSays: "test_vectors_come_back_bit_for_bit",
    NormalisesVectors: "test_vectors_come_back_bit_for_bit",
    LosesTheSignOfZero: "test_vectors_come_back_bit_for_bit",
    FlushesSubnormals: "test_vectors_come_back_bit_for_bit",
}
"""Each broken store and the test of the contract that catches it."""
