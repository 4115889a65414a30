"""Blob columns: a scan gives where their bytes lie, so here they are read as the bytes themselves.

Lance has two kinds. The older one is a column of bytes marked by `lance-encoding:blob`, the newer
one (v2) an extension type whose bytes lie beside the data files, or anywhere: such a reference to
another place is not opened, since whoever wrote the row chose the place.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import InvalidRequest

MARK = b"lance-encoding:blob"
EXTENSION = "lance.blob.v2"
EXTERNAL = 3
"""Lance's number, in a descriptor, of a blob that lies at an address of its own."""
LARGEST_BYTES = 512 * 2**20
"""Of a blob that is kept: as text, a third longer, it still is one value of Arrow's."""


def holds_blobs(field: pa.Field) -> bool:
    """True if a column is of blobs, or has some within."""
    return _is_blob(field) or any(holds_blobs(inner) for inner in _inner(field.type))


def read_type(field: pa.Field) -> pa.DataType:
    """The type of a column when its blobs are read as bytes."""
    return _with_leaves(field.type, pa.large_binary()) if holds_blobs(field) else field.type


def of_bytes(array: pa.Array, type: pa.DataType) -> pa.Array:
    """A column as `read_type` says in the type that Lance writes."""
    return _rebuilt(array, type)


def as_bytes(array: pa.Array) -> pa.Array:
    """The reverse of `of_bytes`; any other column as it is."""
    if not any(map(_is_extension, _types(array.type))):
        return array
    return _rebuilt(array, _with_leaves(array.type, pa.large_binary()))


def refuse_unkept(dataset: Any, columns: Sequence[str], *, key: str | None) -> None:
    """Refuse, by name, the first blob of these columns that lies elsewhere or is too large for a
    record. Reads descriptors and the key, no bytes."""
    for column in columns:
        shown = [column] if key is None else [key, column]
        for batch in dataset.to_batches(columns=shown):
            leaves = _descriptors(batch.column(column))
            if any(_unkept(leaf) is not None for leaf in leaves):
                _refuse_row(batch, column, key)


def _refuse_row(batch: pa.RecordBatch, column: str, key: str | None) -> None:
    for row in range(batch.num_rows):
        for leaf in _descriptors(batch.slice(row, 1).column(column)):
            reason = _unkept(leaf)
            if reason is not None:
                named = f"record {batch.column(key)[row].as_py()!r}" if key else "a row without id"
                raise InvalidRequest(f"{named}: a blob of its {column!r} {reason}")


def _unkept(leaf: pa.StructArray) -> str | None:
    """Why one of some descriptors names bytes that no record can hold."""
    names = [field.name for field in leaf.type]
    if "kind" in names:
        where = pc.index(pc.struct_field(leaf, "kind"), pa.scalar(EXTERNAL, pa.uint8())).as_py()
        if where >= 0:
            return (
                f"lies at {pc.struct_field(leaf, 'blob_uri')[where].as_py()!r}, outside the table; "
                "nothing there is opened. Write its bytes into the table "
                "(external_blob_mode='ingest')"
            )
    largest = pc.max(pc.struct_field(leaf, "size")).as_py() or 0
    if largest > LARGEST_BYTES:
        return f"has {largest:,} bytes; a record holds {LARGEST_BYTES:,} at most"
    return None


def _descriptors(array: pa.Array) -> list[pa.StructArray]:
    """The descriptors in a column, wherever in it they are, without those of null blobs."""
    kind = array.type
    if pa.types.is_struct(kind):
        names = {field.name for field in kind}
        if {"position", "size"} <= names <= {"kind", "position", "size", "blob_id", "blob_uri"}:
            return [array.drop_null()]
        return [leaf for inner in array.flatten() for leaf in _descriptors(inner)]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _descriptors(array.flatten())
    if pa.types.is_map(kind):
        return [*_descriptors(array.keys), *_descriptors(array.items)]
    return []


def _is_blob(field: pa.Field) -> bool:
    marked = (field.metadata or {}).get(MARK) == b"true"
    return marked or _is_extension(field.type)


def _is_extension(type: pa.DataType) -> bool:
    return isinstance(type, pa.BaseExtensionType) and type.extension_name == EXTENSION


def _inner(type: pa.DataType) -> list[pa.Field]:
    if isinstance(type, pa.BaseExtensionType):
        return []
    return [type.field(place) for place in range(type.num_fields)]


def _types(type: pa.DataType) -> list[pa.DataType]:
    return [type, *(inner for field in _inner(type) for inner in _types(field.type))]


def _with_leaves(type: pa.DataType, leaf: pa.DataType) -> pa.DataType:
    """The type with `leaf` for each blob of the newer kind."""
    if _is_extension(type):
        return leaf
    inner = [field.with_type(_with_leaves(field.type, leaf)) for field in _inner(type)]
    if pa.types.is_struct(type):
        return pa.struct([field.remove_metadata() for field in inner])
    if pa.types.is_large_list(type):
        return pa.large_list(inner[0].remove_metadata())
    if pa.types.is_list(type):
        return pa.list_(inner[0].remove_metadata())
    if any(_is_extension(each) for each in _types(type)):
        raise InvalidRequest(f"a blob within a {type} cannot be kept; move it to a column")
    return type


def _rebuilt(array: pa.Array, type: pa.DataType) -> pa.Array:
    """The same values in a type that differs where the blobs are."""
    if array.type == type:
        return array
    if _is_extension(array.type):
        return array.storage.flatten()[0]
    if _is_extension(type):
        return _blobs(array, type)
    array = array.take(pa.array(range(len(array))))  # a slice has the offsets of its neighbours
    mask = array.is_null() if array.null_count else None
    if pa.types.is_struct(type):
        parts = zip(array.flatten(), type, strict=True)
        rebuilt = [_rebuilt(part, field.type) for part, field in parts]
        return pa.StructArray.from_arrays(rebuilt, fields=list(type), mask=mask)
    made = pa.LargeListArray if pa.types.is_large_list(type) else pa.ListArray
    values = _rebuilt(array.values, type.value_type)
    return made.from_arrays(array.offsets, values, type=type, mask=mask)


def _blobs(array: pa.Array, type: pa.DataType) -> pa.Array:
    """Bytes as blobs of the newer kind, each of which lies in the table."""
    storage = type.storage_type
    rest = [pa.nulls(len(array), field.type) for field in list(storage)[1:]]
    data = array.cast(storage.field(0).type)
    mask = array.is_null()
    parts = pa.StructArray.from_arrays([data, *rest], fields=list(storage), mask=mask)
    return pa.ExtensionArray.from_storage(type, parts)
