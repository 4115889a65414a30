"""Expected durations: promised widely enough, and no wider than that."""

import math
import random
from statistics import median

import pytest

from dr_pipelines.planning.durations import Sample, expected

CELLS = 60


@pytest.mark.parametrize("seed", range(4))
def test_of_recoveries_four_times_larger_most_are_within_the_interval(seed: int) -> None:
    """Fitted on two smaller sizes, each phase with a part that does not grow and one that grows a
    little faster than in proportion, on a machine that is up to 15 % off."""
    chance = random.Random(seed)
    errors, ratios, inside = list[float](), list[float](), 0
    for _ in range(CELLS):
        fixed, each = chance.uniform(0, 2), 10 ** chance.uniform(-4, -2)
        exponent, noise = chance.uniform(0.97, 1.12), chance.uniform(0.03, 0.15)
        size = chance.choice([500, 2_000, 10_000])

        def took(records: int) -> float:
            return (fixed + each * records**exponent) * math.exp(chance.gauss(0, noise))  # noqa: B023

        samples = [Sample(n, took(n)) for n in (size, 2 * size) for _ in range(3)]
        span, truth = expected(samples, 8 * size), took(8 * size)
        assert span is not None
        errors.append(abs(span.expected / truth - 1))
        ratios.append(span.high / span.low)
        inside += span.low <= truth <= span.high
    assert (median(errors) <= 0.25, inside >= 48, median(ratios) <= 2.5) == (True, True, True)


@pytest.mark.parametrize("count", range(3))
def test_fewer_than_three_measurements_promise_nothing(count: int) -> None:
    assert expected([Sample(100, 1.0)] * count, 100) is None


def test_what_took_no_time_is_no_measurement() -> None:
    assert expected([Sample(100, 0.0)] * 5, 100) is None
    assert expected([Sample(0, 1.0)] * 5, 100) is None


def test_the_expectation_lies_between_its_bounds_and_grows_with_the_records() -> None:
    samples = [Sample(n, n / 100) for n in (1_000, 2_000, 4_000)]
    spans = [expected(samples, n) for n in (1_000, 8_000, 64_000)]
    values = [(s.low, s.expected, s.high) for s in spans if s]
    assert values == [tuple(sorted(each)) for each in values]
    assert values == sorted(values)
    widths = [high / low for low, _, high in values]
    assert widths == sorted(widths), "further away is less certain"


def test_sizes_that_are_alike_say_nothing_of_what_does_not_grow() -> None:
    """Nobody who drilled one size alone is told that ten times as much takes as long."""
    span = expected([Sample(1_000, 5.0), Sample(1_010, 5.0), Sample(990, 5.0)], 10_000)
    assert span is not None
    assert span.expected == pytest.approx(50, rel=0.15)
