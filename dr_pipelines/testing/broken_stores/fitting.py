"""Stores that do not say beforehand what they will not take back, or say it of what they do."""

import math
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.compatibility import Note, Outcome
from dr_pipelines.model.misfit import Misfit, Misfits
from dr_pipelines.stores.shared.misfits import misfits_of, problem
from dr_pipelines.testing.broken_stores.columns import with_column
from dr_pipelines.testing.memory_store import MemoryVectorStore


class DistrustsItself(MemoryVectorStore):
    """Of what it made itself it says that a part is lost."""

    def compatibility(self, name: str) -> tuple[Note, ...]:
        return (*super().compatibility(name), Note("keyword_index", Outcome.LOST, "not made again"))


class KnowsEveryCollection(MemoryVectorStore):
    """Of a collection that is not there it says that all of it comes back."""

    def compatibility(self, name: str) -> tuple[Note, ...]:
        return super().compatibility(name) if name in self.collections() else ()


class FindsMisfitsEverywhere(MemoryVectorStore):
    """Every record is one that it would not take, and it takes every one."""

    def misfits(self, spec: CollectionSpec, batch: pa.Table | pa.RecordBatch) -> Misfits:
        rows, reason = np.arange(batch.num_rows), f"not in {spec.name}"
        named = [Misfit(record=str(key), column="id", reason=reason) for key in batch["id"]]
        return Misfits(rows, tuple(named))


class SaysNothingOfWhatItRefuses(MemoryVectorStore):
    """A vector that is not finite is refused, and nobody was told."""

    def write(self, name: str, batch: pa.Table, **more: Any) -> None:
        for row in batch.to_pylist():
            values = [*(row["embedding"] or ()), *(row["picture"] or ())]
            if any(not math.isfinite(value) for value in values if value is not None):
                raise InvalidRequest(f"batch for {name!r}: record {row['id']!r} is not finite")
        super().write(name, batch, **more)


class MakesNumbersFinite(MemoryVectorStore):
    """NaN and infinities become 0 in silence."""

    def write(self, name: str, batch: pa.Table, **more: Any) -> None:
        for column in ("embedding", "picture"):
            rows = [row and [_finite(v) for v in row] for row in batch.column(column).to_pylist()]
            made = pa.array(rows, batch.schema.field(column).type)
            batch = with_column(batch, column, made)
        super().write(name, batch, **more)


class SaysOneReasonAlone(MemoryVectorStore):
    """Where a vector is not finite nobody is told of the numbers that are none."""

    refuses: ClassVar[frozenset[str]] = frozenset(["nan"])

    def misfits(self, spec: CollectionSpec, batch: pa.Table | pa.RecordBatch) -> Misfits:
        vectors, numbers = self._wrong(batch)
        wrong = [place in (vectors or numbers) for place in range(batch.num_rows)]
        return misfits_of(batch, [problem("id", np.array(wrong, np.bool_), f"not in {spec.name}")])

    def write(self, name: str, batch: pa.Table, **more: Any) -> None:
        if {"weight", "embedding", "picture"} <= {*batch.column_names}:
            for place in set().union(*self._wrong(batch)):
                key = batch["id"][place].as_py()
                raise InvalidRequest(f"batch for {name!r}: record {key!r} is not finite")
        super().write(name, batch, **more)

    def _wrong(self, batch: pa.Table | pa.RecordBatch) -> tuple[set[int], set[int]]:
        """Places of vectors, and of numbers, that are refused."""
        vectors, numbers = set[int](), set[int]()
        for place, row in enumerate(batch.to_pylist()):
            values = [*(row["embedding"] or ()), *(row["picture"] or ())]
            if not all(map(math.isfinite, values)):
                vectors.add(place)
            if isinstance(row["weight"], float) and math.isnan(row["weight"]):
                numbers.add(place)
        return vectors, numbers


def _finite(value: float | None) -> float | None:
    return value if value is None or math.isfinite(value) else 0.0


BROKEN: dict[type[MemoryVectorStore], str] = {
    DistrustsItself: "test_what_a_store_made_itself_comes_back_as_it_was",
    KnowsEveryCollection: "test_what_a_store_made_itself_comes_back_as_it_was",
    FindsMisfitsEverywhere: "test_what_can_be_kept_is_no_misfit",
    SaysNothingOfWhatItRefuses: "test_a_vector_that_is_not_finite_is_kept_or_named",
    SaysOneReasonAlone: "test_what_is_a_misfit_is_what_a_write_refuses",
    MakesNumbersFinite: "test_a_vector_that_is_not_finite_is_kept_or_named",
}
"""Each broken store and the test of the contract that catches it."""
