"""A filter means the same in every mode, and to the engine's own search."""

# ruff: noqa: S101 - a suite is made of assertions

from typing import Any, ClassVar

import numpy as np

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.query import (
    And,
    Contains,
    Equals,
    Filter,
    In,
    Mode,
    Not,
    Or,
    Query,
    Range,
)
from dr_pipelines.protocols import Counts, VectorStore
from dr_pipelines.testing.store_promises.given import NAME, filled
from dr_pipelines.testing.store_samples import (
    FILTERED,
    SPEC,
    document,
    record,
    vector,
)

MEANT: tuple[tuple[Filter, set[int]], ...] = (
    (Equals("product", "search"), {0}),
    (Equals("product", ""), {3}),
    (Not(Equals("product", "search")), {1, 2, 3, 4, 5}),
    (Not(Not(Equals("product", "search"))), {0}),
    (Not(Range("year", gte=2020)), {0, 2, 3}),
    (Not(Contains("groups", "eng")), {2, 3, 4, 5}),
    (In("product", ("mail", "Search", "x")), {1, 4}),
    (In("product", ()), set()),
    (Not(In("product", ("mail",))), {0, 2, 3, 4, 5}),
    (Range("year", gt=2019, lte=2021), {1, 4}),
    (Range("year", gte=2019, lt=2021), {0, 1}),
    (Range("product", gt="Search", lt="t"), {0, 1, 5}),
    (Range("weight", gte=0), {0, 3, 4, 5}),
    (Range("weight", lt=0), set()),
    (Equals("weight", 0.0), {3}),
    (Equals("current", False), {3}),
    (Range("seen", lt=record()["seen"]), {5}),
    (Equals("seen", record()["seen"]), {0, 1, 3, 4}),
    (Contains("groups", "eng"), {0, 1}),
    (Contains("groups", ""), {4}),
    (And((Contains("groups", "eng"), Range("year", gte=2020))), {1}),
    (Or((Equals("product", "search"), Equals("year", -1))), {0, 3}),
    (And(()), {0, 1, 2, 3, 4, 5}),
    (Or(()), set()),
)

WRONG_FILTERS: tuple[Filter, ...] = (
    Equals("unknown", 1),
    Equals("note", "n"),
    Equals("product", 1),
    Equals("year", 1.5),
    Equals("year", True),
    Equals("groups", "eng"),
    Contains("product", "s"),
    Range("year"),
    Range("current", gte=False),
    In("year", (2020, "2021")),
    Not(And((Equals("unknown", 1),))),
)


class Filters:
    """Which records a filter lets through; one that does not fit is refused."""

    refuses: ClassVar[frozenset[str]]

    def test_a_filter_means_the_same_in_every_mode(self, store: VectorStore) -> None:
        self._require_meanings(store, exact=True)

    def test_a_filter_means_the_same_to_the_engine(self, store: VectorStore) -> None:
        self._require_meanings(store, exact=False)

    def test_a_filter_comes_before_the_limit(self, store: VectorStore) -> None:
        filled(store, *document("best", chunks=5), record("last", 9, text="9", product="mail"))
        store.build_index(NAME)
        for mode in Mode:
            query = Query(
                mode=mode, text="chunk 9", vector=vector(1, 0, 0), filter=Equals("product", "mail")
            )
            hits = store.search(NAME, query, limit=1)
            assert [hit.document_id for hit in hits] == ["last"], mode

    def test_a_filter_that_does_not_fit_is_refused(self, store: VectorStore) -> None:
        store.create(SPEC)
        answered = [wrong for wrong in WRONG_FILTERS if not self._refused(store, wrong)]
        assert not answered

    def _require_meanings(self, store: VectorStore, *, exact: bool) -> None:
        """Each filter lets the same records through in every mode; all that fail are named."""
        rows = [row for row in FILTERED if self._keeps(row)]
        present = {row["chunk_index"] for row in rows}
        filled(store, *rows)
        store.build_index(NAME)
        wrong = dict[tuple[str, str], object]()
        for condition, meant in MEANT:
            for mode in Mode:
                query = Query(
                    mode=mode, text="chunk", vector=vector(1, 0, 0), filter=condition, exact=exact
                )
                hits = {int(hit.id[-6:]) for hit in store.search(NAME, query, limit=10)}
                if hits != meant & present:
                    wrong[str(mode), str(condition)] = (hits, meant & present)
            count = store.count(NAME, condition) if isinstance(store, Counts) else None
            if count not in (None, len(meant & present)):
                wrong["count", str(condition)] = (count, meant & present)
        assert not wrong

    def _refused(self, store: VectorStore, wrong: Filter) -> bool:
        try:
            store.search(NAME, Query(vector=vector(1, 0, 0), filter=wrong), limit=10)
        except InvalidRequest:
            return True
        return False

    def _keeps(self, row: dict[str, Any]) -> bool:
        """True if the engine keeps such a value of `weight`: it may refuse those of `EXTREMES`."""
        weight = row["weight"]
        if weight is None or np.isfinite(weight):
            return True
        return ("nan" if np.isnan(weight) else "small") not in self.refuses
