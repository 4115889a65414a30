"""How long a recovery will take, with a 90 % interval, from how long earlier ones took.

The model of a phase is t = c + k·nᵇ, with c and k not negative and b near 1. Two sizes cannot tell
all three apart, so b is not chosen: every b of a grid predicts, weighted by how well it fits and by
how near it is to 1, and what they disagree about is part of the interval. Errors are relative.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dr_pipelines.model.recovery_plan import Span

LEAST = 3
"""Measurements without which nothing is expected."""
EXPONENTS = tuple(0.70 + 0.05 * step for step in range(15))
NEAR_ONE = 0.10
"""Standard deviation of b around 1: an index that is built in n log n has 1.06 to 1.1."""
NOISE, WEIGHT = 0.20, 3.0
"""The relative deviation of one machine's recoveries, as if so many had been seen beforehand."""
SAME_SIZE = 1.25
"""Sizes that differ by less say nothing about what does not grow with them."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds that something took for so many records."""

    records: int
    seconds: float


def expected(samples: Iterable[Sample], records: int) -> Span | None:
    """The time for so many records; None with fewer than `LEAST` measurements of a time."""
    usable = [s for s in samples if s.records > 0 and s.seconds > 0]
    if len(usable) < LEAST or records <= 0:
        return None
    fits = [_fitted(usable, records, exponent) for exponent in EXPONENTS]
    best = max(fit.weight for fit in fits)
    weights = [math.exp(fit.weight - best) for fit in fits]
    total = sum(weights)
    mean = sum(w * f.prediction for w, f in zip(weights, fits, strict=True)) / total
    between = sum(w * (f.prediction - mean) ** 2 for w, f in zip(weights, fits, strict=True))
    noise = sum(w * f.noise for w, f in zip(weights, fits, strict=True)) / total
    deviation = math.sqrt(between / total + noise * (1 + 1 / len(usable)))
    reach = _upper_twentieth(len(usable) + WEIGHT - 1) * deviation
    return Span(
        expected=round(math.exp(mean), 3),
        low=round(math.exp(mean - reach), 3),
        high=round(math.exp(mean + reach), 3),
    )


@dataclass(frozen=True, slots=True)
class _Fit:
    """The logarithm of a prediction, that of its weight, and the variance of the errors."""

    prediction: float
    weight: float
    noise: float


def _fitted(samples: Sequence[Sample], records: int, exponent: float) -> _Fit:
    """The best c and k for one exponent, in least squares of relative errors."""
    sizes = [(s.records / records) ** exponent for s in samples]  # the one to predict is 1
    times = [s.seconds for s in samples]
    alike = max(s.records for s in samples) < SAME_SIZE * min(s.records for s in samples)
    fixed, growing = (0.0, _slope(sizes, times)) if alike else _line(sizes, times)
    errors = [
        ((fixed + growing * size) / time - 1) ** 2 for size, time in zip(sizes, times, strict=True)
    ]
    freedom = len(samples) + WEIGHT
    noise = (sum(errors) + WEIGHT * NOISE**2) / freedom
    weight = -freedom / 2 * math.log(noise) - ((exponent - 1) / NEAR_ONE) ** 2 / 2
    return _Fit(math.log(max(fixed + growing, 1e-9)), weight, noise)


def _line(sizes: Sequence[float], times: Sequence[float]) -> tuple[float, float]:
    """c and k of c + k·size, neither negative, with least squares of relative errors."""
    one = [1 / time for time in times]
    grows = [size / time for size, time in zip(sizes, times, strict=True)]
    aa, bb = sum(x * x for x in one), sum(x * x for x in grows)
    ab = sum(x * y for x, y in zip(one, grows, strict=True))
    a, b = sum(one), sum(grows)
    determinant = aa * bb - ab * ab
    if determinant > 0:
        fixed, growing = (a * bb - b * ab) / determinant, (b * aa - a * ab) / determinant
        if fixed >= 0 and growing >= 0:
            return fixed, growing
    only_growing, only_fixed = b * b / bb, a * a / aa  # what each explains by itself
    return (0.0, b / bb) if only_growing >= only_fixed else (a / aa, 0.0)


def _slope(sizes: Sequence[float], times: Sequence[float]) -> float:
    grows = [size / time for size, time in zip(sizes, times, strict=True)]
    return sum(grows) / sum(x * x for x in grows)


def _upper_twentieth(freedom: float) -> float:
    """The point of Student's distribution that one in twenty lies above: to 2 % for 3 and more."""
    return 1.645 + 1.53 / freedom + 1.4 / freedom**2
