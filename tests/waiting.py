"""Waiting for what comes: poll with a deadline, never sleep for luck."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(
    ask: Callable[[], T | None], what: str, *, within: float = 60.0, every: float = 0.05
) -> T:
    """The first truthy answer; fails with the last one when none came in time (seconds)."""
    deadline = time.monotonic() + within
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {within:g} s; last: {answer!r}")
        time.sleep(every)
