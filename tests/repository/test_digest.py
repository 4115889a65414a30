"""The canonical form of every kind of value is frozen; layout and order never matter."""

import hashlib
import struct
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Vector,
    VectorKind,
)
from dr_pipelines.model.record import (
    ARROW_TYPES,
    SPARSE,
    Presence,
    vector_type,
)
from dr_pipelines.repository import digest
from tests.repository.builders import examples
from tests.repository.naive_digest import record_digest

SPEC = CollectionSpec(
    name="all",
    vectors=(Vector(dimension=3), Vector(name="other", dimension=2)),
    fields=tuple(Field(name=f"f_{kind.name.lower()}", type=kind) for kind in FieldType),
)
CONTENT_KINDS = {
    "id": "string",
    "document_id": "string",
    "chunk_index": "integer",
    "text": "string",
    "uri": "string",
    "extra": "string",
    "f_string": "string",
    "f_integer": "integer",
    "f_number": "number",
    "f_boolean": "boolean",
    "f_timestamp": "timestamp",
    "f_strings": "strings",
}
VECTOR_KINDS = {"id": "string", "embedding": "vector[3]", "other": "vector[2]"}
TYPES = {
    **{name: pa.string() for name in ("id", "document_id", "text", "uri", "extra")},
    "chunk_index": pa.int32(),
    **{f.name: ARROW_TYPES[f.type] for f in SPEC.fields},
    "embedding": pa.list_(pa.float32(), 3),
    "other": pa.list_(pa.float32(), 2),
}
PLAIN: dict[str, Any] = dict.fromkeys(TYPES) | {
    "id": "d#000000",
    "document_id": "d",
    "chunk_index": 0,
    "embedding": [1.0, 0.5, -2.0],
}


def table(*records: dict[str, Any]) -> pa.Table:
    rows = [PLAIN | record for record in records]
    return pa.table(
        {name: pa.array([row[name] for row in rows], kind) for name, kind in TYPES.items()}
    )


def content(**changes: Any) -> str:
    return str(digest.content_digests(table(changes), SPEC)[0].as_py().hex())


def vectors(**changes: Any) -> str:
    return str(digest.vector_digests(table(changes), SPEC)[0].as_py().hex())


def double(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])


CONTENT_VECTORS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing but identity": (
        {},
        "3b4c62c1d081b8eef7a20939d94167d8cd727b14f4706e69e9939107f099942a",
    ),
    "minus zero": (
        {"f_number": -0.0},
        "89344234683eb5a46f84c0467d3b8a73254dd484c031dbc93840b03c4b87938e",
    ),
    "zero": (
        {"f_number": 0.0},
        "e87ea211b6f07c00bc7937922cbfbb240579d85a5d5283b6608ff81111f2b0d5",
    ),
    "NaN": (
        {"f_number": float("nan")},
        "03e3810a84f015e7f5fe9bc040420e5aa31192b30d1741c62d06abd9fcb9a6a9",
    ),
    "smallest denormal": (
        {"f_number": 5e-324},
        "3bcb7c2bd982bbac69316391fbc4f23d56553b5fce47ff311ecfe6f4e17270dd",
    ),
    "infinity": (
        {"f_number": float("inf")},
        "6439b2f8e3e9ec8b065630ab98e0943ef1b24c231dba258dedcf3f52a8c41d22",
    ),
    "minus infinity": (
        {"f_number": float("-inf")},
        "e8ed384ee2268237345b42c474255547e64cded32dc37d11b64ddc432dd52026",
    ),
    "one as a number": (
        {"f_number": 1.0},
        "6b8e09a82fc638007aa6e925173ffbf7c286ea23f127daeab346266f1e0852ed",
    ),
    "one as an integer": (
        {"f_integer": 1},
        "54770d1c0fd78073451982da4eca90d7a8f398d1f55680fd44c01b24b8711862",
    ),
    "zero as an integer": (
        {"f_integer": 0},
        "6c5174df1c3de78c668a957bacdea4ca5884581ef7f78f75dda4216ccee08e63",
    ),
    "largest integer": (
        {"f_integer": 2**63 - 1},
        "d67c29f2e83f1e6fc7f2b9a04cd5288baa48fa3753525ac6cc6703e6f80f5271",
    ),
    "smallest integer": (
        {"f_integer": -(2**63)},
        "32d313fe5b30cb78519ffe011bdf387dc81311ca9bdd7bdc62ab9ee8403adc66",
    ),
    "false": (
        {"f_boolean": False},
        "1c2f0303ab915758283b27007bce4272ca6b62eb6b0c8651b728ab3d24104e9f",
    ),
    "true": (
        {"f_boolean": True},
        "b9b5ec8a78b036446c5ad4e48101728173d47df12e059ca6d245e54cbd4c06f5",
    ),
    "composed (NFC)": (
        {"text": "\u00e9"},
        "28185fc15d548c0831b4e685bdf89c73b07c6a84e445bc6e4f7ba52e10d35442",
    ),
    "decomposed (NFD)": (
        {"text": "e\u0301"},
        "209dd278a21a8a64bb8fecf81509049b4390d929e94ccd68c49c7ceb618751af",
    ),
    "empty text": (
        {"text": ""},
        "d37a5eaa29b244472e021f6451d4f0f56a5b6e05872b4cb73e7500317bfd4e44",
    ),
    "a NUL": (
        {"text": "\0"},
        "b2aee54b3e162291a6dd78823edf2e4da4d11038700abc02658e5c220af8e06d",
    ),
    "beyond the BMP": (
        {"text": "\U0001f4be"},
        "4d4c55ce323a2292db7981467b0634a39d6a1965db3b131e4c57224907bc2ada",
    ),
    "empty uri": (
        {"uri": ""},
        "fb2fcd262ad882a851905cd87d1fa7720e7224aeb03778b2f486098555d2561d",
    ),
    "extra": (
        {"extra": "{}"},
        "4e0eafcb4052e95992bcd846666a1c78fb8d1081b4997ca11f81471daed44a35",
    ),
    "empty string field": (
        {"f_string": ""},
        "69877de7205b70a086db8984ec7a301c3d8e7b1b36b1986f62ae2b2ca8113e84",
    ),
    "1970": (
        {"f_timestamp": datetime(1970, 1, 1, tzinfo=UTC)},
        "814b97338da8c9fa5b5079e4275ca5e2d615f48438be8a4d26cc3736c9248141",
    ),
    "a microsecond before 1970": (
        {"f_timestamp": datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)},
        "0b89ab1fa3278015fa0ec45b5c0b0b756b3484932d9ee5ab295a6e6a754a8cdf",
    ),
    "a microsecond after 2026": (
        {"f_timestamp": datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC)},
        "37f639c9b913f305125c43fab25b4cc0fea6605f5fdf217b8533b59d9a5275f4",
    ),
    "year 1": (
        {"f_timestamp": datetime(1, 1, 1, tzinfo=UTC)},
        "201da6b50b374ada770be055aacde8c68220c9589acfd02da78c42976ae5c031",
    ),
    "empty list": (
        {"f_strings": []},
        "9ffac8674ebdf2604bf94ac86798db633bd0b4ad8174fd418873627735dcf635",
    ),
    "a null item": (
        {"f_strings": [None]},
        "f5aa638e04a745fe0767c6bd4720e47c29475d230e5be1ba7634f35d8795cddc",
    ),
    "an empty item": (
        {"f_strings": [""]},
        "ab27765eccddd0e0b004b9c8384d9e527f661eb85c6a05770529d7ab6d761854",
    ),
    "two empty items": (
        {"f_strings": ["", ""]},
        "25eb5affa3eb0192e8adbaa28d46da698c5f73e5192bd36333e8e99d21058f24",
    ),
    "a null and an empty item": (
        {"f_strings": [None, ""]},
        "a044e611003930307b986e324d119a852a97fd91836ab7af6c76d3a347f229ce",
    ),
    "two items": (
        {"f_strings": ["a", "bc"]},
        "c7f1993a4034460fe9312ac3c703aec107fe7985adb37c48613010fa3716c3b9",
    ),
    "second chunk": (
        {"id": "d#000001", "chunk_index": 1},
        "9c3ceffc70da96209dc64d42ec207f91792ea167a9e97b70f728d0762337b98d",
    ),
}
VECTOR_VECTORS: dict[str, tuple[dict[str, Any], str]] = {
    "plain": (
        {},
        "43bd7f6b1dcd27729d3b66edcc3d6715455e5adfb60bcf446fc5ed82ce02da0b",
    ),
    "null vector": (
        {"embedding": None},
        "a39068f8195cbc85b557f2ef351a32fe571269590379b92939ff0995d42cae2b",
    ),
    "zeros": (
        {"embedding": [0.0, 0.0, 0.0]},
        "f1fc013ac181e8e1e2bc3233d91f150167deac9c996c9b4dc54fae8da36fa245",
    ),
    "minus zeros": (
        {"embedding": [-0.0, -0.0, -0.0]},
        "9bc091fac1376f13be585f96b2808dbba24433199e5126995705270841592120",
    ),
    "denormal": (
        {"embedding": [1e-45, 0.0, 0.0]},
        "08c801fb92dc1a7796d6f20b93e32fa2e448640e67732ec6a6fe97a5b2bf7374",
    ),
    "a NaN": (
        {"embedding": [0.0, float("nan"), 0.0]},
        "e81e27809e76d13ce509b6cf08576fcb1f7f0b7065015657197ff500f18f5e9b",
    ),
    "a null component": (
        {"embedding": [0.0, None, 0.0]},
        "6fe1d2fb617c7569b4242a629d26268f3142674e6ed5699fcb1fac46c89d644b",
    ),
    "infinities": (
        {"embedding": [float("inf"), float("-inf"), 0.0]},
        "ffca59701ad336f7a713894b69be3e9de8d445e38c67dfc25235cb697a64d5e0",
    ),
    "a sum that overflows": (
        {"embedding": [3.4e38, 3.4e38, 0.0]},
        "da854b783712b67ffd68be6ed0143d37d40fc7b473b9562864201ae9fed19fd4",
    ),
    "second vector": (
        {"other": [1.0, 0.5]},
        "8e2ec6b648dc41d4ad027051f6904b0429e6f9894b57a823fb37257b0a8343ef",
    ),
    "only the second": (
        {"embedding": None, "other": [1.0, 0.5]},
        "e7f2d3afee0415f88afcb5f1ccf8c7bbce03b5c1f359b49eb87eaa1eafa99808",
    ),
    "another id": (
        {"id": "d#000001"},
        "15714ef9d1c0d3d0d7a10e22056dd3b490f40e9ff6b98eaacf39cb5ae9211f26",
    ),
}
DOCUMENT_VECTORS: dict[str, tuple[dict[str, Any], str]] = {
    "present": (
        {},
        "8e1d1525243c08b22757740326221ee4f422f6437d25d178133d543ae84bc7d9",
    ),
    "deleted": (
        {"presence": Presence.DELETED, "document_sha256": None, "chunk_count": 0},
        "968d4736c078c8c4a85ac76ac6d589715a667457b7d3289979e27e24d51caa7a",
    ),
    "absent": (
        {"presence": Presence.ABSENT, "document_sha256": None, "chunk_count": 0},
        "c12a06deb7e210134d567fe0edd27f9904395ea0920b068a277c58a0003bd3e8",
    ),
    "without chunks": (
        {"chunk_count": 0},
        "17101de935151c7441928777b34e4a33b0750ba0bfa2e14521bdeea821d0e243",
    ),
    "edited": (
        {"edit": 1},
        "ebe612f16e96e242925b3e84b7452c8461f2f7d511a6f9574f79d238fa801ea3",
    ),
    "next ordinal": (
        {"ordinal": 1},
        "abeeffb5ca9450fd2ebd109177a0798dbfb27f0d80eb18d7d9e444691d80e36f",
    ),
    "next position": (
        {"position": 8},
        "72afd362719714a4f4c73179e76f1c6169ec902a34060f80df7bef592f69f937",
    ),
    "next epoch": (
        {"epoch": 2},
        "4a60cc2b41d3d2508bc27c91f67bb53bf4adf027be0d0f3feb4e6d36a95cc3b5",
    ),
    "another text": (
        {"document_sha256": bytes(32)},
        "21c7eb9059e5a32e35b90c0309a1aad436261bd316aa55963daf51bd6bcb2081",
    ),
}


@pytest.mark.parametrize("case", CONTENT_VECTORS)
def test_the_canonical_form_of_content_is_frozen(case: str) -> None:
    changes, expected = CONTENT_VECTORS[case]
    assert content(**changes) == expected


@pytest.mark.parametrize("case", VECTOR_VECTORS)
def test_the_canonical_form_of_vectors_is_frozen(case: str) -> None:
    changes, expected = VECTOR_VECTORS[case]
    assert vectors(**changes) == expected


DOCUMENT_TYPES = {
    "document_id": pa.string(),
    "epoch": pa.int32(),
    "position": pa.int64(),
    "ordinal": pa.int32(),
    "edit": pa.int32(),
    "presence": pa.string(),
    "document_sha256": pa.binary(32),
    "chunk_count": pa.int32(),
}
DOCUMENT: dict[str, Any] = {
    "document_id": "d",
    "epoch": 1,
    "position": 7,
    "ordinal": 0,
    "edit": 0,
    "presence": Presence.PRESENT,
    "document_sha256": bytes(range(32)),
    "chunk_count": 2,
}


def documents(**changes: Any) -> str:
    row = DOCUMENT | changes
    rows = pa.table({name: pa.array([row[name]], kind) for name, kind in DOCUMENT_TYPES.items()})
    return str(digest.document_digests(rows)[0].as_py().hex())


@pytest.mark.parametrize("case", DOCUMENT_VECTORS)
def test_the_canonical_form_of_document_rows_is_frozen(case: str) -> None:
    changes, expected = DOCUMENT_VECTORS[case]
    assert documents(**changes) == expected


# Vectors of other kinds than dense

KINDS = CollectionSpec(
    name="kinds",
    vectors=(
        Vector(name="words", dimension=9, kind=VectorKind.SPARSE),
        Vector(name="tokens", dimension=2, kind=VectorKind.MULTI),
    ),
)
KINDS_OF_KINDS = {"id": "string", "words": "sparse", "tokens": "vectors[2]"}


def table_of_kinds(*records: dict[str, Any]) -> pa.Table:
    columns = {"id": pa.array([record.get("id", "d#000000") for record in records], pa.string())}
    for vector in KINDS.vectors:
        values = [record.get(vector.name) for record in records]
        columns[vector.name] = pa.array(values, vector_type(vector))
    return pa.table(columns)


def kinds(**changes: Any) -> str:
    return str(digest.vector_digests(table_of_kinds(changes), KINDS)[0].as_py().hex())


KIND_VECTORS: dict[str, tuple[dict[str, Any], str]] = {
    "neither": ({}, "0a4f2a09aa121866bb7fc5f6c6937effcbdab2ce192a6b050c98fa4f7781da49"),
    "sparse": (
        {"words": {"indices": [0, 7], "values": [0.5, -2.0]}},
        "d5072c12b5de466483ee9fb6168f2174cd7a298241e8149f91d9917bc5ebb2ed",
    ),
    "sparse, other places": (
        {"words": {"indices": [0, 8], "values": [0.5, -2.0]}},
        "a6280274b3b7d99cefa7ecc251c3bb0e8b32c18765a09bb267f57d3af8232d15",
    ),
    "sparse, minus zero": (
        {"words": {"indices": [0, 7], "values": [0.5, -0.0]}},
        "b1d8514cca3259792f0c47bf72092bbb91f93d5538f007a4bf0b6bf9b47c71ea",
    ),
    "sparse, zero": (
        {"words": {"indices": [0, 7], "values": [0.5, 0.0]}},
        "cb487ee93e41cf65028e06b16152ef053dd475d2b20762fa5dd95cdf5a83dbfc",
    ),
    "sparse, denormal": (
        {"words": {"indices": [0, 7], "values": [0.5, 1e-45]}},
        "0631cb90e7b72c295e8346ccd4a48df55047c8c73627f3ec95c1fc0fdf169d0c",
    ),
    "sparse without components": (
        {"words": {"indices": [], "values": []}},
        "d87bb9fc57b68e29b799aab2d06deeb1ca97562a3d8c3e6dbca76024649ea5fd",
    ),
    "sparse, beyond 32 bits": (
        {"words": {"indices": [2**32], "values": [1.0]}},
        "4bbc3e00d425378665999555f9ece524d423969058863dcbae0afcf93350544a",
    ),
    "several": (
        {"tokens": [[1.0, 0.5], [-2.0, 0.0]]},
        "bcb7ec06ac8dc56b30490e7ff37fd1475e059bd04ccb049ffcd0ccccf9cb7041",
    ),
    "several in another order": (
        {"tokens": [[-2.0, 0.0], [1.0, 0.5]]},
        "1c07784e58ffa8661b0e93e5a758ba061ec8df7aeef45acc13548eb0f650e07e",
    ),
    "several, minus zero": (
        {"tokens": [[1.0, 0.5], [-2.0, -0.0]]},
        "797784c15250c39cdcfdb8b2c50b9b65e830d63cdf9f57d69c1a399350b42de5",
    ),
    "one of several": (
        {"tokens": [[1.0, 0.5]]},
        "75ae6542f21f56c9c54fd1dea63efd3c73158bf194ff2ef65e556be6325cc521",
    ),
    "none of several": (
        {"tokens": []},
        "b4375472bb598b883edb1c58255d211cc6587f55c6e990c1d36b4428e8566247",
    ),
    "both": (
        {"words": {"indices": [1], "values": [1.0]}, "tokens": [[1.0, 1.0]]},
        "1ac098ede7bbfb661d707587381fe0774ffb9cfe795b5a83bed346659fe2e915",
    ),
}


@pytest.mark.parametrize("case", KIND_VECTORS)
def test_the_canonical_form_of_sparse_and_of_several_vectors_is_frozen(case: str) -> None:
    changes, expected = KIND_VECTORS[case]
    assert kinds(**changes) == expected


def test_the_bytes_of_a_sparse_vector_and_of_several_are_these() -> None:
    described = b'["dr",1,"vectors",[["id","string"],["tokens","vectors[2]"],["words","sparse"]]]'
    row = {"id": "d", "words": {"indices": [0, 7], "values": [0.5, -0.0]}, "tokens": [[1.0, -2.0]]}
    canonical = b"".join(
        [
            hashlib.sha256(described).digest()[:16],
            b"S" + bytes([1, 0, 0, 0, 0, 0, 0, 0]),
            b"M" + bytes([1, 0, 0, 0, 0, 0, 0, 0]),
            b"P" + bytes([2, 0, 0, 0, 0, 0, 0, 0]),
            b"d",
            bytes.fromhex("0000803f 000000c0"),
            bytes.fromhex("0000000000000000 0700000000000000 0000003f 00000080"),
        ]
    )
    (digests,) = digest.vector_digests(table_of_kinds(row), KINDS).to_pylist()
    assert digests == hashlib.sha256(canonical).digest()


COMPONENTS = st.floats(width=32) | st.sampled_from([0.0, -0.0, 1e-45, -1e-45])
WORDS = st.dictionaries(st.integers(0, 2**63 - 1), COMPONENTS, max_size=4).map(
    lambda words: {"indices": sorted(words), "values": [words[key] for key in sorted(words)]}
)
TOKENS = st.lists(st.lists(st.none() | COMPONENTS, min_size=2, max_size=2), max_size=3)
KIND_RECORDS = st.fixed_dictionaries(
    {"id": st.text(max_size=3), "words": st.none() | WORDS, "tokens": st.none() | TOKENS}
)


@examples(80)
@given(st.lists(KIND_RECORDS, max_size=5), st.integers(0, 5))
def test_digests_of_every_kind_are_those_of_a_second_implementation(
    records: list[dict[str, Any]], cut: int
) -> None:
    expected = [record_digest("vectors", KINDS_OF_KINDS, record) for record in records]
    framed = table_of_kinds({"tokens": [[9.0, 9.0]]}, *records, {"words": None})
    rows = framed.slice(1, len(records))
    chunked = pa.concat_tables([rows.slice(0, cut), rows.slice(cut)])
    for layout in (rows, chunked):
        assert digest.vector_digests(layout, KINDS).to_pylist() == expected


@examples(60)
@given(KIND_RECORDS, KIND_RECORDS)
def test_any_change_of_a_vector_of_any_kind_changes_the_digest(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    for name in ("words", "tokens"):
        changed = one | {name: other[name]}
        digests = digest.vector_digests(table_of_kinds(one, changed), KINDS).to_pylist()
        assert (digests[0] == digests[1]) == same(one[name], other[name])


def test_values_behind_a_null_do_not_count_in_any_kind() -> None:
    hidden = pa.StructArray.from_arrays(
        [pa.array([[1, 2]]), pa.array([[1.0, 2.0]], pa.list_(pa.float32()))],
        fields=list(SPARSE),
        mask=pa.array([True]),
    )
    rows = table_of_kinds({})
    rows = rows.set_column(rows.column_names.index("words"), "words", hidden)
    assert digest.vector_digests(rows, KINDS)[0].as_py().hex() == kinds()


def test_all_frozen_forms_differ() -> None:
    for frozen in (CONTENT_VECTORS, VECTOR_VECTORS, DOCUMENT_VECTORS, KIND_VECTORS):
        assert len({expected for _, expected in frozen.values()}) == len(frozen) > 1


PAYLOADS = [0x7FF8000000000000, 0xFFF8000000000000, 0x7FF0000000000001, 0x7FFFFFFFFFFFFFFF]


def test_every_nan_is_one_value() -> None:
    raw = np.array(PAYLOADS, np.uint64).view(np.float64)
    rows = table(*[{} for _ in PAYLOADS]).set_column(8, "f_number", pa.array(raw))
    assert rows.column_names == table({}).column_names
    assert {d.hex() for d in digest.content_digests(rows, SPEC).to_pylist()} == {
        content(f_number=float("nan"))
    }


def test_every_nan_in_a_vector_is_one_value() -> None:
    payloads = np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0x7FC00001, 0x7FFFFFFF], np.uint32)
    raw = np.zeros((len(payloads), 3), np.float32)
    raw[:, 1] = payloads.view(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(raw.reshape(-1)), 3)
    rows = table(*[{} for _ in payloads])
    rows = rows.set_column(rows.column_names.index("embedding"), "embedding", column)
    assert {d.hex() for d in digest.vector_digests(rows, SPEC).to_pylist()} == {
        vectors(embedding=[0.0, float("nan"), 0.0])
    }


def test_bytes_behind_a_null_do_not_count() -> None:
    hidden = pa.Array.from_buffers(
        pa.string(),
        1,
        [pa.py_buffer(b"\0"), pa.py_buffer(np.array([0, 3], np.int32)), pa.py_buffer(b"abc")],
    )
    masked = pa.array(np.array([7]), mask=np.array([True]))
    vector = pa.FixedSizeListArray.from_arrays(
        pa.array([7.0, 8.0], pa.float32()), 2, mask=pa.array([True])
    )
    rows = table({})
    for name, column in (("text", hidden), ("f_integer", masked), ("other", vector)):
        rows = rows.set_column(rows.column_names.index(name), name, column)
    assert digest.content_digests(rows, SPEC).equals(digest.content_digests(table({}), SPEC))
    assert digest.vector_digests(rows, SPEC).equals(digest.vector_digests(table({}), SPEC))


# Any value of every kind, and what becomes of it in another layout

TEXTS = st.text(max_size=6) | st.sampled_from(["é", "e\u0301", "", "\0", "a\0b"])
FLOATS = st.floats(width=32) | st.sampled_from([0.0, -0.0, 1e-45, 3.4e38, -3.4e38])
RECORDS = st.fixed_dictionaries(
    {
        "id": TEXTS,
        "document_id": TEXTS,
        "chunk_index": st.integers(0, 2**31 - 1),
        **{name: st.none() | TEXTS for name in ("text", "uri", "extra", "f_string")},
        "f_integer": st.none() | st.integers(-(2**63), 2**63 - 1),
        "f_number": st.none() | st.floats(),
        "f_boolean": st.none() | st.booleans(),
        "f_timestamp": st.none() | st.datetimes(timezones=st.just(UTC)),
        "f_strings": st.none() | st.lists(st.none() | TEXTS, max_size=3),
        "embedding": st.none() | st.lists(st.none() | FLOATS, min_size=3, max_size=3),
        "other": st.none() | st.lists(FLOATS, min_size=2, max_size=2),
    }
)
MANY = st.lists(RECORDS, max_size=5)


def naive(records: list[dict[str, Any]]) -> tuple[list[bytes], list[bytes]]:
    return (
        [record_digest("content", CONTENT_KINDS, record) for record in records],
        [record_digest("vectors", VECTOR_KINDS, record) for record in records],
    )


def both(rows: pa.Table) -> tuple[list[bytes], list[bytes]]:
    return (
        digest.content_digests(rows, SPEC).to_pylist(),
        digest.vector_digests(rows, SPEC).to_pylist(),
    )


@examples(60)
@given(MANY)
def test_digests_are_those_of_a_second_implementation(records: list[dict[str, Any]]) -> None:
    assert both(table(*records)) == naive(records)


@examples(25)
@given(st.lists(RECORDS, min_size=3, max_size=3))
def test_document_digests_are_those_of_a_second_implementation(
    records: list[dict[str, Any]],
) -> None:
    kinds = dict.fromkeys(DOCUMENT_TYPES, "integer")
    kinds |= {"document_id": "string", "presence": "string", "document_sha256": "binary"}
    rows = [
        DOCUMENT | {"document_id": r["id"], "position": r["chunk_index"], "presence": r["text"]}
        for r in records
    ]
    rows[0]["document_sha256"] = None
    columns = {n: pa.array([r[n] for r in rows], kind) for n, kind in DOCUMENT_TYPES.items()}
    expected = [record_digest("documents", kinds, row) for row in rows]
    assert digest.document_digests(pa.table(columns)).to_pylist() == expected


def in_another_layout(rows: pa.Table, name: str) -> pa.Table:
    """The same values: large strings, other names of list items, narrower or wider integers."""
    item = pa.field(name, pa.string())
    kinds = {
        "text": pa.large_string(),
        "f_string": pa.large_string(),
        "chunk_index": pa.int64(),
        "f_strings": pa.list_(item),
        "embedding": pa.list_(pa.field(name, pa.float32()), 3),
    }
    for column, kind in kinds.items():
        values = rows[column].cast(kind)
        rows = rows.set_column(rows.column_names.index(column), pa.field(column, kind), values)
    return rows


@examples(40)
@given(MANY, st.integers(0, 5), st.sampled_from(["item", "element"]))
def test_physical_layout_does_not_matter(
    records: list[dict[str, Any]], cut: int, name: str
) -> None:
    expected, padded = naive(records), table(*records, {"f_strings": ["x"], "other": None})
    chunked = pa.concat_tables([padded.slice(0, cut), padded.slice(cut)])
    framed = pa.concat_tables([table({"text": "before"}), padded]).combine_chunks()
    for layout in (chunked, framed.slice(1), in_another_layout(framed.slice(1), name)):
        assert both(layout.slice(0, len(records))) == expected
    batches = framed.slice(1, len(records)).to_batches()
    assert [both(batch) for batch in batches] == ([expected] if records else [])


def same(a: Any, b: Any) -> bool:
    """True if two drawn values have the same canonical form."""
    return repr(a) == repr(b)  # tells 0.0 from −0.0, and takes all NaN for one


@examples(120)
@given(RECORDS, st.sampled_from(sorted(TYPES)), st.data())
def test_any_change_of_one_value_changes_the_digest(
    record: dict[str, Any], name: str, data: st.DataObject
) -> None:
    other = data.draw(RECORDS.map(lambda r: r[name]), label=name)
    assume(not same(record[name], other))
    before, after = table(record), table(record | {name: other})
    if name in CONTENT_KINDS:
        assert digest.content_digests(before, SPEC) != digest.content_digests(after, SPEC)
    if name in VECTOR_KINDS:
        assert digest.vector_digests(before, SPEC) != digest.vector_digests(after, SPEC)


def test_text_that_moves_to_the_next_column_changes_the_digest() -> None:
    assert content(text="ab", uri="c") != content(text="a", uri="bc")
    assert content(f_strings=["ab", "c"]) != content(f_strings=["a", "bc"])
    assert vectors(embedding=None, other=[1.0, 2.0]) != vectors(
        embedding=[1.0, 2.0, 0.0], other=None
    )


def test_the_name_and_kind_of_a_column_are_part_of_the_digest() -> None:
    one = CollectionSpec(name="a", vectors=(Vector(dimension=2),), fields=())
    rows = table({"other": [0.0, 0.0]}).append_column("left", pa.nulls(1, pa.string()))
    rows = rows.append_column("right", pa.nulls(1, pa.int64()))
    seen = {
        digest.content_digests(
            rows, one.model_copy(update={"fields": (Field(name=name, type=kind),)})
        )[0].as_py()
        for name, kind in (("f_string", "string"), ("left", "string"), ("right", "integer"))
    }
    assert len(seen) == 3


# Sums

DIGESTS = st.lists(st.binary(min_size=32, max_size=32), max_size=6)


def total(values: list[bytes | None]) -> int:
    return digest.total(pa.array(values, pa.binary(32)))


@pytest.mark.parametrize("joined_bytes", [1, 100, 1_000])
def test_rows_that_are_hashed_in_blocks_have_the_same_digests(
    monkeypatch: pytest.MonkeyPatch, joined_bytes: int
) -> None:
    records = [{"text": "t" * (7 * n), "embedding": [float(n)] * 3} for n in range(40)]
    rows = table(*({**record, "id": f"d#{n:06d}"} for n, record in enumerate(records)))
    at_once = digest.content_digests(rows, SPEC), digest.vector_digests(rows, SPEC)
    assert len(set(at_once[0].to_pylist())) == len(set(at_once[1].to_pylist())) == len(records)
    monkeypatch.setattr(digest, "JOINED_BYTES", joined_bytes)
    assert (digest.content_digests(rows, SPEC), digest.vector_digests(rows, SPEC)) == at_once
    assert digest.content_digests(rows.slice(3, 5), SPEC).equals(at_once[0].slice(3, 5))


@examples(60)
@given(DIGESTS, st.randoms(use_true_random=False), st.integers(0, 6))
def test_a_sum_depends_neither_on_order_nor_on_partition(
    values: list[bytes], random: Any, cut: int
) -> None:
    expected = sum(int.from_bytes(value) for value in values) % (1 << 256)
    shuffled = list(values)
    random.shuffle(shuffled)
    pieces = [pa.array(part, pa.binary(32)) for part in (shuffled[:cut], shuffled[cut:])]
    assert total([*values, None]) == expected
    assert digest.total(pa.chunked_array(pieces, pa.binary(32))) == expected
    sliced = pa.array([b"\xff" * 32, *values, b"\xff" * 32], pa.binary(32)).slice(1, len(values))
    assert digest.total(sliced) == expected
    assert digest.to_hex(sum(map(digest.total, pieces))) == f"{expected:064x}"


@examples(40)
@given(DIGESTS, DIGESTS, DIGESTS)
def test_a_sum_moves_with_what_is_added_and_removed(
    digests: list[bytes], removed: list[bytes], added: list[bytes]
) -> None:
    before, after = (
        digest.to_hex(total([*digests, *removed])),
        digest.to_hex(total([*digests, *added])),
    )
    moved = digest.combine(
        add=(before, digest.to_hex(total([*added]))), remove=(digest.to_hex(total([*removed])),)
    )
    assert moved == after


def test_a_sum_of_many_large_values_carries_over_all_of_its_256_bits() -> None:
    largest = b"\xff" * 32
    count = 70_000
    column = pa.array([largest] * count, pa.binary(32))
    assert digest.total(column) == (count * ((1 << 256) - 1)) % (1 << 256)
    assert digest.combine(remove=[f"{1:064x}"]) == "f" * 64


def test_two_equal_records_do_not_cancel_out() -> None:
    value = bytes(range(32))
    assert len({total([]), total([value]), total([value, value])}) == 3
