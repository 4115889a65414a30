"""What every vector store must do.

class TestMyStore(VectorStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> VectorStore:
        return MyStore(tmp_path)

A store that normalises or rounds says so in `vector_tolerance`; this suite is for those that keep
the bits they are given.
"""

# ruff: noqa: S101 - a suite is made of assertions

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.errors import AlreadyExists, InvalidRequest, NotFound, Refused
from dr_pipelines.model.collection import CollectionSpec, CollectionStatus, Metric, Vector
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
    reciprocal_rank_fusion,
)
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import VectorStore
from dr_pipelines.testing.store_samples import (
    EXTREMES,
    FILTERED,
    SPEC,
    contents,
    document,
    expected,
    record,
    table,
    texts,
    vector,
)

NAME = SPEC.name
OTHER = SPEC.physical("handbook@20260202T120000Z")
ODD_IDS = ("a#1", "a!1", "a", "A", "é", "z", "日本", "🗝", "e\u0301", "~", "a#10", "a#2", "￿")
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


def _changed(column: str, value: Any) -> Callable[[], pa.Table]:
    return lambda: table(record(), record("b", **{column: value}))


def _recast(column: str, type: pa.DataType) -> Callable[[], pa.Table]:
    def make() -> pa.Table:
        good = table(record())
        index = good.schema.get_field_index(column)
        return good.set_column(index, column, good.column(column).cast(type))

    return make


WRONG_BATCHES: tuple[Callable[[], pa.Table], ...] = (
    lambda: table(record()).drop_columns(["uri"]),
    lambda: table(record()).append_column("more", pa.array([1])),
    lambda: table(record()).select(list(reversed(store_schema(SPEC).names))),
    _recast("chunk_index", pa.int64()),
    _recast("year", pa.int32()),
    _recast("text", pa.large_string()),
    _recast("seen", pa.timestamp("us")),
    _recast("embedding", pa.list_(pa.float64(), 3)),
    _changed("id", None),
    _changed("document_id", None),
    _changed("chunk_index", None),
    _changed("id", record()["id"]),
    _changed("embedding", [1.0, float("nan"), 0.0]),
    _changed("embedding", [1.0, float("inf"), 0.0]),
    _changed("picture", [float("-inf"), 0.0]),
    _changed("embedding", [1.0, None, 0.0]),
)


class VectorStoreContract:
    """Subclass it and provide the fixture `store`: an empty store."""

    # Collections and aliases

    def test_a_new_store_is_empty(self, store: VectorStore) -> None:
        assert (store.collections(), store.aliases()) == ([], {})

    def test_a_specification_is_kept_whole(self, store: VectorStore) -> None:
        plain = CollectionSpec(
            name="plain", vectors=(Vector(name="v", dimension=1),), keyword_index=False
        )
        store.create(SPEC)
        store.create(plain)
        assert (store.describe(NAME), store.describe("plain")) == (SPEC, plain)
        assert store.collections() == [NAME, "plain"]

    def test_creating_again_keeps_the_records(self, store: VectorStore) -> None:
        _filled(store, record())
        store.create(SPEC)
        assert contents(store) == expected(record())

    def test_another_specification_under_a_taken_name_is_refused(self, store: VectorStore) -> None:
        _filled(store, record())
        other = SPEC.model_copy(update={"origin": None})
        with pytest.raises(AlreadyExists, match=NAME):
            store.create(other)
        assert (store.describe(NAME), contents(store)) == (SPEC, expected(record()))

    def test_what_does_not_exist_is_not_found_by_any_call(self, store: VectorStore) -> None:
        store.create(OTHER)
        query = Query(vector=vector(1, 0, 0))
        calls: tuple[Callable[[], object], ...] = (
            lambda: store.describe(NAME),
            lambda: store.status(NAME),
            lambda: list(store.scan(NAME)),
            lambda: store.search(NAME, query, limit=1),
            lambda: store.write(NAME, table(record())),
            lambda: store.build_index(NAME),
            lambda: store.promote(NAME, alias="handbook"),
            lambda: store.describe("../" + OTHER.name),
        )
        for call in calls:
            with pytest.raises(NotFound):
                call()
        store.drop(NAME)
        assert (store.collections(), store.aliases()) == ([OTHER.name], {})

    def test_a_dropped_collection_is_gone_and_its_name_is_free(self, store: VectorStore) -> None:
        _filled(store, record())
        store.create(OTHER)
        store.drop(NAME)
        assert store.collections() == [OTHER.name]
        with pytest.raises(NotFound):
            store.describe(NAME)
        store.create(SPEC)
        assert contents(store) == []

    def test_an_alias_reads_like_its_collection(self, store: VectorStore) -> None:
        _filled(store, record())
        store.promote(NAME, alias="handbook")
        assert store.aliases() == {"handbook": NAME}
        assert store.collections() == [NAME]
        assert store.describe("handbook") == SPEC
        assert store.status("handbook").records == 1
        assert contents(store, "handbook") == expected(record())
        assert len(store.search("handbook", Query(vector=vector(1, 0, 0)), limit=3)) == 1

    def test_writes_name_the_collection_not_the_alias(self, store: VectorStore) -> None:
        _filled(store, record())
        store.promote(NAME, alias="handbook")
        calls: tuple[Callable[[], object], ...] = (
            lambda: store.write("handbook", table(record("b"))),
            lambda: store.drop("handbook"),
            lambda: store.build_index("handbook"),
            lambda: store.promote("handbook", alias="other"),
        )
        for call in calls:
            with pytest.raises(NotFound):
                call()
        assert contents(store) == expected(record())

    def test_a_collection_that_is_served_is_not_dropped(self, store: VectorStore) -> None:
        _filled(store, record())
        store.create(OTHER)
        store.promote(NAME, alias="handbook")
        with pytest.raises(Refused, match="handbook"):
            store.drop(NAME)
        assert contents(store, "handbook") == expected(record())
        store.promote(OTHER.name, alias="handbook")
        store.drop(NAME)
        assert store.collections() == [OTHER.name]

    def test_a_name_is_an_alias_or_a_collection(self, store: VectorStore) -> None:
        plain = SPEC.physical("plain")
        store.create(SPEC)
        store.create(plain)
        with pytest.raises(AlreadyExists):
            store.promote(NAME, alias="plain")
        store.promote(NAME, alias="handbook")
        with pytest.raises(AlreadyExists):
            store.create(SPEC.physical("handbook"))
        with pytest.raises(InvalidRequest):
            store.promote(NAME, alias="../handbook")
        assert store.aliases() == {"handbook": NAME}

    def test_a_reader_never_sees_an_alias_absent_or_half_switched(self, store: VectorStore) -> None:
        _filled(store, record("old"))
        _filled(store, record("new"), spec=OTHER)
        store.promote(NAME, alias="handbook")
        done, seen = threading.Event(), []

        def read() -> None:
            while not done.is_set():
                try:
                    seen.append((store.aliases(), store.describe("handbook").name))
                except NotFound as error:
                    seen.append(({}, str(error)))

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for _ in range(30):
            store.promote(OTHER.name, alias="handbook")
            store.promote(NAME, alias="handbook")
        done.set()
        for reader in readers:
            reader.join()
        names = (NAME, OTHER.name)
        assert [s for s in seen if s[0].get("handbook") not in names or s[1] not in names] == []
        assert seen

    # Writing

    def test_every_value_comes_back_as_it_was(self, store: VectorStore) -> None:
        _filled(store, *EXTREMES)
        assert contents(store) == expected(*EXTREMES)

    def test_vectors_come_back_bit_for_bit(self, store: VectorStore) -> None:
        random = np.random.default_rng(7).integers(0, 2**32, 3000, dtype=np.uint32)
        values = random.view(np.float32)
        values = np.where(np.isfinite(values), values, np.float32(-0.0)).reshape(1000, 3)
        spec = CollectionSpec(name="bits", vectors=(Vector(dimension=3),))
        rows = pa.table(
            {
                "id": [f"{n:04d}" for n in range(1000)],
                "document_id": ["d"] * 1000,
                "chunk_index": pa.array(range(1000), pa.int32()),
                "text": pa.nulls(1000, pa.string()),
                "uri": pa.nulls(1000, pa.string()),
                "extra": pa.nulls(1000, pa.string()),
                "embedding": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 3),
            },
            schema=store_schema(spec),
        )
        _filled(store, spec=spec)
        store.write("bits", rows)
        read = pa.Table.from_batches(store.scan("bits")).combine_chunks()
        got = read.column("embedding").chunk(0).flatten().to_numpy()
        assert store.vector_tolerance == 0
        assert got.tobytes() == values.tobytes()

    def test_an_empty_batch_changes_nothing(self, store: VectorStore) -> None:
        _filled(store, record())
        store.write(NAME, table())
        assert contents(store) == expected(record())

    def test_a_write_replaces_by_id_and_leaves_the_rest(self, store: VectorStore) -> None:
        _filled(store, *document("a", chunks=3), *document("b", chunks=2))
        store.write(NAME, table(record("a", 1, text="new"), record("c")))
        left = [record("a", 0), record("a", 1, text="new"), record("a", 2)]
        assert contents(store) == expected(*left, *document("b", chunks=2), record("c"))

    def test_other_records_of_replaced_documents_are_gone(self, store: VectorStore) -> None:
        _filled(store, *document("a", chunks=3), *document("b", chunks=2), *document("c", chunks=1))
        store.write(NAME, table(record("a", 1, text="new")), replaces=["a", "b", "unknown"])
        assert contents(store) == expected(record("a", 1, text="new"), *document("c", chunks=1))

    def test_an_empty_batch_that_replaces_is_a_deletion(self, store: VectorStore) -> None:
        _filled(store, *document("a", chunks=3), *document("a#000001", chunks=1))
        store.write(NAME, table(), replaces=["a"])
        assert contents(store) == expected(*document("a#000001", chunks=1))
        assert store.status(NAME).records == 1

    def test_a_repeated_write_changes_nothing(self, store: VectorStore) -> None:
        _filled(store, *document("a", chunks=3))
        store.build_index(NAME)
        for _ in range(2):
            store.write(NAME, table(*document("a", chunks=2)), replaces=["a"])
        assert contents(store) == expected(*document("a", chunks=2))
        assert store.status(NAME).records == 2
        hits = store.search(NAME, Query(mode=Mode.KEYWORD, text="chunk"), limit=9)
        assert [hit.id for hit in hits] == ["a#000000", "a#000001"]

    @pytest.mark.parametrize("number", range(len(WRONG_BATCHES)))
    def test_a_wrong_batch_is_refused_whole(self, store: VectorStore, number: int) -> None:
        _filled(store, record("kept"))
        with pytest.raises(InvalidRequest, match=NAME):
            store.write(NAME, WRONG_BATCHES[number](), replaces=["kept"])
        assert contents(store) == expected(record("kept"))

    def test_a_status_counts_what_is_there(self, store: VectorStore) -> None:
        store.create(SPEC)
        before = store.status(NAME)
        assert before == CollectionStatus(records=0, indexed=False, size_bytes=before.size_bytes)
        store.write(NAME, table(*document("a", chunks=3)))
        store.build_index(NAME)
        store.build_index(NAME)
        after = store.status(NAME)
        assert after == CollectionStatus(records=3, indexed=True, size_bytes=after.size_bytes)
        assert after.size_bytes > 0

    # Scanning

    def test_a_scan_ascends_bytewise(self, store: VectorStore) -> None:
        rows = [record("d", n, id=odd) for n, odd in enumerate(ODD_IDS)]
        _filled(store, *rows[::2])
        store.write(NAME, table(*rows[1::2]))
        assert contents(store) == expected(*rows)

    @pytest.mark.parametrize("rows", [1, 2, 7, 8192, 100_000])
    def test_a_scan_is_complete_in_batches_of_any_size(self, store: VectorStore, rows: int) -> None:
        _filled(store, *document("a", chunks=7))
        batches = list(store.scan(NAME, batch_rows=rows))
        assert pa.Table.from_batches(batches, schema=store_schema(SPEC)).num_rows == 7
        assert all(0 < batch.num_rows <= rows for batch in batches)

    def test_a_scan_of_many_ranges_is_complete_and_ordered(self, store: VectorStore) -> None:
        rows = [record(f"d{n * 7919 % 20000:05d}", picture=None, raw=None) for n in range(20_000)]
        _filled(store, *rows[:11_000])
        store.write(NAME, table(*rows[11_000:]))
        ids = [row["id"] for row in contents(store, columns=["id"])]
        assert ids == sorted(row["id"] for row in rows)

    def test_a_scan_gives_the_columns_asked_for_in_their_order(self, store: VectorStore) -> None:
        _filled(store, *document("a", chunks=3))
        (batch,) = store.scan(NAME, columns=["seen", "id", "embedding"])
        schema = store_schema(SPEC)
        assert batch.schema == pa.schema([schema.field(n) for n in ("seen", "id", "embedding")])
        texts_only = [row["text"] for row in contents(store, columns=["text"])]
        assert texts_only == [f"chunk {n} of a" for n in range(3)]

    def test_a_scan_has_the_schema_of_the_collection(self, store: VectorStore) -> None:
        _filled(store, record())
        (batch,) = store.scan(NAME)
        assert batch.schema == store_schema(SPEC)

    @pytest.mark.parametrize("columns", [[], ["unknown"], ["id", "id"]])
    def test_columns_that_cannot_be_are_refused(
        self, store: VectorStore, columns: list[str]
    ) -> None:
        _filled(store, record())
        with pytest.raises(InvalidRequest):
            list(store.scan(NAME, columns=columns))

    def test_a_scan_of_documents_gives_only_theirs(self, store: VectorStore) -> None:
        _filled(store, *(row for n in range(9) for row in document(f"d{n}", chunks=3)))
        wanted = [f"x{n}" for n in range(10_000)] + ["d7", "d2", "d2"]
        found = contents(store, documents=wanted, batch_rows=4)
        assert found == expected(*document("d2", chunks=3), *document("d7", chunks=3))
        assert contents(store, documents=[]) == []

    def test_a_scan_does_not_see_what_is_written_during_it(self, store: VectorStore) -> None:
        before = [row for n in range(6) for row in document(f"d{n}", chunks=1)]
        _filled(store, *before)
        scan = store.scan(NAME, batch_rows=2)
        seen = next(scan).to_pylist()
        store.write(NAME, table(record("d1", 0, text="new"), record("d9")), replaces=["d4"])
        seen += [row for batch in scan for row in batch.to_pylist()]
        assert [(row["id"], row["text"]) for row in seen] == [(b["id"], b["text"]) for b in before]
        after = [row for row in before if row["document_id"] not in ("d1", "d4")]
        assert contents(store) == expected(*after, record("d1", 0, text="new"), record("d9"))

    def test_a_scan_that_is_closed_lets_go(self, store: VectorStore) -> None:
        _filled(store, *document("a", chunks=5))
        scan = store.scan(NAME, batch_rows=1)
        next(scan)
        close = getattr(scan, "close", None)
        if close is not None:
            close()
        store.drop(NAME)
        assert store.collections() == []

    # Searching

    def test_nearest_by_cosine(self, store: VectorStore) -> None:
        rows = {"same": [2, 0, 0], "near": [1, 1, 0], "far": [0, 1, 0], "against": [-3, 0, 0]}
        vectors = rows | {"zero": [0, 0, 0], "none": None}
        _filled(store, *(record(name, embedding=v) for name, v in vectors.items()))
        hits = store.search(NAME, Query(vector=vector(5, 0, 0)), limit=10)
        assert [hit.document_id for hit in hits] == ["same", "near", "far", "zero", "against"]
        assert [hit.score for hit in hits] == pytest.approx([1, 0.5**0.5, 0, 0, -1], abs=1e-6)
        zero = store.search(NAME, Query(vector=vector(0, 0, 0)), limit=2)
        assert [(hit.document_id, hit.score) for hit in zero] == [("against", 0), ("far", 0)]

    @pytest.mark.parametrize("metric", [Metric.DOT, Metric.L2])
    def test_nearest_by_dot_product_and_by_distance(
        self, store: VectorStore, metric: Metric
    ) -> None:
        name = "raw" if metric is Metric.DOT else "picture"
        points: dict[str, Any] = {
            "a": [3.0, 4.0],
            "b": [6.0, 8.0],
            "c": [0.0, 0.0],
            "d": [3.0, 4.0],
            "e": None,
        }
        _filled(store, *(record(key) | {name: point} for key, point in points.items()))
        query = Query(vector=vector(3, 4), vector_name=name)
        found = [(hit.document_id, hit.score) for hit in store.search(NAME, query, limit=9)]
        if metric is Metric.DOT:
            assert found == [("b", 50), ("a", 25), ("d", 25), ("c", 0)]
        else:
            assert found == [("a", 0), ("d", 0), ("b", -5), ("c", -5)]

    def test_a_search_gives_the_best_and_no_more_than_asked(self, store: VectorStore) -> None:
        _filled(store, *document("a", chunks=20))
        query = Query(vector=vector(1, 7), vector_name="raw")
        hits = store.search(NAME, query, limit=3)
        assert [hit.id for hit in hits] == ["a#000019", "a#000018", "a#000017"]
        assert [hit.text for hit in hits] == [f"chunk {n} of a" for n in (19, 18, 17)]
        assert len(store.search(NAME, query, limit=100)) == 20

    def test_ties_are_broken_by_id(self, store: VectorStore) -> None:
        _filled(store, *(record("d", n, id=odd, raw=[1, 1]) for n, odd in enumerate(ODD_IDS)))
        query = Query(vector=vector(1, 1), vector_name="raw")
        ordered = sorted(ODD_IDS, key=str.encode)
        for limit in (4, 100):
            hits = store.search(NAME, query, limit=limit)
            assert [hit.id for hit in hits] == ordered[:limit]

    @pytest.mark.parametrize("number", range(len(MEANT)))
    def test_a_filter_means_the_same_in_every_mode(self, store: VectorStore, number: int) -> None:
        _filled(store, *FILTERED)
        store.build_index(NAME)
        kept, meant = MEANT[number]
        for mode in Mode:
            query = Query(mode=mode, text="chunk", vector=vector(1, 0, 0), filter=kept)
            hits = store.search(NAME, query, limit=10)
            assert {int(hit.id[-6:]) for hit in hits} == meant, (mode, kept)

    def test_a_filter_comes_before_the_limit(self, store: VectorStore) -> None:
        _filled(store, *document("best", chunks=5), record("last", 9, text="9", product="mail"))
        store.build_index(NAME)
        for mode in Mode:
            query = Query(
                mode=mode, text="chunk 9", vector=vector(1, 0, 0), filter=Equals("product", "mail")
            )
            hits = store.search(NAME, query, limit=1)
            assert [hit.document_id for hit in hits] == ["last"], mode

    @pytest.mark.parametrize("number", range(len(WRONG_FILTERS)))
    def test_a_filter_that_does_not_fit_is_refused(self, store: VectorStore, number: int) -> None:
        _filled(store, *FILTERED)
        query = Query(vector=vector(1, 0, 0), filter=WRONG_FILTERS[number])
        with pytest.raises(InvalidRequest):
            store.search(NAME, query, limit=10)

    def test_keywords_rank_by_bm25(self, store: VectorStore) -> None:
        _filled(store, *texts())
        store.build_index(NAME)
        found = store.search(NAME, Query(mode=Mode.KEYWORD, text="Wolf, fox"), limit=10)
        assert [(int(hit.id[-6:]), round(hit.score, 6)) for hit in found] == BM25
        assert store.search(NAME, Query(mode=Mode.KEYWORD, text="zebra !"), limit=10) == []
        best = store.search(NAME, Query(mode=Mode.KEYWORD, text="über 42"), limit=1)
        assert [int(hit.id[-6:]) for hit in best] == [2]

    def test_keywords_follow_later_writes(self, store: VectorStore) -> None:
        _filled(store, record("t", 6, text="wolf"), record("u", text="fox"))
        store.build_index(NAME)
        store.write(NAME, table(*texts()), replaces=["u"])
        found = store.search(NAME, Query(mode=Mode.KEYWORD, text="Wolf, fox"), limit=10)
        assert [(int(hit.id[-6:]), round(hit.score, 6)) for hit in found] == BM25

    def test_hybrid_fuses_both_rankings(self, store: VectorStore) -> None:
        _filled(store, *texts())
        store.build_index(NAME)
        both = Query(mode=Mode.HYBRID, text="wolf", vector=vector(0, 1, 0))
        rankings = [
            [hit.id for hit in store.search(NAME, replace(both, mode=mode), limit=100)]
            for mode in (Mode.VECTOR, Mode.KEYWORD)
        ]
        fused = store.search(NAME, both, limit=2)
        assert [(hit.id, hit.score) for hit in fused] == reciprocal_rank_fusion(rankings)[:2]

    def test_keywords_without_an_index_are_refused(self, store: VectorStore) -> None:
        bare = SPEC.physical("bare").model_copy(update={"keyword_index": False})
        store.create(SPEC)
        store.create(bare)
        store.build_index("bare")
        for name in (NAME, "bare"):
            with pytest.raises(InvalidRequest, match=name):
                store.search(name, Query(mode=Mode.KEYWORD, text="wolf"), limit=1)

    def test_a_search_that_cannot_be_is_refused(self, store: VectorStore) -> None:
        _filled(store, record())
        good = vector(1, 0, 0)
        for query, limit in (
            (Query(), 1),
            (Query(vector=good), 0),
            (Query(vector=vector(1, 0)), 1),
            (Query(vector=vector(1, float("nan"), 0)), 1),
            (Query(vector=good, vector_name="unknown"), 1),
            (Query(mode=Mode.KEYWORD), 1),
            (Query(mode=Mode.HYBRID, text="a"), 1),
        ):
            with pytest.raises(InvalidRequest):
                store.search(NAME, query, limit=limit)

    def test_an_empty_collection_answers_nothing(self, store: VectorStore) -> None:
        _filled(store)
        store.build_index(NAME)
        for mode in Mode:
            query = Query(mode=mode, text="wolf", vector=vector(1, 0, 0))
            assert store.search(NAME, query, limit=5) == []
        assert list(store.scan(NAME)) == []


BM25 = [(2, 1.261048), (0, 1.170687), (1, 0.95232), (6, 0.497423)]
"""Computed by hand from the formula for `Wolf, fox` over `texts()`."""


def _filled(store: VectorStore, *records: dict[str, Any], spec: CollectionSpec = SPEC) -> None:
    store.create(spec)
    store.write(spec.name, table(*records, spec=spec))
