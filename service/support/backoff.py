"""How long to wait before the next try. Pure except for the jitter."""

import random
from datetime import timedelta

# A build that failed: 5 s, 10 s, 20 s, … up to 10 minutes. Shorter waits hammer a broken
# warehouse, longer ones leave a repaired one idle.
BUILD_BASE = 5.0
BUILD_CAP = 600.0


def delay(attempt: int, *, base: float, cap: float) -> float:
    """Seconds before try `attempt` + 1 (from 1): exponential, capped, with half of it jitter."""
    full = min(cap, base * 2 ** min(attempt - 1, 30))
    return full * (0.5 + random.random() / 2)  # noqa: S311 - spreads load, guards no secret


def build_delay(attempt: int) -> timedelta:
    """The wait after the failed build number `attempt` of a generation."""
    return timedelta(seconds=delay(attempt, base=BUILD_BASE, cap=BUILD_CAP))
