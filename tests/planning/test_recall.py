"""Is a loss of recall one? By an interval, against what sound rebuilds lose."""

import numpy as np
import pytest

from dr_pipelines.planning.recall import SIZES, Null, loss_of

SOUND = Null(recall=0.97, tolerance=0.01, measured=20)


def recalls(mean: float, *, count: int, seed: int) -> list[float]:
    """Recalls of ten neighbours, each missed by chance, of queries that are not equally hard."""
    random = np.random.default_rng(seed)
    hardness = random.beta(mean * 12, (1 - mean) * 12, size=count)
    shares: list[float] = (random.binomial(10, hardness) / 10).tolist()
    return shares


def decided(mean: float, seed: int) -> str:
    every = recalls(mean, count=SIZES[-1], seed=seed)
    for size in SIZES:
        decision = loss_of(every[:size], SOUND).decision(SOUND)
        if decision != "undecided":
            return decision
    return "undecided"


def test_a_loss_of_two_points_is_found() -> None:
    assert sum(decided(0.95, seed) != "sound" for seed in range(200)) >= 198


def test_sound_rebuilds_raise_no_alarm() -> None:
    assert [seed for seed in range(300) if decided(0.97, seed) != "sound"] == []


def test_what_is_within_reach_of_the_tolerance_is_undecided() -> None:
    assert decided(0.96, seed=1) == "undecided"


def test_queries_that_all_answer_the_same_leave_no_doubt() -> None:
    assert loss_of([1.0] * 40, Null()).decision(Null()) == "sound"
    assert loss_of([0.5], Null()).decision(Null()) == "damaged"


@pytest.mark.parametrize(("null", "words"), [(Null(), "no rebuild"), (SOUND, "by 20 sound")])
def test_where_the_expected_recall_comes_from_is_said(null: Null, words: str) -> None:
    assert words in null.source
