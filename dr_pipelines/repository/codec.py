"""Tables to Parquet bytes and back: the only place that knows how tables are encoded."""

from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dr_pipelines.errors import Damaged, Refused
from dr_pipelines.model.recovery_point import MAX_OBJECT_BYTES
from dr_pipelines.repository.json_codec import first_line
from dr_pipelines.repository.same_bits import same_table

MAX_DECODED_BYTES = 1 << 31
"""Of a table in memory, by what an object says of itself before it is decoded."""
MAX_COLUMNS = 4096
ROW_GROUP_ROWS = 16_384
SMALL_BYTES = 64 << 10
"""Of a table in memory. A smaller one has no statistics, no dictionaries and not Arrow's schema:
they would take more room than its rows."""
THREADED_BYTES = 1 << 20
WRITE_BATCH = 65_536  # values: by Arrow's default vectors take half as long again
ENCODINGS = frozenset(
    ["PLAIN", "RLE", "BIT_PACKED", "PLAIN_DICTIONARY", "RLE_DICTIONARY", "BYTE_STREAM_SPLIT"]
)
"""Others can say a long text once and repeat it for nothing."""
WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12}
SEAL = "seal"
UNSEALED = "-" * 64


def encode_table(table: pa.Table, *, metadata: dict[str, str] | None = None) -> bytes | memoryview:
    """Parquet bytes, not copied: zstd, page checksums, dictionaries for repetitive columns only.

    The bytes are decoded again and compared before they are returned: what a broken library or
    memory made of the table never reaches the repository (`Damaged`). Labels given as `metadata`
    are sealed together with every other byte of the object (see `sealed_metadata`).
    """
    floats = [path for path, kind in _leaves(table.schema) if kind == pa.float32()]
    digests = [f.name for f in table.schema if pa.types.is_fixed_size_binary(f.type)]
    plain = [*floats, *digests, "id", "text"]
    paths = [path for path, _ in _leaves(table.schema)]
    small = table.nbytes < SMALL_BYTES and not any(_needs_arrow(f.type) for f in table.schema)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema.remove_metadata(),
        compression={path: "NONE" if path in digests else "ZSTD" for path in paths},
        use_dictionary=not small and [path for path in paths if path not in plain],
        use_byte_stream_split=floats,
        write_statistics=not small and [path for path in paths if path not in floats],
        write_batch_size=WRITE_BATCH,
        write_page_checksum=True,
        store_schema=not small,
    ) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        if metadata:
            writer.add_key_value_metadata({**metadata, SEAL: UNSEALED})
    data = memoryview(sink.getvalue())
    if not same_table(_retyped(parse(data), table.schema), table):
        raise Damaged("a table read back from its own encoding differs: nothing was written")
    return _sealed(bytes(data)) if metadata else data


def decode_table(
    data: bytes | memoryview,
    schema: pa.Schema,
    *,
    what: str,
    columns: list[str] | None = None,
    rows: int | None = None,
) -> pa.Table:
    """The table behind Parquet bytes, in exactly this schema (or these columns of it), with that
    many rows where they are known.

    Raises `Damaged` naming `what` when the bytes are not such a table, or would become more than
    `MAX_DECODED_BYTES`: that is decided from the footer and the dictionaries, before any row.
    """
    if len(data) > MAX_OBJECT_BYTES:
        raise Damaged(f"{what}: {len(data)} bytes, more than the limit of {MAX_OBJECT_BYTES}")
    expected = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    try:
        require_bounded(data, what=what, rows=rows)
        table = _retyped(parse(data, columns), expected)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise Damaged(f"{what}: not readable as Parquet ({first_line(error)})") from error
    if not table.schema.remove_metadata().equals(expected):
        raise Damaged(f"{what}: its columns are {table.schema.names}, not {expected.names}")
    return table


def require_bounded(data: bytes | memoryview, *, what: str, rows: int | None) -> None:
    """Raise `Damaged` where a footer says that a table has other rows, or that it would become
    larger, than any that this package writes. No page is decoded for it but dictionaries."""
    footer = pq.read_metadata(pa.BufferReader(data))
    if rows is not None and footer.num_rows != rows:
        raise Damaged(f"{what}: {footer.num_rows} rows, not {rows}")
    if footer.num_columns > MAX_COLUMNS:
        raise Damaged(f"{what}: {footer.num_columns} columns, more than {MAX_COLUMNS}")
    chunks = [
        footer.row_group(group).column(place)
        for group in range(footer.num_row_groups)
        for place in range(footer.num_columns)
    ]
    unusual = sorted({name for chunk in chunks for name in chunk.encodings} - ENCODINGS)
    if unusual:
        raise Damaged(f"{what}: encoded as {', '.join(unusual)}, which no object here is")
    size = sum(_decoded_bytes(chunk) for chunk in chunks)
    if size > MAX_DECODED_BYTES:
        size = _exact_bytes(data, chunks)
    if size > MAX_DECODED_BYTES:
        raise Damaged(
            f"{what}: {size} bytes once decoded, more than the limit of {MAX_DECODED_BYTES}"
        )


def _decoded_bytes(chunk: Any) -> int:
    """At most so many bytes in memory. A value from a dictionary may be all of the dictionary, and
    the pages of what repeats take next to nothing: so values are counted, too."""
    width = WIDTHS.get(chunk.physical_type)
    if width is not None:
        return max(int(chunk.total_uncompressed_size), int(chunk.num_values) * width)
    if chunk.dictionary_page_offset is None:
        return int(chunk.total_uncompressed_size) + 4 * int(chunk.num_values)
    return int(chunk.num_values) * int(chunk.total_uncompressed_size)


def _exact_bytes(data: bytes | memoryview, chunks: list[Any]) -> int:
    """As `_decoded_bytes`, with the texts of dictionaries measured instead of guessed."""
    texts = {c.path_in_schema for c in chunks if c.dictionary_page_offset is not None}
    rest = [c for c in chunks if c.path_in_schema not in texts or c.physical_type in WIDTHS]
    counted = sum(_decoded_bytes(chunk) for chunk in rest)
    values = sum(int(chunk.num_values) for chunk in chunks)
    pages = sum(int(chunk.total_uncompressed_size) for chunk in chunks)
    if counted + 4 * values + pages > MAX_DECODED_BYTES:
        return counted + 4 * values + pages
    names = sorted({path.partition(".")[0] for path in texts})
    file = pq.ParquetFile(pa.BufferReader(data), read_dictionary=sorted(texts))
    return counted + sum(
        _expanded_bytes(batch.column(name))
        for name in names
        for batch in file.iter_batches(columns=[name], batch_size=ROW_GROUP_ROWS)
    )


def _expanded_bytes(column: pa.Array) -> int:
    """Bytes of a column once each value is written out."""
    if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
        return 4 * len(column) + _expanded_bytes(column.flatten())
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary)
    each = pc.take(lengths, column.indices)
    return 4 * len(column) + int(pc.sum(each.cast(pa.int64())).as_py() or 0)


def sealed_metadata(data: bytes) -> dict[str, str]:
    """The labels that `encode_table` was given, when every byte is as it was written; else empty.

    The seal is the SHA-256 of the object with 64 dashes in the place of the seal.
    """
    try:
        metadata = pq.read_metadata(pa.BufferReader(data)).metadata or {}
        labels = {
            k.decode(): v.decode() for k, v in metadata.items() if not k.startswith(b"ARROW:")
        }
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


def parse(data: bytes | memoryview, columns: list[str] | None = None) -> pa.Table:
    file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
    table = file.read(columns=columns, use_threads=len(data) > THREADED_BYTES)
    return table if columns is None else table.select(columns)


def _needs_arrow(kind: pa.DataType) -> bool:
    """True for types that Parquet alone does not tell from others."""
    if pa.types.is_list(kind):
        return _needs_arrow(kind.value_type)
    return bool(pa.types.is_nested(kind) or pa.types.is_duration(kind))


def _retyped(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Strings as long ones, where a schema has those: Parquet has one kind of string."""
    for place, field in enumerate(table.schema):
        if place < len(schema) and (field.type, schema[place].type) == _STRINGS:
            column = table.column(place).cast(pa.large_string())
            table = table.set_column(place, field.with_type(pa.large_string()), column)
    return table


_STRINGS = (pa.string(), pa.large_string())


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
