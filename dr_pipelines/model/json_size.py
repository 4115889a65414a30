"""How much a JSON text would become in memory, looked at before anything is made of it."""

import re

MAX_VALUES = 1_500_000
"""A value takes up to 64 bytes of memory, however few it takes in a text."""
STRING = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?', re.DOTALL)
"""A string, or all the rest where none ends: possessive, so that no byte is looked at twice and
nothing is remembered to go back to."""
BLOCK = re.compile(rb'(?:[^"]++|"(?:[^"\\]++|\\.?)*+"?){1,65536}+', re.DOTALL)
"""A part that ends outside of strings, with so few of them that they can be cut out at once."""
OUTSIDE = bytes(sorted({*range(256)} - {*b"[]{},"}))


def marks(data: bytes) -> bytes:
    """Brackets and commas outside of strings, up to where there are too many values."""
    outside = bytearray()
    for block in BLOCK.finditer(data):
        outside += STRING.sub(b"", block[0]).translate(None, OUTSIDE)
        if _openings(outside) > MAX_VALUES:
            break
    return bytes(outside)


def is_too_much(data: bytes) -> bool:
    """True if there are more than `MAX_VALUES` values. Looks at bytes only, so it is safe on any
    input.
    """
    return _openings(data) > MAX_VALUES and _openings(marks(data)) > MAX_VALUES


def _openings(data: bytes | bytearray) -> int:
    return data.count(b",") + data.count(b"[") + data.count(b"{")
