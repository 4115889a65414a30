"""JSON objects to bytes and back, within limits and with their own checksum."""

import json
import math
import re
from hashlib import sha256
from typing import Any

from dr_pipelines.errors import Damaged, Refused
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.details import KNOWN_FEATURES
from dr_pipelines.model.json_size import MAX_VALUES, is_too_much, marks

VERSION = 1
"""Of the format."""
JSON_LIMIT_BYTES = 64 << 20
"""Of any JSON object but entries and repo.json, which are smaller."""
MAX_JSON_DEPTH = 16
PAIR = re.compile(rb"\[\]|\{\}")


def decode_json(data: bytes, *, what: str, limit_bytes: int) -> Any:
    """Parse JSON within limits of size, nesting and number of values, which are looked at before
    anything is made of it; raises `Damaged` naming `what`."""
    if len(data) > limit_bytes:
        raise Damaged(f"{what}: {len(data)} bytes, more than the limit of {limit_bytes}")
    _require_small(data, what)
    try:  # decoded first: the limits look at UTF-8, and `json` would accept UTF-16 too
        return json.loads(data.decode(), parse_constant=_number, parse_float=_number)
    except (ValueError, UnicodeDecodeError) as error:
        raise Damaged(f"{what}: not JSON ({first_line(error)})") from error


def require_version(value: object, *, what: str) -> None:
    """Raise `Refused` naming `what` for an object of a later format: nothing else that it says can
    be judged here."""
    version = value.get("v") if isinstance(value, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise Refused(
            f"{what} was written by a newer version of dr_pipelines, in format {version}; this "
            f"version reads format {VERSION}: install the newer one"
        )


def unknown_features(value: object) -> set[str]:
    """Features that an object names and this version does not understand: it may have keys that
    only they explain."""
    named = value.get("features", ()) if isinstance(value, dict) else ()
    return {str(name) for name in named} - KNOWN_FEATURES if isinstance(named, list) else set()


def seal_json(value: dict[str, Any]) -> bytes:
    """Canonical JSON of an object with its own checksum."""
    return canonical_json({**value, "checksum": sha256(canonical_json(value)).hexdigest()})


def unseal_json(data: bytes, *, what: str, limit_bytes: int) -> dict[str, Any]:
    """The object that `seal_json` was given; raises `Damaged` unless these are its very bytes, and
    then `Refused` for one of a later format: of bytes that are not proven, a version says nothing.
    """
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
    require_version(value, what=what)
    return value


def _number(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not a number")
    return number


def first_line(error: Exception) -> str:
    """The first line of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _require_small(data: bytes, what: str) -> None:
    """Raise `Damaged` for deep nesting or very many values; looks at bytes only, so it is safe on
    any input."""
    if is_too_much(data):
        raise Damaged(f"{what}: more values than the limit of {MAX_VALUES}")
    brackets = marks(data).translate(None, b",")
    for _ in range(MAX_JSON_DEPTH):
        brackets = PAIR.sub(b"", brackets)
        if not brackets:
            return
    raise Damaged(f"{what}: nested deeper than {MAX_JSON_DEPTH}, or brackets without a partner")
