"""Tables and JSON come back as they were written, or as `Damaged` that names the object."""

import json
from datetime import UTC, datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr_pipelines.errors import Damaged, Refused
from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Vector,
    VectorKind,
)
from dr_pipelines.model.record import (
    CHANGE_SCHEMA,
    SPARSE,
    chunk_schema,
    index_schema,
    segment_schema,
)
from dr_pipelines.repository import codec
from dr_pipelines.repository.codec import (
    decode_table,
    encode_table,
    require_schema,
    sealed_metadata,
)
from dr_pipelines.repository.json_codec import decode_json, seal_json, unseal_json
from tests.repository.builders import (
    LONG,
    Version,
    examples,
    rows_of,
)

SPEC = CollectionSpec(
    name="all",
    vectors=(Vector(dimension=2), Vector(name="other", dimension=1)),
    fields=tuple(
        Field(name=f"f_{kind.name.lower()}", type=kind, role="tenant" if n == 0 else None)
        for n, kind in enumerate(FieldType)
    ),
)
KINDS = SPEC.model_copy(
    update={
        "vectors": (
            Vector(dimension=2),
            Vector(name="words", dimension=9, kind=VectorKind.SPARSE),
            Vector(name="tokens", dimension=2, kind=VectorKind.MULTI),
        )
    }
)
SCHEMAS = {
    "segment": segment_schema(SPEC),
    "segment of every kind": segment_schema(KINDS),
    "chunks": chunk_schema(SPEC),
    "index": index_schema(SPEC),
    "changes": CHANGE_SCHEMA,
}


FLOATS = st.floats(width=32) | st.sampled_from([0.0, -0.0, 1e-45, -1e-45])


def values_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_fixed_size_list(kind):
        items = st.none() | FLOATS
        return st.lists(items, min_size=kind.list_size, max_size=kind.list_size)
    if kind == SPARSE:
        return st.dictionaries(st.integers(0, 2**63 - 1), FLOATS, max_size=3).map(
            lambda value: {"indices": sorted(value), "values": [value[k] for k in sorted(value)]}
        )
    if pa.types.is_list(kind) and pa.types.is_fixed_size_list(kind.value_type):
        return st.lists(values_of(kind.value_type), max_size=3)
    if pa.types.is_list(kind):
        return st.lists(st.none() | st.text(max_size=3), max_size=3)
    return SCALARS[kind]


SCALARS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): st.text(max_size=5),
    pa.large_string(): st.text(max_size=5),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(),
    pa.bool_(): st.booleans(),
    pa.binary(32): st.binary(min_size=32, max_size=32),
    pa.timestamp("us", tz="UTC"): st.datetimes(timezones=st.just(UTC)),
    pa.date32(): st.dates(),
}


def rows_in(schema: pa.Schema) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(
        st.fixed_dictionaries(
            {
                f.name: values_of(f.type) if not f.nullable else st.none() | values_of(f.type)
                for f in schema
            }
        ),
        max_size=4,
    )


def bits(table: pa.Table) -> list[str]:
    """Every value, with the sign of zero; all NaN look alike."""
    return [repr(column.to_pylist()) for column in table.columns]


@pytest.mark.parametrize("name", SCHEMAS)
@examples(25)
@given(data=st.data())
def test_any_table_comes_back(name: str, data: st.DataObject) -> None:
    schema = SCHEMAS[name]
    rows = pa.Table.from_pylist(data.draw(rows_in(schema)), schema=schema)
    decoded = decode_table(encode_table(rows), schema, what="here")
    assert decoded.schema.remove_metadata().equals(schema)
    assert bits(decoded) == bits(rows)


def test_floats_come_back_bit_for_bit() -> None:
    words = [0x7FF8000000000000, 0x7FF8000000000001, 0xFFF8000000000000, 1 << 63, 0, 1]
    column = pa.array(np.array(words, np.uint64).view(np.float64))
    rows = pa.table({"n": column})
    decoded = decode_table(encode_table(rows), rows.schema, what="here")
    assert decoded["n"].combine_chunks().view(pa.uint64()).to_pylist() == words


def test_a_vector_of_any_bits_can_be_kept() -> None:
    words = np.array([0x7FC00001, 0xFF800000, 0x80000000, 1], np.uint32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(words.view(np.float32)), 2)
    rows = pa.table({"v": column.cast(pa.list_(pa.float32(), 2))})
    decoded = decode_table(encode_table(rows), rows.schema, what="here")
    flat = decoded["v"].combine_chunks().flatten()
    assert flat.view(pa.uint32()).to_pylist() == words.tolist()


@pytest.mark.parametrize("after", [[0.0], [float("nan")], [2.0], [None]])
@pytest.mark.parametrize("before", [[-0.0], [1.0]])
def test_what_the_encoder_made_of_a_value_is_compared_by_bits(
    monkeypatch: pytest.MonkeyPatch, before: list[Any], after: list[Any]
) -> None:
    for kind in (pa.float64(), pa.list_(pa.float32(), 1)):
        one, other = (
            pa.table({"n": pa.array([v if kind == pa.float64() else [v] for v in values], kind)})
            for values in (before, after)
        )
        encode_table(one)
        with monkeypatch.context() as patched:
            patched.setattr(codec, "parse", lambda data, columns=None, other=other: other)
            with pytest.raises(Damaged, match="read back from its own encoding differs"):
                encode_table(one)


KINDS_OF_VECTOR = {
    "dense": (pa.list_(pa.float32(), 2), lambda a, b: [a, b]),
    "several": (pa.list_(pa.list_(pa.float32(), 2)), lambda a, b: [[1.0, a], [b, 2.0]]),
    "sparse": (SPARSE, lambda a, b: {"indices": [0, 5], "values": [a, b]}),
}


@pytest.mark.parametrize("kind", KINDS_OF_VECTOR)
def test_vectors_of_every_kind_come_back_bit_for_bit(kind: str) -> None:
    type_, shaped = KINDS_OF_VECTOR[kind]
    empty = {"dense": [], "several": [[]], "sparse": [{"indices": [], "values": []}]}[kind]
    values = [None, *empty, shaped(-0.0, 0.0), None, *empty, shaped(1e-45, -1e-45)]  # type: ignore[misc]
    rows = pa.table({"v": pa.array([*values, shaped(3.4e38, -0.0)], type_)})
    for given_ in (rows, rows.slice(1, 3), pa.concat_tables([rows, rows.slice(2)])):
        decoded = decode_table(encode_table(given_), rows.schema, what="here")
        assert decoded.schema.remove_metadata().equals(rows.schema)
        assert bits(decoded) == bits(given_)


@pytest.mark.parametrize("kind", KINDS_OF_VECTOR)
def test_what_the_encoder_made_of_a_vector_of_any_kind_is_compared_by_bits(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    type_, shaped = KINDS_OF_VECTOR[kind]
    one = pa.table({"v": pa.array([None, shaped(0.0, 1.0)], type_)})
    others: list[list[Any]] = [
        [None, shaped(-0.0, 1.0)],  # nothing but the sign of a zero
        [None, shaped(1e-45, 1.0)],
        [None, shaped(float("nan"), 1.0)],
        [None, None],
        [shaped(0.0, 1.0), shaped(0.0, 1.0)],
        [shaped(0.0, 1.0), None],
    ]
    if kind == "several":
        others += [[[], shaped(0.0, 1.0)], [None, [[1.0, 0.0], [1.0, 2.0], [1.0, 2.0]]]]
    if kind == "sparse":
        others += [[{"indices": [], "values": []}, shaped(0.0, 1.0)]]
        others += [[{"indices": None, "values": None}, shaped(0.0, 1.0)]]
        others += [[None, {"indices": [0, 6], "values": [0.0, 1.0]}]]
    encode_table(one)
    for values in others:
        other = pa.table({"v": pa.array(values, type_)})
        with monkeypatch.context() as patched:
            patched.setattr(codec, "parse", lambda data, columns=None, other=other: other)
            with pytest.raises(Damaged, match="read back from its own encoding differs"):
                encode_table(one)


def test_a_lost_row_or_another_type_from_the_encoder_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = rows_of([Version("a"), Version("b")])
    for wrong in (rows.slice(1), rows.drop_columns(["text"]), rows.replace_schema_metadata(None)):
        monkeypatch.setattr(codec, "parse", lambda data, columns=None, wrong=wrong: wrong)
        if wrong.equals(rows):
            encode_table(rows)
        else:
            with pytest.raises(Damaged, match="differs"):
                encode_table(rows)


SEGMENT = rows_of([Version("a", texts=("one", "two")), Version("b", tenant="t")])
SEGMENT_SCHEMA = SEGMENT.schema
LABELS = {"stage": "documents", "day": "2026-01-01", "input": "0" * 64, "note": "-" * 70}


def test_every_truncation_is_damaged() -> None:
    data = encode_table(SEGMENT)
    step = 1 if LONG else 7
    sizes = {
        *range(0, len(data), step),
        *range(min(64, len(data))),
        *range(len(data) - 64, len(data)),
    }
    for size in sorted(sizes):
        with pytest.raises(Damaged, match="over there: not readable as Parquet"):
            decode_table(data[:size], SEGMENT_SCHEMA, what="over there")


def test_every_flip_in_a_page_is_damaged_or_harmless() -> None:
    """Bytes behind the pages are covered by an object's hash, or by its seal."""
    data = encode_table(SEGMENT)
    pages = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    equal = 0
    for offset in range(0, pages, 1 if LONG else 11):
        flipped = bytearray(data)
        flipped[offset] ^= 1 << (offset % 8)
        try:
            table = decode_table(bytes(flipped), SEGMENT_SCHEMA, what="here")
        except Damaged:
            continue
        assert bits(table) == bits(SEGMENT), offset
        equal += 1
    assert equal < pages / 2


@examples(100)
@given(st.binary(max_size=200), st.booleans())
def test_garbage_is_damaged(garbage: bytes, framed: bool) -> None:
    data = b"PAR1" + garbage + b"PAR1" if framed else garbage
    with pytest.raises(Damaged, match=r"^here: not readable as Parquet"):
        decode_table(data, SEGMENT_SCHEMA, what="here")
    assert sealed_metadata(data) == {}


@pytest.mark.parametrize(
    "other",
    [
        pa.table({"a": [1]}),
        SEGMENT.select(list(reversed(SEGMENT.column_names))),
        SEGMENT.drop_columns(["text"]),
        SEGMENT.append_column("more", pa.nulls(SEGMENT.num_rows, pa.string())),
        SEGMENT.set_column(2, "position", SEGMENT["position"].cast(pa.int32())),
    ],
    ids=["another table", "another order", "a column less", "a column more", "another type"],
)
def test_a_table_of_another_schema_is_damaged(other: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(other, sink)
    with pytest.raises(Damaged, match=r"^books/segments/1: its columns are"):
        decode_table(sink.getvalue().to_pybytes(), SEGMENT_SCHEMA, what="books/segments/1")
    with pytest.raises(Refused, match=r"^segment: columns"):
        require_schema(other, SEGMENT_SCHEMA, what="segment")


def test_rows_in_the_formats_schema_are_accepted() -> None:
    require_schema(SEGMENT, SEGMENT_SCHEMA, what="segment")


def test_some_columns_can_be_read_alone_in_any_order() -> None:
    data = encode_table(SEGMENT)
    columns = ["text", "document_id"]
    decoded = decode_table(data, SEGMENT_SCHEMA, what="here", columns=columns)
    assert decoded.equals(SEGMENT.select(columns))
    with pytest.raises(Damaged, match=r"^here: not readable as Parquet"):
        decode_table(
            encode_table(pa.table({"a": [1]})), SEGMENT_SCHEMA, what="here", columns=columns
        )


def test_an_object_over_the_limit_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode_table(SEGMENT)
    monkeypatch.setattr(codec, "MAX_OBJECT_BYTES", len(data))
    decode_table(data, SEGMENT_SCHEMA, what="here")
    monkeypatch.setattr(codec, "MAX_OBJECT_BYTES", len(data) - 1)
    monkeypatch.setattr(codec, "parse", None)
    with pytest.raises(Damaged, match=f"^here: {len(data)} bytes, more than the limit"):
        decode_table(data, SEGMENT_SCHEMA, what="here")


def test_segments_are_read_by_plain_pyarrow_and_duckdb(tmp_path: Any) -> None:
    path = tmp_path / "segment.parquet"
    path.write_bytes(encode_table(SEGMENT, metadata=LABELS))
    assert pq.read_table(path).replace_schema_metadata(None).equals(SEGMENT)
    with duckdb.connect() as sql:
        row = sql.execute(
            "SELECT document_id, chunk_index, text, embedding FROM read_parquet(?) "
            "WHERE chunk_index >= 0 ORDER BY ALL",
            [str(path)],
        ).fetchall()
    assert row == [
        ("a", 0, "one", [0.0, 1.0]),
        ("a", 1, "two", [0.0, 1.0]),
        ("b", 0, "text", [0.0, 1.0]),
    ]


def test_pages_are_laid_out_as_the_format_says() -> None:
    meta = pq.read_metadata(pa.BufferReader(encode_table(SEGMENT))).row_group(0)
    columns = {meta.column(n).path_in_schema: meta.column(n) for n in range(meta.num_columns)}
    plain = {name for name, column in columns.items() if column.compression != "ZSTD"}
    assert plain == {"document_sha256", "content_digest", "vector_digest"}
    assert "BYTE_STREAM_SPLIT" in columns["embedding.list.element"].encodings
    dictionaries = {name for name, c in columns.items() if c.has_dictionary_page}
    assert "document_id" in dictionaries
    assert not dictionaries & {"embedding.list.element", "id", "text", "content_digest"}


# Labels of objects that nothing names yet


def test_components_of_every_kind_are_laid_out_alike() -> None:
    rows = pa.table(
        {
            kind: pa.array([shaped(0.5, 1.0)], type_)
            for kind, (type_, shaped) in KINDS_OF_VECTOR.items()
        }
    )
    meta = pq.read_metadata(pa.BufferReader(encode_table(rows))).row_group(0)
    columns = {meta.column(n).path_in_schema: meta.column(n) for n in range(meta.num_columns)}
    split = {name for name, c in columns.items() if "BYTE_STREAM_SPLIT" in c.encodings}
    assert split == {
        "dense.list.element",
        "several.list.element.list.element",
        "sparse.values.list.element",
    }
    assert {name: columns[name].has_dictionary_page for name in split} == dict.fromkeys(
        split, False
    )
    assert set(columns) - split == {"sparse.indices.list.element"}


def test_labels_come_back_with_an_object_that_is_whole() -> None:
    data = encode_table(SEGMENT, metadata=LABELS)
    assert sealed_metadata(data) == LABELS  # type: ignore[arg-type]
    assert decode_table(data, SEGMENT_SCHEMA, what="here").equals(SEGMENT)
    assert sealed_metadata(bytes(encode_table(SEGMENT))) == {}


def test_no_label_is_believed_once_any_byte_was_flipped() -> None:
    data = encode_table(SEGMENT, metadata=LABELS)
    for offset in range(0, len(data), 1 if LONG else 13):
        flipped = bytearray(data)
        flipped[offset] ^= 1 << (offset % 8)
        assert sealed_metadata(bytes(flipped)) == {}, offset


def test_labels_that_another_program_wrote_are_not_believed() -> None:
    for labels in ({b"stage": b"documents"}, {b"seal": b"-" * 64}, {b"seal": b""}, {b"x": b"\xff"}):
        sink = pa.BufferOutputStream()
        pq.write_table(SEGMENT.replace_schema_metadata(labels), sink)
        assert sealed_metadata(sink.getvalue().to_pybytes()) == {}


# JSON

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.floats(-1e9, 1e9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
OBJECTS = st.dictionaries(
    st.text(max_size=4).filter(lambda k: k not in ("checksum", "v")), VALUES, max_size=4
)


@examples(60)
@given(OBJECTS)
def test_sealed_json_comes_back(value: dict[str, Any]) -> None:
    sealed = seal_json(value)
    assert unseal_json(sealed, what="here", limit_bytes=len(sealed)) == value
    with pytest.raises(Damaged, match=f"^here: {len(sealed)} bytes, more than the limit"):
        unseal_json(sealed, what="here", limit_bytes=len(sealed) - 1)


def flips(byte: int) -> set[int]:
    """The byte with one bit flipped; a zero made a one-digit number, a point an exponent."""
    return {byte ^ (1 << bit) for bit in range(8)} | ({*b"0e "} - {byte})


def test_every_other_byte_anywhere_in_sealed_json_is_found() -> None:
    sealed = seal_json({"a": [1.0, 0.5, 1e20, "e", None, True], "text": 'é"\\ü\n', "n": -1})
    for offset in range(len(sealed)):
        for byte in {*range(256)} - {sealed[offset]} if LONG else flips(sealed[offset]):
            changed = sealed[:offset] + bytes([byte]) + sealed[offset + 1 :]
            with pytest.raises(Damaged, match=r"^here: "):
                unseal_json(changed, what="here", limit_bytes=1000)


def test_the_same_value_in_other_bytes_is_damaged() -> None:
    sealed = seal_json({"a": 1.0, "b": "x"})
    loose = json.dumps(json.loads(sealed), sort_keys=True).encode()
    twice = sealed.replace(b'{"a"', b'{"a":2,"a"')
    for other in (loose, sealed + b" ", b" " + sealed, sealed.replace(b"1.0", b"1e0"), twice):
        assert json.loads(other) == json.loads(sealed)
        with pytest.raises(Damaged, match=r"^here: its checksum does not fit"):
            unseal_json(other, what="here", limit_bytes=1000)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":"\\ud800"}',
        b"[1]",
        b"null",
        b'"text"',
        b'{"a":' + b"1" * 5000 + b"}",
        "{}".encode("utf-16"),
        b"\xef\xbb\xbf{}",
        # brackets that only a reader of UTF-16 sees: quotation marks are halves of letters
        ('["\u2201",' + "[" * 200_000 + '"\u2201"').encode("utf-16-le"),
        ('["\u0122",' + "[" * 200_000 + '"\u0122"').encode("utf-16-le"),
    ],
    ids=range(15),
)
def test_what_is_not_an_object_in_canonical_json_is_damaged(data: bytes) -> None:
    with pytest.raises(Damaged, match=r"^here: "):
        unseal_json(data, what="here", limit_bytes=1_000_000)


def test_nesting_is_limited_and_brackets_in_strings_do_not_count() -> None:
    def parse(text: str) -> Any:
        return decode_json(text.encode(), what="here", limit_bytes=1_000_000)

    assert parse("[" * 16 + "]" * 16) is not None
    assert parse('["' + "[" * 100 + '\\"' + "{" * 100 + '"]') == ["[" * 100 + '"' + "{" * 100]
    for deep in ("[" * 17 + "]" * 17, '{"a":' * 17 + "1" + "}" * 17, "[" * 500_000):
        with pytest.raises(Damaged, match=r"^here: nested deeper than 16"):
            parse(deep)
    with pytest.raises(Damaged, match=r"^here: .* brackets without a partner"):
        parse("]" * 100 + "[" * 100)


def test_a_time_without_a_zone_is_another_type() -> None:
    naive = pa.table({"t": pa.array([datetime(2026, 1, 1)], pa.timestamp("us"))})  # noqa: DTZ001
    aware = pa.schema([("t", pa.timestamp("us", tz="UTC"))])
    with pytest.raises(Damaged, match="its columns are"):
        decode_table(encode_table(naive), aware, what="here")
