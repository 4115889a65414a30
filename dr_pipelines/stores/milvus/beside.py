"""Values that the engine's own columns cannot hold, kept whole beside them.

Each record has a list of texts, empty for most: joined, they are a JSON object of column → value as
it was written. The engine's column then holds the nearest that it can, so that its filters and
searches still mean what they say:

- texts longer than 65,535 bytes (cut there), null texts of a column with a keyword index (empty);
- NaN and infinite numbers, which servers refuse (null, and the largest and smallest number);
- lists with nulls (without them), sparse vectors with components that are not positive (without
  them), and several vectors a record (no column at all).
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import Damaged, InvalidRequest
from dr_pipelines.model.collection import CollectionSpec, FieldType, VectorKind
from dr_pipelines.stores.shared.columns import whole

NAME = "dr_kept"
TEXT_BYTES = 65_535
PIECES = 4_096
SPARSE_LIMIT = 2**32 - 1
PLACEHOLDER: dict[str, list[Any]] = {"indices": [SPARSE_LIMIT - 1], "values": [1.0]}
"""For records without a sparse vector, which servers do not take: a component that nobody uses."""

Mask = npt.NDArray[np.bool_]


def encoded(rows: pa.Table, spec: CollectionSpec) -> pa.Array:
    """The lists of texts of some records: `list<string>`.

    Raises:
        InvalidRequest: a record has more than the engine keeps of a list.
    """
    beside: dict[int, dict[str, Any]] = defaultdict(dict)
    for name, mask in _beside(rows, spec):
        column = rows.column(name)
        for row in np.flatnonzero(mask).tolist():
            beside[row][name] = _to_json(column[row].as_py())
    lists: list[list[str]] = [[]] * len(rows)
    for row, values in beside.items():
        text = json.dumps(values, separators=(",", ":"))  # ASCII: may be cut anywhere
        lists[row] = [text[at : at + TEXT_BYTES] for at in range(0, len(text), TEXT_BYTES)]
        if len(lists[row]) > PIECES:
            raise InvalidRequest(
                f"record {rows.column('id')[row].as_py()!r} of {spec.name!r}: its longest values "
                f"have more than the {TEXT_BYTES * PIECES:,} bytes that Milvus keeps"
            )
    return pa.array(lists, pa.list_(pa.string()))


def restored(columns: Mapping[str, pa.Array], lists: pa.Array) -> dict[str, pa.Array]:
    """The columns with the values that were kept beside them.

    Raises:
        Damaged: what was kept is unreadable.
    """
    present = np.flatnonzero(np.asarray(pc.list_value_length(lists).fill_null(0)) > 0)
    patches: dict[str, dict[int, Any]] = defaultdict(dict)
    for row in present.tolist():
        for name, value in _parsed(lists[row].as_py()).items():
            patches[name][row] = value
    made = dict(columns)
    for name, changes in patches.items():
        if name in made:
            values = made[name].to_pylist()
            for row, value in changes.items():
                values[row] = _from_json(value, made[name].type)
            made[name] = pa.array(values, made[name].type)
    return made


def cut(column: pa.Array) -> pa.Array:
    """Texts as a column of the engine holds them: at most so many bytes, of whole characters."""
    long = np.flatnonzero(_long(column))
    if not len(long):
        return column
    texts = column.to_pylist()
    for row in long.tolist():
        texts[row] = texts[row].encode()[:TEXT_BYTES].decode("utf-8", "ignore")
    return pa.array(texts, pa.string())


def finite(column: pa.Array) -> pa.Array:
    """Numbers as a column of the engine holds them."""
    values = column.to_numpy(zero_copy_only=False)
    if np.isfinite(values).all():
        return column
    limits = np.finfo(np.float64)
    near = np.clip(values, limits.min, limits.max)
    return pa.array(near, pa.float64(), mask=np.isnan(values))


def without_nulls(column: pa.Array) -> pa.Array:
    """Lists as a column of the engine holds them."""
    if not pc.list_flatten(column).null_count:
        return column
    rows = [row and [item for item in row if item is not None] for row in column.to_pylist()]
    return pa.array(rows, column.type)


def positive(column: pa.Array) -> pa.Array:
    """Sparse vectors as a column of the engine holds them."""
    return pa.array([_positive(vector) for vector in column.to_pylist()], column.type)


def _beside(rows: pa.Table, spec: CollectionSpec) -> Iterator[tuple[str, Mask]]:
    """Columns and which of their records are kept beside."""
    for name in ("text", "uri", "extra", *_texts(spec)):
        column = rows.column(name)
        mask = _long(column)
        if name == "text" and spec.keyword_index:
            mask = mask | np.asarray(column.is_null())
        yield name, mask
    for field in spec.fields:
        column = rows.column(field.name)
        if field.type is FieldType.NUMBER:
            present = np.asarray(column.is_valid())
            yield field.name, present & ~np.isfinite(column.to_numpy().astype(np.float64))
        if field.type is FieldType.STRINGS:
            yield field.name, _having_nulls(column)
    for vector in spec.vectors:
        column = rows.column(vector.name)
        if vector.kind is VectorKind.MULTI:
            yield vector.name, np.asarray(column.is_valid())
        if vector.kind is VectorKind.SPARSE:
            listed = column.to_pylist()
            plain = (value is not None and _positive(value) == value for value in listed)
            present = np.asarray(column.is_valid())
            yield vector.name, present & ~np.fromiter(plain, bool, len(rows))


def _texts(spec: CollectionSpec) -> Iterator[str]:
    return (f.name for f in spec.fields if f.type is FieldType.STRING)


def _long(column: Any) -> Mask:
    lengths = pc.fill_null(pc.binary_length(column), 0)
    return np.asarray(pc.greater(lengths, TEXT_BYTES))


def _having_nulls(column: Any) -> Mask:
    lists = whole(column)
    mask = np.zeros(len(lists), bool)
    parents = pc.list_parent_indices(lists).to_numpy()
    mask[parents[np.asarray(pc.list_flatten(lists).is_null())]] = True
    return mask


def _positive(vector: dict[str, list[Any]] | None) -> dict[str, list[Any]]:
    if vector is None:
        return PLACEHOLDER
    pairs = zip(vector["indices"], vector["values"], strict=True)
    usable = [(index, value) for index, value in pairs if index < SPARSE_LIMIT and value > 0]
    if not usable:
        return PLACEHOLDER
    return {"indices": [index for index, _ in usable], "values": [value for _, value in usable]}


def _to_json(value: Any) -> Any:
    """JSON has no NaN and no infinities: numbers that are not finite are their names."""
    return repr(value) if isinstance(value, float) else value


def _from_json(value: Any, type: pa.DataType) -> Any:
    return float(value) if pa.types.is_floating(type) and value is not None else value


def _parsed(pieces: list[str]) -> dict[str, Any]:
    try:
        values = json.loads("".join(pieces))
        return dict(values)
    except (ValueError, TypeError) as error:
        raise Damaged(f"column {NAME!r} of a record is unreadable; restore the record") from error
