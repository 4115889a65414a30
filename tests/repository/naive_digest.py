"""The canonical form of a record and its digest, a second time, in plain Python."""

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
QUIET = 0x7FF8000000000000


def record_digest(label: str, kinds: Mapping[str, str], values: Mapping[str, Any]) -> bytes:
    """SHA-256 of one record; `kinds` names the kind of every column."""
    described = [[name, kinds[name]] for name in sorted(kinds)]
    text = json.dumps(["dr", 1, label, described], separators=(",", ":"), ensure_ascii=False)
    heads, payloads = hashlib.sha256(text.encode()).digest()[:16], b""
    for name in sorted(kinds):
        head, payload = _encode(kinds[name], values[name])
        heads, payloads = heads + head, payloads + payload
    return hashlib.sha256(heads + payloads).digest()


def _encode(kind: str, value: Any) -> tuple[bytes, bytes]:
    if value is None:
        return bytes(9), b""
    if kind == "string":
        return b"S" + struct.pack("<q", len(value.encode())), value.encode()
    if kind == "binary":
        return b"H" + struct.pack("<q", len(value)), value
    if kind == "strings":
        items = [_encode("string", item) for item in value]
        body = b"".join(head + payload for head, payload in items)
        return b"L" + struct.pack("<q", len(value)), body
    if kind.startswith("vector["):
        return b"V" + struct.pack("<q", len(value)), b"".join(map(_component, value))
    if kind.startswith("vectors["):
        body = b"".join(_component(component) for vector in value for component in vector)
        return b"M" + struct.pack("<q", len(value)), body
    if kind == "sparse":
        indices = b"".join(struct.pack("<q", index) for index in value["indices"])
        body = indices + b"".join(map(_component, value["values"]))
        return b"P" + struct.pack("<q", len(value["indices"])), body
    return _SCALARS[kind](value), b""


def _component(value: float | None) -> bytes:
    if value is None:
        return struct.pack("<I", 0x7FC00001)
    return struct.pack("<I", 0x7FC00000) if math.isnan(value) else struct.pack("<f", value)


def _number(value: float) -> bytes:
    return b"F" + (struct.pack("<Q", QUIET) if math.isnan(value) else struct.pack("<d", value))


_SCALARS = {
    "integer": lambda value: b"I" + struct.pack("<q", value),
    "number": _number,
    "boolean": lambda value: b"B" + struct.pack("<q", int(value)),
    "timestamp": lambda value: (
        b"T" + struct.pack("<q", (value - EPOCH) // timedelta(microseconds=1))
    ),
}
