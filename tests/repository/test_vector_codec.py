"""Vectors come back from Arrow files bit for bit, or as `Damaged`; hostile files become nothing."""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import ipc

from dr_pipelines.errors import Damaged, Refused
from dr_pipelines.model.collection import CollectionSpec, Vector, VectorKind
from dr_pipelines.model.record import vector_schema
from dr_pipelines.model.recovery_point import MAX_VECTORS_BYTES
from dr_pipelines.model.vector_encoding import VectorEncoding
from dr_pipelines.repository import vector_codec
from dr_pipelines.repository.arrow_file import layout_of
from dr_pipelines.repository.vector_codec import (
    decode_vectors,
    encode_vectors,
    encoding_of,
)
from tests.repository.builders import LONG, examples
from tests.repository.test_codec import bits, rows_in

SPEC = CollectionSpec(
    name="all",
    vectors=(
        Vector(dimension=3),
        Vector(name="words", dimension=9, kind=VectorKind.SPARSE),
        Vector(name="tokens", dimension=2, kind=VectorKind.MULTI),
    ),
)
SCHEMA = vector_schema(SPEC)
ENCODINGS: tuple[VectorEncoding, ...] = ("arrow", "arrow+zstd")
ROWS: list[dict[str, Any]] = [
    {
        "embedding": [1.0, -0.0, 2.5],
        "words": {"indices": [0, 5], "values": [0.5, 0.25]},
        "tokens": [[1.0, 2.0], [3.0, 4.0]],
    },
    {"embedding": None, "words": None, "tokens": None},
    {"embedding": [0.0, None, 1e-45], "words": {"indices": [], "values": []}, "tokens": []},
    *[{"embedding": [float(n), 0.5, 1.0], "words": None, "tokens": [[0.0, n]]} for n in range(40)],
]
VECTORS = pa.Table.from_pylist(ROWS, schema=SCHEMA)


def encoded(encoding: VectorEncoding = "arrow", vectors: pa.Table = VECTORS) -> bytes:
    return bytes(encode_vectors(vectors, encoding=encoding))


@pytest.mark.parametrize("encoding", ENCODINGS)
@examples(25)
@given(data=st.data())
def test_any_vectors_come_back(encoding: VectorEncoding, data: st.DataObject) -> None:
    vectors = pa.Table.from_pylist(data.draw(rows_in(SCHEMA)), schema=SCHEMA)
    made = encode_vectors(vectors, encoding=encoding)
    decoded = decode_vectors(made, SCHEMA, what="here", encoding=encoding)
    assert decoded.schema.equals(SCHEMA, check_metadata=True)
    assert bits(decoded) == bits(vectors)
    assert encoding_of(made) == encoding


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("start", [0, 1, 8, 9])
def test_slices_and_chunks_come_back(encoding: VectorEncoding, start: int) -> None:
    for vectors in (VECTORS.slice(start, 7), pa.concat_tables([VECTORS, VECTORS.slice(start)])):
        made = encode_vectors(vectors, encoding=encoding)
        decoded = decode_vectors(made, SCHEMA, what="here", encoding=encoding)
        assert bits(decoded) == bits(vectors)
        assert decoded["embedding"].num_chunks == 1


def test_what_is_not_compressed_is_not_copied() -> None:
    data = encoded(vectors=VECTORS.slice(3).select(["embedding"]))
    schema = pa.schema([SCHEMA.field("embedding")])
    before = pa.total_allocated_bytes()
    decoded = decode_vectors(data, schema, what="here")
    assert pa.total_allocated_bytes() == before
    address = decoded["embedding"].chunk(0).values.buffers()[1].address
    start = pa.py_buffer(data).address
    assert start <= address < start + len(data)


def test_nothing_lies_behind_a_null() -> None:
    """Arrow writes what memory has there: somebody's password, for all that it knows."""
    secret = pa.array(np.frombuffer(b"secret!!" * 6, np.float32))
    mask = pa.array([False, True, False, True])
    three = pa.FixedSizeListArray.from_arrays(secret, 3, mask=mask)
    ends = pa.array([0, 3, 6, 9, 12], pa.int32())
    texts = pa.ListArray.from_arrays(ends, secret, mask=mask)
    numbers = pa.ListArray.from_arrays(ends, pa.array(range(12), pa.int64()))
    words = pa.StructArray.from_arrays([numbers, texts], names=["indices", "values"], mask=mask)
    pairs = pa.FixedSizeListArray.from_arrays(secret, 2)
    tokens = pa.ListArray.from_arrays(pa.array([0, 1, 3, 5, 6], pa.int32()), pairs, mask=mask)
    columns = [three.cast(SCHEMA.types[0]), words.cast(SCHEMA.types[1]), tokens]
    vectors = pa.table(
        [column.cast(t) for column, t in zip(columns, SCHEMA.types, strict=True)], schema=SCHEMA
    )
    data = encoded(vectors=vectors)
    present = sum(pc.count(column, mode="only_valid").as_py() for column in vectors.columns)
    assert present == 6
    assert data.count(b"secret!!") * 8 < 3 * 6 * 8
    assert bits(decode_vectors(data, SCHEMA, what="here")) == bits(vectors)
    gone = pa.array([True] * 4)
    nothing = pa.table({"embedding": pa.FixedSizeListArray.from_arrays(secret, 3, mask=gone)}).cast(
        pa.schema([SCHEMA.field("embedding")])
    )
    assert b"secret!!" not in encoded(vectors=nothing)


def test_what_the_encoder_made_of_vectors_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = VECTORS.set_column(0, SCHEMA.field(0), VECTORS["embedding"].take(list(range(43))[::-1]))
    for other in (wrong, VECTORS.slice(1), VECTORS.select(["embedding"])):
        monkeypatch.setattr(vector_codec, "parse_vectors", lambda data, other=other: other)
        with pytest.raises(Damaged, match="read back from their own encoding differ"):
            encode_vectors(VECTORS)


def test_more_than_an_object_may_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(encoded())
    monkeypatch.setattr(vector_codec, "MAX_VECTORS_BYTES", size)
    data = encoded()
    decode_vectors(data, SCHEMA, what="here")
    monkeypatch.setattr(vector_codec, "MAX_VECTORS_BYTES", size - 1)
    with pytest.raises(Refused, match=f"vectors of {size} bytes, more than an object may have"):
        encode_vectors(VECTORS)
    with pytest.raises(Damaged, match=f"^here: {size} bytes, more than the limit"):
        decode_vectors(data, SCHEMA, what="here")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_another_encoding_than_the_reference_says_is_damaged(encoding: VectorEncoding) -> None:
    (other,) = set(ENCODINGS) - {encoding}
    with pytest.raises(Damaged, match=f"^here: it is not encoded as {other.replace('+', '.')}"):
        decode_vectors(encoded(encoding), SCHEMA, what="here", encoding=other)


# Damage


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_truncation_is_damaged(encoding: VectorEncoding) -> None:
    data = encoded(encoding)
    for size in range(0, len(data), 1 if LONG else 5):
        with pytest.raises(Damaged, match=r"^over there: not readable as Arrow"):
            decode_vectors(data[:size], SCHEMA, what="over there", encoding=encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_flip_anywhere_is_damaged_or_gives_a_valid_table(encoding: VectorEncoding) -> None:
    """Values have no checksum here: an object's hash covers them. No flip crashes, and none
    allocates more than an object of vectors may."""
    data, limit = encoded(encoding), 1 << 20 if encoding == "arrow" else MAX_VECTORS_BYTES
    pool, refused = pa.default_memory_pool(), 0
    for offset in range(len(data)):
        for bit in range(8) if LONG else (offset % 8, 7):
            flipped = bytearray(data)
            flipped[offset] ^= 1 << bit
            before = pool.max_memory()
            try:
                table = decode_vectors(bytes(flipped), SCHEMA, what="here", encoding=encoding)
            except Damaged:
                refused += 1
                continue
            finally:
                assert pool.max_memory() - before < limit
            table.validate(full=True)
            assert table.schema.equals(SCHEMA)
    assert refused > len(data) / 8


@examples(100)
@given(st.binary(max_size=300), st.booleans())
def test_garbage_is_damaged(garbage: bytes, framed: bool) -> None:
    data = b"ARROW1\0\0" + garbage + b"ARROW1" if framed else garbage
    with pytest.raises(Damaged, match=r"^here: not readable as Arrow"):
        decode_vectors(data, SCHEMA, what="here")
    assert encoding_of(data) is None


# Hostile files


def file_of(*batches: pa.RecordBatch, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    settings = ipc.IpcWriteOptions(**options)
    with ipc.new_file(sink, batches[0].schema, options=settings) as file:
        for batch in batches:
            file.write_batch(batch)
    return bytes(sink.getvalue())


DENSE = pa.schema([SCHEMA.field("embedding")])
BATCH = VECTORS.select(["embedding"]).slice(3).combine_chunks().to_batches()[0]
NUMBERS = pa.record_batch({"embedding": pa.array(np.zeros(100_000, np.int64))})


def with_length(length: int) -> bytes:
    """A compressed file whose largest buffer says that it is so long once it is decoded."""
    data = file_of(NUMBERS, compression="zstd")
    length_bytes = struct.pack("<q", 800_000)
    assert data.count(length_bytes) == 1
    return data.replace(length_bytes, struct.pack("<q", length))


def footer_size(size: int) -> bytes:
    data = file_of(BATCH)
    return data[:-10] + struct.pack("<i", size) + data[-6:]


def block(place: int, form: str, value: int) -> bytes:
    """The footer's record batch, with another offset (0), metadata length (8) or body (16)."""
    data = bytearray(file_of(BATCH))
    layout = layout_of(bytes(data))
    assert layout.rows == BATCH.num_rows
    reader = ipc.open_file(pa.BufferReader(bytes(data)))
    assert reader.num_record_batches == 1
    offset, head, body = _block_of(bytes(data))
    start = bytes(data).rindex(struct.pack("<qi4xq", offset, head, body))
    struct.pack_into(f"<{form}", data, start + place, value)
    return bytes(data)


def _block_of(data: bytes) -> tuple[int, int, int]:
    size = struct.unpack_from("<i", data, len(data) - 10)[0]
    footer = data[len(data) - 10 - size : len(data) - 10]
    schema = struct.unpack_from("<i", data, 12)[0] + 16  # after the magic, a mark and a length
    head = struct.unpack_from("<i", data, schema + 4)[0] + 8
    (body,) = {
        struct.unpack_from("<q", footer, n + 16)[0]
        for n in range(len(footer) - 23)
        if struct.unpack_from("<qi", footer, n) == (schema, head)
    }
    return schema, head, body


def dictionaries() -> bytes:
    values = pa.DictionaryArray.from_arrays(pa.array([0] * 9, pa.int8()), ["x" * 1000])
    return file_of(pa.record_batch({"embedding": values}))


def nested(depth: int) -> bytes:
    """Lists in lists; of very many, none can be written."""
    kind = pa.float32()
    for _ in range(depth):
        kind = pa.list_(kind)
    if depth < 60:
        return file_of(pa.record_batch({"embedding": pa.nulls(1, kind)}))
    sink = pa.BufferOutputStream()
    ipc.new_file(sink, pa.schema([pa.field("embedding", kind)])).close()
    return bytes(sink.getvalue())


HOSTILE: dict[str, tuple[Callable[[], bytes], VectorEncoding, str]] = {
    "a buffer of 4 EiB once decoded": (
        lambda: with_length(1 << 62),
        "arrow+zstd",
        "bytes once decoded, more than the limit",
    ),
    "a buffer of 1 GiB once decoded": (
        lambda: with_length(1 << 30),
        "arrow+zstd",
        "bytes once decoded, more than the limit",
    ),
    "a buffer of a negative length": (lambda: with_length(-2), "arrow+zstd", "a buffer of -2"),
    "lz4": (lambda: file_of(BATCH, compression="lz4"), "arrow+zstd", "other than zstd"),
    "dictionaries": (dictionaries, "arrow", "1 elements, more than 0"),
    "two record batches": (lambda: file_of(BATCH, BATCH), "arrow", "2 elements, more than 1"),
    "a deep type": (lambda: nested(40), "arrow", "not readable as Arrow"),
    "a very deep type": (lambda: nested(300), "arrow", "0 record batches, not 1"),
    "views": (
        lambda: file_of(pa.record_batch({"embedding": pa.array(["x" * 99], pa.string_view())})),
        "arrow",
        "not readable as Arrow",
    ),
    "other columns": (lambda: file_of(NUMBERS), "arrow", "not readable as Arrow"),
    "a footer of 2 GiB": (lambda: footer_size(2**31 - 1), "arrow", "a footer of"),
    "a footer of -1": (lambda: footer_size(-1), "arrow", "a footer of -1"),
    "a footer of 8": (lambda: footer_size(8), "arrow", "not readable as Arrow"),
    "a block far away": (lambda: block(0, "q", 1 << 40), "arrow", "outside of the file"),
    "a block before the file": (lambda: block(0, "q", -8), "arrow", "outside of the file"),
    "a block at an odd place": (lambda: block(0, "q", 9), "arrow", "outside of the file"),
    "a description of 2 GiB": (lambda: block(8, "i", 2**31 - 8), "arrow", "outside of the file"),
    "a body of 4 EiB": (lambda: block(16, "q", 1 << 62), "arrow", "outside of the file"),
    "a body of -1": (lambda: block(16, "q", -1), "arrow", "outside of the file"),
    "a body of nothing": (lambda: block(16, "q", 0), "arrow", "its block does not describe"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_damaged_and_allocates_next_to_nothing(name: str) -> None:
    make, encoding, says = HOSTILE[name]
    data, before = make(), pa.default_memory_pool().max_memory()
    with pytest.raises(Damaged, match=says):
        decode_vectors(data, DENSE, what="here", encoding=encoding)
    assert pa.default_memory_pool().max_memory() - before < 1 << 20


def test_buffers_over_one_another_are_damaged() -> None:
    """Each could be decoded anew: a small file becomes a large one."""
    column = BATCH.column(0)
    data = bytearray(file_of(pa.record_batch({"a": column, "b": column})))
    size = len(column) * 12
    place = bytes(data).rindex(struct.pack("<qq", size, size))
    struct.pack_into("<q", data, place, 0)
    with pytest.raises(Damaged, match="or over another one"):
        decode_vectors(bytes(data), DENSE, what="here")
