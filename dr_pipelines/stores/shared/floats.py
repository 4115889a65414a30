"""Which float to hand over to an engine that reads JSON with serde_json's fast parser.

That parser is off by one unit in the last place for every tenth number of 17 digits. Chroma reads
what it logged that way, Qdrant the payload whenever it is read, and again whenever a segment is
written anew. The parser is followed here:

- `sendable`: a neighbour of a number that came out of an engine, which arrives as that number;
- `settled`: the number below, or the number itself, that stays as it is however often it is parsed.
"""

import math
from collections.abc import Iterator

MAX_POWER = 308
NEIGHBOURS = 8
"""A parse rounds four times at most; further away nothing was ever found."""


def sendable(value: float, *, parses: int) -> float | None:
    """The float that is `value` after it was parsed that many times; None where there is none."""
    if not math.isfinite(value):
        return None
    return next((c for c in _around(value) if _received(c, parses) == value), None)


def settled(value: float) -> float:
    """The largest float up to a finite `value` that a parse does not change."""
    while parsed(value) != value:
        value = math.nextafter(value, -math.inf)
    return value


def settling(value: float) -> list[float]:
    """The other floats of which `settled` makes the settled `value`: a few above it."""
    numbers = []
    value = math.nextafter(value, math.inf)
    while math.isfinite(value) and parsed(value) != value:
        numbers.append(value)
        value = math.nextafter(value, math.inf)
    return numbers


def parsed(value: float) -> float:
    """The float that serde_json (without its feature `float_roundtrip`) parses from the shortest
    decimal form of a finite float: its digits as a float, times or by a power of ten as a float.
    The digits of a whole number end with the 0 after its point."""
    if not math.isfinite(value):
        return value
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    power = int(exponent or 0) - len(fraction)
    number = float(int(whole + fraction))
    if power < -MAX_POWER:  # what no float says as a power is divided off in two steps
        number, power = number / 1e308, power + MAX_POWER
    factor = float(f"1e{abs(power)}")
    number = number * factor if power >= 0 else number / factor
    return math.copysign(number, value)


def _around(value: float) -> Iterator[float]:
    """A float and its neighbours, nearest first."""
    yield value
    up = down = value
    for _ in range(NEIGHBOURS):
        up, down = math.nextafter(up, math.inf), math.nextafter(down, -math.inf)
        yield up
        yield down


def _received(value: float, parses: int) -> float:
    for _ in range(parses):
        value = parsed(value)
    return value
