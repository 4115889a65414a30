"""Values of fields as JSON of a payload, and back.

A time is written as RFC 3339 in UTC with microseconds, which the engine's own ranges of times
read. JSON has no NaN and no infinities.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import FieldType
from dr_pipelines.model.record import ARROW_TYPES


def times_written(column: pa.Array) -> list[str | None]:
    """Times as text."""
    texts: list[str | None] = pc.replace_substring(
        column.cast(pa.string()), pattern=" ", replacement="T", max_replacements=1
    ).to_pylist()
    return texts


def time_written(time: Any) -> str:
    """One time as text."""
    (text,) = times_written(pa.array([time], ARROW_TYPES[FieldType.TIMESTAMP]))
    return str(text)


def times_read(texts: Sequence[str | None]) -> pa.Array:
    """Texts of `times_written` as times."""
    return pa.array(texts, pa.string()).cast(ARROW_TYPES[FieldType.TIMESTAMP])


def typed(value: Any, type: FieldType) -> Any:
    """A foreign value as the field's type has it; None where it has no such value."""
    match type:
        case FieldType.STRING:
            return value if isinstance(value, str) else None
        case FieldType.BOOLEAN:
            return value if isinstance(value, bool) else None
        case FieldType.INTEGER:
            return value if _is_whole(value) and -(2**63) <= value < 2**63 else None
        case FieldType.NUMBER:
            return float(value) if isinstance(value, float) or _is_small(value) else None
        case FieldType.STRINGS:
            good = isinstance(value, list) and all(isinstance(v, str | None) for v in value)
            return value if good else None
        case FieldType.TIMESTAMP:
            return _time(value)


def same_json(one: Any, other: Any) -> bool:
    """True if two values are the same JSON: 1, 1.0 and true are not."""
    return type(one) is type(other) and one == other and _sign(one) == _sign(other)


def parsed_extra(text: str | None, record: str, name: str) -> dict[str, Any]:
    """The part of a foreign payload that is in `extra`.

    Raises:
        InvalidRequest: it is not a JSON object.
    """
    try:
        parsed = json.loads(text or "{}")
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise InvalidRequest(
            f"batch for {name!r}: extra of record {record!r} is not a JSON object: in a collection "
            "that another program made it is a part of the payload"
        )
    return parsed


def _time(value: Any) -> Any:
    """A time that has an offset, to the microsecond."""
    if not isinstance(value, str):
        return None
    try:
        (time,) = times_read([value]).to_pylist()
    except pa.ArrowInvalid:
        return None
    return time


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_small(value: Any) -> bool:
    """True if a whole number is one in double precision."""
    return _is_whole(value) and abs(value) <= 2**53


def _sign(value: Any) -> float:
    return math.copysign(1.0, value) if isinstance(value, float) else 1.0
