"""Tables to Parquet bytes and back: the only place that knows how objects are encoded."""

import json
import math
import re
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dr_pipelines.errors import Damaged, Refused
from dr_pipelines.model.base import canonical_json

MAX_OBJECT_BYTES = 1 << 30
MAX_JSON_DEPTH = 16
ROW_GROUP_ROWS = 16_384
THREADED_BYTES = 1 << 20
WRITE_BATCH = 65_536  # values: by Arrow's default vectors take half as long again
SEAL = "seal"
UNSEALED = "-" * 64


def encode_table(table: pa.Table, *, metadata: dict[str, str] | None = None) -> bytes:
    """Parquet bytes: zstd, page checksums, dictionaries for repetitive columns only.

    The bytes are decoded again and compared before they are returned: what a broken library or
    memory made of the table never reaches the repository (`Damaged`). Labels given as `metadata`
    are sealed together with every other byte of the object (see `sealed_metadata`).
    """
    tagged = table.replace_schema_metadata(metadata and {**metadata, SEAL: UNSEALED})
    floats = [f"{f.name}.list.element" for f in table.schema if pa.types.is_fixed_size_list(f.type)]
    digests = [f.name for f in table.schema if pa.types.is_fixed_size_binary(f.type)]
    plain = [*floats, *digests, "id", "text"]
    paths = _leaf_paths(table.schema)
    sink = pa.BufferOutputStream()
    pq.write_table(
        tagged,
        sink,
        compression={path: "NONE" if path in digests else "ZSTD" for path in paths},
        use_dictionary=[path for path in paths if path not in plain],
        use_byte_stream_split=floats,
        write_statistics=[path for path in paths if path not in floats],
        row_group_size=ROW_GROUP_ROWS,
        write_batch_size=WRITE_BATCH,
        write_page_checksum=True,
        store_schema=True,
    )
    data: bytes = sink.getvalue().to_pybytes()
    if not _same(_parse(data), table):
        raise Damaged("a table read back from its own encoding differs: nothing was written")
    return _sealed(data) if metadata else data


def decode_table(
    data: bytes, schema: pa.Schema, *, what: str, columns: list[str] | None = None
) -> pa.Table:
    """The table behind Parquet bytes, in exactly this schema (or these columns of it).

    Raises `Damaged` naming `what` when the bytes are not such a table.
    """
    if len(data) > MAX_OBJECT_BYTES:
        raise Damaged(f"{what}: {len(data)} bytes, more than the limit of {MAX_OBJECT_BYTES}")
    expected = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    try:
        table = _parse(data, columns)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise Damaged(f"{what}: not readable as Parquet ({_first_line(error)})") from error
    if not table.schema.remove_metadata().equals(expected):
        raise Damaged(f"{what}: its columns are {table.schema.names}, not {expected.names}")
    return table


def sealed_metadata(data: bytes) -> dict[str, str]:
    """The labels that `encode_table` was given, when every byte is as it was written; else empty.

    The seal is the SHA-256 of the object with 64 dashes in the place of the seal.
    """
    try:
        found = pq.read_metadata(pa.BufferReader(data)).metadata or {}
        labels = {k.decode(): v.decode() for k, v in found.items() if not k.startswith(b"ARROW:")}
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return {}
    seal = labels.pop(SEAL, "").encode()
    place = data.rfind(seal)
    if len(seal) != len(UNSEALED) or _seal_at(data, place) != seal:
        return {}
    return labels


def _sealed(data: bytes) -> bytes:
    place = data.rfind(UNSEALED.encode())
    return data[:place] + _seal_at(data, place) + data[place + len(UNSEALED) :]


def _seal_at(data: bytes, place: int) -> bytes:
    view, state = memoryview(data), sha256()
    for part in (view[:place], UNSEALED.encode(), view[place + len(UNSEALED) :]):
        state.update(part)
    return state.hexdigest().encode()


def decode_json(data: bytes, *, what: str, limit_bytes: int) -> Any:
    """Parse JSON within limits of size and nesting; raises `Damaged` naming `what`."""
    if len(data) > limit_bytes:
        raise Damaged(f"{what}: {len(data)} bytes, more than the limit of {limit_bytes}")
    if _nesting(data) > MAX_JSON_DEPTH:
        raise Damaged(f"{what}: nested deeper than {MAX_JSON_DEPTH}")
    try:  # decoded first: `_nesting` looks at UTF-8, and `json` would accept UTF-16 too
        return json.loads(data.decode(), parse_constant=_number, parse_float=_number)
    except (ValueError, UnicodeDecodeError) as error:
        raise Damaged(f"{what}: not JSON ({_first_line(error)})") from error


def seal_json(value: dict[str, Any]) -> bytes:
    """Canonical JSON of an object with its own checksum."""
    return canonical_json({**value, "checksum": sha256(canonical_json(value)).hexdigest()})


def unseal_json(data: bytes, *, what: str, limit_bytes: int) -> dict[str, Any]:
    """The object that `seal_json` was given; raises `Damaged` unless these are its very bytes."""
    value = decode_json(data, what=what, limit_bytes=limit_bytes)
    if not isinstance(value, dict):
        raise Damaged(f"{what}: not a JSON object")
    value.pop("checksum", None)
    try:
        sealed = seal_json(value)
    except UnicodeEncodeError as error:
        raise Damaged(f"{what}: not JSON ({_first_line(error)})") from error
    if sealed != data:
        raise Damaged(f"{what}: its checksum does not fit its contents")
    return value


def _number(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not a number")
    return number


_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


def _nesting(data: bytes) -> int:
    """Deepest nesting, strings skipped; looks at bytes only, so it is safe on any input."""
    bare = np.frombuffer(_STRING.sub(b"", data), np.uint8)
    steps = np.isin(bare, list(b"[{")).astype(np.int32) - np.isin(bare, list(b"]}"))
    return int(np.cumsum(steps).max(initial=0))


def _parse(data: bytes, columns: list[str] | None = None) -> pa.Table:
    file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
    table = file.read(columns=columns, use_threads=len(data) > THREADED_BYTES)
    return table if columns is None else table.select(columns)


def _same(decoded: pa.Table, table: pa.Table) -> bool:
    if not decoded.schema.remove_metadata().equals(table.schema.remove_metadata()):
        return False
    pairs = zip(decoded.columns, table.columns, strict=True)
    return all(_equal(a, b) for a, b in pairs)


def _equal(a: pa.ChunkedArray, b: pa.ChunkedArray) -> bool:
    """Equality of values; of bits where they are floating: NaN equals nothing, 0.0 equals −0.0."""
    return bool(_bits(a).equals(_bits(b)))


def _bits(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_fixed_size_list(kind):
        words = pa.list_(_word(kind.value_type), kind.list_size)
    else:
        words = _word(kind)
    chunks = [chunk.view(words) for chunk in column.chunks] if words != kind else column.chunks
    return pa.chunked_array(chunks, words)


def _word(kind: pa.DataType) -> pa.DataType:
    return {pa.float32(): pa.int32(), pa.float64(): pa.int64()}.get(kind, kind)


def _leaf_paths(schema: pa.Schema) -> list[str]:
    """Parquet's names of the physical columns."""
    return [f"{f.name}.list.element" if _is_list(f.type) else f.name for f in schema]


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def require_schema(table: pa.Table, schema: pa.Schema, *, what: str) -> None:
    """Refuse to write rows that are not in the format's schema."""
    if not table.schema.remove_metadata().equals(schema):
        raise Refused(f"{what}: columns {table.schema} are not the format's {schema}")
