"""Any sequence of what can be done leaves what the model says, and recovery points as they were."""

import random

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.campaigns.machine import Collections, Steps
from tests.campaigns.results import CAMPAIGN, record_result

STEPS = CAMPAIGN.pick(short=150, long=20_000)
SEED = CAMPAIGN.seed(20_260_301)
SETTINGS = settings(
    max_examples=CAMPAIGN.pick(short=3, long=20),
    stateful_step_count=30,
    deadline=None,
    database=None,
    phases=CAMPAIGN.pick(short=(Phase.generate,), long=(Phase.generate, Phase.shrink)),
    suppress_health_check=list(HealthCheck),
)


def test_any_sequence_leaves_what_the_model_says() -> None:
    steps, draw, seeds = Steps(), random.Random(SEED), 0

    class Counted(Collections):
        pass

    Counted.steps = steps
    while steps.total < STEPS:
        seeds += 1
        run_state_machine_as_test(seed(draw.getrandbits(32))(Counted), settings=SETTINGS)
        print(f"{steps.total} steps")
    record_result(
        "state-machine",
        steps=steps.total,
        seed=SEED,
        runs=seeds,
        done=dict(sorted(steps.done.items())),
    )
