"""Columns of Arrow in one piece, vectors of a column as a matrix, and vectors as text."""

import base64

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dr_pipelines.model.query import FloatArray

Mask = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.generic]


def whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column in one piece; copied only where it has several."""
    if isinstance(column, pa.Array):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)  # combining copies
    combined = column.combine_chunks()
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined


def valid_rows(column: pa.Array) -> tuple[Matrix, Mask]:
    """The vectors of a column of a fixed width, without those of nulls, and which rows have one."""
    values = column.flatten().to_numpy(zero_copy_only=False)  # without the slots of nulls
    return values.reshape(-1, column.type.list_size), valid(column)


def all_rows(column: pa.Array) -> tuple[Matrix, Mask]:
    """The same with a row of zeros for each null."""
    rows, present = valid_rows(column)
    return spread(rows, present), present


def of_rows(rows: Matrix, present: Mask, type: pa.DataType) -> pa.Array:
    """The column of such a type; `rows` are as `valid_rows` or `all_rows` give them."""
    full = rows if len(rows) == len(present) else spread(rows, present)
    values = pa.array(np.ascontiguousarray(full).ravel(), type.value_type)
    mask = None if present.all() else pa.array(~present)
    return pa.FixedSizeListArray.from_arrays(values, type=type, mask=mask)


def spread(rows: Matrix, present: Mask) -> Matrix:
    """A row for each of `present`, zeros where it is false."""
    full = np.zeros((len(present), rows.shape[1]), rows.dtype)
    full[present] = rows
    return full


def valid(column: pa.Array) -> Mask:
    """Which rows are no null."""
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False), bool)


def to_base64(vector: FloatArray) -> str:
    """A vector as text, bit for bit: base64 of little-endian float32."""
    return base64.b64encode(vector.astype("<f4", copy=False).tobytes()).decode()


def from_base64(text: str) -> FloatArray:
    """The vector that `to_base64` made text of."""
    components: FloatArray = np.frombuffer(base64.b64decode(text, validate=True), "<f4")
    return components
