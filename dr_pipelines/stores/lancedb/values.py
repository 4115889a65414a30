"""Columns of any Arrow type as one of the six types of a field, and back without loss.

What is no number, text, truth, time in microseconds or list of texts becomes text: a decimal, a
date or a large integer as it is written, a time of another unit as the number of its units, and
whatever has parts as JSON.
"""

import base64
import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.model.collection import FieldType
from dr_pipelines.model.record import ARROW_TYPES
from dr_pipelines.stores.lancedb import blobs

Is = Callable[[pa.DataType], bool]
WRITTEN = (pa.types.is_uint64, pa.types.is_decimal, pa.types.is_date)
"""Types whose values Arrow writes as text and reads from it."""


def field_type(type: pa.DataType) -> FieldType:
    """The field type in which a column of this type travels."""
    storage = _storage(type)
    item = _value_type(storage)
    if pa.types.is_uint64(storage):
        return FieldType.STRING
    if pa.types.is_integer(storage):
        return FieldType.INTEGER
    if pa.types.is_floating(storage):
        return FieldType.NUMBER
    if pa.types.is_boolean(storage):
        return FieldType.BOOLEAN
    if pa.types.is_timestamp(storage) and storage.unit == "us":
        return FieldType.TIMESTAMP
    if item is not None and _is_text(item):
        return FieldType.STRINGS
    return FieldType.STRING


def is_same(type: pa.DataType) -> bool:
    """True if the column has exactly the type of its field, so that filters mean the same to the
    engine."""
    return bool(type == ARROW_TYPES[field_type(type)])


def to_field(array: pa.Array) -> pa.Array:
    """The column in the type of its field."""
    array = blobs.as_bytes(array)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    target = ARROW_TYPES[field_type(array.type)]
    if array.type == target:
        return array
    if target == ARROW_TYPES[FieldType.TIMESTAMP]:
        return array.cast(pa.int64()).cast(target)
    if target != pa.string() or _is_text(array.type) or _is(array.type, WRITTEN):
        return array.cast(target)
    if pa.types.is_temporal(array.type):
        return _counted(array).cast(target)
    plain = _plain(array.type)
    return pa.array([_json(value, plain) for value in array.cast(plain).to_pylist()], target)


def from_field(array: pa.Array, type: pa.DataType) -> pa.Array:
    """The field as a column of that type.

    Raises:
        pa.ArrowInvalid, ValueError: a value that the type does not have.
    """
    if isinstance(type, pa.BaseExtensionType):
        storage = from_field(array, type.storage_type)
        return pa.ExtensionArray.from_storage(type, storage)
    kind = field_type(type)
    if array.type == type:
        return array
    if kind is FieldType.TIMESTAMP:
        return array.cast(pa.int64()).cast(type)
    if kind is FieldType.NUMBER:
        return _narrowed(array, type)
    if pa.types.is_dictionary(type) and _is_text(type):
        return array.cast(type.value_type).dictionary_encode().cast(type)
    if kind is not FieldType.STRING or _is_text(type) or _is(type, WRITTEN):
        return array.cast(type)
    if pa.types.is_temporal(type):
        return array.cast(pa.int64()).cast(_count_type(type)).cast(type)
    rows, plain = array.to_pylist(), _plain(type)
    values = pa.array(
        [None if row is None else _value(json.loads(row), plain) for row in rows], plain
    )
    if pa.types.is_dictionary(type):
        return values.cast(type.value_type).dictionary_encode().cast(type)
    return values.cast(type)


def _narrowed(array: pa.Array, type: pa.DataType) -> pa.Array:
    """Doubles as narrower floats: refused where a value would change."""
    narrow = array.cast(pa.float32(), safe=False)
    narrow = narrow.cast(type, safe=False) if pa.types.is_float16(type) else narrow
    wide = narrow.cast(pa.float32()).cast(pa.float64())
    same = pc.or_(pc.equal(wide, array), pc.and_(pc.is_nan(wide), pc.is_nan(array)))
    if not pc.all(pc.fill_null(same, True)).as_py():
        raise ValueError(f"a number that {type} does not have")
    return narrow


def _is(type: pa.DataType, kinds: tuple[Is, ...]) -> bool:
    return any(kind(type) for kind in kinds)


def _is_text(type: pa.DataType) -> bool:
    if pa.types.is_dictionary(type):
        return _is_text(type.value_type)
    return bool(pa.types.is_string(type) or pa.types.is_large_string(type))


def _storage(type: pa.DataType) -> pa.DataType:
    return type.storage_type if isinstance(type, pa.BaseExtensionType) else type


def _value_type(type: pa.DataType) -> pa.DataType | None:
    if pa.types.is_list(type) or pa.types.is_large_list(type):
        return type.value_type
    return None


def _count_type(type: pa.DataType) -> pa.DataType:
    return pa.int32() if pa.types.is_time32(type) else pa.int64()


def _counted(array: pa.Array) -> pa.Array:
    return array.cast(_count_type(array.type)).cast(pa.int64())


def _plain(type: pa.DataType) -> pa.DataType:
    """A type whose values Python has without loss: times as counts, those of a dictionary or an
    extension as what these hold, the rest as it is."""
    if isinstance(type, pa.BaseExtensionType):
        return _plain(type.storage_type)
    if pa.types.is_dictionary(type):
        return _plain(type.value_type)
    if pa.types.is_date(type):
        return pa.int32() if pa.types.is_date32(type) else pa.int64()
    if pa.types.is_temporal(type):
        return _count_type(type)
    if pa.types.is_float16(type):
        return pa.float32()
    if pa.types.is_struct(type):
        return pa.struct([field.with_type(_plain(field.type)) for field in type])
    if pa.types.is_map(type):
        item = type.item_field.with_type(_plain(type.item_type))
        return pa.map_(type.key_field.with_type(_plain(type.key_type)), item)
    return _plain_list(type)


def _plain_list(type: pa.DataType) -> pa.DataType:
    """Of a list; any other type as it is."""
    if pa.types.is_fixed_size_list(type):
        return pa.list_(type.value_field.with_type(_plain(type.value_type)), type.list_size)
    if pa.types.is_large_list(type):
        return pa.large_list(type.value_field.with_type(_plain(type.value_type)))
    if pa.types.is_list(type):
        return pa.list_(type.value_field.with_type(_plain(type.value_type)))
    return type


def _json(value: Any, type: pa.DataType) -> str | None:
    if value is None:
        return None
    plain = _json_value(value, type)
    return json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _json_value(value: Any, type: pa.DataType) -> Any:
    """A value of a plain type as JSON has it: bytes in base64, numbers that are none as text."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    if isinstance(value, dict):
        return {field.name: _json_value(value[field.name], field.type) for field in type}
    if isinstance(value, list) and pa.types.is_map(type):
        return [
            [_json_value(key, type.key_type), _json_value(item, type.item_type)]
            for key, item in value
        ]
    if isinstance(value, list):
        return [_json_value(item, type.value_type) for item in value]
    return value


def _value(plain: Any, type: pa.DataType) -> Any:
    """The reverse of `_json_value`."""
    if plain is None:
        return None
    if pa.types.is_struct(type):
        return {field.name: _value(plain[field.name], field.type) for field in type}
    if pa.types.is_map(type):
        return [(_value(key, type.key_type), _value(item, type.item_type)) for key, item in plain]
    if isinstance(plain, list):
        return [_value(item, type.value_type) for item in plain]
    if pa.types.is_floating(type):
        return float(plain)
    if pa.types.is_decimal(type):
        return Decimal(plain)
    if isinstance(plain, str) and not _is_text(type):
        return base64.b64decode(plain)
    return plain
