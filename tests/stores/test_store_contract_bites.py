"""Each broken store fails the suite, and at the test that is about its fault."""

import importlib
import math
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import CollectionSpec, VectorIndex
from dr_pipelines.model.misfit import Misfits
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.shared.misfits import misfits_of, problem
from dr_pipelines.stores.shared.requests import checked_batch_rows, checked_columns
from dr_pipelines.testing import broken_stores
from dr_pipelines.testing.broken_stores import BROKEN
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.store_contract import VectorStoreContract
from dr_pipelines.testing.store_promises import aliases
from dr_pipelines.testing.store_samples import SPEC
from dr_pipelines.testing.suites import failing

INDEX = VectorIndex(kind="hnsw", parameters={"m": 7})
TUNED = SPEC.physical("tuned").model_copy(
    update={
        "vectors": (SPEC.vectors[0].model_copy(update={"index": INDEX}), *SPEC.vectors[1:]),
        "shards": 3,
        "replicas": 2,
        "engine": {"memory": {"storage": {"level": 5}, "limits": {"rows": 7}}},
    }
)


def test_every_broken_store_is_listed() -> None:
    stores = {
        store
        for listed in pkgutil.iter_modules(broken_stores.__path__, f"{broken_stores.__name__}.")
        for name, store in vars(importlib.import_module(listed.name)).items()
        if isinstance(store, type) and store.__module__ == listed.name and name[0] != "_"
    }
    assert stores == set(BROKEN)


class Suite(VectorStoreContract):
    engine = "memory"
    tuned = (TUNED,)

    def reopened(self, store: VectorStore) -> VectorStore:
        opened: VectorStore = getattr(store, "reopened", lambda: store)()
        return opened


def suite_of(store: type[MemoryVectorStore]) -> type[Suite]:
    """The suite, with what the store says that it cannot do."""
    declared = {
        name: getattr(store, name)
        for name in ("refuses", "scans_one_moment")
        if hasattr(store, name)
    }
    return type("Suite", (Suite,), declared)


class KeepsNoNaN(MemoryVectorStore):
    """Refuses what it cannot keep, and says which record has it."""

    refuses = frozenset(["nan"])

    def misfits(self, spec: CollectionSpec, batch: pa.Table | pa.RecordBatch) -> Misfits:
        return misfits_of(batch, [problem("weight", pc.is_nan(batch.column("weight")), "is NaN")])

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        if "weight" in batch.column_names and pa.types.is_floating(batch.column("weight").type):
            bad = batch.filter(pc.fill_null(pc.is_nan(batch.column("weight")), False))
            if len(bad):
                raise InvalidRequest(f"batch for {name!r}: record {bad['id'][0].as_py()!r} has NaN")
        super().write(name, batch, replaces=replaces)


class ReadsTheNewest(MemoryVectorStore):
    """Every batch is read when it is its turn, from the id on at which the last one ended."""

    scans_one_moment = False

    def scan(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
        ordered: bool = True,
    ) -> Iterator[pa.RecordBatch]:
        del ordered  # it comes in order anyway
        names = checked_columns(columns, self.describe(name))
        last = ""
        while True:
            batches = super().scan(name, documents=documents)
            rows = pa.Table.from_batches([*batches], store_schema(self.describe(name)))
            page = rows.filter(pc.greater(rows["id"], last)).slice(
                0, checked_batch_rows(batch_rows)
            )
            if not len(page):
                return
            yield page.select(names).combine_chunks().to_batches()[0]
            last = page["id"][-1].as_py()


class Rounds(MemoryVectorStore):
    """Keeps twelve bits of a component, and says so."""

    vector_tolerance = 2.0**-12

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        super().write(name, batch, replaces=replaces)
        stored = self.newest(name)
        table = stored.table
        for place, field in enumerate(table.schema):
            if any(vector.name == field.name for vector in stored.spec.vectors):
                rounded = pa.array(rounded_in(table.column(field.name).to_pylist()), field.type)
                table = table.set_column(place, field, rounded)
        self.tables[name] = replace(stored, table=table)


def rounded_in(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value):
        fraction, exponent = math.frexp(value)
        return math.ldexp(round(fraction * 2**12) / 2**12, exponent)
    if isinstance(value, dict):
        return value | {"values": rounded_in(value["values"])}
    return [rounded_in(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("store", [MemoryVectorStore, KeepsNoNaN, ReadsTheNewest, Rounds])
def test_a_good_store_fails_nowhere(store: type[MemoryVectorStore]) -> None:
    assert failing(suite_of(store), store=store) == set()


@pytest.mark.parametrize("store", BROKEN, ids=lambda store: store.__name__)
def test_a_broken_store_fails_where_it_breaks_its_promise(
    store: type[MemoryVectorStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aliases, "PATIENCE_SECONDS", 0.2)  # for what will not come
    caught = BROKEN[store]
    assert failing(suite_of(store), only=caught, store=store) == {caught}
