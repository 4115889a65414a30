"""A process that ends anywhere leaves no recovery point incomplete, and the next one completes."""

import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaigns.crashes import (
    VERBS,
    Outcome,
    Sites,
    build_base,
    contents_of,
    copied,
    crashes,
    open_world,
    outcome,
    sites_to_end_at,
)
from tests.campaigns.results import CAMPAIGN, record_result

SEED = CAMPAIGN.seed(20_260_601)
MEMORY = Path("/dev/shm")
ENDED = 2
"""Processes that end in the short form, for each verb."""


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """Where directories are copied to, once for each crash: in memory where that can be had."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def base(directory: Path) -> Path:
    build_base(directory / "base")
    return directory / "base"


@pytest.mark.parametrize("name", VERBS)
def test_the_next_run_completes_what_a_crash_left(name: str, base: Path, directory: Path) -> None:
    """In the long form a process ends at every call. In the short form it ends at two, and what it
    would leave at others is copied while one runs; what is the same byte for byte is completed
    once: reads change nothing."""
    verb, draw, states = VERBS[name], random.Random(SEED), set[str]()
    before = outcome(open_world(base))
    whole, sites = open_world(copied(base, directory / "whole")), Sites()
    verb(sites.layered(whole.process()))
    expected, done = outcome(whole), Counter[str]()
    chosen = sites_to_end_at(name, sites.seen, every=CAMPAIGN.long, draw=draw)
    assert len(chosen) > 10
    ended = chosen if CAMPAIGN.long else draw.sample(chosen, ENDED)
    for site, left in crashes(verb, base, directory / "left", chosen, ended=ended):
        done[f"{site.store}.{site.call}"] += 1
        if contents_of(left) in states and not CAMPAIGN.long:
            continue
        states.add(contents_of(left))
        world = open_world(left)
        if left_by(left, before, expected) != expected.kinds:
            verb(world.process())
        state = outcome(world)
        assert (state.folded, state.served) == (expected.folded, expected.served), site
        if CAMPAIGN.long:
            assert world.process().verify(2).findings == (), site
    assert done.total() == len(chosen)
    record_result(
        f"crashes-{name}",
        seed=SEED,
        crashes=len(chosen),
        states=len(states),
        calls=dict(sorted(done.items())),
    )
    assert len(states) > 4


def left_by(crashed: Path, before: Outcome, expected: Outcome) -> tuple[str, ...]:
    """The log after a crash: every recovery point whole, none that was there lost."""
    process = open_world(crashed).process()
    verification = process.verify(2)
    assert verification.findings == ()
    kinds = tuple(e.kind for e, _ in process.repository.log(process.collection).entries())
    assert kinds[: len(before.kinds)] == before.kinds
    assert expected.kinds[: len(kinds)] == kinds
    if CAMPAIGN.long:
        assert process.folded(f"log:{len(before.kinds)}") == before.folded
    return kinds
