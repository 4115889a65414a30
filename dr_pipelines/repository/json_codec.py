"""JSON objects to bytes and back, within limits and with their own checksum."""

import json
import math
import re
from hashlib import sha256
from itertools import accumulate
from typing import Any

from dr_pipelines.errors import Damaged
from dr_pipelines.model.base import canonical_json

MAX_JSON_DEPTH = 16
STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
NO_BRACKETS = bytes(sorted({*range(256)} - {*b"[]{}"}))


def decode_json(data: bytes, *, what: str, limit_bytes: int) -> Any:
    """Parse JSON within limits of size and nesting; raises `Damaged` naming `what`."""
    if len(data) > limit_bytes:
        raise Damaged(f"{what}: {len(data)} bytes, more than the limit of {limit_bytes}")
    if _nesting(data) > MAX_JSON_DEPTH:
        raise Damaged(f"{what}: nested deeper than {MAX_JSON_DEPTH}")
    try:  # decoded first: `_nesting` looks at UTF-8, and `json` would accept UTF-16 too
        return json.loads(data.decode(), parse_constant=_number, parse_float=_number)
    except (ValueError, UnicodeDecodeError) as error:
        raise Damaged(f"{what}: not JSON ({first_line(error)})") from error


def seal_json(value: dict[str, Any]) -> bytes:
    """Canonical JSON of an object with its own checksum."""
    return canonical_json({**value, "checksum": sha256(canonical_json(value)).hexdigest()})


def unseal_json(data: bytes, *, what: str, limit_bytes: int) -> dict[str, Any]:
    """The object that `seal_json` was given; raises `Damaged` unless these are its very bytes."""
    value = decode_json(data, what=what, limit_bytes=limit_bytes)
    if not isinstance(value, dict):
        raise Damaged(f"{what}: not a JSON object")
    value.pop("checksum", None)
    try:
        sealed = seal_json(value)
    except UnicodeEncodeError as error:
        raise Damaged(f"{what}: not JSON ({first_line(error)})") from error
    if sealed != data:
        raise Damaged(f"{what}: its checksum does not fit its contents")
    return value


def _number(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not a number")
    return number


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _nesting(data: bytes) -> int:
    """Deepest nesting, strings skipped; looks at bytes only, so it is safe on any input."""
    brackets = STRING.sub(b"", data).translate(None, NO_BRACKETS)
    return max(accumulate(1 if bracket in b"[{" else -1 for bracket in brackets), default=0)
