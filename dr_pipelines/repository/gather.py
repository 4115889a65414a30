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


def gather(rows: pa.Table, numbers: Numbers) -> pa.Table:
    """The rows with these numbers, in this order, in one chunk each."""
    columns = [_gathered(column.combine_chunks(), numbers) for column in rows.columns]
    return pa.table(columns, schema=rows.schema)


def in_order(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """The rows ascending by these columns, earlier ones first."""
    keys = [(name, "ascending") for name in names]
    order: Numbers = pc.sort_indices(rows, sort_keys=keys).to_numpy().astype(np.int64)
    return rows if (np.diff(order) == 1).all() else gather(rows, order)


def _gathered(column: pa.Array, numbers: Numbers) -> pa.Array:
    if pa.types.is_fixed_size_list(column.type) and column.null_count:
        found = _vectors(column, numbers)
        if found is not None:
            return found
    return column.take(pa.array(numbers))


def _vectors(column: pa.Array, numbers: Numbers) -> pa.Array | None:
    """Vectors and nulls, copied as rows of a matrix; None where that cannot be done exactly."""
    width, size = column.type.list_size, len(column)
    values = column.values.slice(column.offset * width, size * width)
    wanted = column.is_valid().to_numpy(zero_copy_only=False)[numbers]
    if values.null_count and not _all_whole(values, width, numbers[wanted]):
        return None
    kind = np.dtype(column.type.value_type.to_pandas_dtype())
    start = values.offset * kind.itemsize
    raw = np.frombuffer(values.buffers()[1], kind, size * width, start).reshape(size, width)
    if wanted.all():
        matrix = raw[numbers]
        return pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), type=column.type)
    matrix = np.zeros((len(numbers), width), kind)  # what lies behind a null may be anything
    matrix[wanted] = raw[numbers[wanted]]
    flat = pa.array(matrix.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=column.type, mask=pa.array(~wanted))


def _all_whole(values: pa.Array, width: int, numbers: Numbers) -> bool:
    """Whether none of some vectors lacks a component; False also where that takes long to say."""
    if width % 8 or values.offset % 8:
        return False
    count, start = len(values) // 8, values.offset // 8
    bits = np.frombuffer(values.buffers()[0], np.uint8, count, start).reshape(-1, width // 8)
    return bool((bits[numbers] == 0xFF).all())
