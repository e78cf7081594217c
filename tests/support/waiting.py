"""Waiting for what comes: poll with a deadline, never sleep for luck."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(
    ask: Callable[[], T | None],
    what: str,
    *,
    within: float = 60.0,
    every: float = 0.05,
    despite: tuple[type[Exception], ...] = (),
) -> T:
    """The first truthy answer; fails with the last one when none came in time (seconds).

    An error of a kind in `despite` counts as "not yet".
    """
    deadline = time.monotonic() + within
    while True:
        answer: T | Exception | None
        try:
            answer = ask()
        except despite as error:
            answer = error
        else:
            if answer:
                return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {within:g} s; last: {answer!r}")
        time.sleep(every)
