"""Tables that users made come back equal for LanceDB's own client."""

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import lance
import lancedb
import numpy as np
import pyarrow as pa
import pytest
from lance.arrow import bfloat16_array
from lancedb.index import FTS, Bitmap, BTree, Fm, IvfFlat, IvfHnswSq, IvfPq, LabelList

from dr_pipelines.errors import Damaged, InvalidRequest
from dr_pipelines.model.collection import (
    CollectionSpec,
    FieldType,
    Metric,
    VectorKind,
    VectorType,
)
from dr_pipelines.model.query import Equals, Mode, Query
from dr_pipelines.planning.parts import compare_parts
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.lancedb import open_store

COUNT = 300
UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")
PAIR = pa.list_(pa.float32(), 2)
EVERY_TYPE: dict[str, pa.Array] = {
    "int8": pa.array([-1, None], pa.int8()),
    "uint64": pa.array([2**64 - 1, None], pa.uint64()),
    "half": pa.array(np.array([1.5, 2], np.float16)),
    "single": pa.array([0.1, None], pa.float32()),
    "decimal": pa.array([decimal.Decimal("1.20"), None], pa.decimal128(10, 2)),
    "date": pa.array([datetime.date(2020, 1, 31), None]),
    "date64": pa.array([datetime.date(2020, 1, 31), None], pa.date64()),
    "time": pa.array([datetime.time(1, 2, 3), None], pa.time32("ms")),
    "nanoseconds": pa.array([-5, None], pa.timestamp("ns", tz="Europe/Paris")),
    "naive": pa.array([5, None], pa.timestamp("us")),
    "duration": pa.array([5, None], pa.duration("us")),
    "binary": pa.array([b"\0x", b""]),
    "fixed": pa.array([b"ab", None], pa.binary(2)),
    "large": pa.array(["é", None], pa.large_string()),
    "dictionary": pa.array(["a", None]).dictionary_encode(),
    "integers": pa.array([[1, None], None]),
    "large_texts": pa.array([["a", None], None], pa.large_list(pa.string())),
    "map": pa.array([[("a", b"1")], None], pa.map_(pa.string(), pa.binary())),
    "pair": pa.array([[1, 2], None], pa.list_(pa.int32(), 2)),
    "nothing": pa.nulls(2),
    "nested": pa.array(
        [{"a": [5, None], "b": b"x", "c": decimal.Decimal("1.20"), "f": float("nan")}, None],
        pa.struct(
            [
                ("a", pa.list_(pa.timestamp("ns"))),
                ("b", pa.binary()),
                ("c", pa.decimal128(5, 2)),
                ("f", pa.float32()),
            ]
        ),
    ),
    "dictionary of bytes": pa.array([b"\xff", None]).dictionary_encode(),
    "dictionary of doubles": pa.array([0.1, float("nan")]).dictionary_encode(),
    "dictionary of numbers": pa.array([2**64 - 1, None], pa.uint64()).dictionary_encode(),
    "dictionaries": pa.array(
        [[b"\xff", None], None], pa.list_(pa.dictionary(pa.int32(), pa.binary()))
    ),
    "view": pa.array(["é", None], pa.string_view()),
    "view of bytes": pa.array([b"\xff", None], pa.binary_view()),
    "decimal256": pa.array([decimal.Decimal("1.20"), None], pa.decimal256(60, 2)),
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"u" * 16, None], pa.binary(16))),
    "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1.0}', None])),
    "tensor": pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.float32(), [2, 1]), pa.array([[1, 2], None], PAIR)
    ),
    "bfloat16": bfloat16_array([1.5, None]),
    "bfloat16 vector": pa.FixedSizeListArray.from_arrays(bfloat16_array([1.5, 2, 3, None]), 2),
    "structs": pa.array([[{"a": 1, "b": datetime.date(2020, 1, 31)}, None], None]),
    "map of times": pa.array([[(b"k", 5)], None], pa.map_(pa.binary(), pa.timestamp("ns"))),
    "several doubles": pa.array([[[1, 0.1]], None], pa.list_(pa.list_(pa.float64(), 2))),
    "score": pa.array(["reserved", None]),
    "with space": pa.array([1, None]),
    "1st": pa.array([True, None]),
}
"""A column of each type that is none of the six of a field, and names that a field cannot have."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "tables"


@pytest.fixture
def store(directory: Path) -> VectorStore:
    return open_store(f"lance:{directory}", base=Path("/nowhere"))


def copied(store: VectorStore, name: str, copy: str = "copy@2") -> CollectionSpec:
    """A backup and a restore: describe, scan, create, write, build."""
    spec = store.describe(name).physical(copy, origin="1-2b3c4d5e")
    store.create(spec)
    for batch in store.scan(name, batch_rows=128):
        for _ in range(2):  # a write that is repeated changes nothing
            store.write(copy, pa.Table.from_batches([batch]))
    store.build_index(copy)
    return spec


def seen(directory: Path, table: str) -> dict[str, Any]:
    """Rows of a table as LanceDB's own client reads them, in order of their first column's text."""
    opened = lancedb.connect(directory).open_table(table)
    rows = opened.to_lance().to_table()
    order = np.argsort([str(value) for value in rows.column(0).to_pylist()], kind="stable")
    metadata = dict(opened.schema.metadata or {})
    metadata.pop(b"dr_pipelines.label", None)
    config = dict(opened.to_lance().config())
    return {
        "schema": sorted(opened.schema.with_metadata(metadata).to_string().splitlines()),
        "rows": rows.take(pa.array(order)).replace_schema_metadata(None),
        "indexes": {index.name: text_of(opened, index) for index in opened.list_indices()},
        "config": config,
        "metadata": opened.to_lance().metadata,
        "storage": opened.to_lance().data_storage_version,
    }


def text_of(table: Any, index: Any) -> Any:
    stats = table.index_stats(index.name)
    rows = (stats.num_indexed_rows, stats.num_unindexed_rows, stats.distance_type)
    details = json.dumps(index.index_details, sort_keys=True)
    return (index.index_type, index.columns, details, rows)


def vectors(seed: int, width: int = 32, count: int = COUNT) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(count, width))


def fixed(values: np.ndarray[Any, Any], type: pa.DataType) -> pa.Array:
    flat = pa.array(values.ravel().astype(type.to_pandas_dtype()), type)
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def test_a_table_comes_back_equal_for_its_client(store: VectorStore, directory: Path) -> None:
    marked = pa.field("title", pa.string(), nullable=False, metadata={"unit": "words"})
    columns = {
        "id": pa.array(np.random.default_rng(1).permutation(COUNT) - 50, pa.int64()),
        "title": pa.array([f"title {n}" for n in range(COUNT)]),
        "content": pa.array([f"the wolf and the fox {n % 7}" for n in range(COUNT)]),
        "topic": pa.array([f"topic {n % 5}" for n in range(COUNT)]),
        "tags": pa.array([[f"t{n % 3}", None][: n % 3] for n in range(COUNT)]),
        "seen": pa.array([n * 10**9 for n in range(COUNT)], UTC_MICROSECONDS),
        "f32": fixed(vectors(1), pa.float32()),
        "f16": fixed(vectors(2), pa.float16()),
        "f64": fixed(vectors(3), pa.float64()),
        "bits": fixed(np.random.default_rng(4).integers(0, 256, (COUNT, 4)), pa.uint8()),
        "int8": fixed(np.random.default_rng(5).integers(-128, 128, (COUNT, 4)), pa.int8()),
        "several": pa.array(
            [[row.tolist()] * (n % 3) or None for n, row in enumerate(vectors(6, 16))],
            pa.list_(pa.list_(pa.float32(), 16)),
        ),
    }
    fields = [pa.field(name, array.type) for name, array in columns.items()]
    fields[1] = marked
    schema = pa.schema(fields, metadata={"owner": "tém"})
    table = lancedb.connect(directory).create_table(
        "theirs.v2", pa.table(list(columns.values()), schema=schema)
    )
    ivf = {"num_partitions": 3, "sample_rate": 128, "max_iterations": 7}
    table.create_index(
        "f32", config=IvfHnswSq(distance_type="cosine", m=12, ef_construction=77, **ivf)
    )
    table.create_index(
        "f16", config=IvfPq(distance_type="dot", num_sub_vectors=4, num_bits=4, **ivf)
    )
    table.create_index("f64", config=IvfFlat(distance_type="l2", **ivf), name="doubles")
    table.create_index("bits", config=IvfFlat(distance_type="hamming", **ivf))
    table.create_index("several", config=IvfPq(distance_type="cosine", num_sub_vectors=2, **ivf))
    table.create_index("title", config=BTree(), name="by_title")
    table.create_index("topic", config=Bitmap())
    table.create_index("topic", config=Fm(), name="substrings")
    table.create_index("tags", config=LabelList())
    text = FTS(
        with_position=True,
        language="French",
        stem=False,
        remove_stop_words=True,
        custom_stop_words=["le"],
        ascii_folding=False,
        max_token_length=30,
    )
    table.create_index("content", config=text)
    table.tags.create("gold", 3)
    opened = lance.dataset(directory / "theirs.v2.lance")
    opened.update_config(
        {"lance.auto_cleanup.interval": "9", "lance.auto_cleanup.older_than": "9h"}
    )
    opened.update_metadata({"purpose": "tests"})

    assert store.collections() == ["theirs@v2"]
    spec = copied(store, "theirs@v2")
    before, after = seen(directory, "theirs.v2"), seen(directory, "copy.2")
    for part in before:
        if part != "indexes":
            assert after[part] == before[part], part
    for name, note in before["indexes"].items():
        assert after["indexes"][name] == note, name
    described = store.describe("copy@2")
    compared = compare_parts(spec, described, engine="lancedb")
    assert [c.part for c in compared if not c.unreported] == []
    assert described.engine["lancedb"]["tags"] == {"gold": {"version": 3, "branch": None}}
    assert "engine.lancedb.tags" in [c.part for c in compared]

    assert spec.keyword_index
    by_name = {vector.name: vector for vector in spec.vectors}
    assert (by_name["bits"].dimension, by_name["bits"].dtype) == (32, VectorType.BIT)
    assert by_name["f16"].metric is Metric.DOT
    assert by_name["several"].kind is VectorKind.MULTI
    assert by_name["f32"].index is not None
    assert by_name["f32"].index.parameters["m"] == 12
    for name in ("theirs@v2", "copy@2"):
        for exact in (True, False):
            words = Query(
                mode=Mode.KEYWORD, text="wolf 3", filter=Equals("topic", "topic 3"), exact=exact
            )
            hits = store.search(name, words, limit=5)
            assert len(hits) == 5
            assert "fox 3" in str(hits[0].text)
            near = Query(vector=vectors(1)[7].astype(np.float32), vector_name="f32", exact=exact)
            assert store.search(name, near, limit=1)[0].text == columns["content"][7].as_py()


@pytest.mark.parametrize("column", EVERY_TYPE)
def test_a_column_of_any_type_comes_back(store: VectorStore, directory: Path, column: str) -> None:
    rows = pa.table(
        {
            "id": ["a", "b"],
            column: EVERY_TYPE[column],
            "v": pa.array([[1, 2]] * 2, pa.list_(pa.float32(), 2)),
        }
    )
    lance.write_dataset(rows, directory / "theirs.lance")
    spec = copied(store, "theirs", "copy")
    before, after = seen(directory, "theirs"), seen(directory, "copy")
    assert after["schema"] == before["schema"]
    assert str(after["rows"].to_pylist()) == str(before["rows"].to_pylist())
    field = spec.fields[0]
    assert all(part in "abcdefghijklmnopqrstuvwxyz_0123456789" for part in field.name)
    read = pa.Table.from_batches(store.scan("copy"))
    assert read.equals(pa.Table.from_batches(store.scan("theirs")))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[float("nan"), 1], [0.1, float("-inf")]], pa.list_(pa.float32(), 2)),
        pa.array([[float("nan"), 1], [0.1, float("-inf")]], pa.list_(pa.float16(), 2)),
        pa.array([[float("nan"), 1e300], [1e-320, float("-inf")]], pa.list_(pa.float64(), 2)),
        pa.array([[[float("nan"), 1]], []], pa.list_(pa.list_(pa.float32(), 2))),
    ],
    ids=["float32", "float16", "float64 beyond float32", "several"],
)
def test_vectors_with_any_number_come_back(
    store: VectorStore, directory: Path, column: pa.Array
) -> None:
    lance.write_dataset(pa.table({"id": ["a", "b"], "v": column}), directory / "theirs.lance")
    copied(store, "theirs", "copy")
    before, after = (seen(directory, name) for name in ("theirs", "copy"))
    assert after["schema"] == before["schema"]
    assert str(after["rows"].to_pylist()) == str(before["rows"].to_pylist())
    for batch in store.scan("theirs"):
        assert len(store.misfits(store.describe("theirs"), batch)) == 0


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1, 2], [None, 1]], pa.list_(pa.float32(), 2)),
        pa.array([[1, 2], [None, 1]], pa.list_(pa.float64(), 2)),
        pa.array([[[1, 2]], [[1, 2], None]], pa.list_(pa.list_(pa.float32(), 2))),
    ],
    ids=["component", "double", "one of several"],
)
def test_a_vector_with_a_hole_is_named_as_a_misfit(
    store: VectorStore, directory: Path, column: pa.Array
) -> None:
    lance.write_dataset(pa.table({"id": ["a", "b"], "v": column}), directory / "theirs.lance")
    (batch,) = store.scan("theirs")
    misfits = store.misfits(store.describe("theirs"), batch)
    assert [(misfit.record, misfit.column) for misfit in misfits] == [("b", "v")]
    store.create(store.describe("theirs").physical("copy"))
    with pytest.raises(InvalidRequest, match="record 'b'"):
        store.write("copy", pa.Table.from_batches([batch]))


def test_a_table_without_a_key_comes_back(store: VectorStore, directory: Path) -> None:
    rows = pa.table(
        {
            "item": ["a", "b", "a", None, "a"],
            "price": [1.0, 2.0, 1.0, float("nan"), 1.5],
            "tags": [["x"], [], ["x"], None, ["x"]],
            "vector": pa.array([[1, 2], None, [1, 2], [3, 4], [1, 2]], pa.list_(pa.float64(), 2)),
        }
    )
    lance.write_dataset(rows, directory / "theirs.lance")
    copied(store, "theirs", "copy")
    before, after = (seen(directory, name)["rows"] for name in ("theirs", "copy"))
    assert sorted(map(str, after.to_pylist())) == sorted(map(str, before.to_pylist()))
    read = [pa.Table.from_batches(store.scan(name)) for name in ("theirs", "copy")]
    assert str(read[0].to_pylist()) == str(read[1].to_pylist())  # a NaN equals itself
    ids = read[0].column("id").to_pylist()
    assert len({key.partition(".")[0] for key in ids}) == 4
    assert [key for key in ids if key.endswith(".1")]
    doomed = store.search("copy", Query(vector=np.array([3, 4], np.float32)), limit=1)[0]
    store.write("copy", read[0].slice(0, 0), replaces=[doomed.id])
    assert len(seen(directory, "copy")["rows"]) == 4
    assert store.status("theirs").records == 5
    wrong = read[0]
    for place in (0, 1):
        wrong = wrong.set_column(place, wrong.schema.field(place), pa.array(list("abcde")))
    with pytest.raises(InvalidRequest, match="digest"):
        store.write("copy", wrong)


def test_what_a_table_of_users_has_no_place_for_is_refused(
    store: VectorStore, directory: Path
) -> None:
    rows = pa.table(
        {
            "id": pa.array([1, 2], pa.int16()),
            "small": pa.array([1, 2], pa.int8()),
            "single": pa.array([1, 2], pa.float32()),
            "v": pa.array([[1, 2]] * 2, pa.list_(pa.float32(), 2)),
        }
    )
    schema = rows.schema.set(1, pa.field("small", pa.int8(), nullable=False))
    lance.write_dataset(rows.cast(schema), directory / "theirs.lance")
    copied(store, "theirs", "copy")
    (good,) = store.scan("copy")
    before = good.to_pylist()
    changes: dict[str, Any] = {
        "small": [1, 300],
        "single": [1.0, 0.1],
        "text": [None, "text"],
        "uri": [None, "uri"],
        "extra": [None, "{}"],
        "document_id": ["1", "other"],
    }
    for column, values in {**changes, "small ": [1, None]}.items():
        name = column.strip()
        place, field = good.schema.get_field_index(name), good.schema.field(name)
        wrong = pa.Table.from_batches([good]).set_column(place, field, pa.array(values, field.type))
        with pytest.raises(InvalidRequest, match="record '2'"):
            store.write("copy", wrong)
    for key in ("x", "02", "40000"):
        ids = pa.array(["1", key])
        wrong = pa.Table.from_batches([good])
        for column in ("id", "document_id"):
            place = good.schema.get_field_index(column)
            wrong = wrong.set_column(place, good.schema.field(place), ids)
        with pytest.raises(InvalidRequest, match=f"record '{key}'"):
            store.write("copy", wrong)
    store.write("copy", pa.Table.from_batches([good]), replaces=["unknown", "7"])
    assert [row for batch in store.scan("copy") for row in batch.to_pylist()] == before


def test_ids_that_are_none_are_found_and_a_way_out_is_named(
    store: VectorStore, directory: Path
) -> None:
    vector = pa.array([[1, 2]] * 3, pa.list_(pa.float32(), 2))
    marks = {"lance-schema:unenforced-primary-key": "true"}
    keyed = pa.field("sku", pa.string(), nullable=False, metadata=marks)
    twice = {"id": ["a", "a", "b"], "v": vector}
    lance.write_dataset(pa.table(twice), directory / "twice.lance")
    lance.write_dataset(pa.table(twice | {"id": ["a", None, "b"]}), directory / "none.lance")
    schema = pa.schema([("id", pa.string()), keyed, ("v", vector.type)])
    marked = pa.table([["a", "a", "b"], ["1", "2", "3"], vector], schema=schema)
    lance.write_dataset(marked, directory / "marked.lance")
    with pytest.raises(InvalidRequest, match=r"'a'.*primary-key"):
        list(store.scan("twice"))
    with pytest.raises(InvalidRequest, match="no id"):
        list(store.scan("none"))
    (batch,) = store.scan("marked", columns=["id"])
    assert batch.column("id").to_pylist() == ["1", "2", "3"]


def test_a_section_that_does_not_fit_its_columns_is_damaged(
    store: VectorStore, directory: Path
) -> None:
    vector = pa.array([[1, 2]], pa.list_(pa.float32(), 2))
    lance.write_dataset(pa.table({"id": ["a"], "n": [1], "v": vector}), directory / "x.lance")
    spec = store.describe("x").physical("y")
    section = spec.engine["lancedb"]
    for change in ({"columns": {}}, {"schema": "?"}, {"columns": {"n": "m", "v": "v"}}):  # type: ignore[var-annotated]
        wrong = spec.model_copy(update={"engine": {"lancedb": {**section, **change}}})
        with pytest.raises(Damaged, match="section"):
            store.create(wrong)
    assert store.collections() == ["x"]


def test_tables_that_cannot_be_collections_are_left_out(
    store: VectorStore, directory: Path
) -> None:
    vector = pa.array([[1, 2]], pa.list_(pa.float32(), 2))
    lance.write_dataset(pa.table({"id": ["a"]}), directory / "no_vector.lance")
    lance.write_dataset(pa.table({"id": ["a"], "v": vector}), directory / "2020.lance")
    lance.write_dataset(pa.table({"id": ["a"], "v": vector}), directory / "good-name_1.lance")
    (directory / "half.lance" / "_versions").mkdir(parents=True)
    assert store.collections() == ["good-name_1"]
    described = store.describe("good-name_1")
    assert [field.type for field in described.fields] == []
    assert FieldType.STRING not in [field.type for field in described.fields]


def test_a_write_into_a_table_of_users_keeps_its_history(
    store: VectorStore, directory: Path
) -> None:
    vector = pa.array([[1, 2]] * 2, pa.list_(pa.float32(), 2))
    lance.write_dataset(pa.table({"id": ["a", "b"], "v": vector}), directory / "theirs.lance")
    lance.dataset(directory / "theirs.lance").create_scalar_index("id", "BTREE")
    (batch,) = store.scan("theirs")
    store.write("theirs", pa.Table.from_batches([batch.slice(1)]), replaces=["a"])
    store.build_index("theirs")
    opened = lancedb.connect(directory).open_table("theirs")
    assert [version["version"] for version in opened.list_versions()] == [1, 2, 3, 4]
    assert opened.index_stats("id_idx").num_unindexed_rows == 0
    assert opened.to_arrow().column("id").to_pylist() == ["b"]
    opened.checkout(1)
    assert opened.to_arrow().column("id").to_pylist() == ["a", "b"]
    assert opened.schema.metadata is None
