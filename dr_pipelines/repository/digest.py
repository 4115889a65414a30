"""Digests of records, documents and collections.

A record is hashed over canonical bytes: a 16-byte schema tag, then for every column in order of
name a 9-byte head (a type byte and a little-endian 64-bit word), then the payloads of the columns
that have one. The word is the value itself (integers, IEEE bits of numbers with one NaN,
microseconds, booleans) or the payload's length (UTF-8 bytes, list items, vector components). Null
is type byte 0 and word 0. List items are encoded the same way. A vector's payload is its float32
components, with one NaN, and another one for a null component. Several vectors are a payload of all
their components, and a word that counts the vectors; a sparse vector's word counts its components,
its payload is their 64-bit indices, then their values. Nothing is normalised beyond NaN: −0.0
differs from 0.0, and two spellings of a Unicode string differ.

A collection's digest is the sum of its records' SHA-256 values modulo 2^256 (Bellare & Micciancio,
"A New Paradigm for Collision-Free Hashing", 1997, AdHash): independent of order and layout, and
updated in proportion to what changed. It detects accidents, not an adversary.
"""

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import Damaged
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.collection import CollectionSpec

MODULUS = 1 << 256
HEAD_BYTES = 9
JOINED_BYTES = 16 * 2**20
"""Of rows that are joined to be hashed, on the average: a second copy of a segment's vectors, and
not of all that a store returns at once."""
DOCUMENT_COLUMNS = (
    "document_id",
    "epoch",
    "position",
    "ordinal",
    "edit",
    "presence",
    "document_sha256",
    "chunk_count",
)
NULL_COMPONENT = np.uint32(0x7FC00001).view(np.float32)  # a NaN that no value is encoded as
Bytes = npt.NDArray[np.uint8]
Columns: TypeAlias = "pa.Table | pa.RecordBatch"


def content_digests(rows: Columns, spec: CollectionSpec) -> pa.Array:
    """SHA-256 of each record's id, document, place, text, uri, fields and extra, as binary(32)."""
    names = ["id", "document_id", "chunk_index", "text", "uri", "extra"]
    return _hash_columns(rows, [*names, *(f.name for f in spec.fields)], label="content")


def vector_digests(rows: Columns, spec: CollectionSpec) -> pa.Array:
    """SHA-256 of each record's id and vectors (bit for bit), as binary(32)."""
    return _hash_columns(rows, ["id", *(v.name for v in spec.vectors)], label="vectors")


def document_digests(rows: Columns) -> pa.Array:
    """SHA-256 of each document row's version, edit, presence, hash and chunk count."""
    return _hash_columns(rows, DOCUMENT_COLUMNS, label="documents")


def total(digests: pa.Array | pa.ChunkedArray) -> int:
    """The sum of binary(32) values, read as big-endian integers, modulo 2^256; nulls count 0."""
    chunks = digests.chunks if isinstance(digests, pa.ChunkedArray) else [digests]
    return sum(_sum_chunk(chunk.drop_null()) for chunk in chunks) % MODULUS


def to_hex(value: int) -> str:
    """64 hexadecimal digits of a sum."""
    return f"{value % MODULUS:064x}"


def combine(*, add: Iterable[str] = (), remove: Iterable[str] = ()) -> str:
    """The digest of a collection after some parts joined and others left it."""
    return to_hex(sum(int(a, 16) for a in add) - sum(int(r, 16) for r in remove))


def _sum_chunk(digests: pa.Array) -> int:
    if len(digests) == 0:
        return 0
    start = digests.offset * 32
    raw = np.frombuffer(digests.buffers()[1], dtype=">u4", count=len(digests) * 8, offset=start)
    limbs = raw.reshape(-1, 8).astype(np.uint64).sum(axis=0)
    return sum(int(limb) << (32 * (7 - place)) for place, limb in enumerate(limbs))


def _hash_columns(rows: Columns, names: Sequence[str], *, label: str) -> pa.Array:
    ordered = sorted(names)
    columns = [_one_array(rows.column(name)) for name in ordered]
    described = [[name, _described(c.type)] for name, c in zip(ordered, columns, strict=True)]
    tag = hashlib.sha256(canonical_json(["dr", 1, label, described])).digest()[:16]
    encoded = [_encode(column) for column in columns]
    heads = np.hstack([_repeat(tag, rows.num_rows), *(head for head, _ in encoded)])
    payloads = [payload for _, payload in encoded if payload is not None]
    return _hash_rows([_fixed(heads), *payloads])


def _hash_rows(parts: Sequence[pa.Array]) -> pa.Array:
    """SHA-256 of each row's parts, joined; a block of rows at a time."""
    rows, size = len(parts[0]), sum(int(_offsets(part)[-1] - _offsets(part)[0]) for part in parts)
    step = max(1, rows * JOINED_BYTES // max(1, size))
    blocks = [[part.slice(begin, step) for part in parts] for begin in range(0, rows, step)]
    hashes = b"".join(itertools.chain.from_iterable(map(_hash_block, blocks)))
    return pa.Array.from_buffers(pa.binary(32), rows, [None, pa.py_buffer(hashes)])


def _hash_block(parts: Sequence[pa.Array]) -> list[bytes]:
    joined, sha256 = _join(parts), hashlib.sha256
    data, offsets = memoryview(joined.buffers()[2] or b""), _offsets(joined).tolist()
    return [sha256(data[a:b]).digest() for a, b in itertools.pairwise(offsets)]


def _join(parts: Sequence[pa.Array]) -> pa.Array:
    if len(parts) == 1:
        return parts[0]
    return pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.large_binary()))


def _offsets(column: pa.Array) -> npt.NDArray[np.int64]:
    return np.frombuffer(column.buffers()[1], np.int64, len(column) + 1, column.offset * 8)


def _fixed(heads: Bytes) -> pa.Array:
    """Rows of a byte matrix as large_binary values."""
    count, width = heads.shape
    offsets = pa.py_buffer(np.arange(0, (count + 1) * width, width, dtype=np.int64))
    data = pa.py_buffer(np.ascontiguousarray(heads))
    return pa.Array.from_buffers(pa.large_binary(), count, [None, offsets, data])


def _one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(column, pa.Array):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()  # which copies


def _described(kind: pa.DataType) -> str:
    """The kind of a column; physical variants that hold the same values are one kind."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "string"
    if pa.types.is_fixed_size_binary(kind):
        return "binary"
    if pa.types.is_fixed_size_list(kind):
        return f"vector[{kind.list_size}]"
    if pa.types.is_struct(kind):
        return "sparse"
    if pa.types.is_list(kind):
        several = pa.types.is_fixed_size_list(kind.value_type)
        return f"vectors[{kind.value_type.list_size}]" if several else "strings"
    return _scalar_kind(kind)


def _repeat(value: bytes, count: int) -> Bytes:
    return np.broadcast_to(np.frombuffer(value, np.uint8), (count, len(value)))


def _head(kind: bytes, words: npt.NDArray[np.int64], valid: npt.NDArray[np.bool_]) -> Bytes:
    head = np.zeros((len(words), HEAD_BYTES), np.uint8)
    head[valid, 0] = kind[0]
    head[:, 1:] = np.where(valid, words, 0).astype("<i8").view(np.uint8).reshape(-1, 8)
    return head


def _encode(column: pa.Array) -> tuple[Bytes, pa.Array | None]:
    kind = column.type
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _encode_binary(column.cast(pa.large_string()).view(pa.large_binary()), valid, b"S")
    if pa.types.is_fixed_size_binary(kind):
        return _encode_binary(column.cast(pa.large_binary()), valid, b"H")
    if pa.types.is_fixed_size_list(kind):
        return _encode_vectors(column, valid)
    if pa.types.is_struct(kind):
        return _encode_sparse(column, valid)
    if pa.types.is_list(kind) and pa.types.is_fixed_size_list(kind.value_type):
        return _encode_several(column, valid)
    if pa.types.is_list(kind):
        return _encode_list(column, valid)
    return _head(_SCALARS[_scalar_kind(kind)], _words(column), valid), None


_SCALARS = {"integer": b"I", "number": b"F", "boolean": b"B", "timestamp": b"T"}


def _scalar_kind(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind):
        return "number"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_timestamp(kind):
        return "timestamp"
    raise TypeError(f"no canonical form for Arrow type {kind}")


def _words(column: pa.Array) -> npt.NDArray[np.int64]:
    kind = column.type
    if pa.types.is_floating(kind):
        values = pc.fill_null(column.cast(pa.float64()), 0.0).to_numpy(zero_copy_only=False)
        values = np.where(np.isnan(values), np.nan, values)  # one NaN, the positive quiet one
        return values.view(np.int64)
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", tz="UTC")).view(pa.int64())
    words: npt.NDArray[np.int64] = pc.fill_null(column.cast(pa.int64()), 0).to_numpy(
        zero_copy_only=False
    )
    return words


def _encode_binary(
    column: pa.Array, valid: npt.NDArray[np.bool_], kind: bytes
) -> tuple[Bytes, pa.Array]:
    if column.null_count:
        column = pc.fill_null(column, b"")  # Arrow permits bytes behind a null: drop them
    return _head(kind, np.diff(_offsets(column)), valid), column


def _encode_vectors(column: pa.Array, valid: npt.NDArray[np.bool_]) -> tuple[Bytes, pa.Array]:
    width = column.type.list_size
    values = column.values.slice(column.offset * width, len(column) * width)
    missing = values.is_null().to_numpy(zero_copy_only=False) if values.null_count else None
    values = pc.fill_null(values, 0.0) if values.null_count else values
    raw = values.to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = np.isnan(raw.sum())  # a NaN makes the sum one; infinities may: look closely
    if suspicious:
        raw = np.where(np.isnan(raw), np.float32(np.nan), raw)
    if missing is not None:
        raw = np.where(missing, NULL_COMPONENT, raw)
    if not valid.all():
        raw = raw.reshape(-1, width)[valid].reshape(-1)
    offsets = np.concatenate([[0], np.cumsum(np.where(valid, width * 4, 0))])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(raw.astype("<f4", copy=False))]
    payload = pa.Array.from_buffers(pa.large_binary(), len(column), buffers)
    return _head(b"V", np.full(len(column), width), valid), payload


def _encode_list(column: pa.Array, valid: npt.NDArray[np.bool_]) -> tuple[Bytes, pa.Array]:
    counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    items = column.flatten()
    item_valid = items.is_valid().to_numpy(zero_copy_only=False)
    texts = items.cast(pa.large_string()).view(pa.large_binary())
    heads, bodies = _encode_binary(texts, item_valid, b"S")
    whole = _join([_fixed(heads), bodies])
    ends = np.concatenate([[0], np.cumsum(counts)])
    return _head(b"L", counts.astype(np.int64), valid), _cut(whole, ends)


def _encode_several(column: pa.Array, valid: npt.NDArray[np.bool_]) -> tuple[Bytes, pa.Array]:
    counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    vectors = column.flatten()
    if vectors.null_count:
        raise Damaged("one of several vectors of a record is null")
    _, whole = _encode_vectors(vectors, vectors.is_valid().to_numpy(zero_copy_only=False))
    ends = np.concatenate([[0], np.cumsum(counts)])
    return _head(b"M", counts.astype(np.int64), valid), _cut(whole, ends)


def _encode_sparse(column: pa.Array, valid: npt.NDArray[np.bool_]) -> tuple[Bytes, pa.Array]:
    indices, values = (pc.struct_field(column, name) for name in ("indices", "values"))
    counts, others = (
        pc.fill_null(pc.list_value_length(part), 0).to_numpy(zero_copy_only=False)
        for part in (indices, values)
    )
    if not np.array_equal(counts, others):
        raise Damaged("a sparse vector has another number of values than of indices")
    ends = np.concatenate([[0], np.cumsum(counts)])
    raw = values.flatten().to_numpy(zero_copy_only=False)
    raw = np.where(np.isnan(raw), np.float32(np.nan), raw)
    words = indices.flatten().to_numpy(zero_copy_only=False)
    parts = [_pieces(words.astype("<i8"), ends), _pieces(raw.astype("<f4"), ends)]
    return _head(b"P", counts.astype(np.int64), valid), _join(parts)


def _pieces(values: npt.NDArray[np.generic], ends: npt.NDArray[np.int64]) -> pa.Array:
    """Bytes of consecutive values, up to each end."""
    offsets = pa.py_buffer((ends * values.itemsize).astype(np.int64))
    buffers = [None, offsets, pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.large_binary(), len(ends) - 1, buffers)


def _cut(whole: pa.Array, ends: npt.NDArray[np.int64]) -> pa.Array:
    """Consecutive values joined, up to each end."""
    offsets = pa.py_buffer(np.ascontiguousarray(_offsets(whole)[ends]))
    return pa.Array.from_buffers(
        pa.large_binary(), len(ends) - 1, [None, offsets, whole.buffers()[2]]
    )
