"""A short `make chaos`: ten kills while real objects land, and everything is well again after each.

The long one, 200 kills and more kinds of trouble, is `make chaos`.
"""

import os
import random

import pytest

from tests.chaos.rounds import run_rounds
from tests.chaos.stage import MONTHS, stage


@pytest.mark.timeout(900)
def test_ten_kills_lose_double_and_block_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))

    def say(line: str) -> None:
        with capsys.disabled():
            print(f"  chaos (seed {seed}): {line}")

    with stage(lambda _: None, months=MONTHS[:3]) as made:
        made.say = say if os.environ.get("CHAOS_SEED") else lambda _: None
        outcome = run_rounds(made, kills=10, seed=seed, at_once=5)
    assert outcome.kills >= 10
    assert (outcome.lost, outcome.doubled, outcome.stuck) == (0, 0, 0), (
        f"CHAOS_SEED={seed} replays the dice: {outcome.notes}"
    )
