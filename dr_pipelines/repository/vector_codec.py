"""Vectors to Arrow IPC bytes and back: the only place that knows how they are encoded.

Uncompressed, a file can be mapped and searched as it lies; compressed, it is about a tenth smaller.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc

from dr_pipelines.errors import Damaged, Refused
from dr_pipelines.model.recovery_point import ARROW_ZSTD, MAX_VECTORS_BYTES
from dr_pipelines.model.vector_encoding import VectorEncoding
from dr_pipelines.repository.arrow_file import layout_of
from dr_pipelines.repository.flatbuffer import Malformed
from dr_pipelines.repository.json_codec import first_line
from dr_pipelines.repository.same_bits import same_table

LEVEL = 1
"""Of zstd: three of a float's four bytes are noise, and higher levels find no more in them."""
HEAD_BYTES = 1 << 16
"""Around the vectors of a file: more than any description of columns takes."""


def encode_vectors(vectors: pa.Table, *, encoding: VectorEncoding = "arrow") -> memoryview:
    """An Arrow IPC file of one record batch, not copied; nothing is behind a null.

    The bytes are decoded again and compared before they are returned: what a broken library or
    memory made of the vectors never reaches the repository (`Damaged`). Raises `Refused` where
    they take more than an object may.
    """
    columns = [_without_hidden(_one(column)) for column in vectors.columns]
    batch = pa.RecordBatch.from_arrays(columns, schema=vectors.schema.remove_metadata())
    codec = pa.Codec("zstd", LEVEL) if encoding == ARROW_ZSTD else None
    sink = pa.BufferOutputStream()
    with ipc.new_file(sink, batch.schema, options=ipc.IpcWriteOptions(compression=codec)) as file:
        file.write_batch(batch)
    data = memoryview(sink.getvalue())
    if len(data) > MAX_VECTORS_BYTES:
        raise Refused(
            f"vectors of {len(data)} bytes, more than an object may have ({MAX_VECTORS_BYTES}): "
            "cut the document into records with fewer vectors each"
        )
    if not same_table(parse_vectors(data), vectors):
        raise Damaged("vectors read back from their own encoding differ: nothing was written")
    return data


def decode_vectors(
    data: bytes | memoryview | pa.Buffer,
    schema: pa.Schema,
    *,
    what: str,
    encoding: VectorEncoding = "arrow",
) -> pa.Table:
    """The vectors behind Arrow bytes, in exactly this schema; uncompressed ones are not copied.

    Raises `Damaged` naming `what` when the bytes are not such a file, are not encoded as their
    reference says, or would become more than `MAX_VECTORS_BYTES`: that is decided before any
    vector is decoded.
    """
    if len(data) > MAX_VECTORS_BYTES:
        raise Damaged(f"{what}: {len(data)} bytes, more than the limit of {MAX_VECTORS_BYTES}")
    try:
        require_bounded(data, what=what, encoding=encoding)
        vectors = parse_vectors(data, schema)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise Damaged(f"{what}: not readable as Arrow ({first_line(error)})") from error
    return vectors


def require_bounded(data: bytes | memoryview, *, what: str, encoding: VectorEncoding) -> None:
    """Raise `Damaged` where a file says that it is encoded otherwise, or that it would become
    larger, than it may; `Malformed` where it is no Arrow file of this package."""
    layout = layout_of(data)
    if layout.compressed != (encoding == ARROW_ZSTD):
        raise Damaged(f"{what}: it is not encoded as {encoding}, as its reference says")
    if layout.decoded_bytes > MAX_VECTORS_BYTES:
        raise Damaged(
            f"{what}: {layout.decoded_bytes} bytes once decoded, more than the limit of "
            f"{MAX_VECTORS_BYTES}"
        )


def encoding_of(data: bytes | memoryview) -> VectorEncoding | None:
    """How a file of vectors is encoded; None for what is none."""
    try:
        return "arrow+zstd" if layout_of(data).compressed else "arrow"
    except Malformed:
        return None


def parse_vectors(
    data: bytes | memoryview | pa.Buffer, schema: pa.Schema | None = None
) -> pa.Table:
    """A file's one record batch, every length and offset in it proven; raises what Arrow does, and
    `Malformed` for columns that are not a schema's."""
    file = ipc.open_file(pa.BufferReader(data))
    if schema is not None and not file.schema.remove_metadata().equals(schema):
        raise Malformed(f"its columns are {file.schema.names}, not {schema.names}")
    table = pa.Table.from_batches([file.get_batch(0)]).replace_schema_metadata(None)
    table.validate(full=True)
    return table


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _without_hidden(array: pa.Array) -> pa.Array:
    """The same values with zeros behind every null: Arrow stores what memory has there."""
    kind = array.type
    if pa.types.is_struct(kind):
        parts = [_without_hidden(part) for part in array.flatten()]
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=_mask(array))
    if pa.types.is_fixed_size_list(kind):
        return _dense_without_hidden(array)
    if pa.types.is_list(kind):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        items = _without_hidden(array.flatten())
        return pa.ListArray.from_arrays(pa.array(ends), items, type=kind, mask=_mask(array))
    if not array.null_count:
        return array
    values = pc.fill_null(array, 0).to_numpy(zero_copy_only=False)
    return pa.array(values, kind, mask=array.is_null().to_numpy(zero_copy_only=False))


def _dense_without_hidden(array: pa.Array) -> pa.Array:
    width = array.type.list_size
    values = array.values.slice(array.offset * width, len(array) * width)
    if not array.null_count and not values.null_count:
        return array
    gone = array.is_null().to_numpy(zero_copy_only=False)
    matrix = pc.fill_null(values, 0).to_numpy(zero_copy_only=False).reshape(-1, width).copy()
    matrix[gone] = 0
    missing = values.is_null().to_numpy(zero_copy_only=False).reshape(-1, width) & ~gone[:, None]
    mask = missing.reshape(-1) if missing.any() else None
    items = pa.array(matrix.reshape(-1), array.type.value_type, mask=mask)
    return pa.FixedSizeListArray.from_arrays(items, type=array.type, mask=_mask(array))


def _mask(array: pa.Array) -> pa.Array | None:
    return array.is_null() if array.null_count else None
