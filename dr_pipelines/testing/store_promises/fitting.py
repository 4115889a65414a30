"""Losses of a restore are reported beforehand, by reading alone, and match what a write refuses."""

# ruff: noqa: S101 - a suite is made of assertions

from typing import Any, ClassVar

import pyarrow as pa
import pytest

from dr_pipelines.errors import InvalidRequest, NotFound
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.query import Mode, Query
from dr_pipelines.protocols import VectorStore
from dr_pipelines.testing.store_promises.given import NAME, as_kept, filled
from dr_pipelines.testing.store_samples import (
    EXTREMES,
    SPEC,
    contents,
    record,
    table,
)

NOT_FINITE: tuple[dict[str, Any], ...] = (
    {"embedding": [1.0, float("nan"), 0.0]},
    {"embedding": [1.0, float("inf"), 0.0]},
    {"picture": [float("-inf"), 0.0]},
)


def _refuses(store: VectorStore, batch: pa.Table) -> bool:
    try:
        store.write(NAME, batch)
    except InvalidRequest:
        return True
    return False


class Fitting:
    """Forecasts of whether the engine would take back a collection, and each of its records."""

    refuses: ClassVar[frozenset[str]]
    tuned: ClassVar[tuple[CollectionSpec, ...]]

    def test_what_a_store_made_itself_comes_back_as_it_was(self, store: VectorStore) -> None:
        for original in (SPEC, *self.tuned):
            spec = store.fit(original).spec
            store.create(spec)
            store.build_index(spec.name)
            store.promote(spec.name, alias="served")
            assert store.compatibility(spec.name) == ()
            assert store.compatibility("served") == ()
        with pytest.raises(NotFound, match="unheard"):
            store.compatibility("unheard")

    def test_what_can_be_kept_is_no_misfit(self, store: VectorStore) -> None:
        storable = [row for row in EXTREMES if row["document_id"] not in self.refuses]
        rows = table(*storable)
        assert len(store.misfits(SPEC, rows)) == 0
        assert len(store.misfits(SPEC, table())) == 0
        assert all(len(store.misfits(SPEC, batch)) == 0 for batch in rows.to_batches())

    def test_what_is_a_misfit_is_what_a_write_refuses(self, store: VectorStore) -> None:
        """Record by record: neither more nor fewer, whatever is wrong with those beside it."""
        odd = [record(f"odd {n}") | values for n, values in enumerate(NOT_FINITE)]
        batch = table(record("good"), *EXTREMES, *odd, record("other"))
        filled(store)
        refused = [place for place in range(len(batch)) if _refuses(store, batch.slice(place, 1))]
        misfits = store.misfits(SPEC, batch)
        assert misfits.rows.tolist() == refused
        ids, documents = batch["id"].to_pylist(), batch["document_id"].to_pylist()
        assert [misfit.record for misfit in misfits] == [ids[place] for place in refused]
        assert {documents[place] for place in refused} >= self.refuses

    @pytest.mark.parametrize("number", range(len(NOT_FINITE)))
    def test_a_vector_that_is_not_finite_is_kept_or_named(
        self, store: VectorStore, number: int
    ) -> None:
        """Kept to the bit, and no hit; or refused by the name that was said before."""
        odd = record("odd") | NOT_FINITE[number]
        filled(store, record("kept"))
        batch = table(record("good"), odd, record("other"))
        misfits = store.misfits(SPEC, batch)
        if len(misfits):
            (column,) = NOT_FINITE[number]
            assert misfits.rows.tolist() == [1]
            assert [(misfit.record, misfit.column) for misfit in misfits] == [(odd["id"], column)]
            with pytest.raises(InvalidRequest, match=odd["id"]):
                store.write(NAME, batch, replaces=["kept"])
            assert contents(store) == as_kept(store, record("kept"))
            return
        store.write(NAME, batch, replaces=["kept"])
        store.build_index(NAME)
        assert contents(store) == as_kept(store, record("good"), odd, record("other"))
        query = Query(mode=Mode.VECTOR, vector=record()["embedding"], exact=True)
        hits = {hit.document_id for hit in store.search(NAME, query, limit=9)}
        assert hits - {"odd"} == {"good", "other"}
        assert ("odd" in hits) == ("embedding" not in NOT_FINITE[number])
