"""Vectors to send under cosine so that the engine stores those that it had.

The engine divides a vector by its length unless that is about 1 or very short, and only then rounds
to the type that it keeps. What it holds as float16 was of length 1 before it was rounded and is not
after it, so that dividing again changes a component now and then. Sent is therefore a vector of
length 1 (or a short one) that rounds to what is held: there is one, for the engine had one.
"""

import numpy as np
import numpy.typing as npt

from dr_pipelines.model.collection import Vector, VectorType
from dr_pipelines.model.query import FloatArray

UNIT = 4e-7
"""How far from 1 the square of a length may be, in double precision, for the engine to see a vector
of length 1. It allows 1e-6 in its own sums, which are in single precision: of 96,000 vectors of 2
to 4,096 components the nearest to 1 that it changed was 8.6e-7 off, the farthest it kept 1.15e-6.
"""
STORED_UNIT = 1.2e-6
"""The same for a vector of float32 that the engine itself stored."""
SHORT = float(np.finfo(np.float32).eps)
"""The engine keeps a vector as it is whose square of the length is below this, in its own sums."""
STORED_SHORT = SHORT * (1 + 1e-5)
"""The same for a vector that the engine itself stored: its sums are off by less."""
HALVINGS = 60
Mask = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]


def sent(matrix: FloatArray, vector: Vector) -> tuple[FloatArray, Mask]:
    """Vectors to send for those that a collection under cosine held, and a mask of those that
    none can have held: the engine would store something else."""
    match vector.dtype:
        case VectorType.FLOAT32:
            squares = _squares(matrix)
            return matrix, ~((np.abs(squares - 1) <= STORED_UNIT) | (squares < STORED_SHORT))
        case VectorType.FLOAT16:
            return _before_rounding(matrix)
        case _:  # the engine divides none that it keeps as whole numbers
            return matrix, np.zeros(len(matrix), bool)


def _before_rounding(rounded: FloatArray) -> tuple[FloatArray, Mask]:
    squares = _squares(rounded)
    exact = rounded.copy()
    other = np.flatnonzero((np.abs(squares - 1) > UNIT) & (squares != 0))
    if not len(other):
        return exact, np.zeros(len(rounded), bool)
    short = squares[other] < (1 + SHORT) / 2
    target = np.where(short, np.minimum(squares[other], SHORT * (1 - 1e-5)), 1.0)
    exact[other] = _of_square(rounded[other], target)
    now = _squares(exact[other])
    stable = np.where(short, now < SHORT, np.abs(now - 1) <= UNIT)
    wrong = np.zeros(len(rounded), bool)
    wrong[other] = ~stable
    return exact, wrong


def _of_square(rounded: FloatArray, target: Doubles) -> FloatArray:
    """Vectors that round to those in float16, of a length whose square is as near to the target as
    can be: each is drawn out or in, and no component leaves what rounds to its own."""
    half = rounded.astype(np.float16)
    wide = rounded.astype(np.float64)
    with np.errstate(over="ignore"):
        above = np.nextafter(half, np.float16(np.inf)).astype(np.float64)
        below = np.nextafter(half, np.float16(-np.inf)).astype(np.float64)
    least, most = wide + (below - wide) * 0.499, wide + (above - wide) * 0.499
    low, high = np.full(len(rounded), 0.5), np.full(len(rounded), 2.0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        drawn = np.clip(wide * middle[:, None], least, most)
        longer = np.einsum("ij,ij->i", drawn, drawn) > target
        low, high = np.where(longer, low, middle), np.where(longer, middle, high)
    scaled: FloatArray = np.clip(wide * low[:, None], least, most).astype(np.float32)
    return scaled


def _squares(matrix: FloatArray) -> Doubles:
    squares: Doubles = np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64)
    return squares
