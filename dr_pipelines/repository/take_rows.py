"""Rows of a table by number, as `take` does, but fast where vectors are missing from some.

A segment's document rows have no vectors. Beside them Arrow's `take` copies the vectors of the
other rows component by component, which costs more than reading them from Parquet.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Numbers = npt.NDArray[np.int64]


def take_rows(rows: pa.Table, numbers: Numbers) -> pa.Table:
    """The rows with these numbers, in this order, in one chunk each."""
    columns = [_gathered(column, numbers) for column in rows.columns]
    return pa.table(columns, schema=rows.schema)


def in_order(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """The rows ascending by these columns, earlier ones first."""
    order = order_of(rows, names)
    return rows if order is None else take_rows(rows, order)


def order_of(rows: pa.Table, names: Sequence[str]) -> Numbers | None:
    """The numbers of rows ascending by these columns, earlier ones first; None where they are so
    already."""
    keys = [(name, "ascending") for name in names]
    order: Numbers = pc.sort_indices(rows, sort_keys=keys).to_numpy().astype(np.int64)
    return None if (np.diff(order) == 1).all() else order


def spread(values: pa.ChunkedArray, filled: npt.NDArray[np.bool_]) -> pa.Array:
    """Values in the places that are `filled`, in order, and nulls in the others."""
    whole = _one_chunk(values)
    places = np.cumsum(filled, dtype=np.int64) - 1
    if pa.types.is_fixed_size_list(whole.type):
        vectors = _vectors(pa.chunked_array([whole]), places, only=filled)
        if vectors is not None:
            return vectors
    return whole.take(pa.array(places, mask=~filled))


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _gathered(column: pa.ChunkedArray, numbers: Numbers) -> pa.Array:
    lacking = column.null_count or column.num_chunks > 1  # combining chunks copies
    if pa.types.is_fixed_size_list(column.type) and lacking:
        vectors = _vectors(column, numbers)
        if vectors is not None:
            return vectors
    whole = _one_chunk(column)
    return whole.take(pa.array(numbers))


def _vectors(
    column: pa.ChunkedArray, numbers: Numbers, *, only: npt.NDArray[np.bool_] | None = None
) -> pa.Array | None:
    """Vectors and nulls, copied as rows of a matrix, nulls but in `only` some places; None where
    that cannot be done exactly."""
    width, kind = column.type.list_size, np.dtype(column.type.value_type.to_pandas_dtype())
    memory = pa.allocate_buffer(len(numbers) * width * kind.itemsize)
    matrix = np.frombuffer(memory, kind).reshape(len(numbers), width)
    filled, begin = np.zeros(len(numbers), np.bool_), 0
    for chunk in column.chunks:
        end = begin + len(chunk)
        within = (numbers >= begin) & (numbers < end)
        places = np.flatnonzero(within if only is None else within & only)
        if not _copied(chunk, numbers[places] - begin, matrix, places, filled):
            return None
        begin = end
    values = pa.Array.from_buffers(column.type.value_type, matrix.size, [None, memory])
    if filled.all():
        return pa.FixedSizeListArray.from_arrays(values, type=column.type)
    matrix[~filled] = 0  # what lies behind a null may be anything
    return pa.FixedSizeListArray.from_arrays(values, type=column.type, mask=pa.array(~filled))


def _copied(
    chunk: pa.Array,
    numbers: Numbers,
    matrix: npt.NDArray[np.generic],
    places: npt.NDArray[np.intp],
    filled: npt.NDArray[np.bool_],
) -> bool:
    """Copy vectors of a chunk that are not null to their places; whether that was exact."""
    if chunk.null_count:
        present = chunk.is_valid().to_numpy(zero_copy_only=False)[numbers]
        numbers, places = numbers[present], places[present]
    if len(numbers) == 0:
        return True
    width = matrix.shape[1]
    values = chunk.values.slice(chunk.offset * width, len(chunk) * width)
    if values.null_count and not _all_whole(values, width, numbers):
        return False
    start = values.offset * matrix.itemsize
    raw = np.frombuffer(values.buffers()[1], matrix.dtype, len(values), start).reshape(-1, width)
    filled[places] = True
    if len(places) == len(matrix):
        np.take(raw, numbers, axis=0, out=matrix, mode="clip")  # by "raise" through another matrix
    elif numbers[-1] - numbers[0] == len(numbers) - 1 and (np.diff(numbers) == 1).all():
        matrix[places] = raw[numbers[0] : numbers[-1] + 1]
    else:
        matrix[places] = raw[numbers]
    return True


def _all_whole(values: pa.Array, width: int, numbers: Numbers) -> bool:
    """True if no vector of a selection lacks a component; False also if that takes long to tell."""
    if width % 8 or values.offset % 8:
        return False
    count, start = len(values) // 8, values.offset // 8
    bits = np.frombuffer(values.buffers()[0], np.uint8, count, start).reshape(-1, width // 8)
    return bool((bits[numbers] == 0xFF).all())
