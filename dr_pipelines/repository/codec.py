"""Tables to Parquet bytes and back: the only place that knows how tables are encoded."""

from hashlib import sha256

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dr_pipelines.errors import Damaged, Refused
from dr_pipelines.repository.json_codec import first_line

MAX_OBJECT_BYTES = 1 << 30
ROW_GROUP_ROWS = 16_384
THREADED_BYTES = 1 << 20
WRITE_BATCH = 65_536  # values: by Arrow's default vectors take half as long again
SEAL = "seal"
UNSEALED = "-" * 64


def encode_table(table: pa.Table, *, metadata: dict[str, str] | None = None) -> bytes | memoryview:
    """Parquet bytes, not copied: zstd, page checksums, dictionaries for repetitive columns only.

    The bytes are decoded again and compared before they are returned: what a broken library or
    memory made of the table never reaches the repository (`Damaged`). Labels given as `metadata`
    are sealed together with every other byte of the object (see `sealed_metadata`).
    """
    tagged = table.replace_schema_metadata(metadata and {**metadata, SEAL: UNSEALED})
    floats = [path for path, kind in _leaves(table.schema) if kind == pa.float32()]
    digests = [f.name for f in table.schema if pa.types.is_fixed_size_binary(f.type)]
    plain = [*floats, *digests, "id", "text"]
    paths = [path for path, _ in _leaves(table.schema)]
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
    data = memoryview(sink.getvalue())
    if not _same(_parse(data), table):
        raise Damaged("a table read back from its own encoding differs: nothing was written")
    return _sealed(bytes(data)) if metadata else data


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
        raise Damaged(f"{what}: not readable as Parquet ({first_line(error)})") from error
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


def _parse(data: bytes | memoryview, columns: list[str] | None = None) -> pa.Table:
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
    if _is_nested(a.type):
        return _equal_nested(_whole(a), _whole(b))
    return bool(_bits(a).equals(_bits(b)))


def _equal_nested(a: pa.Array, b: pa.Array) -> bool:
    if not a.is_valid().equals(b.is_valid()):
        return False
    if pa.types.is_struct(a.type):
        names = [a.type.field(place).name for place in range(a.type.num_fields)]
        return all(_equal_nested(pc.struct_field(a, n), pc.struct_field(b, n)) for n in names)
    if pa.types.is_list(a.type):
        lengths = (pc.list_value_length(a), pc.list_value_length(b))
        return lengths[0].equals(lengths[1]) and _equal_nested(a.flatten(), b.flatten())
    return bool(_bits(pa.chunked_array([a])).equals(_bits(pa.chunked_array([b]))))


def _is_nested(kind: pa.DataType) -> bool:
    """Whether vectors lie deeper than in a plain list: a sparse one, or several."""
    return bool(
        pa.types.is_struct(kind)
        or (pa.types.is_list(kind) and pa.types.is_fixed_size_list(kind.value_type))
    )


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


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


def _leaves(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    """Parquet's names of the physical columns, and what is in them."""
    return [leaf for field in schema for leaf in _leaves_of(field.name, field.type)]


def _leaves_of(path: str, kind: pa.DataType) -> list[tuple[str, pa.DataType]]:
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return _leaves_of(f"{path}.list.element", kind.value_type)
    if pa.types.is_struct(kind):
        fields = [kind.field(place) for place in range(kind.num_fields)]
        return [leaf for f in fields for leaf in _leaves_of(f"{path}.{f.name}", f.type)]
    return [(path, kind)]


def require_schema(table: pa.Table, schema: pa.Schema, *, what: str) -> None:
    """Refuse to write rows that are not in the format's schema."""
    if not table.schema.remove_metadata().equals(schema):
        raise Refused(f"{what}: columns {table.schema} are not the format's {schema}")
